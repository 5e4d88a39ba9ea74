from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylebench.checks import UsageError
from stylebench.data.domain import Domain
from stylebench.data.folders import Folders
from stylebench.data.side_by_side import halves
from stylebench.data.splits import layout_by_path
from stylebench.data.tasks import PairedTask, Task
from tests.data.tasks.marked import mark, marked

MakeTask = Callable[..., Task]


def gradient(side: int) -> Domain:
    """Return pictures whose red is the row, green the column and blue 0 on the left and 1 on the right."""
    rows, columns = np.meshgrid(np.arange(side), np.arange(2 * side), indexing="ij")
    picture = np.stack([rows, columns % side, columns // side], axis=2).astype(np.uint8)
    ids = [f"{i}.png" for i in range(6)]
    return Domain(
        name="facades", path="memory:facades", ids=ids, shapes=np.tile(np.array([side, 2 * side]), (6, 1)),
        pixels=np.stack([picture] * 6), digest="x", layout=layout_by_path(ids, 0.2, 0.2),
    )  # fmt: skip


def test_pairs_are_drawn_together(make_task: MakeTask) -> None:
    task = make_task("paired")
    for number in range(5):
        raw = task.batch(number)
        assert [image[0] for image in mark(raw["input"])] == [image[0] for image in mark(raw["target"])]
        assert torch.equal(raw["input"].flip, raw["target"].flip)
    assert {image[1] for image in mark(raw["input"])} == {0}
    assert {image[1] for image in mark(raw["target"])} == {1}


def test_each_pass_shows_every_pair_once(make_task: MakeTask) -> None:
    task = make_task("paired", batch_size=1)
    count = len(task.domains["input"].split("train"))
    drawn = [mark(task.batch(k)["input"])[0][0] for k in range(2 * count)]
    assert sorted(drawn[:count]) == sorted(drawn[count:]) == task.domains["input"].split("train").tolist()


@pytest.mark.parametrize(("direction", "first"), [("a_to_b", 0), ("b_to_a", 1)])
def test_side_by_side_halves_are_cut_and_mirrored_alike(direction: str, first: int) -> None:
    domains = halves(gradient(16), direction)
    assert domains["input"].ids == domains["target"].ids
    assert domains["input"].shape(0) == (16, 16)
    assert domains["input"].digest != domains["target"].digest
    task = PairedTask(domains, seed=0, size_px=8, resize_px=16, flip=True, batch_size=40, on_small="stop")
    batch = task.finish(task.batch(0))
    sides = (batch.input[:, 2] * 255).round(), (batch.target[:, 2] * 255).round()
    assert bool((sides[0] == first).all())
    assert bool((sides[1] == 1 - first).all())
    assert torch.equal(batch.input[:, :2], batch.target[:, :2])
    corners = {tuple((image[:2, 0, 0] * 255).round().int().tolist()) for image in batch.input}
    assert len(corners) > 15


def picture_pairs(folder: Path, height: int, width: int, **options: int) -> Path:
    """Write pictures that are black on the left and white on the right."""
    folder.mkdir()
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, width // 2 :] = 255
    for number in range(3):
        Image.fromarray(pixels).save(folder / f"{number}.png", **options)
    return folder


@pytest.mark.parametrize(
    ("height", "width", "stored"), [(300, 600, (64, 64)), (100, 402, (64, 129)), (50, 90, (50, 45))]
)
def test_side_by_side_pictures_are_halved_before_they_are_shrunk(
    height: int, width: int, stored: tuple[int, int], tmp_path: Path, folders: Callable[..., Folders]
) -> None:
    settings = {"pairs": str(picture_pairs(tmp_path / "pairs", height, width)), "direction": "a_to_b"}
    store = folders(stored_px=64)
    domains = PairedTask.open(store, settings)
    assert domains["input"].shape(0) == domains["target"].shape(0) == stored
    assert (domains["input"].image(0) == 0).all()  # no column knows the other side
    assert (domains["target"].image(0) == 255).all()
    assert store.open_pairs(settings["pairs"]).digest != store.open(settings["pairs"]).digest  # packs apart


def test_pairs_stored_on_their_side_are_turned_before_they_are_halved(
    tmp_path: Path, folders: Callable[..., Folders]
) -> None:
    pixels = np.zeros((400, 200, 3), dtype=np.uint8)
    pixels[200:] = 255
    exif = Image.Exif()
    exif[0x0112] = 8  # turn it to the left: what is below comes to the right
    (tmp_path / "pairs").mkdir()
    Image.fromarray(pixels).save(tmp_path / "pairs" / "0.png", exif=exif)
    domains = PairedTask.open(folders(stored_px=64), {"pairs": str(tmp_path / "pairs"), "direction": "a_to_b"})
    assert domains["input"].shape(0) == (64, 64)
    assert (domains["input"].image(0) == 0).all()
    assert (domains["target"].image(0) == 255).all()


def test_an_odd_width_is_told_as_the_file_has_it(tmp_path: Path, folders: Callable[..., Folders]) -> None:
    pairs = picture_pairs(tmp_path / "pairs", 100, 201)
    with pytest.raises(ValueError, match=r"3 of 3 pictures of .*pairs have an odd width.* 0.png, 201 pixels wide"):
        PairedTask.open(folders(stored_px=64), {"pairs": str(pairs), "direction": "a_to_b"})


def test_an_odd_width_is_no_pair() -> None:
    domain = marked(0, 4, size=(8, 9))
    with pytest.raises(ValueError, match=r"4 of 4 pictures of memory:0 have an odd width.* 0000.png, 9 pixels wide"):
        halves(domain, "a_to_b")
    with pytest.raises(ValueError, match=r"dataset\.direction must be one of a_to_b, b_to_a, got 'AtoB'"):
        halves(domain, "AtoB")


def test_pairs_match_by_path_whatever_the_type() -> None:
    inputs = marked(0, 4, ["a.jpg", "b/c.jpg", "b-d.jpg", "e.jpg"])
    targets = marked(1, 4, ["b-d.png", "b/c.png", "e.png", "a.png"])
    task = PairedTask(
        {"input": inputs, "target": targets}, seed=0, size_px=8, resize_px=None, flip=False, batch_size=4,
        on_small="stop",
    )  # fmt: skip
    raw = task.fixed(4, "all")
    names = [inputs.ids[i].split(".")[0] for i, *_ in mark(raw["input"])]
    assert names == [targets.ids[i].split(".")[0] for i, *_ in mark(raw["target"])]


def test_images_without_partner_are_listed(make_task: MakeTask) -> None:
    domains = {"input": marked(0, 40), "target": marked(1, 25)}
    with pytest.raises(
        ValueError, match=r"40 images of memory:0 \(input\) and 25 of memory:1 \(target\) 15 have"
    ) as caught:
        make_task("paired", domains)
    message = str(caught.value)
    assert "  0025: only in memory:0\n" in message
    assert "and 5 more" in message
    assert "use a method of the unpaired task" in message


def test_pairs_of_different_sizes_are_listed(make_task: MakeTask) -> None:
    domains = {"input": marked(0, 10), "target": marked(1, 10, size=(16, 12))}
    with pytest.raises(
        ValueError, match=r"10 of 10 pairs differ in size .*\n  0000.png: 12 x 12 and 0000.png: 12 x 16"
    ):
        make_task("paired", domains)


def test_two_files_of_one_path_are_no_pair(make_task: MakeTask) -> None:
    domains = {"input": marked(0, 2, ["a.jpg", "a.png"]), "target": marked(1, 2, ["a.jpg", "b.jpg"])}
    with pytest.raises(ValueError, match=r"holds a\.jpg and a\.png, which are one path"):
        make_task("paired", domains)


def test_without_any_domain_both_ways_are_named() -> None:
    with pytest.raises(UsageError, match=r"dataset.input=<folder> and dataset.target=<folder>.* or dataset.pairs="):
        PairedTask.open(None, {"input": None, "target": None, "pairs": None})
    with pytest.raises(UsageError, match=r"dataset\.target is not set"):
        PairedTask.open(None, {"input": "x", "target": None, "pairs": None})
