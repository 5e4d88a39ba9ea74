"""From a metric's values on ladders, and from what it can be fooled with, to its card and its grade."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stylebench.grading.ladders import CIRCULAR, FLAT, LADDERS, MAIN, OTHER, OWN, TARGET, truth_for
from stylebench.statistics.agreement import images_needed, order_agreement, resolution, selectivity, spread
from stylebench.statistics.intervals import t_interval

Values = NDArray[np.float64]
LEVEL = "4"  # of 255: changes that are graded
UNGRADED = "ungraded"
_TAU = {"A": 0.9, "B": 0.7}
_SPREAD = {"A": 0.05, "B": 0.15}
_GAIN = {"A": 0.2, "B": 0.5}
_SELECTIVITY = 0.3
_EDIT_GAIN = 0.2
_TRANSFER = 0.2  # up to which an encoder of another origin is a partner
_LEAST_RANGE = 1e-9


@dataclass(frozen=True)
class GameFacts:
    """What changes without any style buy, in parts of the range from the content to the target.

    Attributes:
        gains: of the attack on the metric itself, by levels of 255; empty if there was none.
        transfer: of the attack on the metric itself, under the same metric on other extractors.
        others: the most that an attack on any other metric buys, and which; None if nothing was attacked.
        joint: of the attack on both encoders of a headline axis.
        edits: of simple edits.
        strength: read-out strength of the attacked images.
        partner: an extractor of other origin to which the attack hardly transfers.
    """

    gains: Mapping[str, float] = field(default_factory=dict)
    transfer: Mapping[str, float] = field(default_factory=dict)
    others: tuple[str, float] | None = None
    joint: float | None = None
    edits: Mapping[str, float] = field(default_factory=dict)
    strength: float | None = None
    partner: str | None = None


@dataclass(frozen=True)
class Card:
    """What is known of a metric in one world.

    Attributes:
        name: of the metric.
        axis: what it claims to tell.
        world: where it was graded.
        ladders: by name: tau with its interval over styles, spread, styles, whether it is circular, or why it is left
            out.
        tau: mean over the ladders of its own axis that are not circular, with its interval over styles; None without.
        selectivity: see `statistics.agreement.selectivity`; None where there is no other axis.
        spread: on L14.
        game: what it can be fooled with.
        resolution: first rung of its main ladder that it tells from the next, over styles; None if none.
        images_needed: images for a mean tau of 0.9 on its main ladder; None if all are not enough.
        grade: A, B, C or ungraded.
        why: rules that kept it from a better grade.
        design: how it was graded.
    """

    name: str
    axis: str
    world: str
    ladders: Mapping[str, Mapping[str, Any]]
    tau: tuple[float, float | None, float | None] | None
    selectivity: float | None
    spread: float | None
    game: GameFacts
    resolution: int | None
    images_needed: int | None
    grade: str
    why: Sequence[str]
    design: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain values with four digits, ready for JSON."""
        rounded: dict[str, Any] = _rounded(asdict(self))
        return rounded


def make_card(
    name: str,
    axis: str,
    world: str,
    values: Mapping[str, Sequence[Values]],
    span: float,
    game: GameFacts,
    *,
    doses: bool = False,
    color_only: bool = False,
    missing: Mapping[str, str] | None = None,
    design: Mapping[str, Any] | None = None,
) -> Card:
    """Grade a metric.

    Args:
        name: of the metric.
        axis: what it claims to tell.
        world: where.
        values: by ladder, one array (samples, rungs) a style, larger = better.
        span: the metric's range on its axis, from worst to best; a metric whose range is not positive is C.
        game: what it can be fooled with.
        doses: whether it tells an amount of style.
        color_only: whether a palette swap is no deceit.
        missing: ladders that were not climbed, with the reason.
        design: how it was graded.
    """
    facts: dict[str, dict[str, Any]] = {key: {"left_out": why} for key, why in (missing or {}).items()}
    by_style: dict[str, list[float]] = {}
    for key, arrays in values.items():
        facts[key], by_style[key] = _climbed(key, axis, doses, arrays, span)
    if game.gains:
        facts["L17"] = {"spread": max(abs(bought) for bought in game.gains.values()), "circular": False}
    own = [key for key in OWN[axis] if by_style.get(key) and not (axis == TARGET and key in CIRCULAR)]
    other = [key for key in OTHER[axis] if by_style.get(key)]
    tau = _mean_tau([by_style[key] for key in own])
    selective = (
        selectivity([facts[key]["tau"][0] for key in own], [facts[key]["tau"][0] for key in other])
        if own and other
        else None
    )
    still = facts.get("L14", {}).get("spread")
    letter, why = grade(None if tau is None else tau[0], selective, still, game, color_only)
    if letter != UNGRADED and span <= _LEAST_RANGE:
        letter, why = "C", ["does not tell the two ends of its axis apart"]
    main = [a for a in values.get(MAIN[axis], []) if len(a)]
    return Card(
        name, axis, world, facts, tau, selective, still, game, _resolution(main), _needed(main, axis, doses), letter,
        why, design or {},
    )  # fmt: skip


