"""Translators: controls, checks, ranges, modes."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stylebench.inference.base import CONTENT, Control, Picture
from stylebench.inference.translators.base import Guides, Translator
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.nn.generators.johnson import JohnsonModern


class Negative(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return 1.0 - images


class Brighten(Translator):
    controls = (Control("amount", -1.0, 1.0, 0.5, "gray levels of 1 to add"),)

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        return images + controls["amount"]


def pictures(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 9, 11, generator=torch.Generator().manual_seed(0))


def test_alpha_mixes_content_and_output() -> None:
    model, images = ImageToImage(Negative()), pictures()
    assert torch.equal(model.translate(images, alpha=0.0), images)
    assert torch.equal(model.translate(images, alpha=1.0), 1 - images)
    assert torch.equal(model.translate(images), 1 - images)
    torch.testing.assert_close(model.translate(images, alpha=0.25), 0.75 * images + 0.25 * (1 - images))


def test_output_is_clamped() -> None:
    result = Brighten().translate(torch.full((1, 3, 4, 4), 0.8))
    assert torch.equal(result, torch.ones(1, 3, 4, 4))
    assert torch.equal(Brighten().translate(torch.full((1, 3, 4, 4), 0.2), amount=-1), torch.zeros(1, 3, 4, 4))


def test_one_image_without_a_batch_equals_a_batch_of_one() -> None:
    model, images = ImageToImage(JohnsonModern(width=2)), pictures(1)
    assert torch.equal(model.translate(images[0]), model.translate(images)[0])


def test_type_is_kept_and_no_graph_is_built() -> None:
    model = ImageToImage(JohnsonModern(width=2))
    for dtype in (torch.float32, torch.float64, torch.float16):
        result = model.translate(pictures().to(dtype))
        assert result.dtype == dtype
        assert not result.requires_grad


def test_training_modes_are_restored_part_by_part() -> None:
    model = ImageToImage(JohnsonModern(width=2, norm="batch")).train()
    frozen = model.generator.body[1].eval()
    before = frozen.running_mean.clone()
    model.translate(pictures())
    assert model.training
    assert model.generator.training
    assert not frozen.training
    assert torch.equal(frozen.running_mean, before)
    assert not any(layer.num_batches_tracked for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))


def test_modes_are_restored_after_an_error() -> None:
    model = ImageToImage(JohnsonModern(width=2)).train()
    with pytest.raises(ValueError, match="at least 5 x 5"):
        model.translate(torch.rand(3, 4, 4))
    assert model.training


def test_forward_is_unclamped_and_has_a_graph() -> None:
    model = ImageToImage(JohnsonModern(width=2))
    assert model(pictures()).requires_grad


def test_controls_default_and_check() -> None:
    assert ImageToImage(Negative()).check_controls() == {"alpha": 1.0}
    assert ImageToImage(Negative()).check_controls(alpha=np.float32(0.5)) == {"alpha": 0.5}


def test_unknown_control_lists_what_there_is() -> None:
    with pytest.raises(
        ValueError, match=r"no control 'alhpa' \(did you mean 'alpha'\?\); its controls: alpha \(0 \.\. 1, default 1\)"
    ):
        ImageToImage(Negative()).translate(pictures(), alhpa=1)
    with pytest.raises(ValueError, match="its controls: none"):
        Translator().check_controls(alpha=1)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_control_out_of_range(value: float) -> None:
    with pytest.raises(ValueError, match=r"alpha lies in \[0, 1\], got"):
        ImageToImage(Negative()).check_controls(alpha=value)


@pytest.mark.parametrize("value", ["0.5", None, True, [0.5]])
def test_control_that_is_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match="alpha is a number, got"):
        ImageToImage(Negative()).check_controls(alpha=value)


@pytest.mark.parametrize(
    ("images", "error", "match"),
    [
        (torch.zeros(3, 8, 8, dtype=torch.uint8), TypeError, "divide by 255"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), TypeError, "int64; convert it to float"),
        (np.zeros((3, 8, 8)), TypeError, "expected a torch tensor of images, got ndarray"),
        (torch.zeros(8, 8), ValueError, r"got \(8, 8\)"),
        (torch.zeros(8, 8, 3), ValueError, r"got \(8, 8, 3\)"),
        (torch.zeros(0, 3, 8, 8), ValueError, r"got \(0, 3, 8, 8\)"),
        (torch.full((3, 8, 8), 200.0), ValueError, "from 200 to 200; divide by 255"),
        (torch.full((3, 8, 8), -1.0), ValueError, "from -1 to -1; rescale"),
        (torch.full((3, 8, 8), float("nan")), ValueError, "not numbers"),
    ],
)
def test_wrong_images_are_refused(images: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        ImageToImage(Negative()).translate(images)


def test_overshoot_of_resizing_is_clamped() -> None:
    result = ImageToImage(nn.Identity()).translate(torch.full((3, 4, 4), 1.0 + 1e-6))
    assert torch.equal(result, torch.ones(3, 4, 4))


def test_subclass_without_render_is_named() -> None:
    with pytest.raises(NotImplementedError, match=r"Translator does not define render"):
        Translator().translate(pictures())


# Declared inputs


class Tinted(Translator):
    """Adds the mean color of a reference, if there is one."""

    inputs = (CONTENT, Picture("reference", "whose mean color is added", required=False))

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        (reference,) = guides.pictures.get("reference", (torch.zeros(1, 3, 1, 1),))
        return images + reference.mean((2, 3), keepdim=True)


class Mixed(Translator):
    """Adds a mix of references."""

    inputs = (CONTENT, Picture("reference", "whose mean colors are mixed and added", many=True, regions=True))

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        means = [part.mean((2, 3), keepdim=True) for part in guides.pictures["reference"]]
        if guides.masks is None:
            return images + sum(w * m for w, m in zip(guides.weights, means, strict=True))
        return images + sum(guides.masks[:, k : k + 1] * m for k, m in enumerate(means))


class Needy(Translator):
    inputs = (CONTENT, Picture("layout", "where things go"))


def test_an_optional_picture_is_used_where_it_is_given() -> None:
    images = torch.full((2, 3, 4, 4), 0.25)
    assert Tinted().takes("reference")
    assert torch.equal(Tinted().translate(images), images)
    assert torch.equal(Tinted().translate(images, reference=torch.full((3, 9, 5), 0.5)), images + 0.5)
    each = torch.stack([torch.zeros(3, 2, 2), torch.full((3, 2, 2), 0.25)])
    assert Tinted().translate(images, reference=each)[:, 0, 0, 0].tolist() == [0.25, 0.5]


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"reference": torch.zeros(3, 4, 4, dtype=torch.uint8)}, TypeError, "reference: .*divide by 255"),
        ({"reference": torch.zeros(4, 4)}, ValueError, r"reference: .*got \(4, 4\)"),
        (
            {"reference": torch.rand(3, 3, 4, 4)},
            ValueError,
            "one reference picture, or one for each of 2 images",
        ),
        ({"reference": [torch.rand(3, 4, 4)] * 2}, ValueError, "takes one reference picture, got 2"),
        ({"reference": []}, ValueError, "list of reference pictures is empty"),
        ({"style": torch.rand(3, 4, 4)}, ValueError, "no control 'style'; its controls: none; its pictures: content"),
        ({"reference_weights": [1.0]}, ValueError, "no control 'reference_weights'"),
    ],
)
def test_a_picture_that_does_not_fit_its_declaration(given: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        Tinted().translate(torch.rand(2, 3, 4, 4), **given)


def test_several_pictures_are_mixed_or_have_regions() -> None:
    images, given = torch.zeros(1, 3, 2, 4), [torch.zeros(3, 2, 2), torch.ones(3, 3, 3)]
    assert Mixed().translate(images, reference=given)[0, 0, 0].tolist() == [0.5] * 4
    assert Mixed().translate(images, reference=given, reference_weights=[3, 1])[0, 0, 0].tolist() == [0.25] * 4
    masks = torch.stack([torch.arange(4) < 2, torch.arange(4) >= 3]).float()[:, None].expand(2, 2, 4)
    assert Mixed().translate(images, reference=given, masks=masks)[0, 0, 0].tolist() == [0.0, 0.0, 0.0, 1.0]
    with pytest.raises(ValueError, match=r"either reference_weights .* or masks"):
        Mixed().translate(images, reference=given, reference_weights=[3, 1], masks=masks)


def test_a_required_picture_is_asked_for() -> None:
    with pytest.raises(ValueError, match="Needy needs a picture of the layout"):
        Needy().translate(pictures())
