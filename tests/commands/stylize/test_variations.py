"""Sheets, strips and animations: what varies, how it is laid out, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence
from torch import Tensor

from stylebench.commands.stylize.guides import GuidePictures
from stylebench.commands.stylize.pictures import stylize_path, synthesize
from stylebench.commands.stylize.variations import Variations, read_variations, sheet
from stylebench.commands.stylize.writing import write_picture
from stylebench.inference.base import CONTENT, Choice, Control, Picture
from stylebench.inference.translators.base import Guides, Translator

LEVEL = Control("level", 0.0, 1.0, 1.0, "gray of the result")
SEED = Control("seed", 0, 100, 0, "which", whole=True)
CHANNEL = Choice("channel", ("all", "red"), "all", "where it is")


class Gray(Translator):
    """Paints pictures in a level of gray, or of red."""

    controls = (LEVEL, SEED, CHANNEL)
    inputs = (CONTENT, Picture("reference", "mixed", required=False, many=True))

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        shown = images * 0 + controls["level"]
        if controls["channel"] == "red":
            shown[:, 1:] = 0
        return shown


def values(**given: Any) -> dict[str, Any]:
    options = {key: given.pop(key) for key in ("interpolate", "columns", "frame_ms") if key in given}
    return dict(read_variations(Gray(), given, **options).values)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (9, 6), (50, 100, 150)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_lists_vary_and_single_values_do_not() -> None:
    assert values(level=0.5, channel="red", reference=["a.png", "b.png"], reference_weights=[1, 2]) == {}
    assert values(level=[0, 0.5], seed=3) == {"level": [0, 0.5]}
    assert values(reference_weights=[[1, 0], [0, 1]]) == {"reference_weights": [[1, 0], [0, 1]]}
    varied = read_variations(Gray(), {"channel": ["all", "red"], "level": [0, 1]})
    assert [tuple(request.values()) for request in varied.requests] == [("all", 0), ("all", 1), ("red", 0), ("red", 1)]
    assert Variations().requests == [{}]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"level": [0, 1], "interpolate": 5}, {"level": [0, 0.25, 0.5, 0.75, 1]}),
        ({"level": [0, 1, 0], "interpolate": 5}, {"level": [0, 0.5, 1, 0.5, 0]}),
        ({"seed": [0, 8], "interpolate": 5}, {"seed": [0, 2, 4, 6, 8]}),
        (
            {"reference_weights": [[1, 0], [0, 1]], "interpolate": 3},
            {"reference_weights": [[1, 0], [0.5, 0.5], [0, 1]]},
        ),
        ({"level": [0, 1], "channel": ["all", "red"], "interpolate": 2}, {"level": [0, 1], "channel": ["all", "red"]}),
    ],
)
def test_interpolated_values_are_evenly_spaced(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert values(**given) == expected


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"level": [0, 1], "seed": [0, 1], "channel": ["all", "red"]}, r"level, seed, channel have lists of values"),
        ({"level": [0, 2]}, r"control level lies in \[0, 1\], got 2"),
        ({"seed": [0.5]}, r"control seed is a whole number, got 0\.5"),
        ({"channel": ["green"]}, r"control channel is one of all, red, got 'green'"),
        ({"level": 0.5, "interpolate": 3}, r"interpolate=3 needs a control with a list of values"),
        ({"level": 0.5, "frame_ms": 100}, r"frame_ms=100 needs a control with a list of values"),
        ({"channel": ["all", "red"], "interpolate": 3}, r"interpolate=3 needs two or more numbers"),
        ({"level": [0, 1], "interpolate": 1}, r"interpolate must be .*at least 2, or null, got 1"),
        ({"level": [0, 1], "columns": 0}, r"columns must be .*at least 1, or null, got 0"),
        ({"reference_weights": [[1, 0], [1]], "interpolate": 3}, r"reference_weights.*\[1, 0\], \[1\]"),
    ],
)
def test_what_cannot_vary_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        values(**given)


def test_a_sheet_holds_its_pictures_row_by_row() -> None:
    pictures = [np.full((2, 3, 3), level, dtype=np.uint8) for level in (10, 20, 30)]
    made = sheet(pictures, 2)
    assert made.shape == (2 + 4 + 2, 3 + 4 + 3, 3)
    corners = made[0, 0, 0], made[0, -1, 0], made[-1, 0, 0], made[-1, -1, 0], made[3, 0, 0]
    assert corners == (10, 20, 30, 255, 255)
    assert sheet(pictures[:1], 2).shape == (2, 3, 3)


@pytest.mark.parametrize(("columns", "size"), [(None, (3 * 9 + 2 * 4, 6)), (2, (2 * 9 + 4, 2 * 6 + 4))])
def test_results_lie_side_by_side(photo: Path, columns: int | None, size: tuple[int, int]) -> None:
    varied = read_variations(Gray(), {"level": [0.2, 0.4, 1]}, columns=columns)
    stylize_path(Gray(), photo, photo.with_name("out.png"), variations=varied, progress=False, level=0.2)
    with Image.open(photo.with_name("out.png")) as made:
        assert made.size == size
        assert [made.getpixel((9 * place + 4 * place, 0)) for place in (0, 1)] == [(51,) * 3, (102,) * 3]


def test_two_that_vary_are_rows_and_columns(photo: Path) -> None:
    varied = read_variations(Gray(), {"channel": ["all", "red"], "level": [0.2, 0.4, 1]})
    stylize_path(Gray(), photo, photo.with_name("out.png"), variations=varied, progress=False)
    with Image.open(photo.with_name("out.png")) as made:
        assert made.size == (3 * 9 + 2 * 4, 2 * 6 + 4)
        assert made.getpixel((0, 11)) == (51, 0, 0)


def test_an_animation_shows_the_results_one_after_another(photo: Path) -> None:
    varied = read_variations(Gray(), {"level": [0, 1]}, interpolate=3, frame_ms=40)
    stylize_path(Gray(), photo.parent, photo.parent / "out", suffix="webp", variations=varied, progress=False)
    with Image.open(photo.parent / "out" / "photo.webp") as made:
        frames = [np.asarray(frame.convert("RGB")).mean() for frame in ImageSequence.Iterator(made)]
        assert (made.info["loop"], made.info["duration"], made.size) == (0, 40, (9, 6))
    assert frames == pytest.approx([0, 127.5, 255], abs=2)


def test_formats_and_options_that_do_not_fit_are_refused(photo: Path) -> None:
    varied = read_variations(Gray(), {"level": [0, 1]}, frame_ms=40)
    out = photo.with_name("out.png")
    with pytest.raises(ValueError, match=r"frame_ms=40 makes an animation.*out\.png.*\.webp"):
        stylize_path(Gray(), photo, out, variations=varied, progress=False)
    with pytest.raises(ValueError, match="every shows one result on its way, and level vary"):
        stylize_path(Gray(), photo, out, variations=varied, every=2, progress=False)
    with pytest.raises(ValueError, match="level have lists of values, which need an input"):
        synthesize(Gray(), out, (4, 4), guides=GuidePictures(), variations=varied)
    with pytest.raises(ValueError, match=r"16384 x 1 px, and WebP holds 16383 a side"):
        write_picture(photo.with_name("wide.webp"), np.zeros((1, 16384, 3), dtype=np.uint8))
    assert not out.exists()


def test_a_sheet_has_no_transparency(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.new("RGBA", (9, 6), (50, 100, 150, 90)).save(tmp_path / "glass.png")
    varied = read_variations(Gray(), {"level": [0, 1]})
    stylize_path(Gray(), tmp_path / "glass.png", tmp_path / "out.png", variations=varied, progress=False)
    assert "kept in single outputs" in caplog.text
    with Image.open(tmp_path / "out.png") as made:
        assert made.mode == "RGB"
