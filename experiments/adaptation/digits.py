"""Accuracy on unlabeled digits by every strategy, over seeds; a run that was stopped goes on with its file of rows.

    python experiments/digits/folders.py --root data/digits --mnist-m data/mnist_m --output data/digits_folders
    python experiments/digits/study.py run --data data/digits_folders --runs outputs/digits --rows rows.jsonl
    python experiments/digits/study.py table rows.jsonl

Trainings of 500 batches of 64 (four passes over 8,000 images) at 28 px. AdaBN and the strategies of the test work on
the weights of the source-only training of the same seed, so that they differ in nothing else. `bound` is the training
on the target's own labels. Scores are on the target's test images; what adapts sees its training images, unlabeled.
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterator
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

SEEDS = {("mnist", "usps"): 5, ("usps", "mnist"): 3, ("mnist", "mnist_m"): 3}
SETTINGS = [
    "model=classifier", "dataset=folders", "dataset.size_px=28", "dataset.on_small=upscale", "dataset.batch_size=64",
    "dataset.num_workers=0", "budget.batches=500", "budget.evaluate_every=500", "budget.validation_images=256",
    "metrics=none", "logger.every_n_batches=50",
]  # fmt: skip
TRAINED = {
    "source only": ["adaptation=none"],
    "AutoDIAL": ["adaptation=autodial"],
    "DSBN": ["adaptation=dsbn"],
    "DANN": ["adaptation=dann", "adaptation.width=100"],
}
ABLATION = {  # of one pair
    f"AutoDIAL, alpha {alpha}, entropy {weight}": [
        "adaptation=autodial", f"adaptation.alpha={alpha if alpha != 'learned' else 1.0}",
        f"adaptation.learned={str(alpha == 'learned').lower()}", f"adaptation.entropy_weight={weight}",
    ]
    for alpha in ("0.5", "1.0", "learned")
    for weight in (0.0, 0.1)
}  # fmt: skip
AT_TEST = {
    "AdaBN, sequential": ["adaptation=adabn", "adaptation.propagate=sequential"],
    "AdaBN, batch": ["adaptation=adabn"],
    "pred_bn": ["adaptation=pred_bn"],
    "alpha_bn": ["adaptation=alpha_bn"],
    "TENT": ["adaptation=tent"],
}
Row = dict[str, Any]


def configured(data: Path, pair: tuple[str, str], seed: int, words: list[str]) -> dict[str, Any]:
    """Return the config of a training."""
    domains = [f"dataset.source={data / pair[0]}", f"dataset.target={data / pair[1]}", f"seed={seed}"]
    return compose("train", [*SETTINGS, *domains, *words])


def trained(data: Path, runs: Path, pair: tuple[str, str], seed: int, name: str, words: list[str]) -> Path:
    """Train, unless that has been done, and return the run folder."""
    folder = runs / f"{pair[0]}-{pair[1]}" / name.replace(" ", "_").replace(",", "") / str(seed)
    run = RunFolder(folder)
    if not run.has_record or run.record["status"] != "finished":
        train(configured(data, pair, seed, words), folder, [])
    return folder


def scored(folder: Path, words: list[str] | None = None) -> Row:
    """Return accuracies of a run, or of its weights under a strategy of the test."""
    config = RunFolder(folder).config
    model = load(folder)
    assert isinstance(model, NetworkClassifier)
    opened = open_data(config)
    task = opened.task
    assert isinstance(task, AdaptationTask)
    if words is not None:
        node = compose("train", [*SETTINGS, "dataset.source=x", "dataset.target=y", *words])["model"]["inference"]
        state = model.state_dict()
        model = build({**node, "classes": list(model.classes)}, "model.inference")
        model.load_state_dict(state)
        for domain in (SOURCE, TARGET):
            calibrated(model, task, domain)
    found = {
        domain: predictions(model.eval(), task, domain, "test", statistics)
        for domain, statistics in ((SOURCE, SOURCE), (TARGET, model.own_statistics))
    }
    return {"source": found[SOURCE].accuracy(), "target": found[TARGET].accuracy(), "images": found[TARGET].counted}


def results(data: Path, runs: Path, done: set[tuple[str, ...]]) -> Iterator[Row]:
    """Train and score what is not done yet; yield rows."""
    for pair, seeds in SEEDS.items():
        ways = {**TRAINED, **(ABLATION if pair == ("mnist", "usps") else {})}
        for seed in range(seeds):
            for name, words in ways.items():
                if (*pair, name, str(seed)) not in done:
                    folder = trained(data, runs, pair, seed, name, words)
                    yield {"pair": pair, "strategy": name, "seed": seed, **scored(folder)}
            plain = trained(data, runs, pair, seed, "source only", TRAINED["source only"])
            for name, words in AT_TEST.items():
                if (*pair, name, str(seed)) not in done:
                    yield {"pair": pair, "strategy": name, "seed": seed, **scored(plain, words)}
            if (*pair, "bound", str(seed)) not in done:
                own = trained(data, runs, pair[::-1], seed, "source only", TRAINED["source only"])  # type: ignore[arg-type]
                score = scored(own)
                yield {"pair": pair, "strategy": "bound", "seed": seed, "target": score["source"]}


def table(rows: list[Row]) -> str:
    """Return means with 95 % intervals, and paired differences from the source-only training of the same seed."""
    lines = [
        "| pair | strategy | seeds | target accuracy | 95 % interval | minus source only |",
        "|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        groups.setdefault((" to ".join(row["pair"]), row["strategy"]), {})[row["seed"]] = row["target"]
    for (pair, strategy), scores in groups.items():
        plain, values = groups[pair, "source only"], np.array(list(scores.values()))
        bounds = t_interval(values).bounds
        gains = np.array([value - plain[seed] for seed, value in scores.items() if seed in plain])
        gain = t_interval(gains)
        told = "" if strategy == "source only" or gain.bounds is None else (
            f"{100 * gain.mean:+.1f} ({100 * gain.bounds[0]:+.1f} to {100 * gain.bounds[1]:+.1f})"
        )  # fmt: skip
        interval = "" if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}"
        lines.append(f"| {pair} | {strategy} | {len(values)} | {100 * values.mean():.1f} | {interval} | {told} |")
    return "\n".join(lines)


def main() -> None:
    """Run the study, or print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--data", type=Path, required=True)
    run.add_argument("--runs", type=Path, required=True)
    run.add_argument("--rows", type=Path, required=True)
    commands.add_parser("table").add_argument("rows", type=Path)
    options = parser.parse_args()
    kept = [json.loads(line) for line in options.rows.read_text().splitlines()] if options.rows.exists() else []
    if options.command == "table":
        sys.stdout.write(f"{table(kept)}\n")
        return
    logging.basicConfig(level=logging.WARNING)
    quieten()
    done = {(*row["pair"], row["strategy"], str(row["seed"])) for row in kept}
    for row in results(options.data, options.runs, done):
        with options.rows.open("a") as file:
            file.write(f"{json.dumps(row)}\n")


if __name__ == "__main__":
    main()
