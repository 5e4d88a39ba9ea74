"""Choosing a training's weights without labels of the target: figures that need none, and what each would choose.

A validator is a column of an evaluation. Its choice is the batch at which the column is best. `oracle` looks at the
target's labels, which adaptation does not have: it is there to tell how much a choice loses, and is marked as such
wherever it is shown.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stylebench.functional.entropy import mean_entropy

NEIGHBORS_TEMPERATURE = 0.05  # Saito et al. 2021, sec. 3.1
NEIGHBORS_IMAGES = 2000  # at most: memory grows with the square
ACCURACY = "val/accuracy/target"


@dataclass(frozen=True)
class Validator:
    """A figure by which weights may be chosen.

    Attributes:
        name: how records call it.
        column: of `metrics.csv`.
        sign: 1 where more is better, -1 where less is.
        oracle: whether it needs labels of the target.
    """

    name: str
    column: str
    sign: int = 1
    oracle: bool = False


VALIDATORS = (
    Validator("source_val", "val/accuracy/source"),
    Validator("target_entropy", "val/entropy/target", -1),
    Validator("im", "val/im/target"),
    Validator("snd", "val/snd/target"),
    Validator("bnm", "val/bnm/target"),
    Validator("dev", "val/dev/target", -1),
    Validator("oracle", ACCURACY, oracle=True),
)


def information_maximization(logits: Tensor) -> Tensor:
    """Return how varied predictions are over images, and how sure of each: entropy of the mean less mean entropy.

    Args:
        logits: (N, K), N >= 1.

    Returns:
        A scalar in [0, log K], in nats; more is better.

    Source: Shi & Sha 2012, "Information-Theoretical Learning of Discriminative Clusters", eq. 7; as a validator
        Musgrave, Belongie & Lim 2022, "Benchmarking Validation Methods for Unsupervised Domain Adaptation".
    """
    shares = logits.softmax(1).mean(0)  # (K,)
    found: Tensor = torch.special.entr(shares).sum() - mean_entropy(logits)
    return found


def neighborhood_density(logits: Tensor) -> Tensor:
    """Return how densely predictions lie: the mean entropy of each image's similarities to all others.

    Args:
        logits: (N, K), N >= 2.

    Returns:
        A scalar in [0, log(N - 1)], in nats; more is better.

    Source: Saito et al. 2021, "Tune it the Right Way: Unsupervised Validation of Domain Adaptation via Soft
        Neighborhood Density", eq. 1 to 3 on softmax outputs; an image is no neighbor of its own.
    """
    directions = F.normalize(logits.softmax(1), dim=1)
    similar = directions @ directions.T / NEIGHBORS_TEMPERATURE  # (N, N)
    others = similar[~torch.eye(len(similar), dtype=torch.bool, device=similar.device)].view(len(similar), -1)
    return mean_entropy(others)


def nuclear_norm(logits: Tensor) -> Tensor:
    """Return the nuclear norm of the predictions as a share of its greatest value: large if sure and varied.

    Args:
        logits: (N, K), N >= 1.

    Returns:
        A scalar in (0, 1]; more is better.

    Source: Cui et al. 2020, "Towards Discriminability and Diversity: Batch Nuclear-norm Maximization under Label
        Insufficient Situations", eq. 7; the divisor, its bound by eq. 6, makes sets of all sizes alike.
    """
    count, classes = logits.shape
    norm: Tensor = torch.linalg.svdvals(logits.softmax(1)).sum()
    return norm / math.sqrt(count * min(count, classes))


def label_free(logits: Tensor) -> dict[str, float]:
    """Return the figures of predictions that need no label, by name.

    Args:
        logits: (N, K), N >= 2, in an order that has nothing to do with what the images show.
    """
    exact = logits.double()
    return {
        "entropy": float(mean_entropy(exact)),
        "im": float(information_maximization(exact)),
        "snd": float(neighborhood_density(exact[:NEIGHBORS_IMAGES])),
        "bnm": float(nuclear_norm(exact)),
    }


def selections(evaluations: Sequence[Mapping[str, float]], batches: str) -> dict[str, dict[str, Any]]:
    """Return what each validator chooses among the evaluations of a run; of equals the later one.

    Args:
        evaluations: columns by name, the last evaluation last; at least one.
        batches: the column that tells them apart.

    Returns:
        By validator, and for `last`: the batch, the target's accuracy there, how much that is below the best one
        (`regret`; both None without labels), and whether the choice needed labels (`oracle`).
    """
    best = max((row[ACCURACY] for row in evaluations if ACCURACY in row), default=None)
    chosen = {"last": (evaluations[-1], False)}
    for validator in VALIDATORS:
        if any(validator.column in row for row in evaluations):
            chosen[validator.name] = (_best(evaluations, validator), validator.oracle)
    found = {}
    for name, (row, oracle) in chosen.items():
        accuracy = row.get(ACCURACY)
        regret = None if accuracy is None or best is None else best - accuracy
        found[name] = {"batches": int(row[batches]), "accuracy": accuracy, "regret": regret, "oracle": oracle}
    return found


def regrets(selected: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return what each choice but the oracle's loses of the target's accuracy, as columns of an evaluation.

    Args:
        selected: of `selections`.
    """
    return {
        f"val/regret/{name}": choice["regret"]
        for name, choice in selected.items()
        if choice["regret"] is not None and not choice["oracle"]
    }


def _best(evaluations: Sequence[Mapping[str, float]], validator: Validator) -> Mapping[str, float]:
    there = [row for row in reversed(evaluations) if validator.column in row]
    return max(there, key=lambda row: validator.sign * row[validator.column])
