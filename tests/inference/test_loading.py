"""Reading trained models: run folders, checkpoints, exports, and everything that can be wrong with them."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import stylebench
from stylebench.files import DamagedFileError
from stylebench.inference.loading import load, read_checkpoint
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.nn.generators.johnson import JohnsonModern
from stylebench.trusted import TrustError

NODE = {
    "_target_": "stylebench.inference.translators.image_to_image.ImageToImage",
    "generator": {
        "_target_": "stylebench.nn.generators.johnson.JohnsonModern",
        "width": 2,
        "norm": "instance",
        "head": "tanh",
    },
}


def model(seed: int) -> ImageToImage:
    torch.manual_seed(seed)
    return ImageToImage(JohnsonModern(width=2)).eval()


def contents(seed: int = 0, ema_seed: int | None = None, **changes: Any) -> dict[str, Any]:
    """What training saves."""
    averaged = None
    if ema_seed is not None:
        averaged = {"decay": 0.9, "updates": 3, "networks": {"model": model(ema_seed).state_dict()}}
    entry = {
        "format": 2, "version": "0.1.0", "batches": 3, "config": {"model": {"inference": NODE}}, "ema": averaged,
        "record": {"seed": 1},
    }  # fmt: skip
    state = {f"model.{key}": value for key, value in model(seed).state_dict().items()}
    return {"stylebench": {**entry, **changes}, "state_dict": {**state, "other.weight": torch.zeros(1)}}


def save(path: Path, checkpoint: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)
    return path


def run_folder(path: Path, *seeds: int) -> Path:
    """A run with one checkpoint for each seed, the last one newest."""
    path.mkdir()
    (path / "record.json").write_text("{}")
    for number, seed in enumerate(seeds, start=1):
        save(path / "checkpoints" / f"batch-{number:09d}.ckpt", contents(seed))
    return path


def image() -> Tensor:
    return torch.rand(3, 12, 9, generator=torch.Generator().manual_seed(5))


def same(loaded: Any, seed: int) -> bool:
    return torch.equal(loaded.translate(image()), model(seed).translate(image()))


def test_checkpoint_loads_in_eval_mode(tmp_path: Path) -> None:
    loaded = load(save(tmp_path / "a.ckpt", contents(seed=3)))
    assert same(loaded, 3)
    assert not loaded.training
    assert not loaded.generator.training


def test_package_offers_load(tmp_path: Path) -> None:
    assert same(stylebench.load(str(save(tmp_path / "a.ckpt", contents(seed=3)))), 3)


def test_moving_average_is_preferred_and_raw_weights_are_there(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", contents(seed=3, ema_seed=4))
    assert same(load(path), 4)
    assert same(load(path, weights="ema"), 4)
    assert same(load(path, weights="raw"), 3)


def test_moving_average_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no moving average of the weights; use weights=raw"):
        load(save(tmp_path / "a.ckpt", contents()), weights="ema")


def test_unknown_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one of auto, ema, raw, got 'best'"):
        load(tmp_path, weights="best")


def test_run_folder_uses_the_newest_checkpoint(tmp_path: Path) -> None:
    assert same(load(run_folder(tmp_path / "run", 1, 2)), 2)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_run_folder_falls_back_to_the_older_intact_checkpoint(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run_folder(tmp_path / "run", 1, 2)
    harm(folder / "checkpoints" / "batch-000000002.ckpt", damage)
    with caplog.at_level(logging.WARNING):
        assert same(load(folder), 1)
    assert "batch-000000002.ckpt" in caplog.text
    assert "trying the checkpoint before it" in caplog.text


def harm(path: Path, damage: str) -> None:
    data = bytearray(path.read_bytes())
    if damage == "flipped":  # inside a tensor's bytes: only the checksum can tell
        data[data.index(b"/data/") + 200] ^= 255
    path.write_bytes(b"" if damage == "empty" else data[: len(data) // 2] if damage == "truncated" else data)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_named_damaged_checkpoint_is_an_error(tmp_path: Path, damage: str) -> None:
    path = save(tmp_path / "a.ckpt", contents())
    harm(path, damage)
    with pytest.raises(DamagedFileError, match=r"a\.ckpt.*damaged"):
        load(path)


def test_run_folder_without_an_intact_checkpoint(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", 1)
    harm(folder / "checkpoints" / "batch-000000001.ckpt", "truncated")
    with pytest.raises(DamagedFileError, match="none of the 1 checkpoints"):
        load(folder)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing at .*missing; expected a run folder, checkpoint"):
        load(tmp_path / "missing")


def test_folder_that_is_no_run_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no record\.json and no checkpoints/.*no model\.json"):
        load(tmp_path)


def test_run_without_a_checkpoint_yet(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint yet"):
        load(run_folder(tmp_path / "run"))


@pytest.mark.parametrize(
    "foreign", [{"state_dict": {}, "hyper_parameters": {}}, [1, 2], {"stylebench": {"format": 1}, "state_dict": {}}]
)
def test_checkpoint_of_another_program(tmp_path: Path, foreign: Any) -> None:
    with pytest.raises(ValueError, match="is not a stylebench checkpoint"):
        load(save(tmp_path / "a.ckpt", foreign))


def test_picture_instead_of_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(b"\xff\xd8\xff" * 99)
    with pytest.raises(DamagedFileError, match="not a file of weights"):
        load(tmp_path / "a.ckpt")


@pytest.mark.parametrize(("number", "match"), [(3, "format 3, written by.*upgrade"), (None, "does not say its format")])
def test_other_formats(tmp_path: Path, number: int | None, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_checkpoint(save(tmp_path / "a.ckpt", contents(format=number)))


def without_a_tensor(checkpoint: dict[str, Any]) -> None:
    del checkpoint["state_dict"]["model.generator.body.0.weight"]


def with_another_width(checkpoint: dict[str, Any]) -> None:
    node = {**NODE, "generator": {**NODE["generator"], "width": 3}}  # type: ignore[dict-item]
    checkpoint["stylebench"]["config"] = {"model": {"inference": node}}


@pytest.mark.parametrize("change", [without_a_tensor, with_another_width])
def test_tensors_that_do_not_fit(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    checkpoint = contents()
    change(checkpoint)
    with pytest.raises(ValueError, match=r"do not fit its own description: .*generator\.body"):
        load(save(tmp_path / "a.ckpt", checkpoint))


@pytest.mark.parametrize("generator", [{**NODE["generator"], "depth": 3}, {**NODE["generator"], "head": "new"}])  # type: ignore[dict-item]
def test_settings_of_another_version(tmp_path: Path, generator: dict[str, Any]) -> None:
    config = {"model": {"inference": {**NODE, "generator": generator}}}
    with pytest.raises(ValueError, match=r"this version cannot build.*0\.1\.0"):
        load(save(tmp_path / "a.ckpt", contents(config=config)))


@pytest.mark.parametrize("config", [{}, {"model": {}}, {"model": {"inference": "x"}}])
def test_config_without_a_model(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="does not describe a translator or classifier"):
        load(save(tmp_path / "a.ckpt", contents(config=config)))


def test_something_listed_that_is_no_translator(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="describes a JohnsonModern"):
        load(save(tmp_path / "a.ckpt", contents(config={"model": {"inference": NODE["generator"]}})))


@pytest.mark.parametrize("name", ["torch.os.system", "torch.utils.collect_env.run", "torch.optim.SGD"])
def test_hostile_checkpoint_runs_nothing(tmp_path: Path, name: str) -> None:
    sentinel = tmp_path / "sentinel"
    hostile = {"_target_": name, "command": f"touch {sentinel}"}
    config = {"model": {"inference": {**NODE, "generator": hostile}}}
    with pytest.raises(TrustError, match=rf"a\.ckpt.*{name}"):
        load(save(tmp_path / "a.ckpt", contents(config=config)))
    assert not sentinel.exists()


class Hostile:
    """Unpickling it creates a file."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sentinel,)


