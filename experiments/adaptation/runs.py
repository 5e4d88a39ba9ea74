"""What the studies of adaptation share: trainings that are done once, scores, rows in a file, and tables of them."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stylebench.adaptation.scoring import calibrated, predictions
from stylebench.build import build, open_data
from stylebench.cli.config import compose
from stylebench.commands.train import quieten, train
from stylebench.data.tasks import AdaptationTask
from stylebench.inference.classifier import NetworkClassifier
from stylebench.inference.loading import load
from stylebench.nn.domain_norms import SOURCE, TARGET
from stylebench.run_folder import RunFolder
from stylebench.statistics.intervals import t_interval

Row = dict[str, Any]
PLAIN = "source only"


def trained(words: Sequence[str], folder: Path) -> Path:
    """Train a classifier by overrides of `stylebench train`, unless that has been done, and return the run folder."""
    run = RunFolder(folder)
    if not run.has_record or run.record["status"] != "finished":
        train(compose("train", [*words]), folder, [])
    return folder


def scored(folder: Path, words: Sequence[str] | None = None, strategy: Sequence[str] | None = None) -> Row:
    """Return accuracies of a run on the test images of a source and a target.

    Args:
        folder: of the run.
        words: overrides of `stylebench train` that name the data; None for the run's own.
        strategy: overrides that name a strategy of the test for the run's weights; None for the run's own.
    """
    config = RunFolder(folder).config if words is None else compose("train", [*words])
    model = load(folder)
    assert isinstance(model, NetworkClassifier)
    task = open_data(config).task
    assert isinstance(task, AdaptationTask)
    if strategy is not None:
        named = ["dataset=folders", "dataset.source=x", "dataset.target=y"]
        node = compose("train", ["model=classifier", *named, *strategy])["model"]["inference"]["adaptation"]
        adaptation = build(node, "adaptation")
        adaptation.convert(model.network)
        model.adaptation, model.own_statistics = adaptation, adaptation.own_statistics
        for domain in (SOURCE, TARGET):
            calibrated(model, task, domain)
    found = {
        domain: predictions(model.eval(), task, domain, "test", statistics)
        for domain, statistics in ((SOURCE, SOURCE), (TARGET, model.own_statistics))
    }
    return {"source": found[SOURCE].accuracy(), "target": found[TARGET].accuracy(), "images": found[TARGET].counted}


def percent(values: Iterable[float], signed: bool = False) -> str:
    """Return a mean in percent with its 95 % interval over seeds, for a table."""
    found = t_interval(100 * np.array(list(values)))
    sign = "+" if signed else ""
    told = format(found.mean, f"{sign}.1f")
    if found.bounds is None:
        return told
    low, high = found.bounds
    return f"{told} ({low:{sign}.1f} to {high:{sign}.1f})"


def table(rows: Sequence[Row], base: str = PLAIN) -> str:
    """Return accuracies by pair and strategy: means over seeds, and paired differences from one of the strategies."""
    lines = [
        f"| pair | strategy | seeds | target accuracy, % | minus {base}, points | source accuracy, % |",
        "|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], dict[int, Row]] = {}
    for row in rows:
        groups.setdefault((" to ".join(row["pair"]), row["strategy"]), {})[row["seed"]] = row
    for (pair, strategy), scores in groups.items():
        plain = groups.get((pair, base), {})
        gains = [row["target"] - plain[seed]["target"] for seed, row in scores.items() if seed in plain]
        own = [row["source"] for row in scores.values() if "source" in row]
        lines.append(
            f"| {pair} | {strategy} | {len(scores)} | {percent(row['target'] for row in scores.values())} | "
            f"{percent(gains, signed=True) if gains and strategy != base else ''} | {percent(own) if own else ''} |"
        )
    return "\n".join(lines)


def command(
    about: str | None,
    results: Callable[[argparse.Namespace, set[tuple[str, ...]]], Iterator[Row]],
    told: Callable[[Sequence[Row]], str],
    paths: Mapping[str, str],
) -> None:
    """Run a study, whose rows are kept in a file and not made twice, or print its table.

    Args:
        about: what the study is.
        results: makes the rows that are not done yet, by (source, target, strategy, seed).
        told: makes the table.
        paths: options that name files or folders, with what they are.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    for name, text in {**paths, "rows": "file of rows, which is gone on with"}.items():
        run.add_argument(f"--{name}", type=Path, required=True, help=text)
    commands.add_parser("table").add_argument("rows", type=Path)
    options = parser.parse_args()
    kept = [json.loads(line) for line in options.rows.read_text().splitlines()] if options.rows.exists() else []
    if options.command == "table":
        sys.stdout.write(f"{told(kept)}\n")
        return
    logging.basicConfig(level=logging.WARNING)
    quieten()
    for row in results(options, {(*row["pair"], row["strategy"], str(row["seed"])) for row in kept}):
        with options.rows.open("a") as file:
            file.write(f"{json.dumps(row)}\n")
