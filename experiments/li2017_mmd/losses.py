"""Style losses beside each other at one gradient norm: what each lowers of itself and of the others.

    python -m experiments.li2017_mmd.losses --output losses.jsonl [--photos <photos>]
        [--contents <photos> --styles <paintings>]
    python -m experiments.li2017_mmd.losses --output losses.jsonl --tables

Every optimization starts from the content, where the calibration makes the style gradients of all losses equally large.
A value is the share of the content's own loss that is left in the result.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.gatys2016.claims import add_sources, source_of
from experiments.gatys2016.measures import ssim, style_distance
from experiments.gatys2016.pairs import Pair
from experiments.gatys2016.runs import STYLE_WEIGHT, Results, Row, label, optimize, rounded, terms
from experiments.gatys2016.verdicts import Table, counted
from stylebench.statistics.intervals import t_interval

STUDY = "losses"
SAMPLED = "mmd_gauss"  # compares random positions, so it takes Adam, and twice the evaluations
LOSSES: dict[str, tuple[str, ...]] = {
    "gram": ("model/style_loss=gram",),
    "mmd_linear": ("model/style_loss=mmd_linear",),
    "mmd_poly": ("model/style_loss=mmd_poly", "model.style_loss.c=1"),  # with c = 0 it is gram
    SAMPLED: ("model/style_loss=mmd_gauss", "model/minimizer=adam"),
    "bn_stats": ("model/style_loss=bn_stats",),
    "w2": ("model/style_loss=w2",),
}
_MANY = "model.style_loss.samples=16384"  # to measure with: the estimate's spread falls with their root
OWN, GRAM = 0.1, 0.5  # of the content's loss that may be left


def measured(pair: Pair, name: str, evaluations: int) -> dict[str, Any]:
    """Optimize a pair under a loss and return every loss of the result, as the share of the content's that is left."""
    count = 2 * evaluations if name == SAMPLED else evaluations
    run = optimize(pair, LOSSES[name], weight_style=STYLE_WEIGHT, evaluations=count, init="content")
    left: dict[str, float | None] = {}
    for other, overrides in LOSSES.items():
        chosen = (*overrides, _MANY) if other == SAMPLED else overrides
        after, before = (terms(image, None, pair.style, chosen)["style"] for image in (run.image, pair.content))
        left[other] = after / before
    kept = {"ssim": ssim(run.image, pair.content), "judged": style_distance(run.image, pair.style)}
    return rounded({**left, **kept, "judged_of_content": style_distance(pair.content, pair.style)})


def tables(rows: Sequence[Row]) -> str:
    """Return the cross-loss matrix, and the shares of pairs that reach the thresholds."""
    names = [name for name in LOSSES if any(row["setting"] == name for row in rows)]
    found = {name: [row for row in rows if row["setting"] == name] for name in names}
    matrix = Table("matched", *(f"left of {name}" for name in names), "SSIM to content", "judged")
    shares = Table("matched", "own loss down by 90 %", "Gram loss down by 50 %", "own, mean left", "Gram, mean left")
    for name in names:
        means = [float(np.mean([row[key] for row in found[name]])) for key in (*names, "ssim", "judged")]
        matrix.add(f"`{name}`", *(f"{value:.3f}" for value in means))
        own, gram = ([row[key] for row in found[name]] for key in (name, "gram"))
        shares.add(
            f"`{name}`", counted([value <= OWN for value in own]), counted([value <= GRAM for value in gram]),
            t_interval(own), t_interval(gram),
        )  # fmt: skip
    return f"{matrix}\n\n{shares}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study, or print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_sources(parser)
    options = parser.parse_args(arguments)
    results = Results(options.output)
    if not options.tables:
        for pair in source_of(options).few():
            for name in LOSSES:
                row = label(STUDY, pair, name)
                if not results.has(row):
                    results.add(
                        {**row, "evaluations": options.evaluations, **measured(pair, name, options.evaluations)}
                    )
    print(tables(results.rows))  # noqa: T201


if __name__ == "__main__":
    main()
