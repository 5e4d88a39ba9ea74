"""What every command does with the pictures that it is given: the same."""

import contextlib
import io
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from torch import nn

from stylebench.build import open_data
from stylebench.cli.config import compose
from stylebench.commands.evaluate_folders import open_folders
from stylebench.commands.prepare import open_domains
from stylebench.commands.stylize.pictures import stylize_path
from stylebench.construct import construct
from stylebench.data.color_profiles import BROKEN_PROFILE
from stylebench.data.images import DARK_16_BIT, OVER_WHITE, decode_image
from stylebench.inference.translators.image_to_image import ImageToImage
from tests.helpers.profiles import DISPLAY_P3, SRGB

Seen = tuple[int, Mapping[str, int]]  # pictures that were used, and what was left out
Pixels = NDArray[np.uint8]
NO_FOLDERS = {**dict.fromkeys(("content", "style", "target", "reference", "generated")), "size_px": None}
HIDDEN = [".ipynb_checkpoints/000-checkpoint.png", "._000.png"]
BESIDE = [".DS_Store", "000.gif", "001.gif", "captions.txt"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path / "cache"))


def task_pixels(command: str) -> Callable[[Path], Pixels]:
    def read(picture: Path) -> Pixels:
        given = [f"dataset.content={picture}", f"dataset.style={picture}", "dataset.size_px=32"]
        opened = open_data(compose(command, given))
        return opened.domains["content"].image(0)

    return read


def prepared_pixels(picture: Path) -> Pixels:
    settings = compose("prepare", [f"dataset.a={picture}"], allow_missing=True)["dataset"]
    (domain,) = open_domains(construct(settings["store"], "store", listed=None), settings).values()
    return domain.image(0)


def stylized_pixels(picture: Path) -> Pixels:
    stylize_path(ImageToImage(nn.Identity()), picture, picture.with_name("out.png"), progress=False)
    return decode_image(picture.with_name("out.png"), 10**6)


def evaluated_pixels(picture: Path) -> Pixels:
    folders = open_folders({**NO_FOLDERS, "target": picture, "generated": picture})
    return folders.generated.image(0).permute(1, 2, 0).numpy()


READERS: dict[str, Callable[[Path], Pixels]] = {
    "train": task_pixels("train"),
    "profile": task_pixels("profile"),
    "prepare": prepared_pixels,
    "stylize": stylized_pixels,
    "evaluate": evaluated_pixels,
}


def trained_on(command: str) -> Callable[[Path], Seen]:
    def see(folder: Path) -> Seen:
        opened = open_data(
            compose(command, [f"dataset.content={folder}", f"dataset.style={folder / '000.png'}", "dataset.size_px=32"])
        )
        facts = opened.domains["content"].describe()
        return facts["count"], facts["left_out"]

    return see


def prepared(folder: Path) -> Seen:
    settings = compose("prepare", [f"dataset.a={folder}"], allow_missing=True)["dataset"]
    (domain,) = open_domains(construct(settings["store"], "store", listed=None), settings).values()
    return len(domain), domain.describe()["left_out"]


def stylized(folder: Path) -> Seen:
    facts: dict[str, object] = {}
    record = contextlib.nullcontext(facts)
    output = folder.with_name("stylized")
    summary = stylize_path(ImageToImage(nn.Identity()), folder, output, progress=False, record=record)
    assert facts["left_out"] == summary.left_out
    assert "left out 3 files (.gif, .txt)" in summary.words
    return len(summary.written), summary.left_out


def evaluated(role: str) -> Callable[[Path], Seen]:
    def see(folder: Path) -> Seen:
        facts = open_folders({**NO_FOLDERS, "reference": folder, "generated": folder, role: folder}).describe()[role]
        return facts["count"], facts["left_out"]

    return see


COMMANDS: dict[str, Callable[[Path], Seen]] = {
    "train": trained_on("train"),
    "profile": trained_on("profile"),
    "prepare": prepared,
    "stylize": stylized,
    "evaluate": evaluated("generated"),
    "evaluate, reference": evaluated("reference"),
    "evaluate, target": evaluated("target"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_hidden_and_other_files_are_left_out_and_the_others_said(
    command: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for name in ["000.png", "deep/001.JPG", "002.jfif", "003.jpe", *HIDDEN]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if name.endswith("png") else "JPEG"
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / name, format=kind)
    for name in BESIDE:
        (folder / name).write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        count, left_out = COMMANDS[command](folder)
    assert (count, dict(left_out)) == (4, {".gif": 2, ".txt": 1})
    assert "left out 3 files (.gif, .txt) of" in caplog.text


@pytest.mark.parametrize("command", READERS)
def test_colors_are_read_as_a_viewer_shows_them(command: str, tmp_path: Path) -> None:
    plain = np.random.default_rng(0).integers(60, 190, (4, 4, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    wide = ImageCms.profileToProfile(Image.fromarray(plain), profile(SRGB), profile(DISPLAY_P3), outputMode="RGB")
    assert wide is not None
    assert np.abs(np.asarray(wide).astype(int) - plain).max() > 10
    wide.save(tmp_path / "wide.tif", icc_profile=DISPLAY_P3)
    assert np.abs(READERS[command](tmp_path / "wide.tif").astype(int) - plain).max() <= 2


def profile(content: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(content))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("kind", ["broken profile", "16 bits", "transparency"])
def test_what_nobody_expects_is_said(command: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, note = tmp_path / "odd.png", {"broken profile": BROKEN_PROFILE, "16 bits": DARK_16_BIT}.get(kind, OVER_WHITE)
    if kind == "16 bits":
        Image.fromarray(np.full((32, 32), 4095, np.uint16)).save(path)
    elif kind == "transparency":
        Image.new("RGBA", (32, 32), (1, 2, 3, 99)).save(path)
    else:
        Image.new("RGB", (32, 32)).save(path, icc_profile=b"broken")
    if command == "evaluate":
        folders = open_folders({**NO_FOLDERS, "target": path, "generated": path})
        folders.generated.image(0)
        assert folders.tell_notes() == {"generated": {note: 1}}
    else:
        READERS[command](path)
    assert (note in caplog.text) is not (command == "stylize" and kind == "transparency")  # there it is kept
