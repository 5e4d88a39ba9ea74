"""Scores of a classifier on its source and its target at every evaluation, after the strategy has calibrated it."""

import itertools
import logging
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import nn

from stylebench.adaptation.reports import CalibrationReport
from stylebench.data.augmentation import finish_images
from stylebench.data.streams import central, cut
from stylebench.data.tasks import AdaptationTask, Task
from stylebench.inference.classifier import NetworkClassifier
from stylebench.inference.statistics import weights_digest, write_statistics
from stylebench.methods.base import Method
from stylebench.metrics.classification import finite, prediction_values
from stylebench.metrics.predictions import PRIOR_SHIFT, Predictions, class_shares
from stylebench.metrics.validators import selections
from stylebench.nn.domain_norms import SOURCE, TARGET, DomainNorm
from stylebench.run_folder import BATCHES
from stylebench.training.callbacks.run_record import RunRecord
from stylebench.training.csv_log import CSVLog

log = logging.getLogger(__name__)


class TargetScores(pl.Callback):
    """Calibrate on the target's training images, then score held-out images of both domains.

    Columns, of the weights that evaluation sees: `val/accuracy/source`, and of a target whose labels are known
    `val/accuracy/target`, with balanced accuracy and calibration error; without labels the prior shift of the
    predictions and the target's validators. The record says under `selection` which batch each validator chooses, and
    what that loses. A target's accuracy is for the report alone: a choice by it is marked as the oracle's.

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
        for domain, statistics in ((SOURCE, SOURCE), (TARGET, model.own_statistics)):
            found = predictions(model, self.task, domain, "val", statistics)
            values = prediction_values(found, domain, self.prior, validators=domain == TARGET)
            columns |= finite(values, "val")
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
                self.record.record["selection"] = selections(logger.evaluations(), BATCHES)


def source_prior(task: AdaptationTask) -> NDArray[np.float64]:
    """Return the shares of the classes among the source's training images, (K,)."""
    labels = task.domains[SOURCE].labels
    assert labels is not None
    return class_shares(labels[task.domains[SOURCE].split("train")], len(task.classes))


def calibrated(
    model: NetworkClassifier, task: AdaptationTask, domain: str, rank: int = 0, world: int = 1
) -> CalibrationReport | None:
    """Have a classifier's strategy prepare the statistics of a domain, on its training images.

    Args:
        model: the classifier.
        task: the data.
        domain: `source` or `target`.
        rank: which process this is.
        world: of how many that share the images.
    """

    def show(_: nn.Module, images: Any) -> None:
        with model.on_current_statistics():
            model.classify(images)

    report: CalibrationReport | None = model.adaptation.calibrate(
        model, DomainImages(task, domain, "train", model.adaptation.batch_size, rank, world), domain, show
    )
    return report


class DomainImages:
    """Central crops of a domain's split, every one once, as batches; may be read any number of times."""

    def __init__(
        self, task: AdaptationTask, domain: str, split: str, batch_size: int, rank: int = 0, world: int = 1
    ) -> None:
        self.task, self.domain, self.batch_size = task, task.domains[domain], batch_size
        self.indices = task.order(domain, split)[rank::world]

    def __iter__(self) -> Iterator[Any]:
        """Yield (B, 3, H, W) float32 images in [0, 1]."""
        count = len(self.indices)
        starts = list(range(0, count, self.batch_size))
        if count > 1 and count - starts[-1] == 1:  # an image alone has no statistics of a batch: the last one takes it
            del starts[-1]
        for start, end in itertools.pairwise([*starts, count]):
            chosen = self.indices[start:end]
            yield finish_images(cut(self.domain, chosen, central(len(chosen)), self.task.crop), self.task.size_px)


def predictions(
    model: NetworkClassifier, task: AdaptationTask, domain: str, split: str, statistics: str, most: int | None = None
) -> Predictions:
    """Return what a classifier says of a domain's split, in the hash order of its images.

    Args:
        model: the classifier.
        task: the data.
        domain: `source` or `target`.
        split: train, val or test.
        statistics: see `Classifier.classify`.
        most: images, at most; None for all.
    """
    images = DomainImages(task, domain, split, model.adaptation.batch_size)
    images.indices = images.indices[:most]
    model.adaptation.reset()
    logits = torch.cat([model.classify(batch, statistics=statistics).float().cpu() for batch in images])
    labels = images.domain.labels
    known = np.zeros(len(logits), bool) if labels is None else labels[images.indices] >= 0
    numbers = np.zeros(len(logits), np.int64) if labels is None else labels[images.indices]
    ids = [images.domain.ids[index] for index in images.indices]
    return Predictions(logits, torch.from_numpy(numbers), torch.from_numpy(known), task.classes, ids)
