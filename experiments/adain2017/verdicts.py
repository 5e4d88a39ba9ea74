"""Tables and verdict of the study of shuffled statistics, from its rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from stylebench.statistics.intervals import Interval, crossed_interval

Row = Mapping[str, Any]
Floats = NDArray[np.float64]
THRESHOLD, LEVEL = 1.5, 0.01  # of the ratio of medians and of the test, fixed before the study
REPETITIONS = 4000
CONDITIONS = (
    "none", "mean", "std", "joint", "indep", "resample", "mean_matched", "std_matched", "mean_flipped", "std_flipped",
)  # fmt: skip
DISTANCES = {"pd_judge": "pd, judge", "pd_rand_ms": "pd, rand-ms", "delta_e": "Delta E"}


def grid(rows: Sequence[Row], condition: str, measure: str) -> Floats:
    """Return the mean over the permutations of a measure by style and content, (styles, contents).

    Raises:
        ValueError: if a cell has no row.
    """
    own = [row for row in rows if row["kind"] == "picture" and row["condition"] == condition]
    if not own:
        raise ValueError(f"there is no row of the condition {condition!r}; let the study run to its end")
    shape = tuple(1 + max(row[key] for row in own) for key in ("style", "content"))
    sums, counts = np.zeros(shape), np.zeros(shape)
    for row in own:
        sums[row["style"], row["content"]] += row[measure]
        counts[row["style"], row["content"]] += 1
    if not counts.all():
        raise ValueError(f"{int((counts == 0).sum())} pairs of {condition} were not measured; run the study to its end")
    return sums / counts


def ratio_of_medians(one: Floats, other: Floats, repetitions: int = REPETITIONS) -> Interval:
    """Return the ratio of the medians over all pairs, with a percentile interval from resampling styles and contents.

    With a dozen of each such an interval is somewhat too narrow; `ratio_of_pairs` is the check.

    Args:
        one: (styles, contents) > 0.
        other: the same.
        repetitions: of the resampling.
    """
    generator = np.random.Generator(np.random.PCG64(0))
    a, b = one.shape
    styles = generator.integers(a, size=(repetitions, a, 1))
    contents = generator.integers(b, size=(repetitions, 1, b))
    medians = [np.median(values[styles, contents], axis=(1, 2)) for values in (one, other)]  # (repetitions,) each
    low, high = np.percentile(medians[0] / medians[1], [2.5, 97.5])
    middle = float(np.median(one) / np.median(other))
    return Interval(middle, float(low), float(high), f"{a} styles x {b} contents, bootstrap")


def ratio_of_pairs(one: Floats, other: Floats) -> Interval:
    """Return the geometric mean of the pairs' ratios, styles and contents taken as random."""
    found = crossed_interval(np.log(one / other))
    low, high = (None if end is None else float(np.exp(end)) for end in (found.low, found.high))
    return Interval(float(np.exp(found.mean)), low, high, found.design, found.df)


def wilcoxon(one: Floats, other: Floats) -> float:
    """Return the p-value of Wilcoxon's signed rank test over the pairs, two-sided."""
    return float(stats.wilcoxon(one.ravel(), other.ravel()).pvalue)


def verdict(ratio: Interval, p: float, matched: float) -> str:
    """Judge the claim that permuted means change the picture more than permuted deviations.

    Args:
        ratio: of the medians, means over deviations.
        p: of the test.
        matched: the same ratio at equal displacement of the features.

    Returns:
        `undecided` where the interval spans the threshold; else `supported` where the ratio reaches it, the test is
        significant and the matched ratio is on the same side of 1; else `refuted`.
    """
    if ratio.bounds is not None and ratio.bounds[0] < THRESHOLD < ratio.bounds[1]:
        return "undecided"
    return "supported" if ratio.mean >= THRESHOLD and p < LEVEL and matched > 1 else "refuted"


def tables(rows: Sequence[Row]) -> str:
    """Return all tables, in Markdown."""
    return "\n\n".join((conditions(rows), claims(rows), controls(rows), displacement(rows)))


