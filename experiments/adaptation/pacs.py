"""PACS on features that are made once: all ordered pairs of domains by strategy, and pixels against statistics.

    python -m experiments.adaptation.pacs run --features features/ --rows rows.jsonl
    python -m experiments.adaptation.pacs table rows.jsonl

Linear, BatchNorm1d, ReLU, Linear over SqueezeNet's features (`pacs_features`), 500 batches of 64, Adam at 1e-3 that
falls to 0 in a line, so that the running averages agree with the weights at the end; five seeds. What adapts sees four
fifths of the target, unlabeled; scores are on the others. `bound` is the training on the target's own labels. The
photographs are also stylized toward each other domain: see `pixels_statistics`.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.adaptation.pacs_features import CLASSES, DOMAINS, SOURCE, TARGETS, file_of
from experiments.adaptation.pixels_statistics import PIXELS
from experiments.adaptation.pixels_statistics import told as told_of_pixels
from experiments.adaptation.runs import PLAIN, Row, command, percent, table
from stylebench.adaptation.base import Strategy
from stylebench.build import build
from stylebench.cli.config import compose
from stylebench.nn.classifiers.base import ClassifierNetwork
from stylebench.nn.domain_norms import SOURCE as SOURCE_STATISTICS
from stylebench.nn.domain_norms import TARGET as TARGET_STATISTICS

SEEDS, BATCHES, BATCH_SIZE, LR, WIDTH = 5, 500, 64, 1e-3, 256


class Part(NamedTuple):
    """Images of a domain: (N, C) features and (N,) labels."""

    features: Tensor
    labels: Tensor


class FeatureHead(ClassifierNetwork):
    """The classifier over features: Linear, BatchNorm1d, ReLU, Linear."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = WIDTH
        self.hidden = nn.Sequential(nn.Linear(channels, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, len(CLASSES))

    def features(self, images: Tensor) -> Tensor:
        """Map (B, C) features of images to (B, width)."""
        hidden: Tensor = self.hidden(images)
        return hidden


def strategy(name: str) -> Strategy:
    """Return a new strategy as the configuration has it."""
    made: Strategy = build(_node(name), "adaptation")
    return made


@cache
def _node(name: str) -> Any:
    words = ["model=classifier", "dataset=folders", "dataset.source=x", "dataset.target=y", f"adaptation={name}"]
    return compose("train", words)["model"]["inference"]["adaptation"]


def trained(source: Part, target: Part, adaptation: Strategy, seed: int) -> nn.Module:
    """Train on a source with a strategy."""
    torch.manual_seed(seed)
    network = adaptation.convert(FeatureHead(source.features.shape[1])).train()
    groups = adaptation.parameter_groups(network)
    factors = [group.pop("lr_factor", 1.0) for group in groups]
    optimizer = torch.optim.Adam(groups, lr=LR)
    for group, factor in zip(optimizer.param_groups, factors, strict=True):
        group["lr"] *= factor
    rates = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, BATCHES)
    for batch in range(BATCHES):
        chosen, others = (torch.randint(len(part.labels), (BATCH_SIZE,)) for part in (source, target))
        shown = target.features[others] if adaptation.uses_target else None
        outputs = adaptation.outputs(network, source.features[chosen], shown)
        terms = adaptation.terms(outputs, batch / BATCHES)
        loss = F.cross_entropy(outputs.source, source.labels[chosen])
        loss = loss + sum((adaptation.weights[name] * term for name, term in terms.items()), torch.zeros(()))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()
        adaptation.after_step(network)
    return network.eval()


def accuracy(network: nn.Module, adaptation: Strategy, part: Part, statistics: str) -> float:
    """Return the share of right predictions."""
    with torch.no_grad():
        logits = adaptation.predict(network, part.features, statistics)
    return float((logits.argmax(1) == part.labels).double().mean())


def scores(network: nn.Module, adaptation: Strategy, domains: Sequence[tuple[Part, Part]]) -> Row:
    """Return accuracies on the test images of source and target, once the strategy has seen the training images."""
    for _ in range(adaptation.rounds(network)):
        for (train, _), name in zip(domains, (SOURCE_STATISTICS, TARGET_STATISTICS), strict=True):
            adaptation.calibrate(network, train.features.split(256), name)
    (_, own), (_, other) = domains
    return {
        "source": accuracy(network, adaptation, own, SOURCE_STATISTICS),
        "target": accuracy(network, adaptation, other, adaptation.own_statistics),
        "images": len(other.labels),
    }


