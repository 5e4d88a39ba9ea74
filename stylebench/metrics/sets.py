"""Metrics of two sets of images, on features that were extracted once for all of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from stylebench.benchmark.intervals import t_interval
from stylebench.functional.frechet import (
    Moments,
    frechet_distance,
    frechet_distance_of_features,
    frechet_floor,
    simulated_floor,
)
from stylebench.functional.kernel_distance import gaussian_mmd, gaussian_mmd_floor, kernel_distance
from stylebench.functional.manifold import expected_coverage, manifold_scores
from stylebench.metrics.features import FeatureSet

_HALVES = 5  # splits of the reference that check the floor
_ENOUGH_TO_HALVE = 40  # images below which halves say nothing
_WIDEST_HALVED = 512  # features above which five more distances cost more than they tell


@dataclass(frozen=True)
class SetResult:
    """A value of a set metric.

    Attributes:
        value: the number.
        variant: what tells several values of one metric apart, "" for its only one.
        interval: 95 % interval, None where there is none.
        details: plain values beside it, such as the floor.
    """

    value: float
    variant: str = ""
    interval: tuple[float, float] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


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
            The values; an average has no interval, and the details of its first part's kind, averaged.
        """
        if parts == 1:
            return self.compare(reference, generated)
        every = [self.compare(reference.part(i, parts), generated.part(i, parts)) for i in range(parts)]
        return [_average([results[place] for results in every]) for place in range(len(every[0]))]


class FrechetDistance(SetMetric):
    """Frechet distance with its floor: what a perfect model would score with as many images.

    The floor comes from the reference's covariance, by formula or, with fewer images than features, by simulation, and
    from split halves of the reference scaled to the sizes at hand; the larger one counts.

    Args:
        extractor: the extractor's name in the config.
        seed: of simulated floors and splits.
    """

    stem, word, keeps = "fd", "fid", False

    def __init__(self, extractor: str, seed: int = 0) -> None:
        super().__init__(extractor)
        self.seed = seed

    def compare(self, reference: FeatureSet, generated: FeatureSet) -> list[SetResult]:
        """Return the distance, its floor and the excess over it."""
        known = None if _by_features(reference, generated) else reference.moments()
        if known is None:
            value = frechet_distance_of_features(reference.rows(), generated.rows())
        else:
            value = frechet_distance(*known, *generated.moments())
        floor = self._floor(reference, generated.count, known)
        return [SetResult(value, details={"floor": floor, "excess": value - floor, "seed": self.seed})]

    def _floor(self, reference: FeatureSet, count: int, known: Moments | None) -> float:
        n, d = reference.count, reference.width
        if reference.features is not None and n <= d:
            centered = reference.rows().double() - reference.mean
            spectrum = torch.linalg.svdvals(centered).square() / (n - 1)
        else:
            spectrum = torch.linalg.eigvalsh((known or reference.moments()).covariance)
        formula = frechet_floor if min(n, count) >= d else simulated_floor
        floor = formula(spectrum, n, count)
        if reference.features is None or n < _ENOUGH_TO_HALVE or min(n, count) < d or d > _WIDEST_HALVED:
            return floor
        return max(floor, self._halved(reference.rows()) * (1 / n + 1 / count) * n / 4)

    def _halved(self, rows: Tensor) -> float:
        """Return the mean distance between halves of the reference; its expectation goes with 1/n1 + 1/n2 = 4/n."""
        generator = np.random.Generator(np.random.PCG64(self.seed))
        total = 0.0
        for _ in range(_HALVES):
            order = torch.from_numpy(generator.permutation(len(rows)))
            first, second = rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]
            total += frechet_distance_of_features(first, second)
        return total / _HALVES


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
        """Return the mean over subsets; the interval comes from disjoint blocks."""
        found = kernel_distance(reference.rows(), generated.rows(), self.subsets, self.subset_size, seed=self.seed)
        bounds = t_interval(found.blocks).bounds if found.blocks else None
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
        """Return the four scores; coverage with its value for a perfect model."""
        scores = manifold_scores(reference.rows(), generated.rows(), self.k_precision, self.k_density)
        perfect = expected_coverage(reference.count, generated.count, self.k_density)
        details: dict[str, dict[str, Any]] = {"density": {"perfect": 1.0}, "coverage": {"perfect": perfect}}
        return [
            SetResult(value, variant=name, details=details.get(name, {})) for name, value in scores._asdict().items()
        ]


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


def _average(results: list[SetResult]) -> SetResult:
    mean: Callable[[list[float]], float] = lambda values: sum(values) / len(values)  # noqa: E731
    numbers = [name for name, value in results[0].details.items() if isinstance(value, float)]
    details = {**results[0].details, **{name: mean([result.details[name] for result in results]) for name in numbers}}
    return SetResult(mean([result.value for result in results]), results[0].variant, None, details)