def conditions(rows: Sequence[Row]) -> str:
    """Return the medians over all pairs of each measure in each condition."""
    layers = next(row for row in rows if row["kind"] == "setting")["layers"]
    parts = {part: [f"style_{part}_{layer}" for layer in layers] for part in ("mean", "std")}
    lines = [_line("condition", *DISTANCES.values(), "style term, means", "style term, deviations",
                   "pd to content, judge", "layout, 1 - cosine", "distance from the learned law")]  # fmt: skip
    lines.append(_line(*["---"] * 9))
    for condition in CONDITIONS:
        values = [np.median(grid(rows, condition, name)) for name in DISTANCES]
        values += [np.median(sum(grid(rows, condition, name) for name in names)) for names in parts.values()]
        values += [np.median(grid(rows, condition, name)) for name in ("content_pd_judge", "layout")]
        lines.append(_line(f"`{condition}`", *(f"{value:.3g}" for value in values), f"{_law(rows, condition):.4g}"))
    empty = [""] * (len(DISTANCES) + 4)
    lines.append(_line("other paintings of the training set", *empty, f"{_law(rows, 'learned'):.4g}"))
    return "\n".join(lines)


def claims(rows: Sequence[Row]) -> str:
    """Return the claim's ratios, tests and verdict for every distance."""
    lines = [_line("distance", "median, mean / std", "p, pairs", "p, styles", "mean / std of a pair",
                   "median, matched", "p, matched", "verdict")]  # fmt: skip
    lines.append(_line(*["---"] * 8))
    for name, title in DISTANCES.items():
        by_mean, by_std = grid(rows, "mean", name), grid(rows, "std", name)
        matched_mean, matched_std = grid(rows, "mean_matched", name), grid(rows, "std_matched", name)
        ratio, matched = ratio_of_medians(by_mean, by_std), ratio_of_medians(matched_mean, matched_std)
        p = wilcoxon(by_mean, by_std)
        lines.append(_line(
            title, _short(ratio), f"{p:.2g}", f"{wilcoxon(by_mean.mean(1), by_std.mean(1)):.2g}",
            _short(ratio_of_pairs(by_mean, by_std)), _short(matched), f"{wilcoxon(matched_mean, matched_std):.2g}",
            verdict(ratio, p, matched.mean),
        ))  # fmt: skip
    return "\n".join(lines)


def controls(rows: Sequence[Row]) -> str:
    """Return what random signs do in place of a permutation, and both permutations together."""
    pairs = (("mean_flipped", "mean"), ("std_flipped", "std"), ("joint", "indep"), ("mean", "resample"),
             ("std", "resample"))  # fmt: skip
    lines = [_line("ratio of medians", *DISTANCES.values()), _line(*["---"] * 4)]
    for one, other in pairs:
        found = [ratio_of_medians(grid(rows, one, name), grid(rows, other, name)) for name in DISTANCES]
        lines.append(_line(f"`{one}` / `{other}`", *map(_short, found)))
    return "\n".join(lines)


def displacement(rows: Sequence[Row]) -> str:
    """Return how far the features are expected to move: the variances over the channels."""
    own = [row for row in rows if row["kind"] == "style"]
    ratios = [row["variance_mean"] / row["variance_std"] for row in own]
    low, middle, high = np.percentile(ratios, [0, 50, 100])
    return (
        f"Variance over channels of the means over that of the deviations, {len(own)} styles: median {middle:.3g}, "
        f"{low:.3g} to {high:.3g}."
    )


def _law(rows: Sequence[Row], condition: str) -> float:
    own = [row["distance"] for row in rows if row["kind"] == "law" and row["condition"] == condition]
    return float(np.mean(own))


def _short(found: Interval) -> str:
    return f"{found.mean:.3g}" if found.bounds is None else f"{found.mean:.3g} [{found.low:.3g}, {found.high:.3g}]"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
