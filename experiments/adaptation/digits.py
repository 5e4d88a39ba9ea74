"""Accuracy on unlabeled digits by every strategy, over seeds.

    python experiments/adaptation/folders.py --root data/digits --mnist-m data/mnist_m --output data/digits_folders
    python -m experiments.adaptation.digits run --data data/digits_folders --runs outputs/digits --rows rows.jsonl
    python -m experiments.adaptation.digits table rows.jsonl

Trainings of 500 batches of 64 (four passes over 8,000 images) at 28 px. AdaBN and the strategies of the test work on
the weights of the source-only training of the same seed, so that they differ in nothing else. `bound` is the training
on the target's own labels. Scores are on the target's test images; what adapts sees its training images, unlabeled.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from experiments.adaptation.runs import PLAIN, Row, command, scored, table, trained

PAIRS = {("mnist", "usps"): 5, ("usps", "mnist"): 3, ("mnist", "mnist_m"): 3}
SETTINGS = [
    "model=classifier", "dataset=folders", "dataset.size_px=28", "dataset.on_small=upscale", "dataset.batch_size=64",
    "dataset.num_workers=0", "budget.batches=500", "budget.evaluate_every=500", "budget.validation_images=256",
    "metrics=none", "logger.every_n_batches=50",
]  # fmt: skip
TRAINED = {
    PLAIN: ["adaptation=none"],
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
CURVE = {  # of the pairs from MNIST
    f"AdaBN, sequential, {images} images": [
        "adaptation=adabn", "adaptation.propagate=sequential", f"adaptation.max_images={images}"
    ]
    for images in (2, 4, 16, 64, 256, 1024)
}  # fmt: skip


def run_of(data: Path, runs: Path, pair: tuple[str, str], seed: int, name: str, words: list[str]) -> Path:
    """Return the run folder of a training, which is done if it is not there."""
    domains = [f"dataset.source={data / pair[0]}", f"dataset.target={data / pair[1]}", f"seed={seed}"]
    folder = runs / f"{pair[0]}-{pair[1]}" / name.replace(" ", "_").replace(",", "") / str(seed)
    return trained([*SETTINGS, *domains, *words], folder)


def results(options: argparse.Namespace, done: set[tuple[str, ...]]) -> Iterator[Row]:
    """Train and score what is not done yet."""
    data, runs = options.data, options.runs
    for pair, seeds in PAIRS.items():
        ways = {**TRAINED, **(ABLATION if pair == ("mnist", "usps") else {})}
        for seed in range(seeds):
            for name, words in ways.items():
                if (*pair, name, str(seed)) not in done:
                    folder = run_of(data, runs, pair, seed, name, words)
                    yield {"pair": pair, "strategy": name, "seed": seed, **scored(folder)}
            plain = run_of(data, runs, pair, seed, PLAIN, TRAINED[PLAIN])
            for name, words in {**AT_TEST, **(CURVE if pair[0] == "mnist" else {})}.items():
                if (*pair, name, str(seed)) not in done:
                    yield {"pair": pair, "strategy": name, "seed": seed, **scored(plain, strategy=words)}
            if (*pair, "bound", str(seed)) not in done:
                own = run_of(data, runs, (pair[1], pair[0]), seed, PLAIN, TRAINED[PLAIN])
                yield {"pair": pair, "strategy": "bound", "seed": seed, "target": scored(own)["source"]}


if __name__ == "__main__":
    command(__doc__, results, table, {"data": "the folders of digits", "runs": "where the run folders go"})
