"""Deep embedded validation: ratios of known densities, a risk worked out by hand, and what it says of a shift."""

import numpy as np
import pytest
import torch

from stylebench.metrics.classification import dev_value
from stylebench.metrics.dev import Floats, density_ratios, weighted_risk
from stylebench.metrics.predictions import Predictions


def drawn(count: int, mean: float, seed: int, width: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(mean, 1.0, (count, width))


@pytest.mark.parametrize("counts", [(4000, 4000), (4000, 1000)])
def test_ratios_of_two_gaussians(counts: tuple[int, int]) -> None:
    """exp(x - 1/2) for N(1, 1) over N(0, 1), whatever their numbers."""
    asked = np.array([[-0.5], [0.5], [1.0]])
    found = density_ratios(drawn(counts[0], 0, 0), drawn(counts[1], 1, 1), asked)
    np.testing.assert_allclose(found, np.exp(asked[:, 0] - 0.5), rtol=0.12)


def test_features_that_never_change_tell_nothing() -> None:
    constant = np.ones((6, 2))
    np.testing.assert_allclose(density_ratios(constant, constant[:3], constant), 1.0, rtol=1e-4)


def test_the_risk_by_hand() -> None:
    losses, ratios = np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 3.0])
    weighted = [0.5, 2.0, 9.0]  # mean 23/6; ratios: mean 1.5, squared deviations 1 + 0.25 + 2.25
    covariance = sum((a - 23 / 6) * (b - 1.5) for a, b in zip(weighted, ratios, strict=True)) / 2
    slope = -covariance / (3.5 / 2)
    assert weighted_risk(losses, ratios) == pytest.approx(23 / 6 + slope * 1.5 - slope)
    assert weighted_risk(losses, np.ones(3)) == 2.0


def test_it_expects_the_loss_on_the_target() -> None:
    """The loss x^2 is 1 on N(0, 1) and 2 on N(1, 1)."""
    held = drawn(4000, 0, 2)
    ratios = density_ratios(drawn(4000, 0, 0), drawn(4000, 1, 1), held)
    assert weighted_risk(held[:, 0] ** 2, ratios) == pytest.approx(2.0, abs=0.2)


def predictions(features: Floats, known: list[bool]) -> Predictions:
    logits = torch.stack([torch.from_numpy(features[:, 0]), torch.zeros(len(features))], 1).float()
    labels = torch.zeros(len(features), dtype=torch.int64)
    ids = [str(number) for number in range(len(features))]
    return Predictions(logits, labels, torch.tensor(known), ("cup", "hat"), ids, torch.from_numpy(features))


def test_unknown_labels_do_not_count() -> None:
    train, target, held = drawn(30, 0, 0, 3), drawn(20, 1, 1, 3), drawn(8, 0, 2, 3)
    known = [True] * 5 + [False] * 3
    found = dev_value(*(predictions(each, [True] * len(each)) for each in (train, held[:5], target)))
    masked = dev_value(predictions(train, [True] * 30), predictions(held, known), predictions(target, [True] * 20))
    assert masked.value == pytest.approx(found.value)
    few = dev_value(predictions(train, [True] * 30), predictions(held, [False] * 8), predictions(target, [True] * 20))
    assert (few.value, few.missing) == (None, ("2 labeled source images",))
