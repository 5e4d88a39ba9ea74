"""A run that goes on is one run in wandb and TensorBoard, too."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stylebench.commands import train as command
from stylebench.commands.train import train
from tests.helpers.runs import record

SHORT = ["metrics=none", "budget.evaluate_every=2", "logger.every_n_batches=1"]
Make = Callable[..., dict[str, Any]]


def test_a_continued_run_keeps_its_id_in_wandb(
    tmp_path: Path, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[dict[str, Any]] = []
    original = command.build

    def build(node: Any, path: str = "config", **extra: Any) -> Any:
        if path != "logger.mirror":
            return original(node, path, **extra)
        from stylebench.training.csv_log import CSVLog

        built.append(node)
        return CSVLog(tmp_path / "mirror" / str(len(built)))

    monkeypatch.setattr(command, "build", build)
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(run=None))
    for batches in (2, 4):
        train(tiny_config("logger=wandb", *SHORT, f"budget.batches={batches}"), tmp_path / "r", [])
    first, second = built
    assert first["id"] == second["id"] == record(tmp_path / "r")["wandb_id"]
    assert (second["resume"], len(first["id"])) == ("allow", 8)
    train(tiny_config("logger=wandb", *SHORT, "budget.batches=2", "resume=restart"), tmp_path / "r", [])
    assert built[2]["id"] != first["id"]


def test_tensorboard_forgets_the_points_behind_the_checkpoint(tmp_path: Path, tiny_config: Make) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    given = ["logger=tensorboard", *SHORT, "ema=null"]
    train(tiny_config(*given, "budget.batches=4", "checkpoint.every_n_batches=2"), tmp_path, [])
    (tmp_path / "checkpoints" / "batch-000000004.ckpt").unlink()  # as after a kill before it was written
    train(tiny_config(*given, "budget.batches=6"), tmp_path, [])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss/total")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_wandb_offline_files_are_of_one_run(tmp_path: Path, tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for batches in (2, 4):
        train(tiny_config("logger=wandb", *SHORT, f"budget.batches={batches}"), tmp_path, [])
    identity = record(tmp_path)["wandb_id"]
    files = sorted(tmp_path.rglob("run-*.wandb"))
    assert len(files) >= 1
    assert {path.name for path in files} == {f"run-{identity}.wandb"}
