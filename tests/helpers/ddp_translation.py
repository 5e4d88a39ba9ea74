"""Run by two_processes on one or two processes: train a tiny run, and keep what every step of it saw."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from stylebench.cli.config import compose
from stylebench.commands.train import train
from stylebench.methods.base import Method
from stylebench.training.callbacks.metric_log import MetricLog


@contextlib.contextmanager
def watching() -> Iterator[dict[str, list[Any]]]:
    """Keep, while training runs, what each step sent, its gradients, and the weights at the end."""
    seen: dict[str, list[Any]] = {"sent": [], "gradients": [], "end": [], "mix": []}
    sync = Method.sync_gradients

    def counting(self: Method, parameters: list[torch.nn.Parameter]) -> None:
        seen["sent"].append(sum(p.numel() for p in parameters if p.grad is not None))
        sync(self, parameters)

    def keep_gradients(self: MetricLog, trainer: pl.Trainer, method: Any, optimizer: Any) -> None:
        moved = {id(p) for group in optimizer.param_groups for p in group["params"] if p.grad is not None}
        seen["gradients"].append({name: p.grad.clone() for name, p in method.named_parameters() if id(p) in moved})

    def keep_weights(self: MetricLog, trainer: pl.Trainer, method: Any) -> None:
        seen["end"].append({name: p.detach().clone() for name, p in method.named_parameters()})

    def keeping(draw: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def kept(self: Method, *arguments: int) -> torch.Tensor:
            seen["mix"].append(draw(self, *arguments))
            return seen["mix"][-1]  # type: ignore[no-any-return]

        return kept

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Method, "sync_gradients", counting)
        patch.setattr(Method, "uniform", keeping(Method.uniform))
        patch.setattr(Method, "normal", keeping(Method.normal))
        patch.setattr(MetricLog, "on_before_optimizer_step", keep_gradients)
        patch.setattr(MetricLog, "on_train_end", keep_weights)
        yield seen


def main(folder: Path, overrides: list[str]) -> None:
    """Train in `folder/run`; write `seen-<rank>.pt`."""
    with watching() as seen:
        train(compose("train", overrides), folder / "run", overrides)
    torch.save(seen, folder / f"seen-{os.environ.get('LOCAL_RANK', '0')}.pt")
