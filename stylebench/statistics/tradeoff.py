"""Content against style: utilities by fixed anchors, the Pareto front and what lies under it, and closed gaps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stylebench.statistics.agreement import kendall
from stylebench.statistics.intervals import Floats, Interval, fieller, t_interval

FEWEST_RATIOS = 3  # points that a trade-off curve needs


@dataclass(frozen=True)
class Anchors:
    """Distances that fix the ends of both axes, measured once on a data set, whatever methods are compared.

    Attributes:
        content_identity: content distance of the content itself, usually 0.
        content_random: content distance of another content.
        style_identity: style distance of the untouched content.
        style_real: style distance of two pictures of one style.

    Raises:
        ValueError: if an axis has no length.
    """

    content_identity: float
    content_random: float
    style_identity: float
    style_real: float

    def __post_init__(self) -> None:
        for axis, near, far in (
            ("content", self.content_identity, self.content_random),
            ("style", self.style_real, self.style_identity),
        ):
            if not far > near:
                raise ValueError(
                    f"the {axis} anchors must lie apart, far above near, got {far:g} and {near:g}: this metric does "
                    "not tell them apart on this data set, so it makes no axis"
                )

    def content_utility(self, distance: ArrayLike) -> Floats:
        """Map content distances to [0, 1]: 1 keeps the content, 0 shows another one."""
        return _utility(distance, self.content_random, self.content_identity)

    def style_utility(self, distance: ArrayLike) -> Floats:
        """Map style distances to [0, 1]: 0 is the untouched content, 1 a picture of the style."""
        return _utility(distance, self.style_identity, self.style_real)


def worse_of(*utilities: ArrayLike) -> Floats:
    """Return the smaller of the utilities that encoders of different origin give, point by point."""
    return np.asarray(np.minimum.reduce([np.asarray(u, dtype=np.float64) for u in utilities]))


def pareto_front(points: ArrayLike) -> list[int]:
    """Return which points no other point equals or beats on both axes, by growing first axis.

    Args:
        points: (n, 2), more is better on both axes. Of equal points the first stays.

    Returns:
        Their rows.
    """
    grid = _points(points)
    order = sorted(range(len(grid)), key=lambda row: (-grid[row, 0], -grid[row, 1], row))
    front: list[int] = []
    best = -math.inf
    for row in order:
        if grid[row, 1] > best:
            front.append(row)
            best = float(grid[row, 1])
    return front[::-1]


def hypervolume(points: ArrayLike) -> float:
    """Return the area that points of [0, 1] x [0, 1] dominate, over (0, 0); exact.

    Args:
        points: (n, 2), more is better on both axes.
    """
    grid = _points(points).clip(min=0)
    area, before = 0.0, 0.0
    for row in pareto_front(grid):
        area += (float(grid[row, 0]) - before) * float(grid[row, 1])
        before = float(grid[row, 0])
    return area


@dataclass(frozen=True)
class TradeOff:
    """What a sweep of the content/style ratio does.

    Attributes:
        auc: hypervolume of the curve.
        knee: the ratio with the largest harmonic mean of both utilities.
        balance: that mean.
        style_range: part of [0, 1] that the style utility spans.
        responsiveness: Kendall's tau of ratio and style utility, over styles.
        slope: rise of the style utility a decade of the ratio, at the knee, over styles.
    """

    auc: float
    knee: float
    balance: float
    style_range: float
    responsiveness: Interval
    slope: Interval


def trade_off(ratios: Sequence[float], content: ArrayLike, style: ArrayLike) -> TradeOff:
    """Summarize a sweep of the content/style ratio.

    Args:
        ratios: (r,) positive and ascending, r >= 3; best at least 7 over 4 decades.
        content: (styles, r) content utilities.
        style: (styles, r) style utilities, or read-out strengths.

    Returns:
        The summary; the curve is the mean over styles.

    Raises:
        ValueError: if shapes do not fit or ratios do not ascend.
    """
    steps = np.log10(np.asarray(ratios, dtype=np.float64))
    kept, gained = (np.atleast_2d(np.asarray(part, dtype=np.float64)) for part in (content, style))
    if steps.size < FEWEST_RATIOS or kept.shape != gained.shape or kept.shape[1] != steps.size:
        raise ValueError(
            f"expected (styles, {steps.size}) utilities of at least {FEWEST_RATIOS} ratios, got {kept.shape} and "
            f"{gained.shape}"
        )
    if not (np.isfinite(steps).all() and (np.diff(steps) > 0).all()):
        raise ValueError(f"expected positive ratios in ascending order, got {list(ratios)}")
    curve = np.stack([kept.mean(0), gained.mean(0)], 1)  # (r, 2)
    total = curve.sum(1)
    balance = np.divide(2 * curve.prod(1), total, out=np.zeros(len(curve)), where=total > 0)
    knee = int(balance.argmax())
    around = slice(max(knee - 1, 0), min(knee + 2, len(curve)))
    slopes = [float(np.polyfit(steps[around], row[around], 1)[0]) for row in gained]
    taus = [0.0 if math.isnan(tau := kendall(steps, row)) else tau for row in gained]
    return TradeOff(
        auc=hypervolume(curve),
        knee=float(ratios[knee]),
        balance=float(balance[knee]),
        style_range=float(np.ptp(curve[:, 1])),
        responsiveness=t_interval(taus),
        slope=t_interval(slopes),
    )


def gap_closed(
    method: ArrayLike, trivials: ArrayLike, ceiling: ArrayLike, larger_is_better: bool = True
) -> Interval | None:
    """Return how much of the way from the best trivial entry to the trained ceiling a method goes.

    Args:
        method: (styles,) values of the method.
        trivials: (entries, styles) values of trivial entries; the one with the best mean counts.
        ceiling: (styles,) values of the ceiling: the same generator trained on exact pairs.
        larger_is_better: direction of the metric.

    Returns:
        The share, 0 = trivial, 1 = ceiling, with Fieller's interval over styles; None where the ceiling is not clearly
        better than the best trivial entry, so that there is no gap to close.
    """
    sign = 1.0 if larger_is_better else -1.0
    own, best = (sign * np.asarray(part, dtype=np.float64) for part in (method, ceiling))
    entries = sign * np.atleast_2d(np.asarray(trivials, dtype=np.float64))
    if own.shape != best.shape or entries.shape[1:] != own.shape:
        raise ValueError(f"expected values of the same styles, got {own.shape}, {entries.shape} and {best.shape}")
    base = entries[int(entries.mean(1).argmax())]
    if float((best - base).mean()) <= 0:
        return None
    return fieller(own - base, best - base)


def _utility(distance: ArrayLike, bad: float, good: float) -> Floats:
    return np.asarray(((bad - np.asarray(distance, dtype=np.float64)) / (bad - good)).clip(0, 1))


def _points(points: ArrayLike) -> Floats:
    grid = np.asarray(points, dtype=np.float64)
    if grid.ndim != 2 or grid.shape[1] != 2 or not np.isfinite(grid).all():
        raise ValueError(f"expected (n, 2) finite points, got shape {grid.shape}")
    return grid
