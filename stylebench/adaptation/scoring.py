"""A classifier on the two domains of a task: its strategy's statistics, and its predictions."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stylebench.adaptation.reports import CalibrationReport
from stylebench.data.central_crops import CentralCrops
from stylebench.data.splits import Indices
from stylebench.data.tasks import AdaptationTask
from stylebench.inference.classifier import NetworkClassifier
from stylebench.metrics.classification import DEV_IMAGES, dev_value
from stylebench.metrics.predictions import Predictions, class_shares
from stylebench.metrics.records import Value
from stylebench.nn.domain_norms import SOURCE, TARGET


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
    logits, features = _shown(model, images, statistics)
    labels = images.domain.labels
    known = np.zeros(len(logits), bool) if labels is None else labels[images.indices] >= 0
    numbers = np.zeros(len(logits), np.int64) if labels is None else labels[images.indices]
    ids = [images.domain.ids[index] for index in images.indices]
    return Predictions(logits, torch.from_numpy(numbers), torch.from_numpy(known), task.classes, ids, features)


def domain_predictions(
    model: NetworkClassifier, task: AdaptationTask, split: str, statistics: str, most: int | None = None
) -> tuple[dict[str, Predictions], Value]:
    """Return what a classifier says of a split of both domains, and the loss on the target that it lets expect.

    Args:
        model: the classifier.
        task: the data.
        split: train, val or test.
        statistics: what normalizes the target; the source has its own.
        most: images of each domain, at most.
    """
    found = {
        domain: predictions(model, task, domain, split, each, most)
        for domain, each in ((SOURCE, SOURCE), (TARGET, statistics))
    }
    trained = predictions(model, task, SOURCE, "train", SOURCE, min(len(found[TARGET].ids), DEV_IMAGES))
    return found, dev_value(trained, found[SOURCE], found[TARGET])


def _shown(model: NetworkClassifier, images: CentralCrops, statistics: str) -> tuple[Tensor, Tensor]:
    """Return the logits of images and the features that the head was shown, (N, K) and (N, F) on the CPU."""
    head: Any = model.network.head
    seen: list[Tensor] = []
    parts: list[tuple[Tensor, Tensor]] = []
    with torch.compiler.set_stance("force_eager"):  # compiled, no hook would fire
        handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
        try:
            for batch in images:
                logits = model.classify(batch, statistics=statistics)
                parts.append((logits.float().cpu(), seen[-1].float().cpu()))  # the last of those a strategy took
        finally:
            handle.remove()
    logits, features = (torch.cat(part) for part in zip(*parts, strict=True))
    return logits, features


def shown(
    model: NetworkClassifier, task: AdaptationTask, domain: str, split: str, most: int | None = None
) -> CentralCrops:
    """Return a domain's split as a classifier is tested on it; see `predictions` for the arguments."""
    return _crops(model, task, domain, task.order(domain, split)[:most])


def _crops(model: NetworkClassifier, task: AdaptationTask, domain: str, indices: Indices) -> CentralCrops:
    return CentralCrops(task.domains[domain], indices, task.crop, model.adaptation.batch_size)
