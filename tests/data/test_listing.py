import os
from collections.abc import Callable
from pathlib import Path

from stylebench.data.listing import left_out_words, list_pictures


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_every_ending_that_can_be_read_in_any_case(tmp_path: Path) -> None:
    names = ["a.jpg", "b.JPEG", "c.jpe", "d.jfif", "e.Png", "f.webp", "g.bmp"]
    listing = list_pictures(files(tmp_path, *names, "deep/er/j.png"))
    assert list(listing.pictures) == [*names[:3], "d.jfif", "deep/er/j.png", *names[4:]]
    assert (dict(listing.left_out), listing.words) == ({}, "")


def test_hidden_files_and_folders_are_passed_over_and_not_counted(tmp_path: Path) -> None:
    files(tmp_path, "000.jpg", "._000.jpg", ".DS_Store", ".ipynb_checkpoints/000-checkpoint.jpg", "sub/.x.png")
    listing = list_pictures(tmp_path)
    assert (list(listing.pictures), dict(listing.left_out)) == (["000.jpg"], {})


def test_what_is_left_out_is_counted_by_its_ending(tmp_path: Path) -> None:
    files(tmp_path, "a.png", "b.gif", "deep/c.GIF", "Thumbs.db", "README")
    listing = list_pictures(tmp_path)
    assert dict(listing.left_out) == {".db": 1, ".gif": 2, "no ending": 1}
    assert listing.words == "left out 4 files (.gif, .db, no ending)"
    assert left_out_words({".gif": 1}) == "left out 1 file (.gif)"


def test_only_regular_files_are_pictures(tmp_path: Path) -> None:
    files(tmp_path / "in", "a.png")
    os.mkfifo(tmp_path / "in" / "pipe.png")
    (tmp_path / "in" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    files(tmp_path / "in" / "folder.png", "b.png")
    (tmp_path / "in" / "linked.png").symlink_to(files(tmp_path / "else", "c.png") / "c.png")
    listing = list_pictures(tmp_path / "in")
    assert list(listing.pictures) == ["a.png", "folder.png/b.png", "linked.png"]
    assert dict(listing.left_out) == {"broken link": 1, "no regular file": 1}


def test_a_folder_is_read_once_and_in_its_own_place(tmp_path: Path) -> None:
    files(tmp_path, "z/deep/a.png")
    (tmp_path / "a").symlink_to(tmp_path / "z" / "deep", target_is_directory=True)
    (tmp_path / "z" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert list(list_pictures(tmp_path).pictures) == ["z/deep/a.png"]


def test_outputs_among_the_inputs_are_passed_over(tmp_path: Path, write_images: Callable[..., object]) -> None:
    write_images(tmp_path, ["a.png", "out/a.png"])
    assert list(list_pictures(tmp_path, leave_out=(tmp_path / "out").resolve()).pictures) == ["a.png"]
