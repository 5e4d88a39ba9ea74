"""Style distances: the worked numbers of Gram matrices, bounds, and moments against numpy."""

import numpy as np
import pytest
import torch

from stylebench.functional.gram import gram_matrix
from stylebench.functional.style_distance import channel_moments, relative_distance


def _maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_gram_distance_of_itself_and_of_scaled_features() -> None:
    features = _maps(2, 4, 5, 6)
    gram = gram_matrix(features)
    assert relative_distance(gram, gram).tolist() == [0, 0]
    # G' = 4 G: (4 - 1)^2 / (16 + 1) = 9/17
    assert relative_distance(gram_matrix(2 * features), gram).tolist() == pytest.approx([9 / 17] * 2, rel=1e-12)


def test_gram_distance_of_disjoint_channels_is_one() -> None:
    first, second = _maps(1, 4, 3, 3), _maps(1, 4, 3, 3, seed=1)
    first[:, 2:], second[:, :2] = 0, 0
    assert relative_distance(gram_matrix(first), gram_matrix(second)).item() == pytest.approx(1, rel=1e-12)


def test_gram_distance_lies_in_the_unit_interval_and_is_symmetric() -> None:
    first, second = gram_matrix(_maps(64, 3, 2, 2)), gram_matrix(-_maps(64, 3, 5, 4, seed=1))
    values = relative_distance(first, second)
    assert ((values > 0) & (values <= 1)).all()
    assert torch.equal(values, relative_distance(second, first))


def test_relative_distance_ignores_a_common_factor() -> None:
    first, second = _maps(3, 8), _maps(3, 8, seed=1)
    torch.testing.assert_close(relative_distance(1e4 * first, 1e4 * second), relative_distance(first, second))


def test_relative_distance_takes_one_style_for_all() -> None:
    first, style = _maps(3, 2, 4), _maps(1, 2, 4, seed=1)
    expected = relative_distance(first, style.expand(3, -1, -1))
    assert torch.equal(relative_distance(first, style), expected)
    assert torch.equal(relative_distance(style, first), expected)
    for other in (_maps(2, 2, 4), _maps(3, 2, 5)):
        with pytest.raises(ValueError, match="one shape"):
            relative_distance(first, other)


def test_relative_distance_of_nothing_and_of_nan() -> None:
    nothing = torch.zeros(1, 4)
    assert relative_distance(nothing, nothing).item() == 0  # a dead layer, not 0 / 0
    assert relative_distance(torch.tensor([[1.0, torch.nan]]), torch.ones(1, 2)).isnan().all()  # never passes for 0


def test_channel_moments_equal_numpy() -> None:
    features = _maps(2, 3, 4, 5).float()
    found = channel_moments(features)
    pixels = features.double().numpy().reshape(2, 3, 20)
    np.testing.assert_allclose(found.numpy(), np.stack((pixels.mean(2), pixels.std(2)), 1), rtol=1e-12)
    assert found.dtype == torch.float64
    with pytest.raises(ValueError, match="channel_moments"):
        channel_moments(features[0])
