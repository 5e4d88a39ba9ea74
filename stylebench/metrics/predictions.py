"""Metrics of predictions: accuracy, by class too, calibration, and how far the classes are from their shares.

Labels that are not known are a mask, never a value, and each figure says how many images it counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15
PRIOR_SHIFT = 0.1  # nats between the classes predicted and the source's shares from which on a warning is due


@dataclass(frozen=True)
class Predictions:
    """What a classifier says of a set of images.

    Attributes:
        logits: (N, K), on the CPU.
        labels: (N,) int64 where they are known, else any number.
        known: (N,) bool.
        classes: K names.
        ids: N ids of the images.
        features: (N, F), what the classifier's head was shown, on the CPU; None where nobody asked.
    """

    logits: Tensor
    labels: Tensor
    known: Tensor
    classes: Sequence[str]
    ids: Sequence[str]
    features: Tensor | None = None

    @property
    def found(self) -> Tensor:
        """(N,) the class that each image is taken for."""
        return self.logits.argmax(1)

    @property
    def counted(self) -> int:
        """How many images have a known label."""
        return int(self.known.sum())

    def accuracy(self) -> float:
        """Return the share of right predictions among the images with a label; NaN without one."""
        return _share(self.found[self.known] == self.labels[self.known])

    def by_class(self) -> dict[str, float]:
        """Return the share of right predictions of each class that has images."""
        shares = {}
        for number, name in enumerate(self.classes):
            there = self.known & (self.labels == number)
            if bool(there.any()):
                shares[name] = _share(self.found[there] == number)
        return shares

    def balanced_accuracy(self) -> float:
        """Return the mean over the classes of their shares of right predictions; NaN without a label."""
        shares = list(self.by_class().values())
        return float(np.mean(shares)) if shares else math.nan

    def calibration_error(self) -> float:
        """Return the expected calibration error, 15 equal bins, in [0, 1]; NaN without a label.

        Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3; torchmetrics computes it.
        """
        if not self.counted:
            return math.nan
        shares = self.logits[self.known].double().softmax(1)
        return float(multiclass_calibration_error(shares, self.labels[self.known], len(self.classes), n_bins=BINS))

    def histogram(self) -> NDArray[np.float64]:
        """Return the share of the images that is taken for each class, (K,)."""
        counts = self.found.bincount(minlength=len(self.classes)).double()
        return np.asarray((counts / counts.sum()).numpy())

    def prior_shift(self, prior: NDArray[np.float64]) -> float:
        """Return how far the classes predicted lie from those of the source, in nats: KL(predicted || source).

        Args:
            prior: (K,) shares of the classes in the source's training images, all above 0.
        """
        shares = self.histogram()
        some = shares > 0
        return float((shares[some] * np.log(shares[some] / prior[some])).sum())


def class_shares(labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return the share of each class among labels, (K,); of a class without images a hundredth of one."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 0.01)
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def _share(right: Tensor) -> float:
    return float(right.double().mean()) if len(right) else math.nan
