"""Metrics of two sets of images, on features that were extracted once for all of them."""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from stylebench.functional.frechet import (
    Moments,
    frechet_distance,
    frechet_distance_of_features,
    frechet_floor,
    moments_without,
    simulated_floor,
)
from stylebench.functional.kernel_distance import gaussian_mmd, gaussian_mmd_floor, kernel_distance
from stylebench.functional.manifold import expected_coverage, manifold_scores
from stylebench.metrics.features import FeatureSet
from stylebench.statistics.intervals import jackknife_interval, t_interval

_log = logging.getLogger(__name__)
_SPLITS = 5  # of the reference, that check the floor
_ENOUGH_TO_HALVE = 16  # images below which halves and quarters say nothing
_WIDEST_SPLIT = 512  # features above which one split must do: five cost more than they tell
_RIM_PROTOCOL = 2  # of precision and recall: since 2 a sample on the rim of a ball is inside
_BLOCKS = 10  # of images that a jackknife leaves out in turn
_MANY = 4  # times as many images as features, from which the spectrum alone gives the floor


@dataclass(frozen=True)
class SetResult:
    """A value of a set metric.

    Attributes:
        value: the number.
        variant: what tells several values of one metric apart, "" for its only one.
        interval: 95 % interval, None where there is none.
        details: plain values beside it, such as the floor.
        left_out: the value without each block of a jackknife, empty where there is none.
    """

    value: float
    variant: str = ""
    interval: tuple[float, float] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[float, ...] = ()


class SetMetric(ABC):
    """A distance or score between a reference set and a generated one.

    Args:
        extractor: the extractor whose features are compared, by its name in the config.
        fewest: images that a set needs at least.

    Attributes:
        stem: dashboard name without the extractor.
        word: the reserved word that verified canonical weights earn in place of the stem, None if there is none.
        keeps: whether single features are needed, not only their moments.
        larger_is_better: direction.
    """

    stem: ClassVar[str]
    word: ClassVar[str | None] = None
    keeps: ClassVar[bool] = True
    larger_is_better: ClassVar[bool] = False

    def __init__(self, extractor: str, fewest: int = 2) -> None:
        self.extractor = extractor
        self.fewest = fewest

    @abstractmethod
    def compare(self, reference: FeatureSet, generated: FeatureSet) -> list[SetResult]:
        """Compare two sets of one extractor's features."""

    def __call__(self, reference: FeatureSet, generated: FeatureSet, parts: int = 1) -> list[SetResult]:
        """Compare two sets; of an extractor that is several networks, compare each and average.

        Args:
            reference: what is asked for.
            generated: what was made.
            parts: networks behind the features, each with an equal share of them.

        Returns:
            The values; an average has the interval of its jackknife, if there is one, and averaged details.
        """
        if parts == 1:
            return self.compare(reference, generated)
        every = [self.compare(reference.part(i, parts), generated.part(i, parts)) for i in range(parts)]
        return [_average([results[place] for results in every]) for place in range(len(every[0]))]


