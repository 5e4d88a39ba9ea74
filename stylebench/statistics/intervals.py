"""95 % intervals: of means over seeds, over grids of styles and contents, of shares, and of ratios."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
FEWEST_BOOTSTRAPPED = 20  # styles below which a two-way bootstrap covers too little
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval.

    Attributes:
        mean: the estimate.
        low: lower end, None if there is no interval.
        high: upper end.
        design: what it rests on, for print: `n=5`, `8 styles x 20 contents`.
        df: degrees of freedom, None where there are none.
    """

    mean: float
    low: float | None
    high: float | None
    design: str
    df: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Both ends, None if there is no interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def half_width(self) -> float | None:
        """Half the width, None if there is no interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:.4g} ({self.design}, no interval)"
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}] ({self.design})"


def t_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Return the mean of independent values, such as one a seed, with Student's interval.

    Args:
        values: (n,), finite, n >= 1; one value has no interval.
        level: confidence.

    Raises:
        ValueError: for no value, or one that is not finite.
    """
    sample = _finite(values, 1)
    n = sample.size
    if n == 1:
        return Interval(float(sample[0]), None, None, "n=1")
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * float(sample.std(ddof=1)) / math.sqrt(n)
    mean = float(sample.mean())
    return Interval(mean, mean - half, mean + half, f"n={n}", n - 1)


def crossed_interval(grid: ArrayLike, level: float = LEVEL) -> Interval:
    """Return the mean over a complete grid of styles and contents, both taken as random.

    y_ij = m + a_i + b_j + e_ij; V = (MS_A + MS_B - MS_E) / (ab), at least MS_E / (ab), with Satterthwaite's degrees of
    freedom. A grid of one row or column leaves only the other factor: Student's interval over that.

    Args:
        grid: (styles, contents).
        level: confidence.

    Raises:
        ValueError: if the grid is not two-dimensional, or naming a cell that is missing (not finite).
    """
    y = _grid(grid, 2)
    a, b = y.shape
    if min(a, b) == 1:
        return t_interval(y.ravel(), level)
    mean_square, ms_error, df_error = _mean_squares(y)
    ms_a, ms_b = mean_square
    total = ms_a + ms_b - ms_error
    if total > ms_error:
        variance = total / (a * b)
        df = total**2 / (ms_a**2 / (a - 1) + ms_b**2 / (b - 1) + ms_error**2 / df_error)
    else:
        variance, df = ms_error / (a * b), df_error
    return _around(float(y.mean()), variance, df, f"{a} styles x {b} contents", level)


def seeded_interval(grid: ArrayLike, level: float = LEVEL) -> Interval:
    """Return the mean over training seeds, styles and contents, all three taken as random main effects.

    V = (MS_R + MS_A + MS_B - 2 MS_E) / n, at least MS_E / n. Factors with one level drop out.

    Args:
        grid: (seeds, styles, contents).
        level: confidence.

    Raises:
        ValueError: as `crossed_interval`.
    """
    y = _grid(grid, 3)
    if min(y.shape) == 1:
        flat = y.squeeze()
        return crossed_interval(flat, level) if flat.ndim == 2 else t_interval(flat, level)
    mean_square, ms_error, df_error = _mean_squares(y)
    total = sum(mean_square) - 2 * ms_error
    if total > ms_error:
        parts = [ms**2 / (size - 1) for ms, size in zip(mean_square, y.shape, strict=True)]
        df = total**2 / (sum(parts) + 4 * ms_error**2 / df_error)
    else:
        total, df = ms_error, df_error
    design = f"{y.shape[0]} seeds x {y.shape[1]} styles x {y.shape[2]} contents"
    return _around(float(y.mean()), total / y.size, df, design, level)


def wilson(successes: int, count: int, level: float = LEVEL) -> Interval:
    """Return a share with Wilson's interval.

    Raises:
        ValueError: if there is no trial, or more successes than trials.
    """
    if not 0 <= successes <= count or count < 1:
        raise ValueError(f"expected 0 <= successes <= count and count >= 1, got {successes} and {count}")
    found = stats.binomtest(successes, count).proportion_ci(level, "wilson")
    return Interval(successes / count, float(found.low), float(found.high), f"{successes} of {count}")


def fieller(numerator: ArrayLike, denominator: ArrayLike, level: float = LEVEL) -> Interval | None:
    """Return the ratio of two means over the same units, with Fieller's interval.

    Args:
        numerator: (n,) values, one a unit such as a style.
        denominator: (n,) values of the same units.
        level: confidence.

    Returns:
        The ratio; None where the denominator's mean lies within its own interval of 0, so that no ratio is defined.

    Raises:
        ValueError: for unequal counts or fewer than two units.
    """
    x, y = _finite(numerator, 2), _finite(denominator, 2)
    if x.size != y.size:
        raise ValueError(f"expected as many numerators as denominators, got {x.size} and {y.size}")
    n = x.size
    covariance = np.cov(x, y) / n
    mean_x, mean_y = float(x.mean()), float(y.mean())
    t2 = float(stats.t.ppf((1 + level) / 2, n - 1)) ** 2
    lead = mean_y**2 - t2 * covariance[1, 1]
    if lead <= 0:
        return None
    middle = mean_x * mean_y - t2 * covariance[0, 1]
    inner = middle**2 - lead * (mean_x**2 - t2 * covariance[0, 0])
    root = math.sqrt(max(inner, 0.0))
    return Interval(mean_x / mean_y, (middle - root) / lead, (middle + root) / lead, f"n={n}", n - 1)


