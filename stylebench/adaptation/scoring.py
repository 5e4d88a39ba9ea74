"""A classifier on the two domains of a task: its strategy's statistics, and its predictions."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stylebench.adaptation.reports import CalibrationReport
from stylebench.data.central_crops import CentralCrops
from stylebench.data.splits import Indices
from stylebench.data.tasks import AdaptationTask
from stylebench.inference.classifier import NetworkClassifier
from stylebench.metrics.predictions import Predictions, class_shares
from stylebench.nn.domain_norms import SOURCE


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
        model, _crops(model, task, domain, task.order(domain, "train")[rank::world]), domain, show
    )
    return report


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
    images = shown(model, task, domain, split, most)
    model.adaptation.reset()
    logits = torch.cat([model.classify(batch, statistics=statistics).float().cpu() for batch in images])
    labels = images.domain.labels
    known = np.zeros(len(logits), bool) if labels is None else labels[images.indices] >= 0
    numbers = np.zeros(len(logits), np.int64) if labels is None else labels[images.indices]
    ids = [images.domain.ids[index] for index in images.indices]
    return Predictions(logits, torch.from_numpy(numbers), torch.from_numpy(known), task.classes, ids)


def shown(
    model: NetworkClassifier, task: AdaptationTask, domain: str, split: str, most: int | None = None
) -> CentralCrops:
    """Return a domain's split as a classifier is tested on it; see `predictions` for the arguments."""
    return _crops(model, task, domain, task.order(domain, split)[:most])


def _crops(model: NetworkClassifier, task: AdaptationTask, domain: str, indices: Indices) -> CentralCrops:
    return CentralCrops(task.domains[domain], indices, task.crop, model.adaptation.batch_size)
