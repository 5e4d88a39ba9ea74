"""SSIM and PSNR of luma without a border, as super-resolution papers measure them."""

import pytest
import torch
from torch import Tensor

from stylebench.metrics.batch import EvaluationBatch, Views
from stylebench.metrics.pairs import PSNRY, SSIM


def pictures(seed: int, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, 3, size, size), generator=generator, dtype=torch.uint8)


def views(image: Tensor, target: Tensor) -> Views:
    return Views(EvaluationBatch(image, torch.arange(len(image)), target=target[:, None]), {})


def test_ssim_without_a_border_is_that_of_smaller_pictures() -> None:
    image, target = pictures(0), pictures(1)
    inner = views(image[..., 4:-4, 4:-4], target[..., 4:-4, 4:-4])
    found = SSIM(luma=True, border_px=4).rows(views(image, target))[""]
    assert torch.equal(found, SSIM(luma=True).rows(inner)[""])


def test_ssim_ignores_the_border() -> None:
    image = pictures(0)
    framed = image.clone()
    framed[..., :4, :] = 0
    assert SSIM(luma=True, border_px=4).rows(views(framed, image))[""].tolist() == pytest.approx([1, 1])
    assert float(SSIM(luma=True).rows(views(framed, image))[""].max()) < 0.99


def test_the_border_belongs_to_the_record_and_to_the_smallest_size() -> None:
    plain, cut = SSIM(luma=True), SSIM(luma=True, border_px=4)
    assert (plain.tag, cut.tag) == ("", "border4")
    assert "border_px" not in plain.describe()
    assert cut.describe()["border_px"] == 4
    assert (plain.smallest_px, cut.smallest_px, PSNRY(4).smallest_px) == (11, 19, 9)
