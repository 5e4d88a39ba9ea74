"""How far two orders agree: Kendall's tau with intervals, permutation tests, and what they say of a metric."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from stylebench.statistics.intervals import Floats, Interval, t_interval

_EXACT = 16  # units up to which all sign flips are tried
_FLIPS = 100_000


def kendall(first: ArrayLike, second: ArrayLike) -> float:
    """Return Kendall's tau-b of two sequences; NaN if one of them is constant.

    Raises:
        ValueError: if lengths differ or are below 2, or a value is not finite: it has no place in an order.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or x.size < 2:
        raise ValueError(f"expected two sequences of one length >= 2, got shapes {x.shape} and {y.shape}")
    _check_finite(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(stats.kendalltau(x, y).statistic)


def order_agreement(values: ArrayLike, truth: ArrayLike) -> Interval:
    """Return how well a metric orders the rungs of a ladder: tau-b a sample, averaged by style, interval over styles.

    Args:
        values: (styles, samples, rungs) of the metric; a metric of sets has one sample a style.
        truth: (rungs,), growing with what the metric's values should grow with.

    Returns:
        The mean tau; a sample on which the metric is constant counts 0: it orders nothing.

    Raises:
        ValueError: if shapes do not fit, or a value is not finite.
    """
    grid, order = np.asarray(values, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if grid.ndim != 3 or not grid.size or order.shape != grid.shape[2:]:
        raise ValueError(
            f"expected (styles, samples, rungs) values and a truth a rung, got shapes {grid.shape} and {order.shape}"
        )
    _check_finite(grid, order)
    return t_interval(np.nan_to_num(_taus(grid, order)).mean(1))


def selectivity(own: ArrayLike, other: ArrayLike) -> float:
    """Return how much more a metric answers to its own axis than to the other one: mean |tau| less mean |tau|.

    Args:
        own: taus on ladders of the metric's own axis, one a ladder.
        other: taus against rung order on ladders of the other axis.

    Returns:
        In [-1, 1]; 1 for a metric that orders its own ladders and is flat on the others.

    Raises:
        ValueError: if there is no ladder on an axis, or a tau is not finite.
    """
    x, y = np.asarray(own, dtype=np.float64).ravel(), np.asarray(other, dtype=np.float64).ravel()
    if not x.size or not y.size:
        raise ValueError(f"expected taus of ladders on both axes, got {x.size} on its own and {y.size} on the other")
    _check_finite(x, y)
    return float(np.abs(x).mean() - np.abs(y).mean())


def spread(values: ArrayLike, span: float) -> float:
    """Return how far a metric moves along rungs that should be equal: the largest step away from rung 0, over a range.

    Args:
        values: (..., rungs) of the metric; averaged over all but rungs.
        span: the metric's range from identity to target, not 0.

    Raises:
        ValueError: if there is no range.
    """
    means = np.asarray(values, dtype=np.float64)
    means = means.reshape(-1, means.shape[-1]).mean(0)
    if span == 0 or not math.isfinite(span):
        raise ValueError(f"expected a range other than 0, got {span}; the metric does not tell identity from target")
    return float(np.abs(means - means[0]).max() / abs(span))


def sign_flip_test(differences: ArrayLike, seed: int = 0) -> float:
    """Return the two-sided p value of a mean difference under random signs: exact up to 16 units.

    Args:
        differences: (n,) paired differences, one a unit.
        seed: of the random signs above 16 units.
    """
    x = np.asarray(differences, dtype=np.float64).ravel()
    if x.size < 1 or not np.isfinite(x).all():
        raise ValueError("expected at least one finite difference")
    observed = abs(x.sum())
    slack = 1e-12 * np.abs(x).sum()
    if x.size <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=x.size)))
        return float((np.abs(signs @ x) >= observed - slack).mean())
    generator = np.random.Generator(np.random.PCG64(seed))
    hits = 0
    for _ in range(0, _FLIPS, 1000):
        flips = generator.integers(0, 2, size=(1000, x.size)) * 2.0 - 1.0
        hits += int((np.abs(flips @ x) >= observed - slack).sum())
    return (hits + 1) / (_FLIPS + 1)


