"""Precision, recall, density and coverage: how well balls around the samples of one set hold those of another."""

from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK = 2048  # rows of a distance matrix that are in memory at once
_SAME = 1e-13  # of the squared norms: distances below are rounding


class ManifoldScores(NamedTuple):
    """Shares in [0, 1], but for density, whose mean is 1 for two samples of one distribution.

    Attributes:
        precision: generated samples that lie in some real sample's ball.
        recall: real samples that lie in some generated sample's ball.
        density: how many real balls hold a generated sample, over k.
        coverage: real samples whose ball holds a generated one.
    """

    precision: float
    recall: float
    density: float
    coverage: float


class Repeats(NamedTuple):
    """Samples whose ball of precision and recall has the radius 0: at least k others are equal to them."""

    real: int
    generated: int


def manifold_scores(
    real: Tensor, generated: Tensor, k_precision: int = 3, k_density: int = 5
) -> tuple[ManifoldScores, Repeats]:
    """Compare two sets by balls that reach to each sample's k-th neighbor in its own set.

    A sample on the rim of a ball is inside for precision and recall, and outside for density and coverage, as their
    papers have it. This matters where images are repeated: a ball of radius 0 holds the samples equal to its center.

    Args:
        real: (N, d) features.
        generated: (M, d) features.
        k_precision: k of precision and recall.
        k_density: k of density and coverage.

    Returns:
        The four scores, and how many balls of precision and recall have the radius 0.

    Raises:
        ValueError: if shapes do not fit, or a set has not more samples than a k that looks into it.

    Source: Kynkaanniemi et al. 2019, eq. 1 and 2; Naeem et al. 2020, eq. 3 and 4.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"expected (N, d) features of one width, got {tuple(real.shape)} and {tuple(generated.shape)}; use one "
            "extractor for both sets"
        )
    if min(k_precision, k_density) < 1 or len(real) <= max(k_precision, k_density):
        raise ValueError(
            f"expected more than {max(k_precision, k_density)} real images (k = {k_precision} and {k_density}), got "
            f"{len(real)}; evaluate more images or lower k"
        )
    if len(generated) <= k_precision:
        raise ValueError(f"expected more than {k_precision} generated images, got {len(generated)}; evaluate more")
    real, generated = _together_centered(real, generated)
    radius_precision, radius_density = _radii(real, (k_precision, k_density))  # (N,) each
    (radius_generated,) = _radii(generated, (k_precision,))  # (M,)
    inside = real.new_zeros(len(generated), dtype=torch.bool)
    recalled, covered, balls = [], [], 0
    for rows in torch.split(torch.arange(len(real), device=real.device), _BLOCK):
        distances = _squared(real[rows], generated)  # (n, M)
        inside |= (distances <= radius_precision[rows, None]).any(0)
        recalled.append((distances <= radius_generated).any(1))
        in_ball = distances < radius_density[rows, None]
        covered.append(in_ball.any(1))
        balls += int(in_ball.sum())
    scores = ManifoldScores(
        precision=float(inside.double().mean()),
        recall=float(torch.cat(recalled).double().mean()),
        density=balls / (k_density * len(generated)),
        coverage=float(torch.cat(covered).double().mean()),
    )
    return scores, Repeats(int((radius_precision == 0).sum()), int((radius_generated == 0).sum()))


def expected_coverage(n_real: int, n_generated: int, k: int = 5) -> float:
    """Return the mean coverage of two samples of one continuous distribution: 1 - C(N-1, k) / C(N+M-1, k).

    Source: Naeem et al. 2020, lemma 2.
    """
    missed = 1.0
    for step in range(k):
        missed *= (n_real - 1 - step) / (n_real + n_generated - 1 - step)
    return 1 - missed


def _together_centered(real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
    """Center both on one point, in float64: distances stay, and products lose less to rounding."""
    real, generated = real.double(), generated.double()
    center = real.mean(0)
    return real - center, generated - center


def _radii(features: Tensor, ks: tuple[int, ...]) -> list[Tensor]:
    """Return squared distances to the k-th other sample, (N,) for each k."""
    found: list[list[Tensor]] = [[] for _ in ks]
    places = torch.arange(len(features), device=features.device)
    for rows in torch.split(places, _BLOCK):
        distances = _squared(features[rows], features)
        distances[torch.arange(len(rows), device=features.device), rows] = torch.inf
        nearest = distances.topk(max(ks), dim=1, largest=False).values  # (n, k), ascending
        for values, k in zip(found, ks, strict=True):
            values.append(nearest[:, k - 1])
    return [torch.cat(values) for values in found]


def _squared(first: Tensor, second: Tensor) -> Tensor:
    """Return squared Euclidean distances, (n, m); exactly 0 between equal samples, whatever the order of a sum."""
    norms = first.square().sum(1)[:, None] + second.square().sum(1)  # (n, m)
    distances = torch.addmm(norms, first, second.mT, alpha=-2)
    return distances.masked_fill_(distances < norms.mul_(_SAME), 0.0)
