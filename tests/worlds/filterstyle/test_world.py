"""FilterStyle as a store: photographs keep their splits and classes, and are never shared where they must not be."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylebench.checks import UsageError
from stylebench.data.domain import Domain
from stylebench.data.folders import Folders
from stylebench.data.stores import Part
from stylebench.data.tasks import TASKS
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.worlds.filterstyle.world import FilterStyle

SETTINGS = {
    "style": "xdog", "input": "photo", "target": "hatching", "a": "photo", "b": "pixel_art", "source": "photo",
    "domains": ["photo", "kuwahara", "halftone"],
}  # fmt: skip


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for number, image in enumerate(dead_leaves(30, 40, seed=0)):
        path = folder / ("indoor" if number % 3 else "outdoor") / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image[:, : 36 + number % 5].permute(1, 2, 0).numpy()).save(path)
    return folder


@pytest.fixture(scope="module")
def world(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> FilterStyle:
    folders = Folders(str(tmp_path_factory.mktemp("cache")), 64, 10**6, "stop", 0.2, 0.2)
    return FilterStyle(str(photographs), 32, packed=False, photographs=folders)


def ids(domain: Domain, split: str) -> set[str]:
    return {domain.ids[i] for i in domain.split(split)}


def test_the_folder_itself_is_the_domain_of_photographs(world: FilterStyle, photographs: Path) -> None:
    domain = world.open(str(photographs))
    assert domain.classes == ["indoor", "outdoor"]
    assert domain.labels is not None
    assert all(id_.startswith(domain.classes[label]) for id_, label in zip(domain.ids, domain.labels, strict=True))
    pictures = world.pictures(domain.ids).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(np.stack(domain.views(range(30))), pictures)
    assert domain.digest == world.open("photo").digest


def test_splits_are_those_of_the_photographs(world: FilterStyle) -> None:
    domain = world.open("xdog")
    for split in ("train", "val", "test"):
        assert ids(domain, split) == ids(world.photographs, split)


@pytest.mark.parametrize("name", ["style", "unpaired", "multi_domain", "adaptation"])
def test_unpaired_tasks_share_no_training_photograph(name: str, world: FilterStyle, photographs: Path) -> None:
    (task,) = [task for task in TASKS if task.name == name]
    domains = list(task.open(world, {**SETTINGS, "content": str(photographs)}).values())
    assert set().union(*(ids(domain, "train") for domain in domains)) == ids(world.photographs, "train")
    for one, other in combinations(domains, 2):
        assert not ids(one, "train") & ids(other, "train")
        assert [ids(one, split) == ids(other, split) for split in ("val", "test")] == [name != "style"] * 2
        if name == "style":
            assert not ids(one, "all") & ids(other, "all")


def test_pictures_are_central_squares_of_one_size(world: FilterStyle) -> None:
    number = 3  # 39 x 40 pixels
    name = next(id_ for id_ in world.photographs.ids if id_.endswith(f"{number:02d}.png"))
    image = world.photographs.image(world.photographs.ids.index(name))
    assert image.shape[:2] == (39, 40)
    square = torch.from_numpy(image[:, :39].copy()).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(square, size=(32, 32), mode="bicubic", antialias=True)
    assert torch.equal(world.pictures([name])[0], expected.round().clamp(0, 255).to(torch.uint8)[0])


def test_half_strength_has_a_name(world: FilterStyle) -> None:
    some = world.photographs.ids[:2]
    assert torch.equal(world.render(some, "kuwahara@0.5"), world.render(some, "kuwahara", strength=0.5))
    with pytest.raises(ValueError, match="components cannot be set apart"):
        world.render(some, "kuwahara", components=["palette"])


def test_anatomy_has_regions_and_outlines_but_no_objects(world: FilterStyle) -> None:
    anatomy = world.anatomy(world.photographs.ids[:3])
    assert anatomy.regions.shape == (3, 5, 32, 32)
    assert anatomy.objects.shape == (3, 0, 32, 32)
    assert anatomy.light is None


def test_other_photographs_make_another_digest(world: FilterStyle, photographs: Path, tmp_path: Path) -> None:
    folders = Folders(str(tmp_path), 64, 10**6, "stop", 0.2, 0.2)
    fewer = FilterStyle(str(photographs / "indoor"), 32, packed=False, photographs=folders)
    assert fewer.open("xdog").digest != world.open("xdog").digest
    assert world.open("xdog", Part(0, 2, True)).digest != world.open("xdog").digest


def test_bad_settings(photographs: Path, tmp_path: Path) -> None:
    folders = Folders(str(tmp_path), 64, 10**6, "stop", 0.2, 0.2)
    with pytest.raises(UsageError, match=r"dataset\.content is not set; .* \(a folder of photographs\)"):
        FilterStyle(None, 32, packed=False, photographs=folders)
    with pytest.raises(ValueError, match=r"size_px must be a whole number of at least 16, got 8"):
        FilterStyle(str(photographs), 8, packed=False, photographs=folders)
