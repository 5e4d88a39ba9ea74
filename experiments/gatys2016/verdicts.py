"""Tables of the studies: shares with Wilson's interval, means with Student's over pairs."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from experiments.gatys2016.pairs import GROUPS
from experiments.gatys2016.runs import Row, by_pair
from stylebench.statistics.intervals import Interval, t_interval, wilson

Settings = Mapping[str, Row]
SCORES = {"psnr": "PSNR", "edges": "edges", "iou": "masks", "iou_blurred": "blurred masks"}
TAPS, RATIOS = 5, 5  # settings of a complete pair


class Table:
    """A Markdown table.

    Args:
        *head: its columns.
    """

    def __init__(self, *head: str) -> None:
        self._rows = [head, ("---",) * len(head)]

    def add(self, *cells: object) -> None:
        """Add a row; means with an interval are cut to three digits."""
        self._rows.append(tuple(short(cell) if isinstance(cell, Interval) else str(cell) for cell in cells))

    def __str__(self) -> str:
        return "\n".join("| " + " | ".join(row) + " |" for row in self._rows)


def short(found: Interval) -> str:
    """Return a mean with its interval, in three digits."""
    if found.low is None or found.high is None:
        return f"{found.mean:.3g}"
    return f"{found.mean:.3g} [{found.low:.3g}, {found.high:.3g}]"


def counted(holds: Sequence[bool]) -> str:
    """Return how often something holds, as a share with Wilson's interval."""
    found = wilson(sum(holds), len(holds))
    return f"{sum(holds)}/{len(holds)} = {found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def tables(rows: Sequence[Row]) -> str:
    """Return the tables of all studies that have results."""
    parts = [
        (title, make(rows))
        for name, (title, make) in STUDIES.items()
        if any(row["study"] == name for row in rows)
    ]  # fmt: skip
    return "\n\n".join(f"## {title}\n\n{table}" for title, table in parts)


def rising(values: Sequence[float]) -> bool:
    """Tell whether every value is larger than the one before."""
    return all(before < after for before, after in pairwise(values))


def tradeoff(rows: Sequence[Row]) -> str:
    """Return how often the terms are monotone over the weights, and how far the ends are apart."""
    table = Table(
        "pairs", "style term falls", "content term rises", "both", "both, without the last weight", "content, ends",
        "style, ends", "SSIM, ends",
    )  # fmt: skip
    for group, found in _groups(rows, "tradeoff", RATIOS).items():
        ordered = [[settings[key] for key in sorted(settings, key=float)] for settings in found]
        style, content = ([[row[name] for row in pair] for pair in ordered] for name in ("style", "content"))
        falls, rises = [rising(values[::-1]) for values in style], [rising(values) for values in content]
        shorter = [rising(a[-2::-1]) and rising(b[:-1]) for a, b in zip(style, content, strict=True)]
        ssims = [float(np.mean([pair[place]["ssim"] for pair in ordered])) for place in (0, -1)]
        table.add(
            group, counted(falls), counted(rises), counted([a and b for a, b in zip(falls, rises, strict=True)]),
            counted(shorter), f"x {np.median([b[-1] / b[0] for b in content]):.3g}",
            f"x {np.median([a[0] / a[-1] for a in style]):.3g}", f"{ssims[0]:.2f}, {ssims[1]:.2f}",
        )  # fmt: skip
    return str(table)


def tradeoff_curve(rows: Sequence[Row]) -> str:
    """Return the mean terms at each weight."""
    found = [row for row in rows if row["study"] == "tradeoff"]
    table = Table("style weight, x default", "content term", "style term", "SSIM to content", "judged style distance")
    for key in sorted({row["setting"] for row in found}, key=float):
        own = [row for row in found if row["setting"] == key]
        table.add(
            key, *(f"{np.mean([row[name] for row in own]):.3g}" for name in ("content", "style", "ssim", "judged"))
        )
    return str(table)


def content_layer(rows: Sequence[Row]) -> str:
    """Compare a shallow with a deep content tap."""
    table = Table(
        "weights", "pairs", "SSIM higher for shallow", "edges higher for shallow", "style term lower for deep",
        "SSIM, shallow - deep", "style term, shallow / deep",
    )  # fmt: skip
    for weights in ("matched", "raw"):
        for group in GROUPS:
            pairs = []
            for first, settings in by_pair(rows, "content_layer"):
                one, other = settings.get(f"shallow {weights}"), settings.get(f"deep {weights}")
                if first["group"] == group and one and other:
                    pairs.append((one, other))
            if pairs:
                table.add(
                    weights, group,
                    *(counted([a[key] > b[key] for a, b in pairs]) for key in ("ssim", "edges", "style")),
                    t_interval([a["ssim"] - b["ssim"] for a, b in pairs]),
                    f"{np.median([a['style'] / b['style'] for a, b in pairs]):.3g}",
                )  # fmt: skip
    return str(table)


