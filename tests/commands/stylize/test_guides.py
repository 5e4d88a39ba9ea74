"""Pictures of styles and regions from files, and what is wrong with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from stylebench.commands.stylize.guides import read_guides, shrunk
from stylebench.inference.translators.base import Guides
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.inference.translators.style import StyleTranslator

LIMIT = 1_000_000


class Mean(StyleTranslator):
    """Paints the mean color of the styles, weighted, into their regions."""

    encoded = 0

    def encode_styles(self, style: Any, **controls: Any) -> tuple[Any, ...]:
        self.encoded += 1
        return super().encode_styles(style, **controls)

    def render_styles(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        means = [style.mean((2, 3), keepdim=True) for style in guides.styles]
        if guides.masks is None:
            return sum(w * m for w, m in zip(guides.weights, means, strict=True)) * torch.ones_like(images)
        return images + sum(m * guides.masks[:, k : k + 1] for k, m in enumerate(means))


def save(path: Path, color: tuple[int, int, int] | int, height: int = 8, width: int = 12) -> Path:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:] = color
    Image.fromarray(pixels).save(path)
    return path


def test_styles_are_read_and_encoded_once(tmp_path: Path) -> None:
    translator = Mean()
    red, blue = save(tmp_path / "red.png", (255, 0, 0)), save(tmp_path / "blue.png", (0, 0, 255), 5, 5)
    guides = read_guides(translator, [red, blue], [1, 3], [], LIMIT)
    assert guides.files == [red, blue]
    guides.check_target(tmp_path / "other.png")
    with pytest.raises(ValueError, match="is one of the pictures that steer it"):
        guides.check_target(blue)
    for _ in range(3):
        made = translator.translate(torch.zeros(3, 6, 6), **guides.arguments((6, 6)))
    assert translator.encoded == 1
    assert torch.allclose(made[:, 0, 0], torch.tensor([0.25, 0.0, 0.75]))


def test_masks_say_where(tmp_path: Path) -> None:
    red, blue = save(tmp_path / "red.png", (255, 0, 0)), save(tmp_path / "blue.png", (0, 0, 255))
    left, right = np.zeros((8, 12), dtype=np.uint8), np.zeros((8, 12), dtype=np.uint8)
    left[:, :6], right[:, 6:10] = 255, 200
    for name, mask in (("l.png", left), ("r.png", right)):
        Image.fromarray(mask).save(tmp_path / name)
    translator = Mean()
    guides = read_guides(translator, [red, blue], None, [tmp_path / "l.png", tmp_path / "r.png"], LIMIT)
    made = translator.translate(torch.zeros(3, 8, 12), **guides.arguments((8, 12)))
    assert made[:, 4, 2].tolist() == [1.0, 0.0, 0.0]
    assert made[:, 4, 8].tolist() == [0.0, 0.0, 1.0]
    assert made[:, 4, 11].tolist() == [0.0, 0.0, 0.0]
    halved = translator.translate(torch.zeros(3, 4, 6), **guides.arguments((4, 6)))
    assert halved[:, 2, 1].tolist() == [1.0, 0.0, 0.0]  # masks shrink with the picture


def test_a_model_that_learned_its_style_takes_none(tmp_path: Path) -> None:
    trained = ImageToImage(nn.Identity())
    assert read_guides(trained, [], None, [], LIMIT).arguments((4, 4)) == {}
    with pytest.raises(ValueError, match="learned its style in training"):
        read_guides(trained, [save(tmp_path / "a.png", 9)], None, [], LIMIT)


def test_what_is_missing_or_does_not_fit(tmp_path: Path) -> None:
    style, other = save(tmp_path / "a.png", 9), save(tmp_path / "b.png", 9, 20, 20)
    with pytest.raises(ValueError, match="name a picture by style="):
        read_guides(Mean(), [], None, [], LIMIT)
    with pytest.raises(FileNotFoundError, match="no picture at style="):
        read_guides(Mean(), [tmp_path / "no.png"], None, [], LIMIT)
    with pytest.raises(ValueError, match="is a folder; name a picture"):
        read_guides(Mean(), [tmp_path], None, [], LIMIT)
    with pytest.raises(FileNotFoundError, match="no picture at masks="):
        read_guides(Mean(), [style], None, [tmp_path / "no.png"], LIMIT)
    with pytest.raises(ValueError, match="got 1 masks for 2 styles"):
        read_guides(Mean(), [style, other], None, [style], LIMIT)
    with pytest.raises(ValueError, match=r"masks differ in size \(.*12 x 8.*\)"):
        read_guides(Mean(), [style, other], None, [style, other], LIMIT)
    guides = read_guides(Mean(), [style], None, [save(tmp_path / "m.png", 255)], LIMIT)
    with pytest.raises(ValueError, match=r"the masks are 12 x 8, the picture 5 x 5"):
        guides.arguments((5, 5))


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"masks": torch.ones(2, 6, 6)}, r"expected masks of shape \(1, 6, 6\)"),
        ({"masks": torch.ones(1, 5, 6)}, r"got \(1, 5, 6\)"),
        ({"masks": torch.full((1, 6, 6), 0.5)}, "0 .outside. and 1 .inside. only"),
        ({"masks": torch.zeros(1, 6, 6)}, "a mask is empty"),
        ({"masks": torch.ones(1, 6, 6), "style_weights": [1.0]}, "not both"),
    ],
)
def test_masks_of_tensors_are_checked(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Mean().translate(torch.zeros(3, 6, 6), style=torch.rand(3, 4, 4), **given)


def test_overlapping_masks_are_refused() -> None:
    styles = [torch.rand(3, 4, 4), torch.rand(3, 4, 4)]
    with pytest.raises(ValueError, match="masks overlap"):
        Mean().translate(torch.zeros(3, 6, 6), style=styles, masks=torch.ones(2, 6, 6))


def test_pictures_are_shrunk_never_enlarged() -> None:
    assert shrunk(torch.rand(3, 30, 60), 20).shape == (3, 10, 20)
    assert shrunk(torch.rand(3, 30, 60), 100).shape == (3, 30, 60)
    assert shrunk(torch.rand(3, 30, 60), None).shape == (3, 30, 60)