class FrechetDistance(SetMetric):
    """Frechet distance with its floor: what a perfect model would score with as many images.

    The floor comes from the spectrum of the reference's covariance, and, with fewer than four times as many images as
    features, where a sample's spectrum is too narrow, from halves and quarters of the reference, extrapolated; the
    larger one counts. On normals it is right within 4 % for many images and up to 27 % too high for few; from
    moments alone, of few images, it is up to half too low.

    The interval says how far the value moves with other images: it covers what sets of these sizes have on average, on
    normals in 93 to 96 % of cases, and in more where the sets are alike. That average lies above the distance of the
    distributions by a bias, which the floor estimates; less the floor, the interval covers the distance itself in 87 to
    93 % of cases where images are ten times the features and tails normal, and in fewer elsewhere. It is a delete-block
    jackknife over ten blocks of both sets with Student's quantile, whose variance is on average not too small (Efron &
    Stein 1981). A bootstrap repeats images: that lowers the rank of covariances, and moves the distance up by more than
    the interval. Images count as independent; fewer than ten of a set, or moments alone, have no interval.

    Args:
        extractor: the extractor's name in the config.
        seed: of simulated floors, splits and blocks.
    """

    stem, word, keeps = "fd", "fid", False

    def __init__(self, extractor: str, seed: int = 0) -> None:
        super().__init__(extractor)
        self.seed = seed

    def compare(self, reference: FeatureSet, generated: FeatureSet) -> list[SetResult]:
        """Return the distance with its interval, its floor and the excess over it."""
        known = None if _by_features(reference, generated) else reference.moments()
        if known is None:
            value = frechet_distance_of_features(reference.rows(), generated.rows())
        else:
            value = frechet_distance(*known, *generated.moments())
        floor = self._floor(reference, generated.count, known)
        left_out = self._without_blocks(reference, generated)
        details: dict[str, Any] = {"floor": floor, "excess": value - floor, "seed": self.seed}
        if left_out:
            details["design"] = f"{_BLOCKS} blocks"
        return [SetResult(value, interval=_jackknifed(value, left_out), details=details, left_out=left_out)]

    def _without_blocks(self, reference: FeatureSet, generated: FeatureSet) -> tuple[float, ...]:
        """Return the distance without each of ten blocks of both sets; nothing for fewer images, or moments alone."""
        first, second = reference.features, generated.features
        if first is None or second is None or min(len(first), len(second)) < _BLOCKS:
            return ()
        generator = np.random.Generator(np.random.PCG64(self.seed))
        blocks = [
            [torch.from_numpy(part) for part in np.array_split(generator.permutation(len(rows)), _BLOCKS)]
            for rows in (first, second)
        ]
        if _by_features(reference, generated):
            pairs = zip(_without(first, blocks[0]), _without(second, blocks[1]), strict=True)
            return tuple(frechet_distance_of_features(one, two) for one, two in pairs)
        known = zip(moments_without(first, blocks[0]), moments_without(second, blocks[1]), strict=True)
        return tuple(frechet_distance(*one, *two) for one, two in known)

    def _floor(self, reference: FeatureSet, count: int, known: Moments | None) -> float:
        n, d = reference.count, reference.width
        rows, fewer = reference.features, min(n, count)
        if rows is not None and n < d:
            spectrum = torch.linalg.svdvals(rows.double() - reference.mean).square() / (n - 1)
        else:
            spectrum = torch.linalg.eigvalsh((known or reference.moments()).covariance)
        floor = frechet_floor(spectrum, n, count) if fewer >= d else simulated_floor(spectrum, n, count)
        many = fewer >= _MANY * d
        if rows is None or n < _ENOUGH_TO_HALVE or (many and d > _WIDEST_SPLIT):
            return floor
        return max(floor, self._extrapolated(rows, count, many))

    def _extrapolated(self, rows: Tensor, count: int, many: bool) -> float:
        """Return the distance to expect from halves of the reference: with many images it goes with 1/n.

        A few images have a covariance of low rank, so that a floor drawn from it is too low; this one is not: the power
        of n between quarters and halves, which only grows with n, errs on the safe side.
        """
        n = len(rows)
        halves = self._between(rows, n // 2)
        quarters = 2 * halves if many else self._between(rows, n // 4)
        power = math.log2(quarters / halves) if 0 < halves <= quarters else 0.0
        size = 2 / (1 / n + 1 / count)  # of two equal sets that have these sizes' floor
        return float(halves * (n / 2 / size) ** power)

    def _between(self, rows: Tensor, size: int) -> float:
        """Return the mean distance between two sets of `size` images each, drawn from the reference."""
        generator = np.random.Generator(np.random.PCG64(self.seed))
        splits = _SPLITS if rows.shape[1] <= _WIDEST_SPLIT else 1
        total = 0.0
        for _ in range(splits):
            order = torch.from_numpy(generator.permutation(len(rows)))
            total += frechet_distance_of_features(rows[order[:size]], rows[order[size : 2 * size]])
        return total / splits


class KernelDistance(SetMetric):
    """Kernel distance, unbiased: 0 on average for a perfect model, so it may be negative.

    Args:
        extractor: the extractor's name in the config.
        subsets: random subsets that are averaged.
        subset_size: images in each, at most.
        seed: of the subsets.
    """

    stem, word = "kd", "kid"

    def __init__(self, extractor: str, subsets: int = 100, subset_size: int = 1000, seed: int = 0) -> None:
        super().__init__(extractor)
        self.subsets, self.subset_size, self.seed = subsets, subset_size, seed

    def compare(self, reference: FeatureSet, generated: FeatureSet) -> list[SetResult]:
        """Return the mean over subsets; the interval around it is as wide as that of the mean over disjoint blocks."""
        found = kernel_distance(reference.rows(), generated.rows(), self.subsets, self.subset_size, seed=self.seed)
        half = t_interval(found.blocks).half_width if found.blocks else None
        bounds = None if half is None else (found.mean - half, found.mean + half)
        details = {
            "subset_std": found.subset_std, "full": found.full, "times_1000": 1000 * found.mean, "floor": 0.0,
            "seed": self.seed,
        }  # fmt: skip
        return [SetResult(found.mean, interval=bounds, details=details)]


class Manifold(SetMetric):
    """Precision, recall (k = 3), density and coverage (k = 5).

    Args:
        extractor: the extractor's name in the config.
        k_precision: neighbors of precision and recall.
        k_density: neighbors of density and coverage.
    """

    stem, larger_is_better = "prdc", True

    def __init__(self, extractor: str, k_precision: int = 3, k_density: int = 5) -> None:
        super().__init__(extractor, fewest=max(k_precision, k_density) + 1)
        self.k_precision, self.k_density = k_precision, k_density

    def compare(self, reference: FeatureSet, generated: FeatureSet) -> list[SetResult]:
        """Return the four scores, density and coverage with their values for a perfect model.

        Images that are repeated more than `k_precision` times have balls of radius 0; they are counted and logged.
        """
        scores, repeats = manifold_scores(reference.rows(), generated.rows(), self.k_precision, self.k_density)
        perfect = expected_coverage(reference.count, generated.count, self.k_density)
        for number, count, which in (
            (repeats.real, reference.count, "reference"),
            (repeats.generated, generated.count, "generated"),
        ):
            if number:
                _log.warning(
                    "%s: %d of %d %s images have %d or more others equal to them, so that their balls have the radius "
                    "0 and hold nothing but equal images; precision, recall, density and coverage count them so",
                    self.stem, number, count, which, self.k_precision,
                )  # fmt: skip
        rim = {"protocol": _RIM_PROTOCOL, "zero_radii": {"reference": repeats.real, "generated": repeats.generated}}
        details: dict[str, dict[str, Any]] = {
            "precision": rim, "recall": rim, "density": {"perfect": 1.0}, "coverage": {"perfect": perfect},
        }  # fmt: skip
        return [SetResult(value, variant=name, details=details[name]) for name, value in scores._asdict().items()]


class GaussianMMD(SetMetric):
    """Biased squared MMD under a Gaussian kernel, times 1000: CMMD on CLIP's embeddings, `cd` on others.

    Args:
        extractor: the extractor's name in the config; its features should have unit length.
    """

    stem, word = "cd", "cmmd"

    def compare(self, reference: FeatureSet, generated: FeatureSet) -> list[SetResult]:
        """Return the value with its floor."""
        value = gaussian_mmd(reference.rows(), generated.rows())
        floor = gaussian_mmd_floor(reference.rows(), reference.count, generated.count)
        return [SetResult(value, details={"floor": floor, "excess": value - floor})]


def _by_features(first: FeatureSet, second: FeatureSet) -> bool:
    """Tell whether the features themselves are here, and cheaper than moments: fewer images than dimensions."""
    few = min(first.count, second.count) < first.width
    return few and first.features is not None and second.features is not None


def _without(rows: Tensor, blocks: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield the features of the images outside each block."""
    for block in blocks:
        kept = torch.ones(len(rows), dtype=torch.bool)
        kept[block] = False
        yield rows[kept]


def _jackknifed(value: float, left_out: Sequence[float]) -> tuple[float, float] | None:
    """Return the interval of a distance, which is never below 0; None where no block was left out."""
    if not left_out:
        return None
    found = jackknife_interval(value, left_out)
    return None if found.bounds is None else (max(found.bounds[0], 0.0), found.bounds[1])


def _average(results: list[SetResult]) -> SetResult:
    mean: Callable[[list[float]], float] = lambda values: sum(values) / len(values)  # noqa: E731
    numbers = [name for name, value in results[0].details.items() if isinstance(value, float)]
    details = {**results[0].details, **{name: mean([result.details[name] for result in results]) for name in numbers}}
    value, left_out = mean([result.value for result in results]), [result.left_out for result in results]
    without = tuple(mean(list(block)) for block in zip(*left_out, strict=True))
    return SetResult(value, results[0].variant, _jackknifed(value, without), details, without)
