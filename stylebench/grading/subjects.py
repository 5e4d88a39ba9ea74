"""The metrics that are graded: what each claims to tell."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stylebench.grading.ladders import CONTENT, DISTRIBUTION, STYLE, TARGET
from stylebench.metrics.extractors.base import Extractor
from stylebench.metrics.feature_pairs import (
    CFSD,
    FeatureDistance,
    GramDistance,
    MapMetric,
    MomentDistance,
    PerceptualMaps,
)
from stylebench.metrics.pairs import PSNR, RGBUV, SSIM, EdgeSSIM, PairMetric
from stylebench.metrics.readouts import Strength
from stylebench.metrics.sets import FrechetDistance, KernelDistance, Manifold, SetMetric

_SUBSETS = 10  # of kernel distances: small sets are taken whole anyway


@dataclass(frozen=True)
class Subject:
    """A metric under grading.

    Attributes:
        name: of its card.
        metric: the metric.
        axis: one of `ladders.AXES`, what it claims to tell.
        variant: which of the metric's values.
        sparing: whether it is too slow for all contents.
        doses: whether it tells an amount of style, so that more than all of it is more.
        color_only: whether it claims nothing but color, so that a palette swap is no deceit.
    """

    name: str
    metric: PairMetric | SetMetric
    axis: str
    variant: str = ""
    sparing: bool = False
    doses: bool = False
    color_only: bool = False

    @property
    def larger_is_better(self) -> bool:
        """Direction of the metric."""
        return self.metric.larger_is_better

    @property
    def attacked(self) -> bool:
        """Whether an attack along its gradient is made; a content metric is at its best on the content already."""
        return self.axis in (STYLE, TARGET) and isinstance(self.metric, MapMetric | PSNR)


@dataclass(frozen=True)
class Headline:
    """An axis of the plane of content and style: the worse of two style utilities, by encoders of different origin.

    Attributes:
        name: of its card.
        members: names of two subjects.
    """

    name: str
    members: tuple[str, str]

    axis = STYLE
    larger_is_better = True


class Taps(NamedTuple):
    """Which maps of an extractor serve what.

    Attributes:
        style: for distances of style and of appearance.
        content: for distances place by place.
        structure: of stride 4, for self-similarity.
    """

    style: Sequence[str]
    content: Sequence[str]
    structure: Sequence[str]


def standard_subjects(extractors: Mapping[str, Extractor], taps: Mapping[str, Taps]) -> list[Subject]:
    """Return the evaluator's metrics on some extractors.

    Args:
        extractors: by name; features alone of those that `taps` does not name.
        taps: by extractor.
    """
    subjects = list(_pixels())
    for name, chosen in taps.items():
        subjects += _maps(name, chosen)
    for name in extractors:
        subjects += _sets(name)
    return subjects


def _pixels() -> Iterable[Subject]:
    yield Subject("strength", Strength(), STYLE, sparing=True, doses=True)
    yield Subject("color", RGBUV(), STYLE, sparing=True, color_only=True)
    yield Subject("edge_ssim", EdgeSSIM(), CONTENT, sparing=True)
    for against, axis in (("content", CONTENT), ("target", TARGET)):
        yield Subject(f"psnr_{against}", PSNR(against), axis)
        yield Subject(f"ssim_{against}", SSIM(against=against), axis, sparing=True)


def _maps(name: str, taps: Taps) -> Iterable[Subject]:
    yield Subject(f"style_{name}", GramDistance(name, taps.style), STYLE)
    yield Subject(f"style_moments_{name}", MomentDistance(name, taps.style), STYLE)
    yield Subject(f"content_{name}", FeatureDistance(name, taps.content), CONTENT)
    yield Subject(f"cfsd_{name}", CFSD(name, taps.structure), CONTENT)
    yield Subject(f"pd_{name}", PerceptualMaps(name, taps.style), CONTENT)
    yield Subject(f"pd_target_{name}", PerceptualMaps(name, taps.style, "target"), TARGET)


def _sets(name: str) -> Iterable[Subject]:
    yield Subject(f"fd_{name}", FrechetDistance(name), DISTRIBUTION)
    yield Subject(f"kd_{name}", KernelDistance(name, subsets=_SUBSETS), DISTRIBUTION)
    manifold = Manifold(name)
    for variant in ("precision", "recall", "density", "coverage"):
        yield Subject(f"{variant}_{name}", manifold, DISTRIBUTION, variant)
