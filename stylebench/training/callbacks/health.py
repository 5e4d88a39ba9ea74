"""Signs of silent failure while training: gray outputs, inverted colors, contents that come back unchanged ..."""

import logging
import math
from typing import cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from stylebench.data.plan import Plan
from stylebench.functional.pixels import quantize
from stylebench.methods.base import Method
from stylebench.metrics.measuring import asking
from stylebench.nn.encoders.base import Encoder
from stylebench.run_folder import BATCHES
from stylebench.training.callbacks.run_record import RunRecord
from stylebench.training.health_checks import CHECKS, measure_health, wrong_preprocessing

log = logging.getLogger(__name__)


class Health(pl.Callback):
    """Compute the figures of `training.health_checks` at every evaluation; warn once of each that is beyond its bound.

    Values go to loggers as `val/health/<name>` and, with the batch at which a figure first failed, into the record.

    Args:
        plan: a few fixed images.
        record: the run's record.
        from_batch: batches before which no warning is given: a network that has just begun makes gray pictures.
    """

    def __init__(self, plan: Plan, record: RunRecord, from_batch: int) -> None:
        self.plan = plan
        self.record = record
        self.from_batch = from_batch

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure on the first process; every process has the same weights."""
        method = cast(Method, pl_module)
        method.check_weights_finite()
        if not trainer.is_global_zero:
            return
        figures = self._figures(method)
        known = {name: value for name, value in figures.items() if math.isfinite(value)}
        for logger in trainer.loggers:
            values = {f"val/health/{name}": value for name, value in known.items()}
            logger.log_metrics({**values, BATCHES: method.batches_done}, step=method.batches_done)
        self.record.record["health"] = known
        self._warn(known, method.batches_done)

    @torch.no_grad()
    def _figures(self, method: Method) -> dict[str, float]:
        piece = next(self.plan.pieces(len(self.plan), 0, 1, method.device))
        contents: Tensor | None = piece.known.get("content")
        if self.plan.target is not None:  # pairs: a label map says nothing of how bright its photograph is
            contents = piece.known["target"][:, 0]
        if contents is None:
            return {}
        made = asking(method.translated)(piece)
        if not bool(made.isfinite().all()):
            log.warning("outputs are not finite at batch %d; the loss will tell which term", method.batches_done)
            return {}
        outputs = quantize(made)
        figures = measure_health(outputs, contents, piece.known.get("style"))
        encoder = getattr(method, "encoder", None)
        if isinstance(encoder, Encoder) and encoder.calibration is not None:
            figures["wrong_preprocessing"] = wrong_preprocessing(
                encoder(contents.float() / 255, [group.tap for group in encoder.groups()])
            )
        return figures

    def _warn(self, figures: dict[str, float], batches: int) -> None:
        failed = self.record.record.setdefault("health_failures", {})
        for check in CHECKS:
            value = figures.get(check.name, math.nan)
            if batches >= self.from_batch and check.fails(value) and check.name not in failed:
                failed[check.name] = {"batches": batches, "value": value, "bound": check.bound}
                log.warning(
                    "%s at batch %d (%.3g, bound %.3g): %s", check.name, batches, value, check.bound, check.advice
                )
