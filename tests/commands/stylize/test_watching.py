"""What is written beside a picture while it is optimized."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from stylebench.commands.stylize.watching import watching
from stylebench.inference.translators.base import Guides, OptimizingTranslator
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.optimization.gatys import Progress


class Optimizes(OptimizingTranslator):
    """Pretends to: five evaluations of a picture that gets lighter."""

    def render(self, images: torch.Tensor, guides: Guides, **controls: Any) -> torch.Tensor:
        for evaluation in range(1, 6):
            terms = {"style": {"a": torch.tensor(1.0), "b": torch.tensor(2.0)}, "tv": torch.tensor(0.5)}
            if guides.watch is not None:
                guides.watch(Progress(evaluation, 5, images + evaluation / 10, torch.tensor(1 / evaluation), terms))
        return images + 0.5


def test_pictures_and_curve_lie_beside_the_output(tmp_path: Path) -> None:
    translator, target = Optimizes(), tmp_path / "out.jpg"
    with watching(translator, target, every=2, bar=False) as watch:
        translator.translate(torch.zeros(3, 4, 4), watch=watch)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out-000001.png", "out-000002.png", "out-000004.png", "out.csv",
    ]  # fmt: skip
    with Image.open(tmp_path / "out-000004.png") as picture:
        assert picture.getpixel((0, 0)) == (102, 102, 102)  # 0.4 of 255
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert rows[1] == {"evaluation": "2", "total": "0.5", "style": "3", "style_a": "1", "style_b": "2", "tv": "0.5"}


def test_nothing_is_written_unless_asked_for(tmp_path: Path) -> None:
    translator = Optimizes()
    with watching(translator, tmp_path / "out.png", every=None, bar=False) as watch:
        translator.translate(torch.zeros(3, 4, 4), watch=watch)
    assert not list(tmp_path.iterdir())


def test_trained_models_have_nothing_to_show(tmp_path: Path) -> None:
    trained = ImageToImage(nn.Identity())
    with watching(trained, tmp_path / "out.png", every=None, bar=False) as watch:
        assert watch is None
    with pytest.raises(ValueError, match="a trained model has none"), watching(trained, tmp_path / "o.png", 2, False):
        pass


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "a"])
def test_step_that_makes_no_sense(tmp_path: Path, every: Any) -> None:
    with (
        pytest.raises(ValueError, match="every must be a whole number"),
        watching(Optimizes(), tmp_path / "o", every, False),
    ):
        pass
