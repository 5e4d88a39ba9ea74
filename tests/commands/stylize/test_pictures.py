"""Applying a model to files and folders."""

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from stylebench.commands.stylize.pictures import (
    choose_device,
    default_output,
    stylize_path,
    to_tensor,
)  # fmt: skip
from stylebench.commands.stylize.writing import check_writable, to_pixels, write_picture
from stylebench.data.images import OVER_WHITE, ImageError
from stylebench.data.listing import list_pictures
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.nn.generators.johnson import JohnsonModern


class Negative(nn.Module):
    """Inverts, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return 1.0 - images


def negative() -> ImageToImage:
    return ImageToImage(Negative())


def picture(path: Path, height: int = 6, width: int = 9, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_pixels_survive_the_way_to_tensors_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert np.array_equal(to_pixels(to_tensor(levels)), levels)


def test_pixels_are_clamped_and_never_made_of_nan() -> None:
    values = torch.tensor([-0.5, 0.5, 1.5])[:, None, None]
    assert to_pixels(values).tolist() == [[[0, 128, 255]]]
    assert np.array_equal(to_pixels(values.bfloat16()), to_pixels(values))
    with pytest.raises(ValueError, match="finite"):
        to_pixels(torch.full((3, 1, 1), torch.nan))


def test_file_to_file(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png", 7, 11)
    summary = stylize_path(negative(), tmp_path / "a.png", tmp_path / "out.png")
    assert summary.written == [tmp_path / "out.png"]
    assert np.array_equal(read(tmp_path / "out.png"), 255 - pixels)


def test_file_into_a_folder(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    assert stylize_path(negative(), tmp_path / "a.jpg", tmp_path / "new").written == [tmp_path / "new" / "a.png"]
    (tmp_path / "with.dot").mkdir()
    summary = stylize_path(negative(), tmp_path / "a.jpg", tmp_path / "with.dot", suffix="same")
    assert summary.written == [tmp_path / "with.dot" / "a.jpg"]


@pytest.mark.parametrize(("suffix", "kind"), [(".png", "PNG"), (".jpg", "JPEG"), (".webp", "WEBP"), (".bmp", "BMP")])
def test_output_suffix_is_the_format(tmp_path: Path, suffix: str, kind: str) -> None:
    picture(tmp_path / "a.png")
    stylize_path(negative(), tmp_path / "a.png", tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert image.format == kind
        assert image.size == (9, 6)


@pytest.mark.parametrize("size", [(17, 23), (40, 40), (5, 64)])
def test_output_has_the_size_of_the_input(tmp_path: Path, size: tuple[int, int]) -> None:
    picture(tmp_path / "a.png", *size)
    stylize_path(ImageToImage(JohnsonModern(width=1)), tmp_path / "a.png", tmp_path / "out.png")
    assert read(tmp_path / "out.png").shape == (*size, 3)


def test_controls_are_passed_on(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png")
    stylize_path(negative(), tmp_path / "a.png", tmp_path / "out.png", alpha=0.0)
    assert np.array_equal(read(tmp_path / "out.png"), pixels)


def test_wrong_control_stops_before_anything_is_written(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")
    with pytest.raises(ValueError, match="no control 'beta'; its controls: alpha"):
        stylize_path(negative(), tmp_path / "in", tmp_path / "out", beta=1)
    assert not (tmp_path / "out").exists()


def test_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "out.png").write_text("mine")
    with pytest.raises(FileExistsError, match="exists; name another output, or overwrite=true"):
        stylize_path(negative(), tmp_path / "a.png", tmp_path / "out.png")
    assert (tmp_path / "out.png").read_text() == "mine"
    stylize_path(negative(), tmp_path / "a.png", tmp_path / "out.png", overwrite=True)
    assert read(tmp_path / "out.png").shape == (6, 9, 3)


def test_source_is_never_overwritten(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png")
    with pytest.raises(ValueError, match="is the input itself"):
        stylize_path(negative(), tmp_path / "a.png", tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="same folder"):
        stylize_path(negative(), tmp_path, tmp_path / "x" / "..", overwrite=True)
    assert np.array_equal(read(tmp_path / "a.png"), pixels)


def test_folder_keeps_sub_folders_and_takes_pictures_only(tmp_path: Path) -> None:
    for name in ("a.png", "cats/b.JPG", "cats/old/c.webp", "d.bmp"):
        picture(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("x")
    (tmp_path / "in" / ".hidden").mkdir()
    picture(tmp_path / "in" / ".hidden" / "e.png")
    summary = stylize_path(negative(), tmp_path / "in", tmp_path / "out")
    names = ["a.png", "cats/b.png", "cats/old/c.png", "d.png"]
    assert summary.written == [tmp_path / "out" / name for name in names]
    assert not summary.failed
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == sorted(summary.written)


def test_folder_with_suffix_same(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.JPEG"):
        picture(tmp_path / "in" / name)
    stylize_path(negative(), tmp_path / "in", tmp_path / "out", suffix="same")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "a.png", "b.JPEG"]


def test_restart_skips_what_is_there(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    model = negative()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("done before")
    summary = stylize_path(model, tmp_path / "in", tmp_path / "out")
    assert (summary.skipped, summary.written) == ([tmp_path / "out" / "a.png"], [tmp_path / "out" / "b.png"])
    assert model.generator.calls == 1
    assert len(stylize_path(model, tmp_path / "in", tmp_path / "out", overwrite=True).written) == 2


def test_two_pictures_for_one_output_are_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        picture(tmp_path / "in" / name)
    with pytest.raises(ValueError, match=r"a\.jpg and .*a\.png would both become .*a\.png.*suffix=same"):
        stylize_path(negative(), tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_output_inside_the_input_is_not_read_again(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for _ in range(2):
        stylize_path(negative(), tmp_path, tmp_path / "stylized")
    assert list(list_pictures(tmp_path).pictures) == ["a.png", "stylized/a.png"]


def test_corrupt_pictures_are_reported_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "c.png"):
        picture(tmp_path / "in" / name)
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole, "PNG")
    (tmp_path / "in" / "b.png").write_bytes(whole.getvalue()[:2000])
    (tmp_path / "in" / "text.jpg").write_text("not a picture")
    with caplog.at_level(logging.WARNING):
        summary = stylize_path(negative(), tmp_path / "in", tmp_path / "out")
    assert [path.name for path in summary.written] == ["a.png", "c.png"]
    assert [path.name for path, _ in summary.failed] == ["b.png", "text.jpg"]
    assert all(reason for _, reason in summary.failed)
    assert "text.jpg" in caplog.text
    captured = capsys.readouterr()
    assert not captured.out
    assert "stylize" in captured.err


def test_too_small_pictures_are_reported(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png", 3, 3)
    picture(tmp_path / "in" / "b.png", 8, 8)
    summary = stylize_path(ImageToImage(JohnsonModern(width=1)), tmp_path / "in", tmp_path / "out", progress=False)
    assert len(summary.written) == 1
    assert "at least 5 x 5 px" in summary.failed[0][1]


def test_single_corrupt_picture_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(ImageError, match=r"a\.png"):
        stylize_path(negative(), tmp_path / "a.png", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_too_many_pixels_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 10, 10)
    with pytest.raises(ImageError, match="max_pixels"):
        stylize_path(negative(), tmp_path / "a.png", tmp_path / "out.png", max_pixels=99)


@pytest.mark.parametrize("single", [True, False])
def test_unwritable_output_is_an_error_before_the_first_picture(tmp_path: Path, single: bool) -> None:
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "file").write_text("x")
    model = negative()
    source = tmp_path / "in" / "a.png" if single else tmp_path / "in"
    with pytest.raises(RuntimeError, match=r"cannot write into .*name another output"):
        stylize_path(model, source, tmp_path / "file" / "out")
    assert model.generator.calls == 0


def test_writable_folders_are_left_empty(tmp_path: Path) -> None:
    check_writable([tmp_path / "new"])
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "match"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "9 x 6 px; use device=cpu, or a smaller picture"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "9 x 6 px; use a smaller picture"),
        (MemoryError(), "9 x 6 px; use a smaller picture"),
    ],
)
def test_out_of_memory_names_the_way_out(tmp_path: Path, error: Exception, match: str) -> None:
    picture(tmp_path / "in" / "a.png")

    class Hungry(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise error

    model = ImageToImage(Hungry())
    with pytest.raises(RuntimeError, match=match):
        stylize_path(model, tmp_path / "in" / "a.png", tmp_path / "out.png")
    assert match in stylize_path(model, tmp_path / "in", tmp_path / "out").failed[0][1]


def test_other_errors_of_the_network_are_not_hidden(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")

    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match=r"^broken$"):
        stylize_path(ImageToImage(Broken()), tmp_path / "in", tmp_path / "out")


def test_full_disk_stops_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "in" / "a.png")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stylebench.commands.stylize.variations.write_picture", full)
    with pytest.raises(OSError, match="No space left"):
        stylize_path(negative(), tmp_path / "in", tmp_path / "out")


def test_picture_that_may_not_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "in" / "a.png")

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("stylebench.commands.stylize.pictures.read_picture", refuse)
    assert "Permission denied" in stylize_path(negative(), tmp_path / "in", tmp_path / "out").failed[0][1]


@pytest.mark.parametrize(
    ("source", "output", "options", "error", "match"),
    [
        ("missing", "out", {}, FileNotFoundError, "nothing at input="),
        ("empty", "out", {}, FileNotFoundError, r"no pictures \(\*\.jpg, .*below"),
        ("a.png", "out.gif", {}, ValueError, "the suffix decides the format, one of .png"),
        ("a.png", "out", {"suffix": "gif"}, ValueError, "suffix must be one of png, jpg, webp, same, got 'gif'"),
        (".", "a.png", {}, ValueError, "is a folder, but the output .* is a file"),
    ],
)
def test_wrong_paths_and_options(
    tmp_path: Path, source: str, output: str, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=match):
        stylize_path(negative(), tmp_path / source, tmp_path / output, **options)


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_picture(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_default_output(tmp_path: Path) -> None:
    assert default_output("photos/a.jpg") == Path("stylized/a.png")
    assert default_output(tmp_path) == Path("stylized") / tmp_path.name


def test_choose_device() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="got 'gpu'"):
        choose_device("gpu")
    with pytest.raises(RuntimeError, match=r"device=cuda:99, but torch sees .*use device=cpu"):
        choose_device("cuda:99")


def glass(path: Path, size: tuple[int, int] = (9, 6)) -> np.ndarray:
    """Write a picture that is half transparent from left to right; return its alpha."""
    alpha = np.broadcast_to(np.linspace(0, 255, size[0]).astype(np.uint8), (size[1], size[0]))
    layers = np.dstack([np.full((*alpha.shape, 3), 40, dtype=np.uint8), alpha])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(layers).save(path)
    return alpha


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparency_is_kept(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    alpha = glass(tmp_path / "a.png")
    summary = stylize_path(negative(), tmp_path / "a.png", tmp_path / f"b{suffix}", progress=False)
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(image)[..., 3], alpha)
        assert np.asarray(image)[0, -1, 0] == pytest.approx(255 - 40, abs=3)  # the negative of what was opaque
    assert (summary.notes, caplog.text) == ({}, "")


def test_transparency_may_be_laid_over_white(tmp_path: Path) -> None:
    glass(tmp_path / "a.png")
    summary = stylize_path(negative(), tmp_path / "a.png", tmp_path / "b.png", keep_alpha=False)
    with Image.open(tmp_path / "b.png") as image:
        assert (image.mode, summary.notes) == ("RGB", {})


@pytest.mark.parametrize(
    ("output", "size_px", "why"), [("b.jpg", None, "kept in .png and .webp"), ("b.png", 5, "of the input's size")]
)
def test_transparency_that_is_lost_is_noted(
    tmp_path: Path, output: str, size_px: int | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    glass(tmp_path / "a.png")
    summary = stylize_path(negative(), tmp_path / "a.png", tmp_path / output, size_px=size_px)
    (note,) = summary.notes
    assert note.startswith(OVER_WHITE)
    assert why in note
    assert f"1 picture (a.png): {note}" in caplog.text


def test_a_size_without_effect_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, side in {"a.png": 9, "b.png": 8, "large.png": 20}.items():
        picture(tmp_path / "in" / name, 6, side)
    facts: dict[str, Any] = {}
    stylize_path(
        negative(), tmp_path / "in", tmp_path / "out", size_px=16, progress=False, record=contextlib.nullcontext(facts)
    )
    assert "2 pictures (a.png, b.png): size_px=16 changes nothing" in caplog.text
    assert list(facts["notes"].values()) == [2]


def test_a_format_without_effect_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture(tmp_path / "a.png")
    stylize_path(negative(), tmp_path / "a.png", tmp_path / "b.png", suffix="jpg")
    assert "suffix=jpg changes nothing" in caplog.text


@pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "a.jfif", "a.jpe"])
def test_outputs_may_have_every_ending_of_inputs(tmp_path: Path, name: str) -> None:
    kind = "TIFF" if "tif" in name.lower() else "JPEG"
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9, 6), (10, 20, 30)).save(tmp_path / "in" / name, format=kind)
    stylize_path(negative(), tmp_path / "in", tmp_path / "out", suffix="same", progress=False)
    with Image.open(tmp_path / "out" / name) as image:
        assert image.format == kind
    assert np.abs(read(tmp_path / "out" / name).astype(int) - [245, 235, 225]).max() <= 3
