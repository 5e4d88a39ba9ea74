"""Scores of a classifier on its source and its target at every evaluation, after the strategy has calibrated it."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl

from stylebench.adaptation.scoring import calibrated, domain_predictions, source_prior
from stylebench.data.images import write_png
from stylebench.data.tasks import AdaptationTask, Task
from stylebench.inference.classifier import NetworkClassifier
from stylebench.inference.statistics import weights_digest, write_statistics
from stylebench.methods.base import Method
from stylebench.metrics.charts import line_chart
from stylebench.metrics.classification import finite, prediction_values
from stylebench.metrics.predictions import PRIOR_SHIFT
from stylebench.metrics.validators import regrets, selections
from stylebench.nn.domain_norms import SOURCE, TARGET, DomainNorm
from stylebench.run_folder import ALPHAS, BATCHES
from stylebench.training.callbacks.run_record import RunRecord
from stylebench.training.csv_log import CSVLog

_ALPHA = "val/alpha/"

log = logging.getLogger(__name__)


class TargetScores(pl.Callback):
    """Calibrate on the target's training images, then score held-out images of both domains.

    Columns, of the weights that evaluation sees: `val/accuracy/source`, and of a target whose labels are known
    `val/accuracy/target`, with balanced accuracy and calibration error; without labels the prior shift of the
    predictions and the target's validators. The record says under `selection` which batch each validator chooses, and
    what that loses, as the columns `val/regret/<validator>` do. A target's accuracy is for the report alone: a choice
    by it is marked as the oracle's.

    Args:
        task: the data.
        record: the run's record and folder.
    """

    def __init__(self, task: AdaptationTask, record: RunRecord) -> None:
        self.task, self.record = task, record
        self.prior = source_prior(task)

    @classmethod
    def of(cls, method: Method, task: Task, record: RunRecord) -> "list[TargetScores]":
        """Return the callback of a classifier's training, none of another method's."""
        classifies = isinstance(task, AdaptationTask) and isinstance(method.model, NetworkClassifier)
        return [cls(task, record)] if classifies else []  # type: ignore[arg-type]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Have the strategy prepare the statistics of both domains; every process comes to the same."""
        model = cast(NetworkClassifier, cast(Method, pl_module).model)
        for domain in (SOURCE, TARGET) * model.adaptation.rounds(model):
            report = calibrated(model, self.task, domain, trainer.global_rank, trainer.world_size)
            if report is None or not trainer.is_global_zero:
                continue
            self.record.record.setdefault("calibration", {})[domain] = report.record()
            if not any(isinstance(part, DomainNorm) for part in model.modules()):  # whose statistics checkpoints hold
                digest = weights_digest(model.state_dict())
                write_statistics(self.record.run.path, domain, digest, report.statistics, report.record())

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score on the first process; every process has the same weights."""
        if not trainer.is_global_zero:
            return
        method = cast(Method, pl_module)
        model = cast(NetworkClassifier, method.model)
        columns: dict[str, Any] = {}
        found, dev = domain_predictions(model, self.task, "val", model.own_statistics)
        for domain, each in found.items():
            values = prediction_values(each, domain, self.prior, validators=domain == TARGET)
            columns |= finite(values, "val")
        columns |= finite([dev], "val")
        if (shift := columns[f"val/prior_shift/{TARGET}"]) > PRIOR_SHIFT:
            log.warning(
                "the target's predicted classes lie %.2f nats from the source's shares: its classes may have others, "
                "which moves the statistics of batch norm, too",
                shift,
            )
        columns |= {f"val/{name}": value for name, value in model.adaptation.figures(model.network).items()}
        for logger in trainer.loggers:
            logger.log_metrics({**columns, BATCHES: method.batches_done}, step=method.batches_done)
            if isinstance(logger, CSVLog):
                evaluations = logger.evaluations()
                selected = self.record.record["selection"] = selections(evaluations, BATCHES)
                logger.log_metrics({**regrets(selected), BATCHES: method.batches_done}, step=method.batches_done)
                write_alphas(self.record.run.path / ALPHAS, evaluations)


def write_alphas(path: Path, evaluations: Sequence[Mapping[str, float]]) -> None:
    """Draw the alpha of every layer over the batches of a training; nothing where there is none.

    Args:
        path: of the PNG.
        evaluations: columns by name, those of alpha `val/alpha/<layer>`.
    """
    layers = dict.fromkeys(name for row in evaluations for name in row if name.startswith(_ALPHA))
    lines = {
        name.removeprefix(_ALPHA): [(row[BATCHES], row[name]) for row in evaluations if name in row] for name in layers
    }
    if lines:
        write_png(line_chart("alpha of each layer: share of a domain's own moments", "batches", lines), path)
