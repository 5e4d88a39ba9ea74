"""Links and lists: roles without copies."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stylebench.data.folders import Folders
from stylebench.data.releases.arrange import AttributeLists, Links


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def links(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): os.readlink(path) for path in root.rglob("*") if path.is_symlink()}


CITY = Links(
    links={"photos/train": ["img/train/*/*_leftImg8bit.png"], "labels/train": ["gt/train/*/*_color.png"]},
    strip=["_leftImg8bit", "_color"],
)


def test_links_gather_files_under_names_that_match(tmp_path: Path) -> None:
    write(tmp_path, "img/train/aachen/aachen_1_leftImg8bit.png", "img/train/bochum/bochum_1_leftImg8bit.png")
    write(
        tmp_path, "gt/train/aachen/aachen_1_color.png", "gt/train/bochum/bochum_1_color.png", "gt/train/aachen/x.json"
    )
    CITY.arrange(tmp_path)
    assert links(tmp_path) == {
        "photos/train/aachen_1.png": "../../img/train/aachen/aachen_1_leftImg8bit.png",
        "photos/train/bochum_1.png": "../../img/train/bochum/bochum_1_leftImg8bit.png",
        "labels/train/aachen_1.png": "../../gt/train/aachen/aachen_1_color.png",
        "labels/train/bochum_1.png": "../../gt/train/bochum/bochum_1_color.png",
    }
    assert (tmp_path / "photos/train/bochum_1.png").read_text() == "img/train/bochum/bochum_1_leftImg8bit.png"


def test_links_are_made_once_and_corrected(tmp_path: Path) -> None:
    write(tmp_path, "img/train/a/1_leftImg8bit.png", "gt/train/a/1_color.png")
    CITY.arrange(tmp_path)
    before = {path: path.lstat().st_ino for path in tmp_path.rglob("*") if path.is_symlink()}
    CITY.arrange(tmp_path)
    assert {path: path.lstat().st_ino for path in before} == before
    wrong = tmp_path / "photos/train/1.png"
    wrong.unlink()
    wrong.symlink_to("elsewhere")
    CITY.arrange(tmp_path)
    assert wrong.read_text() == "img/train/a/1_leftImg8bit.png"


def test_links_leave_real_files_alone(tmp_path: Path) -> None:
    write(tmp_path, "img/train/a/1_leftImg8bit.png", "gt/train/a/1_color.png", "photos/train/1.png")
    CITY.arrange(tmp_path)
    assert (tmp_path / "photos/train/1.png").read_text() == "photos/train/1.png"


@pytest.mark.parametrize(("made", "expected"), [("amazon/images/bike/1.jpg", "images"), ("amazon/bike/1.jpg", "")])
def test_a_folder_is_linked_as_a_whole_from_the_first_place_that_exists(
    made: str, expected: str, tmp_path: Path
) -> None:
    write(tmp_path, made)
    Links(links={"domains/amazon": ["amazon/images", "amazon"]}, strip=[]).arrange(tmp_path)
    assert links(tmp_path) == {"domains/amazon": os.path.join("..", "amazon", expected).rstrip("/")}
    assert (tmp_path / "domains/amazon/bike/1.jpg").is_file()


def test_links_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected img/train/\*/\*_leftImg8bit.png below"):
        CITY.arrange(tmp_path)


def test_links_refuse_two_files_of_one_name(tmp_path: Path) -> None:
    write(tmp_path, "img/train/a/1_leftImg8bit.png", "img/train/b/1_leftImg8bit.png")
    with pytest.raises(ValueError, match=r"would both be called 1\.png"):
        CITY.arrange(tmp_path)


@pytest.mark.parametrize("pair", [("../photos", "img"), ("photos", "/etc"), ("photos", "img/../../etc")])
def test_links_stay_below_the_root(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="relative and without"):
        Links(links={pair[0]: [pair[1]]}, strip=[])


ATTRIBUTES = ("Black_Hair", "Male", "Young")
PEOPLE = {"000001.jpg": (1, -1, 1), "000002.jpg": (-1, 1, 1), "000003.jpg": (1, 1, -1), "000004.jpg": (-1, -1, -1)}
SPLITS = {"000001.jpg": 0, "000002.jpg": 1, "000003.jpg": 2, "000004.jpg": 0}


def faces(root: Path) -> Path:
    """Write the files of a small CelebA."""
    rows = [f"{name} {' '.join(f'{value:2d}' for value in values)} \n" for name, values in PEOPLE.items()]
    (root / "attr.txt").write_text(f"{len(rows)}\n{' '.join(ATTRIBUTES)} \n{''.join(rows)}")
    (root / "partition.txt").write_text("".join(f"{name} {split}\n" for name, split in SPLITS.items()))
    write(root, *(f"img/{name}" for name in PEOPLE))
    return root


def lists(**wanted: dict[str, bool]) -> AttributeLists:
    return AttributeLists(table="attr.txt", partition="partition.txt", images="img", folder="domains", lists=wanted)


def test_lists_hold_the_images_with_the_attributes_in_their_splits(tmp_path: Path) -> None:
    wanted = {"female": {"Male": False}, "male": {"Male": True}, "dark_man": {"Male": True, "Black_Hair": True}}
    lists(**wanted).arrange(faces(tmp_path))
    folder = tmp_path / "domains"
    assert (folder / "female.txt").read_text() == "train/000001.jpg\ntrain/000004.jpg\n"
    assert (folder / "male.txt").read_text() == "val/000002.jpg\ntest/000003.jpg\n"
    assert (folder / "dark_man.txt").read_text() == "test/000003.jpg\n"
    assert links(tmp_path) == {f"domains/{split}": "../img" for split in ("train", "val", "test")}


def test_lists_open_as_domains_with_the_published_splits(
    tmp_path: Path, folders: Callable[..., Folders], write_images: Callable[..., Any]
) -> None:
    root = faces(tmp_path)
    write_images(root / "img", list(PEOPLE))
    lists(male={"Male": True}, young={"Young": True}).arrange(root)
    store = folders()
    male, young = (store.open(root / "domains" / f"{name}.txt") for name in ("male", "young"))
    assert (male.name, male.ids) == ("male", ["test/000003.jpg", "val/000002.jpg"])
    assert [list(male.split(split)) for split in ("train", "val", "test")] == [[], [1], [0]]
    assert young.ids == ["train/000001.jpg", "val/000002.jpg"]
    assert male.classes == []


def test_lists_are_written_only_when_they_change(tmp_path: Path) -> None:
    faces(tmp_path)
    lists(male={"Male": True}).arrange(tmp_path)
    path = tmp_path / "domains/male.txt"
    os.utime(path, (1, 1))
    lists(male={"Male": True}).arrange(tmp_path)
    assert path.stat().st_mtime == 1
    lists(male={"Male": True, "Young": True}).arrange(tmp_path)
    assert path.read_text() == "val/000002.jpg\n"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda root: (root / "img/000002.jpg").unlink(), r"names images that are not in .*img: 000002\.jpg"),
        (lambda root: (root / "partition.txt").write_text("000001.jpg 0\n"), r"no split for 000002\.jpg, 000003\.jpg"),
        (
            lambda root: (root / "partition.txt").write_text("000001.jpg\n"),
            r"line 1 of .* should have 2 words, found 1",
        ),
        (lambda root: (root / "attr.txt").write_text("1\nMale\n000001.jpg 1 1\n"), r"line 3 .* 2 words, found 3"),
    ],
)
def test_tables_that_do_not_fit_are_refused(change: Callable[[Path], object], match: str, tmp_path: Path) -> None:
    change(faces(tmp_path))
    with pytest.raises((ValueError, FileNotFoundError), match=match):
        lists(male={"Male": True}).arrange(tmp_path)


def test_an_unknown_attribute_is_told_with_the_one_meant(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no attribute 'Yuong' \(did you mean 'Young'\?\)"):
        lists(young={"Yuong": True}).arrange(faces(tmp_path))


def test_a_list_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no image in .* fits the list nobody"):
        lists(nobody={"Male": True, "Black_Hair": False, "Young": False}).arrange(faces(tmp_path))
