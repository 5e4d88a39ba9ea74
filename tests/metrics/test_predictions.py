"""Metrics of predictions and figures that need no labels: numbers worked out by hand, and masks of unknown labels."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.metrics.classification import prediction_rows, prediction_values
from stylebench.metrics.predictions import Predictions, class_shares
from stylebench.metrics.records import to_record
from stylebench.metrics.validators import (
    information_maximization,
    label_free,
    neighborhood_density,
    nuclear_norm,
    selections,
)
from stylebench.statistics.intervals import wilson

CLASSES = ("cup", "disc", "star")


def predictions(
    found: list[int], labels: list[int], known: list[bool] | None = None, sure: float = 50.0
) -> Predictions:
    logits = sure * torch.eye(len(CLASSES))[found]
    return Predictions(
        logits,
        torch.tensor(labels),
        torch.tensor(known or [True] * len(found)),
        CLASSES,
        [f"{number}.png" for number in range(len(found))],
    )


def test_known_answers() -> None:
    found = predictions([0, 0, 1, 1, 0], [0, 0, 1, 0, 2])
    assert found.accuracy() == pytest.approx(3 / 5)
    assert found.by_class() == {"cup": pytest.approx(2 / 3), "disc": 1.0, "star": 0.0}
    assert found.balanced_accuracy() == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found.calibration_error() == pytest.approx(1 - 3 / 5)  # all are sure, and three of five are right
    assert found.histogram().tolist() == pytest.approx([3 / 5, 2 / 5, 0])
    prior = np.array([0.5, 0.25, 0.25])
    assert found.prior_shift(prior) == pytest.approx(0.6 * math.log(0.6 / 0.5) + 0.4 * math.log(0.4 / 0.25))


def test_a_class_without_source_images_does_not_make_the_shift_infinite() -> None:
    prior = class_shares(np.array([0, 0, 1]), 3)
    assert prior.sum() == pytest.approx(1)
    assert prior[2] == pytest.approx(0.01 / 3.01)
    assert math.isfinite(predictions([2, 2], [2, 2]).prior_shift(prior))


@pytest.mark.parametrize("hidden", [-1, 0, 7])
def test_unknown_labels_are_a_mask_whatever_stands_in_their_place(hidden: int) -> None:
    found = predictions([0, 1, 2, 2], [0, hidden, 2, hidden], [True, False, True, False])
    assert (found.accuracy(), found.counted) == (1.0, 2)
    assert found.by_class() == {"cup": 1.0, "star": 1.0}
    record = to_record(prediction_values(found, "target", np.full(3, 1 / 3), validators=True))
    assert record["accuracy/target/n2"]["images"] == 4
    assert record["entropy/target/n4"]["value"] == pytest.approx(0, abs=1e-6)
    rows = prediction_rows([("target", found)])
    assert [row.get("label") for row in rows] == [0, None, 2, None]
    assert [row.get("accuracy/target/n2") for row in rows] == [1.0, None, 1.0, None]
    assert [row["predicted"] for row in rows] == [0, 1, 2, 2]
    assert rows[1]["content_id"] == "target/1.png"


def test_labels_are_read_and_never_written() -> None:
    found = predictions([0, 1, 2, 2], [0, -1, 2, -1], [True, False, True, False])
    labels, known = found.labels.clone(), found.known.clone()
    prediction_values(found, "target", np.full(3, 1 / 3), validators=True)
    prediction_rows([("target", found)])
    assert torch.equal(found.labels, labels)
    assert torch.equal(found.known, known)


def test_without_labels_accuracy_does_not_apply() -> None:
    found = predictions([0, 1], [0, 0], [False, False])
    record = to_record(prediction_values(found, "target", np.full(3, 1 / 3), validators=False))
    assert record["accuracy/target/n0"]["status"] == "not_applicable"
    assert "labels of the target" in record["accuracy/target/n0"]["missing"]
    assert record["prior_shift/target/n2"]["value"] == pytest.approx(math.log(3 / 2))


def test_accuracy_has_an_interval_and_the_classes() -> None:
    found = predictions([0, 0, 1, 1], [0, 1, 1, 1])
    entry = to_record(prediction_values(found, "source", np.full(3, 1 / 3), validators=False))["accuracy/source/n4"]
    assert entry["interval"] == pytest.approx(wilson(3, 4).bounds)
    assert entry["by_class"] == {"cup": 1.0, "disc": pytest.approx(2 / 3)}
    shift = to_record(prediction_values(found, "source", np.full(3, 1 / 3), validators=False))["prior_shift/source/n4"]
    assert (entry["larger_is_better"], shift["larger_is_better"]) == (True, False)
    assert shift["shares"]["predicted"] == {"cup": 0.5, "disc": 0.5, "star": 0.0}


def sure(*classes: int) -> Tensor:
    return 100 * torch.eye(3, dtype=torch.float64)[list(classes)]


def test_figures_without_labels_know_their_bounds() -> None:
    varied, alike, unsure = sure(0, 1, 2, 0, 1, 2), sure(0, 0, 0, 0, 0, 0), torch.zeros(6, 3, dtype=torch.float64)
    assert float(information_maximization(varied)) == pytest.approx(math.log(3))
    assert float(information_maximization(alike)) == pytest.approx(0)
    assert float(information_maximization(unsure)) == pytest.approx(0)
    assert float(nuclear_norm(varied)) == pytest.approx(1)
    assert float(nuclear_norm(alike)) == pytest.approx(1 / math.sqrt(3))  # sqrt(6) out of sqrt(6 * 3)
    assert float(nuclear_norm(unsure)) == pytest.approx(1 / 3)  # sqrt(6 / 3) out of sqrt(6 * 3)
    assert float(nuclear_norm(sure(0, 1))) == pytest.approx(1)
    assert float(neighborhood_density(alike)) == pytest.approx(math.log(5))  # five neighbors, none nearer
    # exp(1 / 0.05) is so large that the one of the same class is the only neighbor
    assert float(neighborhood_density(varied)) == pytest.approx(0, abs=1e-6)


def test_neighborhoods_are_those_of_the_formula() -> None:
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    directions = shares / np.linalg.norm(shares, axis=1, keepdims=True)
    total = 0.0
    for i in range(7):
        weights = np.array([np.exp(directions[i] @ directions[j] / 0.05) for j in range(7) if j != i])
        weights /= weights.sum()
        total -= float((weights * np.log(weights)).sum())
    assert float(neighborhood_density(logits)) == pytest.approx(total / 7)
    assert label_free(logits.float())["snd"] == pytest.approx(total / 7, rel=1e-5)


def test_each_validator_chooses_and_the_oracle_is_marked() -> None:
    table = [
        {"b": 10, "val/accuracy/source": 0.7, "val/accuracy/target": 0.6, "val/entropy/target": 0.9},
        {"b": 20, "val/accuracy/source": 0.9, "val/accuracy/target": 0.8, "val/entropy/target": 0.5},
        {"b": 30, "val/accuracy/source": 0.9, "val/accuracy/target": 0.5, "val/entropy/target": 0.7},
    ]
    found = selections(table, "b")
    assert found["last"] == {"batches": 30, "accuracy": 0.5, "regret": pytest.approx(0.3), "oracle": False}
    assert found["source_val"]["batches"] == 30  # the later of equals
    assert found["target_entropy"] == {"batches": 20, "accuracy": 0.8, "regret": 0.0, "oracle": False}
    assert found["oracle"] == {"batches": 20, "accuracy": 0.8, "regret": 0.0, "oracle": True}
    assert {name for name, choice in found.items() if choice["oracle"]} == {"oracle"}
    assert "im" not in found


def test_without_labels_there_is_no_oracle() -> None:
    found = selections([{"b": 10, "val/accuracy/source": 0.7, "val/im/target": 0.2}], "b")
    assert found["im"] == {"batches": 10, "accuracy": None, "regret": None, "oracle": False}
    assert "oracle" not in found
