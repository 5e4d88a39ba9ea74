import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylebench.data import folders as folders_module
from stylebench.data.folders import Folders
from stylebench.data.images import OVER_WHITE, decode_image
from stylebench.files import file_digest, json_digest
from tests.helpers.profiles import DISPLAY_P3

MakeFolders = Callable[..., Folders]
WriteImages = Callable[..., dict[str, np.ndarray]]


def test_packed_equals_decoded(tmp_path: Path, folders: MakeFolders, write_images: WriteImages) -> None:
    pixels = write_images(tmp_path / "images", ["b.png", "deep/er/a.bmp", "A.PNG", "deep/z.png"])
    write_images(tmp_path / "images", [".hidden.png", ".git/x.png"])
    (tmp_path / "images" / "notes.txt").write_text("not an image")
    domain = folders().open(tmp_path / "images")
    assert domain.ids == ["A.PNG", "b.png", "deep/er/a.bmp", "deep/z.png"]
    for index, id_ in enumerate(domain.ids):
        np.testing.assert_array_equal(domain.image(index), pixels[id_])
    assert (domain.name, domain.path, len(domain)) == ("images", str(tmp_path / "images"), 4)
    assert domain.labels is None


def test_images_of_any_size_are_stored_behind_each_other(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages
) -> None:
    small = write_images(tmp_path / "images", ["small.png"], (10, 40))
    write_images(tmp_path / "images", ["large.png", "tall.png"], (200, 128))
    domain = folders(stored_px=64).open(tmp_path / "images")
    np.testing.assert_array_equal(domain.shapes, [[100, 64], [10, 40], [100, 64]])
    np.testing.assert_array_equal(domain.image(1), small["small.png"])
    expected = decode_image(tmp_path / "images" / "tall.png", 10**6, shorter_side_px=64)
    np.testing.assert_array_equal(domain.image(2), expected)


def test_one_image_is_a_domain(tmp_path: Path, folders: MakeFolders, write_images: WriteImages) -> None:
    pixels = write_images(tmp_path, ["candy.png", "other.png"])
    domain = folders().open(tmp_path / "candy.png")
    assert (domain.name, domain.ids) == ("candy", ["candy.png"])
    np.testing.assert_array_equal(domain.image(0), pixels["candy.png"])
    assert all(len(domain.split(name)) == 1 for name in ("train", "val", "test"))


