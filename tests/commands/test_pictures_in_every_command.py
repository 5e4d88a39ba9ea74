"""What every command does with the pictures that it is given: the same."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from stylebench.build import open_data
from stylebench.cli.config import compose
from stylebench.commands.evaluate_folders import open_folders
from stylebench.commands.prepare import open_domains
from stylebench.commands.stylize.pictures import stylize_path
from stylebench.construct import construct
from stylebench.inference.translators.image_to_image import ImageToImage

Seen = tuple[int, Mapping[str, int]]  # pictures that were used, and what was left out
HIDDEN = [".ipynb_checkpoints/000-checkpoint.png", "._000.png"]
BESIDE = [".DS_Store", "000.gif", "001.gif", "captions.txt"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path / "cache"))


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
        config = {"content": None, "style": None, "target": None, "reference": folder, "generated": folder}
        facts = open_folders({**config, role: folder}).describe()[role]
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