def resolution(values: ArrayLike, alpha: float = 0.05) -> int | None:
    """Return the lowest rung from which a metric tells the next one apart, None if no adjacent pair differs.

    Args:
        values: (units, rungs); units are styles, or scenes where there is one style.
        alpha: level of the sign-flip test, Holm-corrected over the pairs.

    Raises:
        ValueError: if there are too few units for any result to pass: n of them give no p below 2 / 2^n.
    """
    grid = np.asarray(values, dtype=np.float64)
    pairs = grid.shape[1] - 1
    if pairs * 2.0 ** (1 - len(grid)) >= alpha:
        fewest = math.floor(math.log2(pairs / alpha)) + 2
        raise ValueError(
            f"{len(grid)} units can't separate any of {pairs} adjacent pairs of rungs at p < {alpha:g}; take at least "
            f"{fewest} styles (or scenes), or fewer rungs"
        )
    ps = [sign_flip_test(grid[:, rung + 1] - grid[:, rung]) for rung in range(pairs)]
    found = [rung for rung, p in enumerate(holm(ps)) if p < alpha]
    return found[0] if found else None


def images_needed(
    values: ArrayLike, truth: ArrayLike, wanted: float = 0.9, draws: int = 200, seed: int = 0
) -> int | None:
    """Return how many images a pair metric must average over to order the rungs with a mean tau of `wanted`.

    Args:
        values: (images, rungs).
        truth: (rungs,).
        wanted: tau.
        draws: random subsets of each size.
        seed: of the subsets.

    Returns:
        The least of 1, 2, 4, ... images; None if all of them are not enough.
    """
    grid, order = np.asarray(values, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    _check_finite(grid, order)
    generator = np.random.Generator(np.random.PCG64(seed))
    size = 1
    while size <= len(grid):
        means = np.stack([grid[generator.choice(len(grid), size, replace=False)].mean(0) for _ in range(draws)])
        if float(np.nan_to_num(_taus(means, order)).mean()) >= wanted:
            return size
        size *= 2
    return None


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down corrected p values, in the order given."""
    count = len(p_values)
    corrected, highest = [0.0] * count, 0.0
    for place, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, p_values[index] * (count - place)))
        corrected[index] = highest
    return corrected


def cliffs_delta(first: ArrayLike, second: ArrayLike) -> float:
    """Return the chance that a value of the first sample is larger minus that it is smaller, in [-1, 1]."""
    x, y = np.asarray(first, dtype=np.float64).ravel(), np.asarray(second, dtype=np.float64).ravel()
    return float(np.sign(x[:, None] - y[None, :]).mean())


def grade_agreement(first: Sequence[float], second: Sequence[float], seed: int = 0, draws: int = 2000) -> Interval:
    """Return Kendall's tau between the grades that metrics earn in two worlds, with a bootstrap interval over metrics.

    Args:
        first: grades in one world as numbers, one a metric.
        second: of the same metrics in another world.
        seed: of the bootstrap.
        draws: of the bootstrap; those in which a world's grades are all equal are left out.

    Raises:
        ValueError: if counts differ, or a world gives all metrics one grade.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    tau = kendall(x, y)
    if math.isnan(tau):
        raise ValueError("expected grades that differ between metrics in both worlds; equal ones have no order")
    generator = np.random.Generator(np.random.PCG64(seed))
    chosen = generator.integers(x.size, size=(draws, x.size))
    low, high = np.nanpercentile(_taus(x[chosen], y[chosen]), [2.5, 97.5])
    return Interval(tau, float(low), float(high), f"{x.size} metrics, bootstrap")


def _taus(first: Floats, second: Floats) -> Floats:
    """Return tau-b along the last axis for arrays that broadcast; NaN where a sequence is constant."""
    x, y = (np.sign(part[..., :, None] - part[..., None, :]) for part in (first, second))
    agreeing = (x * y).sum((-2, -1))
    untied = np.sqrt((x**2).sum((-2, -1)) * (y**2).sum((-2, -1)))
    taus: Floats = np.divide(agreeing, untied, out=np.full_like(agreeing, np.nan), where=untied > 0)
    return taus


def _check_finite(*arrays: Floats) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("expected finite values only, found NaN or infinity; look at what the metric was given there")