def test_class_and_split_folders(tmp_path: Path, folders: MakeFolders, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", ["train/cat/0.png", "train/dog/0.png", "val/dog/1.png", "test/cat/1.png"])
    domain = folders().open(tmp_path / "images")
    assert domain.classes == ["cat", "dog"]
    assert domain.labels is not None
    assert [domain.labels[domain.split(name)].tolist() for name in ("train", "val", "test")] == [[0, 1], [1], [0]]


def test_links_are_followed_and_their_loops_are_not(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages
) -> None:
    write_images(tmp_path / "elsewhere", ["a.png"])
    images = tmp_path / "images"
    write_images(images, ["b.png"])
    (images / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (images / "loop").symlink_to(images, target_is_directory=True)
    assert folders().open(images).ids == ["b.png", "linked/a.png"]


def test_a_second_run_reads_no_image(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "images", ["a.png", "b.png"])
    first = folders().open(tmp_path / "images")

    def refuse(*_: object) -> None:
        raise AssertionError("an image was read again")

    monkeypatch.setattr(folders_module, "file_digest", refuse)
    monkeypatch.setattr("stylebench.data.packing.decode_image", refuse)
    monkeypatch.setattr("stylebench.data.packing.read_size", refuse)
    assert folders().open(tmp_path / "images").digest == first.digest


def test_the_pack_follows_content_and_settings_not_place_and_time(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages
) -> None:
    images = tmp_path / "images"
    write_images(images, ["a.png", "b.png"])
    first = folders().open(images)
    os.utime(images / "a.png", (1, 1))
    assert folders().open(images).digest == first.digest
    images.rename(tmp_path / "moved")
    assert folders().open(tmp_path / "moved").digest == first.digest
    assert folders(stored_px=8).open(tmp_path / "moved").digest != first.digest
    pixels = write_images(tmp_path / "moved", ["c.png", "a.png"])
    changed = folders().open(tmp_path / "moved")
    assert changed.digest != first.digest
    np.testing.assert_array_equal(changed.image(0), pixels["a.png"])
    np.testing.assert_array_equal(changed.image(2), pixels["c.png"])


@pytest.mark.parametrize("replaced", [False, True], ids=["in place", "another file"])
def test_other_pixels_are_seen_though_size_and_time_are_the_same(
    replaced: bool, tmp_path: Path, folders: MakeFolders, write_images: WriteImages
) -> None:
    picture = tmp_path / "images" / "a.bmp"
    write_images(tmp_path / "images", ["a.bmp"])
    os.utime(picture, (1, 1))
    first = folders().open(tmp_path / "images")
    written = write_images(tmp_path / "new", ["b.bmp", "a.bmp"])["a.bmp"]
    if replaced:
        (tmp_path / "new" / "a.bmp").replace(picture)
    else:
        picture.write_bytes((tmp_path / "new" / "a.bmp").read_bytes())
    os.utime(picture, (1, 1))
    changed = folders().open(tmp_path / "images")
    assert changed.digest != first.digest
    np.testing.assert_array_equal(changed.image(0), written)


def test_cache_defaults_to_the_users(tmp_path: Path, folders: MakeFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path / "chosen"))
    assert folders(cache=None).cache == tmp_path / "chosen"


def break_some(images: Path) -> None:
    """Put a text file, an empty file, a truncated file and a bomb beside the sound images."""
    (images / "text.jpg").write_text("just some text")
    (images / "empty.png").write_bytes(b"")
    content = (images / "good.png").read_bytes()
    (images / "cut.png").write_bytes(content[: len(content) // 2])
    Image.new("1", (2000, 2000)).save(images / "bomb.png")


def test_unreadable_images_stop_with_all_of_them_listed(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages
) -> None:
    images = tmp_path / "images"
    write_images(images, ["good.png"])
    break_some(images)
    with pytest.raises(ValueError, match="4 of 5 images under") as caught:
        folders().open(images)
    message = str(caught.value)
    assert "  text.jpg: is no JPEG" in message
    assert "  empty.png: is empty (0 bytes)" in message
    assert "  cut.png: is truncated or damaged" in message
    assert "  bomb.png: has 2000 x 2000 pixels, more than max_pixels=1000000" in message
    assert "Replace or remove these files; or set dataset.store.on_unreadable=skip" in message


def test_unreadable_images_can_be_skipped_and_are_recorded(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages
) -> None:
    images = tmp_path / "images"
    pixels = write_images(images, ["good.png", "zebra.png"])
    break_some(images)
    with pytest.raises(ValueError, match="cannot be read"):
        folders().open(images)
    domain = folders(on_unreadable="skip").open(images)
    assert domain.ids == ["good.png", "zebra.png"]
    np.testing.assert_array_equal(domain.image(1), pixels["zebra.png"])
    assert [id_ for id_, _ in domain.skipped] == ["bomb.png", "cut.png", "empty.png", "text.jpg"]
    with pytest.raises(ValueError, match="cannot be read"):  # the pack is there, the images are still unreadable
        folders().open(images)


def test_a_long_list_of_unreadable_images_is_cut(tmp_path: Path, folders: MakeFolders) -> None:
    (tmp_path / "images").mkdir()
    for number in range(25):
        (tmp_path / "images" / f"{number:02d}.png").write_text(f"text {number}")
    with pytest.raises(
        ValueError, match=r"25 of 25 images(.|\n)*19\.png(.|\n)*and 5 more\nReplace or remove these files\."
    ):
        folders(on_unreadable="skip").open(tmp_path / "images")


def test_a_file_that_cannot_be_opened_is_unreadable(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "images", ["a.png", "b.png"])
    honest = folders_module.file_digest

    def forbid(path: Path) -> str:
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied")
        return honest(path)

    with monkeypatch.context() as patch:
        patch.setattr(folders_module, "file_digest", forbid)
        assert folders(on_unreadable="skip").open(tmp_path / "images").ids == ["b.png"]
    assert folders().open(tmp_path / "images").ids == ["a.png", "b.png"]  # allowed again: nothing stale is kept


def test_missing_folder(tmp_path: Path, folders: MakeFolders) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder or image .*/none; set the dataset key .*dataset\.content"):
        folders().open(tmp_path / "none")


def test_empty_folder(tmp_path: Path, folders: MakeFolders) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match=r"under .*: no other file either; set the dataset key"):
        folders().open(tmp_path / "images")
    (tmp_path / "images" / "video.MP4").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r": left out 1 file \(\.mp4\);"):
        folders().open(tmp_path / "images")


def test_a_file_that_is_no_image_by_its_name(tmp_path: Path, folders: MakeFolders) -> None:
    (tmp_path / "style.pdf").write_text("x")
    with pytest.raises(ValueError, match=r"no image file by its name; expected one of \.jpg, \.jpeg, \.jpe"):
        folders().open(tmp_path / "style.pdf")


def test_unwritable_cache_folder(tmp_path: Path, folders: MakeFolders, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", ["a.png"])
    (tmp_path / "file").write_text("a folder cannot be made below a file, not even by root")
    with pytest.raises(
        RuntimeError, match=r"cannot write to the cache folder .*; make it writable, or set dataset\.store\.cache"
    ):
        folders(cache=str(tmp_path / "file" / "cache")).open(tmp_path / "images")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"on_unreadable": "ignore"}, r"on_unreadable must be one of stop, skip, got 'ignore'"),
        ({"stored_px": 0}, r"stored_px must be .* at least 1, got 0"),
        ({"max_pixels": 0}, r"max_pixels must be .* at least 1, got 0"),
        ({"val_fraction": 1.0}, r"val_fraction and test_fraction must be .* got 1\.0 and "),
    ],
)
def test_settings_out_of_range(folders: MakeFolders, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        folders(**settings)


def test_real_photographs(tmp_path: Path, folders: MakeFolders, shared: Path) -> None:
    domain = folders(stored_px=128).open(shared / "data" / "photo_pairs")
    assert len(domain) == 4
    assert (domain.shapes.min(axis=1) == 128).all()
    expected = decode_image(shared / "data" / "photo_pairs" / domain.ids[2], 10**8, shorter_side_px=128)
    np.testing.assert_array_equal(domain.image(2), expected)


@pytest.mark.parametrize("layout", ["{split}A", "{split}/A"])
def test_splits_may_come_before_the_domain(
    layout: str, tmp_path: Path, folders: MakeFolders, write_images: WriteImages
) -> None:
    for split, names in {"train": ["0.png", "1.png"], "test": ["2.png"], "val": ["3.png"]}.items():
        write_images(tmp_path / "set" / layout.format(split=split), names)
        write_images(tmp_path / "set" / layout.format(split=split).replace("A", "B"), ["9.png"])
    domain = folders().open(tmp_path / "set" / "A")
    assert (domain.name, domain.ids) == ("A", ["test/2.png", "train/0.png", "train/1.png", "val/3.png"])
    assert [domain.split(name).tolist() for name in ("train", "val", "test")] == [[1, 2], [3], [0]]


def test_class_folders_below_split_first_domains(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages
) -> None:
    write_images(tmp_path, ["train/photo/cat/0.png", "train/photo/dog/0.png", "test/photo/dog/1.png"])
    domain = folders(val_fraction=0.0).open(tmp_path / "photo")
    assert domain.classes == ["cat", "dog"]
    assert domain.labels is not None
    assert domain.labels.tolist() == [1, 0, 1]


def test_a_list_of_images_is_a_domain(tmp_path: Path, folders: MakeFolders, write_images: WriteImages) -> None:
    pixels = write_images(tmp_path / "img", ["a.png", "b.png", "c.png"])
    (tmp_path / "blond.txt").write_text("# hair\nimg/c.png\n\nimg/a.png\n")
    domain = folders().open(tmp_path / "blond.txt")
    assert (domain.name, domain.ids) == ("blond", ["img/a.png", "img/c.png"])
    np.testing.assert_array_equal(domain.image(1), pixels["c.png"])


def test_a_list_that_names_what_is_not_there(tmp_path: Path, folders: MakeFolders) -> None:
    (tmp_path / "blond.txt").write_text("img/c.png\n")
    with pytest.raises(
        FileNotFoundError, match=r"1 of 1 files that .*blond.txt lists are not there, .* img/c.png; paths"
    ):
        folders().open(tmp_path / "blond.txt")


def test_a_wrong_path_names_its_neighbors(tmp_path: Path, folders: MakeFolders, write_images: WriteImages) -> None:
    write_images(tmp_path, ["monet/0.png", "photo/0.png"])
    with pytest.raises(
        FileNotFoundError, match=r"no folder or image .*moent; .* holds monet, photo; set the dataset key"
    ):
        folders().open(tmp_path / "moent")


def test_packs_of_plain_pictures_keep_their_keys_and_those_of_other_colors_do_not(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages
) -> None:
    images = tmp_path / "images"
    write_images(images, ["a.png", "b.png"])
    contents = [[name, file_digest(images / name)] for name in ("a.png", "b.png")]
    plain = folders().open(images)
    assert (plain.digest, plain.notes) == (json_digest([1, 64, 1_000_000, contents]), {})
    Image.new("RGB", (20, 20), (187, 105, 62)).save(images / "b.png", icc_profile=DISPLAY_P3)
    contents = [["a.png", contents[0][1]], ["b.png", file_digest(images / "b.png"), "sRGB"]]
    for _ in range(2):  # the second time from the index
        assert folders().open(images).digest == json_digest([1, 64, 1_000_000, contents])


def test_notes_on_pictures_are_kept_with_the_pack(
    tmp_path: Path, folders: MakeFolders, write_images: WriteImages, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path / "images", ["a.png"])
    Image.new("RGBA", (20, 20), (1, 2, 3, 99)).save(tmp_path / "images" / "glass.png")
    for _ in range(2):
        caplog.clear()
        domain = folders().open(tmp_path / "images")
        assert domain.describe()["notes"] == {OVER_WHITE: 1}
        assert f"1 picture (glass.png): {OVER_WHITE}" in caplog.text