def init(rows: Sequence[Row]) -> str:
    """Return how much the start matters, over the pairs of all groups, for they are few."""
    starts = [row for row in rows if row["study"] == "init"]
    totals = [row["totals"] for row in starts]
    kept = [
        float(np.mean([row[f"ssim_{name}_of_{name}"] - row[f"ssim_{name}_of_noise"] for name in ("content", "style")]))
        for row in starts
    ]
    table = Table("pairs", "totals", "range over mean, median", "range <= 10 %")
    for word, first in (("content, style, 4 of noise", 0), ("4 of noise", 2)):
        spreads = [spread(values[first:]) for values in totals]
        table.add(len(starts), word, f"{np.median(spreads):.3g}", counted([value <= 0.1 for value in spreads]))
    apart = Table("distance by", "seeds nearer than styles", "among 4 seeds", "among 2 styles")
    for word, name in (("place", ""), ("statistics", "_statistics")):
        seeds, styles = ([row[f"among_{kind}{name}"] for row in starts] for kind in ("noise", "styles"))
        nearer = [a < b for a, b in zip(seeds, styles, strict=True)]
        apart.add(word, counted(nearer), t_interval(seeds), t_interval(styles))
    lower = geometric([values[0] / float(np.mean(values[2:])) for values in totals])
    lines = [
        f"Total from the content over that from noise, geometric mean: {short(lower)}",
        f"SSIM of the result with the fixed start, less that of a result from noise: {short(t_interval(kept))}",
        f"Largest difference of two optimizations from one fixed start: {max(row['repeat'] for row in starts):g}",
    ]
    return "\n\n".join([str(table), str(apart), *lines])


def spread(values: Sequence[float]) -> float:
    """Return the range of values over their mean."""
    return (max(values) - min(values)) / float(np.mean(values))


def depth(rows: Sequence[Row]) -> str:
    """Return what each tap reconstructs, and whether objects and edges are lost later than pixels."""
    table = Table(
        "weights",
        "tap",
        "PSNR, dB",
        "edge F1",
        "mask IoU",
        "mask IoU, blurred",
        "PSNR among seeds",
        "loss left, median",
    )
    later = Table("weights", *(f"{SCORES[key]} lost later than PSNR" for key in SCORES if key != "psnr"), "PSNR falls")
    own_rows = [row for row in rows if row["study"] == "depth"]
    found = [settings for _, settings in by_pair(rows, "depth")]
    for weights in ("shipped", "random-0"):
        own = [settings for settings in (_of_weights(each, weights) for each in found) if len(settings) == TAPS]
        if not own:
            continue
        for tap in own[0]:
            columns = [[float(np.mean(s[tap][key])) for s in own] for key in (*SCORES, "psnr_among")]
            left = np.median([value for s in own for value in s[tap]["left"]])
            table.add(weights, tap, *map(t_interval, columns), f"{left:.2g}")
        curves = {key: [[float(np.mean(s[tap][key])) for tap in s] for s in own] for key in SCORES}
        places = {key: [half_lost(curve) for curve in values] for key, values in curves.items()}
        later.add(
            weights,
            *(
                counted([a > b for a, b in zip(places[key], places["psnr"], strict=True)])
                for key in SCORES
                if key != "psnr"
            ),
            counted([rising(curve[::-1]) for curve in curves["psnr"]]),
        )
    known = [row for row in own_rows if row["setting"] == own_rows[0]["setting"]]
    chance = ", ".join(
        f"{SCORES[key]} {np.mean([np.mean(row[f'{key}_noise']) for row in known]):.3g}" for key in SCORES
    )
    return f"{table}\n\n{later}\n\nWhite noise itself: {chance}"


def half_lost(curve: Sequence[float]) -> float:
    """Return the depth, in steps, at which a score has lost half of its range from first to last, interpolated."""
    half = (curve[0] + curve[-1]) / 2
    for place, (before, after) in enumerate(pairwise(curve)):
        if after <= half:
            return place + ((before - half) / (before - after) if before > after else 0.0)
    return float(len(curve) - 1)


def _of_weights(settings: Settings, weights: str) -> dict[str, Row]:
    return {key.split()[0]: row for key, row in settings.items() if key.endswith(weights)}