def test_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    path = save(tmp_path / "a.ckpt", contents(record=Hostile(sentinel)))
    with pytest.raises(DamagedFileError, match="cannot be read as tensors and plain values"):
        load(path)
    assert not sentinel.exists()


def test_device_that_is_not_there(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", contents())
    with pytest.raises(RuntimeError, match=r"device=cuda:99.*use device=cpu"):
        load(path, device="cuda:99")
    assert next(load(path, device=torch.device("meta")).parameters()).device.type == "meta"


FRESH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        hidden = ("pytorch_lightning", "lightning", "hydra", "omegaconf", "torchmetrics", "torchvision")
        if name.split(".")[0] in hidden:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
import stylebench, torch
from stylebench.commands.stylize import pictures as stylize
from stylebench.inference import export
for path in sys.argv[2:]:
    stylebench.load(path).translate(torch.zeros(3, 8, 8))
export.export(sys.argv[2], sys.argv[1])
stylebench.load(sys.argv[1]).translate(torch.zeros(3, 8, 8))
"""


def test_loads_where_lightning_and_hydra_are_missing(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", 1)
    shutil.copy(folder / "checkpoints" / "batch-000000001.ckpt", tmp_path / "one.ckpt")
    arguments = [str(tmp_path / "exported"), str(folder), str(tmp_path / "one.ckpt")]
    subprocess.run([sys.executable, "-c", FRESH, *arguments], check=True)
