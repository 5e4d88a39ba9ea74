"""Send the loss terms that a method keeps on the device to the loggers, at the pace that the config sets."""

from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from stylebench.checks import check_whole
from stylebench.methods.base import Method
from stylebench.run_folder import BATCHES


class MetricLog(pl.Callback):
    """Log the terms of batch 1 and of every n-th batch, and the means over each evaluation.

    The device is read once a log, in one transfer; processes are averaged in one collective call. Non-finite terms
    stop the run here.

    Args:
        every_n_batches: distance of two logs.
    """

    def __init__(self, every_n_batches: int) -> None:
        self.every_n_batches = check_whole("logger.every_n_batches", every_n_batches)
        self.shown: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._images = 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Log batch 1 and every n-th."""
        method = cast(Method, pl_module)
        batches = method.batches_done
        if batches != 1 and batches % self.every_n_batches:
            return
        values = _read(method.latest["train"], trainer.world_size)
        method.check_finite()
        for name, rate in _learning_rates(trainer, list(method.players)).items():
            values[f"train/lr/{name}"] = rate
        self.shown = values
        self._send(trainer, values, batches)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the means of an evaluation."""
        self._sums, self._images = {}, 0

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Add a batch to the means, weighted by its images: the last one may be smaller."""
        images = len(batch[0])
        for name, value in cast(Method, pl_module).latest["val"].items():
            self._sums[name] = self._sums.get(name, 0.0) + value * images
        self._images += images

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the means over all images of all processes."""
        mine = (self._images, _read(self._sums))
        parts: list[tuple[int, dict[str, float]]] = [mine]
        if trainer.world_size > 1:  # a process without a single image knows no names: gather them with the sums
            parts = [mine] * trainer.world_size
            torch.distributed.all_gather_object(parts, mine)
        images = sum(count for count, _ in parts)
        if images == 0:
            return
        totals: dict[str, float] = {}
        for _, sums in parts:
            for name, value in sums.items():
                totals[name] = totals.get(name, 0.0) + value
        means = {name: total / images for name, total in totals.items()}
        self._send(trainer, means, cast(Method, pl_module).batches_done)

    @staticmethod
    def _send(trainer: pl.Trainer, values: dict[str, float], batches: int) -> None:
        for logger in trainer.loggers:
            logger.log_metrics({**values, BATCHES: batches}, step=batches)


def _read(terms: dict[str, Tensor], world_size: int = 1) -> dict[str, float]:
    """Return the terms as floats with one transfer from the device, averaged over processes where there are several."""
    if not terms:
        return {}
    flat = torch.stack([term.double() for term in terms.values()])
    if world_size > 1:
        torch.distributed.all_reduce(flat)
        flat /= world_size
    return dict(zip(terms, flat.tolist(), strict=True))


def _learning_rates(trainer: pl.Trainer, players: list[str]) -> dict[str, float]:
    """Return the learning rate of each optimizer, by its player, or its position where several have no names."""
    rates = [float(optimizer.param_groups[0]["lr"]) for optimizer in trainer.optimizers]
    numbered = ["optimizer"] if len(rates) == 1 else [f"optimizer_{place}" for place in range(len(rates))]
    return dict(zip(players or numbered, rates, strict=True))
