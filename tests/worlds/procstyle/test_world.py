"""ProcStyle as a store: splits, parts and styles share nothing that they must not share."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from stylebench.data.domain import Domain
from stylebench.data.stores import Part
from stylebench.data.tasks import TASKS
from stylebench.worlds.procstyle import NAMED_STYLES, SHAPES, draw_scenes, scene_labels
from stylebench.worlds.procstyle.world import ProcStyle

SETTINGS = {
    "content": "photo", "style": "ink_hatch", "input": "photo", "target": "oil_noise", "a": "photo", "b": "pixel",
    "domains": ["photo", "chalk", "flat"], "source": "photo",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ProcStyle:
    return ProcStyle(32, 6, 4, 3, packed=False, cache=str(tmp_path_factory.mktemp("cache")))


def scenes(domain: Domain, split: str) -> set[str]:
    return {domain.ids[i] for i in domain.split(split)}


def test_domains_have_their_splits_and_classes(world: ProcStyle) -> None:
    domain = world.open("photo")
    assert [len(domain.split(name)) for name in ("train", "val", "test", "all")] == [6, 4, 3, 13]
    assert domain.classes == list(SHAPES)
    labels = scene_labels(draw_scenes(domain.ids), 32).main_class
    assert domain.labels is not None
    assert domain.labels.tolist() == labels.tolist()
    assert domain.view(0).shape == (32, 32, 3)


@pytest.mark.parametrize("name", ["style", "unpaired", "multi_domain", "adaptation"])
def test_unpaired_tasks_share_no_training_scene(name: str, world: ProcStyle) -> None:
    (task,) = [task for task in TASKS if task.name == name]
    domains = list(task.open(world, SETTINGS).values())
    for one, other in combinations(domains, 2):
        assert not scenes(one, "train") & scenes(other, "train")
        shared = [scenes(one, split) == scenes(other, split) for split in ("val", "test")]
        assert shared == [name != "style"] * 2
        if name == "style":
            assert not scenes(one, "all") & scenes(other, "all")


def test_paired_shows_the_same_scenes(world: ProcStyle) -> None:
    (task,) = [task for task in TASKS if task.name == "paired"]
    domains = task.open(world, SETTINGS)
    assert domains["input"].ids == domains["target"].ids
    assert not np.array_equal(domains["input"].view(0), domains["target"].view(0))


def test_splits_never_share_a_scene(world: ProcStyle) -> None:
    for part in (None, Part(0, 2, True), Part(1, 2, False)):
        domain = world.open("flat", part)
        parts = [scenes(domain, split) for split in ("train", "val", "test")]
        assert all(not one & other for one, other in combinations(parts, 2))


def test_hidden_styles_are_seen_in_the_test_split_alone(world: ProcStyle) -> None:
    styles = world._styles("prior", world.contents(None))
    domain = world.open("prior")
    for split, pool in (("train", "prior-"), ("val", "val-"), ("test", "hidden-")):
        assert all(styles[int(i)].startswith(pool) for i in domain.split(split))
    assert not np.array_equal(domain.view(0), domain.view(1))


def test_domains_equal_the_worlds_renders(world: ProcStyle) -> None:
    domain = world.open("chalk")
    rendered = world.render(domain.ids, "chalk", purpose="reference").permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(np.stack(domain.views(range(13))), rendered)


def test_strength_zero_is_the_photograph_and_one_the_style(world: ProcStyle) -> None:
    ids = world.open("photo").ids[:3]
    for style in NAMED_STYLES:
        assert torch.equal(world.render(ids, style, strength=1.0), world.render(ids, style))
        half = world.render(ids, style, strength=0.5)
        assert not torch.equal(half, world.render(ids, style))
    palette = world.render(ids, "oil_noise", components=["palette"])
    assert not torch.equal(palette, world.render(ids, "oil_noise"))


def test_anatomy_is_that_of_the_scene(world: ProcStyle) -> None:
    ids = world.open("photo").ids[:4]
    anatomy = world.anatomy(ids)
    assert bool((anatomy.regions.sum(1) == 1).all())
    assert anatomy.light is not None
    assert float(anatomy.light.abs().max()) <= 1 + 1e-5
    inside = anatomy.objects.any(1)
    assert bool((anatomy.outline[inside & (anatomy.outline.abs() > 1)] < 0).all())
    assert bool((anatomy.outline[~inside] > -1).all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size_px": 8}, r"size_px must be a whole number of at least 16, got 8"),
        ({"train_images": 0}, r"train_images must be .* at least 1, got 0"),
        ({"val_images": 2.5}, r"val_images must be a whole number"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    good = {
        "size_px": 32,
        "train_images": 2,
        "val_images": 2,
        "test_images": 2,
        "packed": False,
        "cache": str(tmp_path),
    }
    with pytest.raises(ValueError, match=message):
        ProcStyle(**(good | settings))  # type: ignore[arg-type]


def test_unknown_styles_are_answered_with_a_list(world: ProcStyle) -> None:
    with pytest.raises(ValueError, match="oil_noise"):
        world.open("oilnoise")