def grade(
    tau: float | None,
    selective: float | None,
    still: float | None,
    game: GameFacts,
    color_only: bool = False,
) -> tuple[str, list[str]]:
    """Return the grade, and the rules that kept a metric from a better one.

    Args:
        tau: mean on the metric's own axis, None without a ladder there.
        selective: selectivity, None where there is no other axis; an A asks for it.
        still: spread over equal pictures in parts of the range; None where the world draws nothing again.
        game: what it can be fooled with; a metric without an attack of its own is judged by those on others.
        color_only: whether a palette swap is no deceit.
    """
    if tau is None:
        return UNGRADED, ["no ladder on its axis that is not circular"]
    bought = game.gains.get(LEVEL, game.others[1] if game.others else 0.0)
    edits = {key: gain for key, gain in game.edits.items() if not (color_only and key == "palette_swap")}
    worst = max(edits, key=lambda key: edits[key]) if edits else None
    kept_from: dict[str, list[str]] = {"A": [], "B": []}
    for letter, why in kept_from.items():
        if tau < _TAU[letter]:
            why.append(f"tau {tau:.2f} < {_TAU[letter]}")
        if still is not None and still > _SPREAD[letter]:
            why.append(f"spread {still:.2f} > {_SPREAD[letter]}")
        if bought > _GAIN[letter] and not (letter == "B" and game.partner):
            why.append(f"gain {bought:.2f} > {_GAIN[letter]}")
        if worst is not None and edits[worst] > _EDIT_GAIN:
            why.append(f"{worst} buys {edits[worst]:.2f} > {_EDIT_GAIN}")
    if selective is None or selective < _SELECTIVITY:
        found = "no other axis" if selective is None else f"selectivity {selective:.2f}"
        kept_from["A"].append(f"{found}, A asks for {_SELECTIVITY}")
    for letter in ("A", "B"):
        if not kept_from[letter]:
            return letter, kept_from["A"]
    return "C", kept_from["B"]


def partner_of(transfer: Mapping[str, float], origins: Mapping[str, str], own: str) -> str | None:
    """Return an extractor of another origin to which an attack hardly transfers, the one that it fools least.

    Args:
        transfer: gains by extractor.
        origins: by extractor.
        own: the attacked one.
    """
    fit = {key: gain for key, gain in transfer.items() if origins[key] != origins[own] and gain <= _TRANSFER}
    return min(fit, key=lambda key: fit[key]) if fit else None


def gain(before: Values, after: Values, wanted: Values) -> float | None:
    """Return how much of the way up from `before` to `wanted` a change goes, by means; None if it leads nowhere up."""
    way = float(np.nanmean(wanted) - np.nanmean(before))
    return float(np.nanmean(after) - np.nanmean(before)) / way if way > _LEAST_RANGE else None


def _climbed(
    key: str, axis: str, doses: bool, arrays: Sequence[Values], span: float
) -> tuple[dict[str, Any], list[float]]:
    """Return what one ladder shows, and tau by style, NaN for a style that gives no value."""
    kept = [array[np.isfinite(array).all(1)] for array in arrays]
    some = [array for array in kept if len(array)]
    found: dict[str, Any] = {"styles": len(some), "circular": axis == TARGET and key in CIRCULAR}
    if not some:
        return {"left_out": "no style on which it gives a value"}, []
    if key in FLAT[axis] and span > _LEAST_RANGE:
        found["spread"] = spread(np.concatenate(some), span)
    truth = truth_for(LADDERS[key], axis, doses)
    if truth is None:
        return found, []
    interval = t_interval([order_agreement(array[None], truth).mean for array in some])
    found["tau"] = (interval.mean, interval.low, interval.high)
    return found, [order_agreement(array[None], truth).mean if len(array) else math.nan for array in kept]


def _mean_tau(taus: Sequence[Sequence[float]]) -> tuple[float, float | None, float | None] | None:
    """Return the mean over ladders of their means over styles, with an interval over styles.

    A style's share in that mean is linear: its values less each ladder's mean, over the ladder's number of styles.
    With every style on every ladder that is Student's interval of the styles' means.
    """
    if not taus:
        return None
    table = np.array(taus)  # (ladders, styles)
    means = np.nanmean(table, 1)
    mean = float(means.mean())
    counts = np.isfinite(table).sum(1)
    shares = np.nansum((table - means[:, None]) / counts[:, None], 0) / len(table)
    shares = shares[np.isfinite(table).any(0)]
    if len(shares) < 2:
        return mean, None, None
    half = t_interval(shares * len(shares)).half_width
    return (mean, None, None) if half is None else (mean, mean - half, mean + half)


def _resolution(arrays: Sequence[Values]) -> int | None:
    means = np.array([np.nanmean(array, 0) for array in arrays if np.isfinite(array).any(0).all()])
    if not len(means) or (means.shape[1] - 1) * 2.0 ** (1 - len(means)) >= 0.05:
        return None  # too few styles for any rung to pass
    return resolution(means)


def _needed(arrays: Sequence[Values], axis: str, doses: bool) -> int | None:
    truth = truth_for(LADDERS[MAIN[axis]], axis, doses)
    if all(len(array) == 1 for array in arrays):
        return None  # a metric of sets
    rows = np.concatenate(arrays) if arrays else np.zeros((0, 1))
    rows = rows[np.isfinite(rows).all(1)]
    return None if truth is None or not len(rows) else images_needed(rows, truth)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value
