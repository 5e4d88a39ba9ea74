"""One progress bar for the whole run: batches, images a second, time left, the newest logged loss."""

import sys
from typing import Any, cast

import pytorch_lightning as pl
from tqdm import tqdm

from stylebench.methods.base import Method
from stylebench.training.callbacks.metric_log import MetricLog


class Progress(pl.Callback):
    """Show how far the run is. Nothing is read from the device for it: the loss shown is the last that was logged.

    Args:
        batches: the run's length.
        batch_size: images of a batch over all devices.
        metric_log: where the logged values are.
    """

    def __init__(self, batches: int, batch_size: int, metric_log: MetricLog) -> None:
        self.batches = batches
        self.batch_size = batch_size
        self.metric_log = metric_log
        self._bar: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar where the run stands."""
        if trainer.is_global_zero:
            self._bar = tqdm(
                total=self.batches,
                initial=cast(Method, pl_module).batches_done,
                unit="batch",
                dynamic_ncols=True,
                mininterval=0.5 if sys.stderr.isatty() else 30,
                bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} batches, {remaining} left{postfix}",
            )

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Advance."""
        if self._bar is None:
            return
        self._bar.update()
        if (done := cast(Method, pl_module).batches_done) == 1 or done % self.metric_log.every_n_batches == 0:
            elapsed = self._bar.format_dict["elapsed"]
            rate = (self._bar.n - self._bar.initial) / elapsed if elapsed else 0.0
            loss = self.metric_log.shown.get("train/loss/total")
            told = "" if loss is None else f", loss {loss:.4g}"
            self._bar.set_postfix_str(f"{rate * self.batch_size:.1f} images/s{told}", refresh=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the message stands on a line of its own."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