def two_way_bootstrap(
    grid: ArrayLike, statistic: Callable[[Floats], float], repetitions: int = 10_000, seed: int = 0
) -> Interval:
    """Return a statistic of a grid of styles and contents with a percentile interval from resampling both.

    Args:
        grid: (styles, contents).
        statistic: takes a resampled grid, returns a number.
        repetitions: of the resampling.
        seed: of the resampling.

    Raises:
        ValueError: for fewer than 20 styles: it would cover too little there; use `crossed_interval` for a mean.
    """
    y = _grid(grid, 2)
    a, b = y.shape
    if a < FEWEST_BOOTSTRAPPED:
        raise ValueError(
            f"a two-way bootstrap needs at least {FEWEST_BOOTSTRAPPED} styles to cover what it claims, got {a}; use "
            "crossed_interval for a mean"
        )
    generator = np.random.Generator(np.random.PCG64(seed))
    values = [
        statistic(y[np.ix_(generator.integers(a, size=a), generator.integers(b, size=b))]) for _ in range(repetitions)
    ]
    low, high = np.percentile(values, [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2])
    return Interval(float(statistic(y)), float(low), float(high), f"{a} styles x {b} contents, bootstrap")


def jackknife_interval(estimate: float, without: Sequence[float], level: float = LEVEL) -> Interval:
    """Return an estimate with the interval of a delete-block jackknife.

    Args:
        estimate: from all blocks.
        without: the estimate without each block, two at least.
        level: confidence.
    """
    left_out = _finite(without, 2)
    blocks = left_out.size
    error = math.sqrt((blocks - 1) / blocks * float(((left_out - left_out.mean()) ** 2).sum()))
    half = float(stats.t.ppf((1 + level) / 2, blocks - 1)) * error
    return Interval(estimate, estimate - half, estimate + half, f"{blocks} blocks", blocks - 1)


def smallest_effect(pairs: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the effect, in standard deviations of the paired difference, that a comparison finds with this power.

    Args:
        pairs: seeds (or other units) compared, >= 2.
        power: chance to find it.
        alpha: two-sided level of the test.
    """
    if pairs < 2:
        raise ValueError(f"a paired comparison needs at least two pairs, got {pairs}")
    critical = float(stats.t.ppf(1 - alpha / 2, pairs - 1))

    def reached(effect: float) -> float:
        shifted = stats.nct(pairs - 1, effect * math.sqrt(pairs))
        return float(1 - shifted.cdf(critical) + shifted.cdf(-critical))

    low, high = 0.0, 1.0
    while reached(high) < power:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < power else (low, middle)
    return high


def _around(mean: float, variance: float, df: float, design: str, level: float) -> Interval:
    half = float(stats.t.ppf((1 + level) / 2, df)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half, design, df)


def _mean_squares(y: Floats) -> tuple[list[float], float, int]:
    """Return mean squares of the main effects, of the rest, and the rest's degrees of freedom."""
    grand = y.mean()
    sums, fitted = [], np.full_like(y, grand)
    for axis, size in enumerate(y.shape):
        means = y.mean(axis=tuple(other for other in range(y.ndim) if other != axis), keepdims=True)
        sums.append(float(y.size / size * ((means - grand) ** 2).sum() / (size - 1)))
        fitted += means - grand
    df = y.size - 1 - sum(size - 1 for size in y.shape)
    return sums, float(((y - fitted) ** 2).sum() / df), df


def _grid(values: ArrayLike, dimensions: int) -> Floats:
    grid = np.asarray(values, dtype=np.float64)
    if grid.ndim != dimensions or not grid.size:
        raise ValueError(f"expected a grid of {dimensions} dimensions, got shape {grid.shape}")
    missing = np.argwhere(~np.isfinite(grid))
    if len(missing):
        raise ValueError(
            f"the grid must be complete, but {len(missing)} cells are missing, the first at "
            f"{tuple(missing[0].tolist())}; evaluate them, or leave their style or content out"
        )
    return grid


def _finite(values: ArrayLike, fewest: int) -> Floats:
    sample = np.asarray(values, dtype=np.float64).ravel()
    if sample.size < fewest or not np.isfinite(sample).all():
        raise ValueError(f"expected at least {fewest} finite values, got {sample.tolist()[:5]}")
    return sample