def optimizers(rows: Sequence[Row]) -> str:
    """Return how many evaluations L-BFGS needs for what Adam reaches."""
    table = Table(
        "Adam's rate", "Adam's evaluations", "pairs", "L-BFGS gets there", "its evaluations, median [quartiles]",
        "Adam / L-BFGS, geometric mean",
    )  # fmt: skip
    found = [settings for _, settings in by_pair(rows, "optimizers") if "lbfgs" in settings]
    for rate in sorted({key for settings in found for key in settings if key != "lbfgs"}):
        for count in (25, 50, 100, 200):
            both = [
                (s["lbfgs"]["curve"], s[rate]["curve"]) for s in found if rate in s and len(s[rate]["curve"]) >= count
            ]
            needed = [evaluations_to(curve, min(other[:count])) for curve, other in both]
            if not needed:
                continue
            # What is never reached counts as one evaluation more than there were, which favors L-BFGS.
            capped = [
                len(curve) + 1 if value is None else value for value, (curve, _) in zip(needed, both, strict=True)
            ]
            low, middle, high = np.percentile(capped, [25, 50, 75])
            ratio = geometric([count / value for value in capped])
            table.add(
                rate, count, len(both), counted([value is not None for value in needed]),
                f"{middle:.3g} [{low:.3g}, {high:.3g}]", ratio,
            )  # fmt: skip
    return str(table)


def geometric(values: Sequence[float]) -> Interval:
    """Return the geometric mean of positive values, with Student's interval of their logarithms."""
    logs = t_interval(np.log(values))
    low, high = (None if end is None else float(np.exp(end)) for end in (logs.low, logs.high))
    return Interval(float(np.exp(logs.mean)), low, high, logs.design, logs.df)


def evaluations_to(curve: Sequence[float], goal: float) -> int | None:
    """Return after how many evaluations a curve first is at a goal or below; None if never."""
    return next((place for place, value in enumerate(curve, 1) if value <= goal), None)


def scale(rows: Sequence[Row]) -> str:
    """Return what the size of the style picture changes."""
    table = Table(
        "style scale", "pairs", "mean wavelength, px", "content term", "style term at scale 1", "judged",
        "SSIM to content",
    )  # fmt: skip
    found = [settings for _, settings in by_pair(rows, "scale")]
    for key in sorted({key for settings in found for key in settings}, key=float):
        own = [settings[key] for settings in found if key in settings]
        columns = [[row[name] for row in own] for name in ("wavelength", "content", "style", "judged", "ssim")]
        table.add(key, len(own), *map(t_interval, columns))
    ends = [(settings["0.5"], settings["2"]) for settings in found if "0.5" in settings and "2" in settings]
    longer = [large["wavelength"] > small["wavelength"] for small, large in ends]
    return f"{table}\n\nLonger waves at scale 2 than at 0.5: {counted(longer)}" if longer else str(table)


def photos(rows: Sequence[Row]) -> str:
    """Return what photographs take of the style of photographs."""
    table = Table(
        "style weight", "pairs", "style term below the content's", "style term left", "judged left", "SSIM to content"
    )
    for key in ("default", "tenth"):
        own = [row for row in rows if row["study"] == "photos" and row["setting"] == key]
        if own:
            table.add(
                key, len(own), counted([row["style"] < row["style_of_content"] for row in own]),
                t_interval([row["style"] / row["style_of_content"] for row in own]),
                t_interval([row["judged"] / row["judged_of_content"] for row in own]),
                t_interval([row["ssim"] for row in own]),
            )  # fmt: skip
    return str(table)


def _groups(rows: Sequence[Row], study: str, settings: int) -> dict[str, list[dict[str, Row]]]:
    """Return the results of each group whose pairs are complete."""
    found: dict[str, list[dict[str, Row]]] = {}
    for first, own in by_pair(rows, study):
        if len(own) == settings:
            found.setdefault(first["group"], []).append(own)
    return found


STUDIES: dict[str, tuple[str, Callable[[Sequence[Row]], str]]] = {
    "tradeoff": ("Trade-off", lambda rows: f"{tradeoff(rows)}\n\n{tradeoff_curve(rows)}"),
    "content_layer": ("Content layer", content_layer),
    "init": ("Initialization", init),
    "depth": ("Depth of content reconstruction", depth),
    "optimizers": ("L-BFGS against Adam", optimizers),
    "scale": ("Style scale", scale),
    "photos": ("Photograph to photograph", photos),
}
