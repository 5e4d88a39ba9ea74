"""Accuracy on ProcStyle: from photographs to each of its styles, over seeds; the classes are the shapes.

    python -m experiments.adaptation.procstyle run --runs outputs/procstyle_domains --rows rows.jsonl
    python -m experiments.adaptation.procstyle table rows.jsonl

Trainings of 300 batches of 64 at 32 px. There is one source-only training for a seed, which is scored on every style,
as it is and by AdaBN; `bound` is the training on the style's own labels.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.adaptation.runs import PLAIN, Row, command, scored, table, trained

STYLES = ("flat", "ink_hatch", "halftone", "oil_noise", "watercolor", "pixel", "neon_outline", "chalk")
SEEDS = 3
SETTINGS = [
    "model=classifier", "dataset=procstyle", "dataset.store.size_px=32", "dataset.store.packed=true",
    "dataset.store.train_images=4000", "dataset.store.test_images=1000", "dataset.batch_size=64", "budget.batches=300",
    "budget.evaluate_every=300", "budget.validation_images=200", "metrics=none", "logger.every_n_batches=50",
]  # fmt: skip


def words_of(source: str, target: str, seed: int) -> list[str]:
    """Return the overrides that name the data."""
    return [*SETTINGS, f"dataset.source={source}", f"dataset.target={target}", f"seed={seed}"]


def results(options: argparse.Namespace, done: set[tuple[str, ...]]) -> Iterator[Row]:
    """Train and score what is not done yet."""
    for seed in range(SEEDS):
        for style in STYLES:
            for name, row in _ways(options.runs, style, seed):
                if ("photo", style, name, str(seed)) not in done:
                    yield {"pair": ("photo", style), "strategy": name, "seed": seed, **row()}


def _ways(runs: Path, style: str, seed: int) -> Iterator[tuple[str, Callable[[], Row]]]:
    own = words_of("photo", style, seed)

    def run(name: str, words: list[str]) -> Path:
        return trained(words, runs / name / str(seed))

    def plain() -> Path:
        return run("photo", words_of("photo", STYLES[0], seed))

    yield PLAIN, lambda: scored(plain(), own)
    yield "AdaBN", lambda: scored(plain(), own, ["adaptation=adabn"])
    yield "AutoDIAL", lambda: scored(run(f"autodial_{style}", [*own, "adaptation=autodial"]))
    yield "bound", lambda: {"target": scored(run(f"bound_{style}", words_of(style, "photo", seed)))["source"]}


if __name__ == "__main__":
    command(__doc__, results, table, {"runs": "where the run folders go"})
