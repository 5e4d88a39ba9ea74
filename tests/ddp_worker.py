"""Run by test_processes on one or two processes: train a tiny run, and save what each process's first step saw."""

import os
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from stylebench.callbacks.metric_log import MetricLog
from stylebench.cli import compose
from stylebench.run import train


def main(folder: Path, overrides: list[str]) -> None:
    """Train in `folder/run`; write `grad-<rank>.pt` (first step's gradient) and `end-<rank>.pt` (last weights)."""
    rank = os.environ.get("LOCAL_RANK", "0")

    def keep_gradient(self: MetricLog, trainer: pl.Trainer, method: Any, optimizer: Any) -> None:
        path = folder / f"grad-{rank}.pt"
        if not path.exists():
            torch.save({name: p.grad.clone() for name, p in method.named_parameters()}, path)

    def keep_weights(self: MetricLog, trainer: pl.Trainer, method: Any) -> None:
        torch.save(method.state_dict(), folder / f"end-{rank}.pt")

    MetricLog.on_before_optimizer_step = keep_gradient  # type: ignore[method-assign]
    MetricLog.on_train_end = keep_weights  # type: ignore[method-assign]
    train(compose("train", overrides), folder / "run", overrides)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
