"""Self-similarity: a worked number, a numpy reference, and what must not change the distance."""

import math

import numpy as np
import pytest
import torch

from stylebench.functional import self_similarity
from stylebench.functional.self_similarity import self_similarity_divergence


def _maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_divergence_known_answer() -> None:
    # One channel, two positions. Target (0, 0): rows (1/2, 1/2). Features (0, a) with a^2 = ln 3: row 0 is (1/2, 1/2),
    # row 1 softmax(0, ln 3) = (1/4, 3/4). KL of row 1: 1/2 ln 2 + 1/2 ln(2/3) = 1/2 ln(4/3); mean of rows 1/4 ln(4/3).
    features = torch.tensor([[[[0.0, math.sqrt(math.log(3))]]]], dtype=torch.float64)
    found = self_similarity_divergence(features, torch.zeros_like(features))
    assert found.item() == pytest.approx(math.log(4 / 3) / 4, rel=1e-12)


def test_divergence_equals_numpy() -> None:
    features, target = _maps(2, 3, 4, 5), _maps(2, 3, 4, 5, seed=1)
    expected = []
    for one, other in zip(features.numpy(), target.numpy(), strict=True):
        rows = []
        for flat in (one.reshape(3, 20) / 3, other.reshape(3, 20) / 3):
            exponential = np.exp(flat.T @ flat)
            rows.append(exponential / exponential.sum(1, keepdims=True))
        expected.append((rows[1] * np.log(rows[1] / rows[0])).sum(1).mean())
    np.testing.assert_allclose(self_similarity_divergence(features, target).numpy(), expected, rtol=1e-10)


def test_divergence_of_itself_is_zero_and_of_others_is_not() -> None:
    features = _maps(2, 3, 4, 4)
    assert self_similarity_divergence(features, features).tolist() == [0, 0]
    assert (self_similarity_divergence(features, _maps(2, 3, 4, 4, seed=1)) > 0).all()


def test_divergence_ignores_which_channel_is_which_and_a_common_order_of_places() -> None:
    features, target = _maps(1, 4, 3, 4), _maps(1, 4, 3, 4, seed=1)
    expected = self_similarity_divergence(features, target)
    torch.testing.assert_close(self_similarity_divergence(features.flip(1), target), expected)
    torch.testing.assert_close(self_similarity_divergence(features.mT, target.mT), expected)


def test_divergence_does_not_grow_with_the_image() -> None:
    # Every position twice: each row's mass is split in two equal halves, and KL stays.
    features, target = _maps(1, 3, 2, 4), _maps(1, 3, 2, 4, seed=1)
    twice = self_similarity_divergence(features.repeat(1, 1, 2, 1), target.repeat(1, 1, 2, 1))
    torch.testing.assert_close(twice, self_similarity_divergence(features, target))


@pytest.mark.parametrize("limit", ["_ROWS", "_ENTRIES"])
def test_divergence_in_groups_of_rows_is_the_same(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features, target = _maps(3, 3, 4, 5), _maps(1, 3, 4, 5, seed=1)
    whole = self_similarity_divergence(features, target)
    monkeypatch.setattr(self_similarity, limit, 3 if limit == "_ROWS" else 3 * 20 * 7)  # 7 does not divide 20 rows
    torch.testing.assert_close(self_similarity_divergence(features, target), whole, rtol=1e-12, atol=0)


def test_divergence_refuses_maps_of_two_sizes() -> None:
    with pytest.raises(ValueError, match="same size"):
        self_similarity_divergence(_maps(1, 3, 4, 4), _maps(1, 3, 4, 5))
