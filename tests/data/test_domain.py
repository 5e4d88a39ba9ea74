import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stylebench.data.domain import Domain
from stylebench.data.folders import Folders

MakeDomain = Callable[..., Domain]


def test_image_view_and_crop_agree(make_domain: MakeDomain) -> None:
    domain = make_domain([(5, 7), (6, 4), (3, 3)])
    for index, (height, width) in enumerate([(5, 7), (6, 4), (3, 3)]):
        image = domain.image(index)
        assert domain.shape(index) == image.shape[:2] == (height, width)
        np.testing.assert_array_equal(domain.view(index), image)
        np.testing.assert_array_equal(domain.crop(index, 1, 2, 2, 1), image[1:3, 2:3])
    np.testing.assert_array_equal(domain.image(-1), domain.image(2))


def test_view_is_read_only_and_image_is_not(make_domain: MakeDomain) -> None:
    domain = make_domain([(5, 7)])
    assert not domain.view(0).flags.writeable
    assert domain.image(0).flags.writeable
    assert domain.crop(0, 0, 0, 2, 2).flags.writeable


@pytest.mark.parametrize("rectangle", [(-1, 0, 2, 2), (0, 0, 6, 2), (4, 0, 2, 2), (0, 6, 2, 2), (0, 0, 0, 2)])
def test_crop_outside_the_image(make_domain: MakeDomain, rectangle: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="which is 5 x 7; choose a rectangle inside it"):
        make_domain([(5, 7)]).crop(0, *rectangle)


def test_unknown_split(make_domain: MakeDomain) -> None:
    with pytest.raises(ValueError, match="no split 'dev' in domain random; there are train, val, test, all"):
        make_domain([(5, 7)]).split("dev")


def test_packed_domain_travels_without_its_pixels(
    tmp_path: Path, folders: Callable[..., Folders], write_images: Callable[..., dict[str, np.ndarray]]
) -> None:
    pixels = write_images(tmp_path / "images", [f"{i}.png" for i in range(20)], (60, 60))
    domain = folders().open(tmp_path / "images")
    domain.view(0)  # opens the map
    sent = pickle.dumps(domain)
    assert len(sent) < 10_000  # the pixels are 216,000 bytes
    np.testing.assert_array_equal(pickle.loads(sent).image(3), pixels[domain.ids[3]])


def test_describe_is_plain(make_domain: MakeDomain) -> None:
    facts = make_domain([(5, 7)] * 10, skipped=[("bad.png", "is empty")]).describe()
    assert facts["count"] == 10
    assert sum(facts["splits"].values()) == 10
    assert facts["skipped"] == [["bad.png", "is empty"]]
