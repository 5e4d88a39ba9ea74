"""What a command line asks of StarGAN v2: references beside their domain, several styles, what changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stylebench.checks import UnknownControlError
from stylebench.cli.arguments import controls_apart, given_controls
from stylebench.cli.config import compose
from stylebench.commands.stylize.asked import Asked, read_asked
from stylebench.commands.stylize.pictures import stylize_path
from stylebench.inference.translators.style_code import StyleCodeTranslator
from tests.helpers.style_codes import PX, tiny_style_translator


@pytest.fixture(scope="module")
def model() -> StyleCodeTranslator:
    return tiny_style_translator()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for place, name in enumerate(("photo", "cat", "other")):
        pixels = np.random.default_rng(place).integers(0, 256, (PX, PX, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def ask(model: StyleCodeTranslator, *words: str) -> Asked:
    arguments = controls_apart(["run=somewhere", "input=photo.png", *words])
    config = compose("stylize", arguments)
    return read_asked(model, config, given_controls(config, arguments, [each.name for each in model.controls]))


def made(model: StyleCodeTranslator, folder: Path, *words: str) -> np.ndarray:
    controls, guides, variations = ask(model, *words)
    out = folder / "out.png"
    given: dict[str, Any] = {"guides": guides, "variations": variations, **controls}
    stylize_path(model, folder / "photo.png", out, progress=False, overwrite=True, **given)
    with Image.open(out) as image:
        return np.asarray(image)


def test_a_reference_gives_the_style(model: StyleCodeTranslator, pictures: Path) -> None:
    cat, other = pictures / "cat.png", pictures / "other.png"
    shown = made(model, pictures, f"reference={cat}", "domain=cat")
    assert not np.array_equal(shown, made(model, pictures, "domain=cat"))
    mixed = f"reference=[{cat},{other}]", "domain=cat"
    assert np.array_equal(made(model, pictures, *mixed, "reference_weights=[1,0]"), shown)
    strip = made(model, pictures, *mixed, "reference_weights=[[1,0],[0,1]]", "interpolate=3")
    assert strip.shape == (PX, 3 * PX + 8, 3)
    assert np.array_equal(strip[:, :PX], shown)
    assert np.array_equal(strip[:, -PX:], made(model, pictures, f"reference={other}", "domain=cat"))


def test_several_seeds_and_domains_are_a_sheet(model: StyleCodeTranslator, pictures: Path) -> None:
    grid = made(model, pictures, "domain=[cat,dog]", "seed=[3,4,5]")
    assert grid.shape == (2 * PX + 4, 3 * PX + 8, 3)
    assert np.array_equal(grid[PX + 4 :, PX + 4 : 2 * PX + 4], made(model, pictures, "domain=dog", "seed=4"))


def test_a_reference_without_its_domain_is_refused(model: StyleCodeTranslator, pictures: Path) -> None:
    with pytest.raises(ValueError, match=r"reference needs domain .*cat \| dog"):
        ask(model, f"reference={pictures / 'cat.png'}")
    with pytest.raises(ValueError, match="reference needs domain"):
        model.translate(torch.rand(3, PX, PX), reference=torch.rand(3, PX, PX))


def test_seeds_beside_a_reference_change_nothing_and_that_is_said(
    model: StyleCodeTranslator, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask(model, f"reference={pictures / 'cat.png'}", "domain=cat", "seed=3")
    assert "seed changes nothing beside reference" in caplog.text
    caplog.clear()
    ask(model, "domain=cat", "seed=3")
    assert not caplog.text


def test_what_is_missing_or_unknown_is_refused(model: StyleCodeTranslator, pictures: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no picture at reference=.*none\.png"):
        ask(model, f"reference={pictures / 'none.png'}", "domain=cat")
    with pytest.raises(ValueError, match="reference_weights is given without a reference"):
        ask(model, "reference_weights=[1,2]")
    with pytest.raises(UnknownControlError, match="no control 'referense'"):
        ask(model, "referense=cat.png")
    with pytest.raises(ValueError, match=r"output .* is one of the pictures"):
        ask(model, f"reference={pictures / 'cat.png'}", "domain=cat").guides.check_target(pictures / "cat.png")
