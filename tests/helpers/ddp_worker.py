"""Run by test_processes on one or two processes: train a tiny run, and save what each process's first step saw."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from stylebench.cli.config import compose
from stylebench.commands.train import train
from stylebench.methods.fast_transfer import FastTransfer
from stylebench.training.callbacks.metric_log import MetricLog

BAD_RANK = "STYLEBENCH_TEST_BAD_RANK"


def main(folder: Path, overrides: list[str]) -> None:
    """Train in `folder/run`; write `grad-<rank>.pt` (first step's gradient) and `end-<rank>.pt` (last weights).

    The process that the environment names as bad computes a loss that is not a number from batch 3 on.
    """
    rank = os.environ.get("LOCAL_RANK", "0")

    def keep_gradient(self: MetricLog, trainer: pl.Trainer, method: Any, optimizer: Any) -> None:
        path = folder / f"grad-{rank}.pt"
        if not path.exists():
            torch.save({name: p.grad.clone() for name, p in method.named_parameters()}, path)

    def keep_weights(self: MetricLog, trainer: pl.Trainer, method: Any) -> None:
        torch.save(method.state_dict(), folder / f"end-{rank}.pt")

    if os.environ.get(BAD_RANK) == rank:
        original = FastTransfer.terms

        def spoiled(self: FastTransfer, *args: Any) -> Any:
            terms = original(self, *args)
            return {**terms, "tv": terms["tv"] * (float("nan") if self.batches_done >= 2 else 1.0)}

        FastTransfer.terms = spoiled  # type: ignore[method-assign]
    MetricLog.on_before_optimizer_step = keep_gradient  # type: ignore[method-assign]
    MetricLog.on_train_end = keep_weights  # type: ignore[method-assign]
    train(compose("train", overrides), folder / "run", overrides)
