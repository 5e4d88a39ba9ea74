"""What runs leave, compared; and a run that is stopped."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from stylebench.files import read_pickle
from stylebench.training.callbacks.metric_log import MetricLog


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def record(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "record.json").read_text()))


def newest(folder: Path) -> dict[str, Any]:
    return dict(read_pickle(sorted((folder / "checkpoints").glob("*.ckpt"))[-1]))


def assert_same_end(one: Path, other: Path) -> None:
    """Weights, averages, optimizer state and the whole metrics.csv are equal, bit by bit."""
    left, right = newest(one), newest(other)
    assert left["stylebench"]["batches"] == right["stylebench"]["batches"]
    assert_equal(left["state_dict"], right["state_dict"])
    assert_equal(left["optimizer_states"], right["optimizer_states"])
    assert_equal(left["stylebench"]["ema"], right["stylebench"]["ema"])
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


def assert_equal(left: Any, right: Any) -> None:
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_equal(left[key], right[key])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_equal(a, b)
    else:
        assert left == right


def stop_at(monkeypatch: pytest.MonkeyPatch, batch: int, error: BaseException) -> None:
    """Let training raise after batch `batch` has been finished, as a signal does."""
    original = MetricLog.on_train_batch_start

    def raising(self: MetricLog, trainer: pl.Trainer, method: Any, *args: Any) -> None:
        if method.batches_done == batch:
            raise error
        original(self, trainer, method, *args)

    monkeypatch.setattr(MetricLog, "on_train_batch_start", raising)
