"""Exports: safetensors and JSON that load to the same function."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from stylebench.files import DamagedFileError, file_digest
from stylebench.inference.export import export
from stylebench.inference.loading import load
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.nn.generators.johnson import JohnsonModern
from stylebench.trusted import TrustError

NODE = {
    "_target_": "stylebench.inference.translators.image_to_image.ImageToImage",
    "generator": {
        "_target_": "stylebench.nn.generators.johnson.JohnsonModern",
        "width": 2,
        "norm": "batch",
        "head": "lua",
    },
}


def state(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    model = ImageToImage(JohnsonModern(width=2, norm="batch", head="lua"))
    model(torch.rand(2, 3, 8, 8))  # gives the running statistics a value
    return model.state_dict()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    entry = {
        "format": 2, "version": "0.0.9", "batches": 7, "config": {"model": {"inference": NODE}}, "record": {"seed": 4},
        "ema": {"decay": 0.5, "updates": 7, "networks": {"model": state(2)}},
    }  # fmt: skip
    raw = {f"model.{key}": value for key, value in state(1).items()}
    torch.save({"stylebench": entry, "state_dict": raw}, tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


@pytest.mark.parametrize("weights", ["auto", "ema", "raw"])
def test_export_gives_bit_equal_outputs(checkpoint: Path, tmp_path: Path, weights: str) -> None:
    folder = export(checkpoint, tmp_path / "out" / "deep", weights=weights)
    image = torch.rand(3, 13, 9)
    assert torch.equal(load(folder).translate(image), load(checkpoint, weights=weights).translate(image))
    assert torch.equal(load(folder / "model.safetensors").translate(image), load(folder).translate(image))
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]


def test_facts_of_an_export(checkpoint: Path, tmp_path: Path) -> None:
    folder = export(checkpoint, tmp_path / "out")
    facts = json.loads((folder / "model.json").read_text())
    assert facts["format"] == 2
    assert facts["model"] == NODE
    assert facts["weights"] == "ema"
    assert facts["digest"] == file_digest(folder / "model.safetensors")
    assert [control["name"] for control in facts["controls"]] == ["alpha"]
    assert facts["trained"] == {"batches": 7, "record": {"seed": 4}, "by_version": "0.0.9"}
    with safe_open(folder / "model.safetensors", framework="pt") as tensors:
        assert set(tensors.keys()) == set(state(1))


def test_export_of_an_export_is_the_same(checkpoint: Path, tmp_path: Path) -> None:
    first = export(checkpoint, tmp_path / "first")
    second = export(first, tmp_path / "second")
    for name in ("model.json", "model.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_full_folder_is_not_overwritten_unless_told(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    export(checkpoint, folder, weights="raw")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty; name another folder, or set overwrite=true"):
        export(checkpoint, folder, weights="ema")
    assert json.loads((folder / "model.json").read_text())["weights"] == "raw"
    export(checkpoint, folder, weights="ema", overwrite=True)
    assert json.loads((folder / "model.json").read_text())["weights"] == "ema"
    assert (folder / "notes.txt").read_text() == "mine"


def test_target_that_is_a_file(checkpoint: Path) -> None:
    with pytest.raises(NotADirectoryError, match="is a file; name a folder"):
        export(checkpoint, checkpoint)


def test_interrupted_export_is_refused(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = export(checkpoint, tmp_path / "out")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stylebench.inference.export.write_json", fail)
    with pytest.raises(OSError, match="No space left"):
        export(checkpoint, folder, weights="raw", overwrite=True)
    with pytest.raises(FileNotFoundError, match=r"neither a run folder.*export"):
        load(folder)


def test_changed_tensors_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    folder = export(checkpoint, tmp_path / "out")
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=r"not the file that model\.json describes"):
        load(folder)


def test_missing_tensors(checkpoint: Path, tmp_path: Path) -> None:
    folder = export(checkpoint, tmp_path / "out")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"incomplete: it has no model\.safetensors"):
        load(folder)


def test_other_weights_than_the_export_holds(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds ema weights, not raw"):
        load(export(checkpoint, tmp_path / "out"), weights="raw")


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"format": 3}, ValueError, "format 3.*upgrade"),
        ({"model": None}, ValueError, "another program"),
        ({"model": {"_target_": "torch.os.system", "command": "true"}}, TrustError, "not on the list"),
    ],
)
def test_facts_that_are_refused(
    checkpoint: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], match: str
) -> None:
    folder = export(checkpoint, tmp_path / "out")
    facts = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**facts, **change}))
    with pytest.raises(error, match=match):
        load(folder)


def test_facts_that_are_no_json(checkpoint: Path, tmp_path: Path) -> None:
    folder = export(checkpoint, tmp_path / "out")
    (folder / "model.json").write_text("{")
    with pytest.raises(DamagedFileError, match="not JSON"):
        load(folder)