def opened(path: Path) -> tuple[Part, Part]:
    """Return what is for training and what is for testing."""
    with np.load(path) as file:
        features, labels = torch.from_numpy(file["features"]), torch.from_numpy(file["labels"])
        test = torch.from_numpy(file["test"]) if "test" in file else torch.zeros(len(labels), dtype=torch.bool)
    return Part(features[~test], labels[~test]), Part(features[test], labels[test])


def of_pairs(folder: Path, seed: int) -> Iterator[Row]:
    """Yield the rows of all ordered pairs of domains."""
    domains = {name: opened(file_of(folder, name)) for name in DOMAINS}
    none, adabn = strategy("none"), strategy("adabn")
    plain = {name: trained(train, train, none, seed) for name, (train, _) in domains.items()}
    for source, target in [(one, other) for other in DOMAINS for one in DOMAINS if one != other]:
        pair = [domains[source], domains[target]]
        autodial = strategy("autodial")
        found: dict[str, Any] = {
            PLAIN: scores(plain[source], none, pair),
            "AdaBN": scores(plain[source], adabn, pair),
            "AutoDIAL": scores(trained(pair[0][0], pair[1][0], autodial, seed), autodial, pair),
            "bound": {"target": accuracy(plain[target], none, pair[1][1], SOURCE_STATISTICS)},
        }
        yield from ({"pair": (source, target), "strategy": name, "seed": seed, **row} for name, row in found.items())


def of_pixels(folder: Path, seed: int) -> Iterator[Row]:
    """Yield the rows of pixels against statistics, of the photographs toward each other domain."""
    for target in TARGETS:
        _, own = opened(file_of(folder, SOURCE))
        other = opened(file_of(folder, target))
        for way in PIXELS:
            path = file_of(folder, SOURCE, target, way)
            train, _ = opened(path)
            network = trained(train, train, strategy("none"), seed)
            for name, adaptation in (("source", strategy("none")), ("AdaBN", strategy("adabn"))):
                row = scores(network, adaptation, [(train, own), other])
                yield {"pair": (SOURCE, target), "strategy": f"{way}, {name}", "seed": seed, **row}


def results(options: argparse.Namespace, done: set[tuple[str, ...]]) -> Iterator[Row]:
    """Train and score what is not done yet, a seed at a time."""
    torch.set_num_threads(1)
    for seed in range(SEEDS):
        if not {(*pair, name, str(seed)) for pair in [(SOURCE, TARGETS[-1])] for name in (PLAIN, "bound")} <= done:
            yield from of_pairs(options.features, seed)
        if (SOURCE, TARGETS[-1], f"{PIXELS[-1]}, AdaBN", str(seed)) not in done:
            yield from of_pixels(options.features, seed)


def told(rows: Sequence[Row]) -> str:
    """Return both tables: strategies by pair and over all pairs, and pixels against statistics."""
    pixels = [row for row in rows if row["strategy"].startswith(tuple(f"{way}, " for way in PIXELS))]
    strategies = [row for row in rows if row not in pixels]
    return f"{table(strategies)}\n\n{overall(strategies)}\n\n{told_of_pixels(pixels)}"


def overall(rows: Sequence[Row]) -> str:
    """Return means over all pairs, with intervals over seeds."""
    lines = ["| strategy | target accuracy over all pairs, % | minus source only, points | pairs where it is better |"]
    lines.append("|---|---|---|---|")
    cells = {(row["strategy"], row["seed"], tuple(row["pair"])): row["target"] for row in rows}
    seeds, pairs = sorted({key[1] for key in cells}), sorted({key[2] for key in cells})
    grids = {
        name: np.array([[cells[name, seed, pair] for pair in pairs] for seed in seeds])
        for name in dict.fromkeys(key[0] for key in cells)
    }
    for name, grid in grids.items():
        gain = grid - grids[PLAIN]
        better = "" if name == PLAIN else f"{int((gain.mean(0) > 0).sum())} of {len(pairs)}"
        told = "" if name == PLAIN else percent(gain.mean(1), signed=True)
        lines.append(f"| {name} | {percent(grid.mean(1))} | {told} | {better} |")
    return "\n".join(lines)


if __name__ == "__main__":
    command(__doc__, results, told, {"features": "the folder of features"})
