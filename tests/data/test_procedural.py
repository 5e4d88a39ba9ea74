import numpy as np
import pytest

from stylebench.data.painting import paint_strokes
from stylebench.data.procedural import Procedural


def test_leaves_are_contents_with_splits() -> None:
    domain = Procedural(count=10, size_px=16, seed=0).open("leaves")
    assert len(domain) == 10
    assert domain.shape(3) == (16, 16)
    assert all(len(domain.split(name)) for name in ("train", "val", "test"))
    assert len({domain.image(i).tobytes() for i in range(10)}) == 10


def test_strokes_are_one_style_in_every_split() -> None:
    domain = Procedural(count=10, size_px=48, seed=0).open("strokes")
    assert len(domain) == 1
    assert domain.shape(0) == (48, 48)
    assert all(len(domain.split(name)) == 1 for name in ("train", "val", "test"))


@pytest.mark.parametrize("name", ["leaves", "strokes"])
def test_pictures_follow_from_the_settings(name: str) -> None:
    first, again, other = (Procedural(count=3, size_px=32, seed=seed).open(name) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image(0), again.image(0))
    assert first.digest == again.digest != other.digest
    assert not np.array_equal(first.image(0), other.image(0))


def test_strokes_have_strong_colors_and_edges() -> None:
    picture = paint_strokes(96, 0).astype(float)
    blue = (picture[..., 2] > picture[..., 0] + 40).mean()
    warm = (picture[..., 0] > picture[..., 2] + 40).mean()
    assert blue > 0.2
    assert warm > 0.2
    assert np.abs(np.diff(picture, axis=0)).mean() > 10  # brush strokes; photographs lie near 5 at this size


def test_unknown_name() -> None:
    with pytest.raises(
        ValueError, match=r"no procedural domain 'photos/'; there are leaves, strokes.*set dataset=folders"
    ):
        Procedural(count=3, size_px=32, seed=0).open("photos/")


@pytest.mark.parametrize("settings", [(0, 32, 0), (3, 4, 0), (3, 32, -1)])
def test_settings_out_of_range(settings: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"must be a whole number of at least .*, got"):
        Procedural(*settings)
