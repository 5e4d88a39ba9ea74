"""Maximum mean discrepancies as losses: double sums written out, the identity with Gram matrices, unbiasedness."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.functional.gram import gram_loss, gram_matrix
from stylebench.functional.kernel_distance import gaussian_mmd
from stylebench.functional.kernel_mmd import mmd_gaussian, mmd_linear, mmd_polynomial, pair_variance


def samples(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_linear_by_hand() -> None:
    # Means over positions: (2, 0) and (1, 1): 1 + 1.
    features = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])
    style = torch.tensor([[[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]]])
    assert mmd_linear(features, style).tolist() == [2.0]


@pytest.mark.parametrize(("offset", "degree"), [(0.0, 1), (0.0, 2), (0.7, 2), (0.5, 3)])
def test_polynomial_is_the_double_sum(offset: float, degree: int) -> None:
    features, style = samples(2, 3, 5), samples(1, 3, 4, seed=1)
    for sample in range(2):
        x, s = features[sample].T.numpy(), style[0].T.numpy()

        def mean_kernel(a: np.ndarray, b: np.ndarray) -> float:
            return sum((float(p @ q) + offset) ** degree for p in a for q in b) / (len(a) * len(b))

        expected = mean_kernel(x, x) + mean_kernel(s, s) - 2 * mean_kernel(x, s)
        assert mmd_polynomial(features, style, offset, degree)[sample].item() == pytest.approx(expected, rel=1e-10)


def test_polynomial_equals_the_loss_of_gatys_times_its_factor() -> None:
    features, style = samples(1, 8, 50), samples(1, 8, 50, seed=1)  # N = 8, M = 50
    explicit = 0.0
    for first, second, sign in ((features, features, 1), (style, style, 1), (features, style, -2)):
        explicit += sign * sum(
            float(p @ q) ** 2 for p in first[0].T.numpy() for q in second[0].T.numpy()
        ) / 50**2  # fmt: skip
    grams = (gram_matrix(part.unsqueeze(3)) for part in (features, style))
    gatys = gram_loss(*grams, "gatys").item()
    assert explicit == pytest.approx(4 * 8**2 * gatys, rel=1e-9)
    assert mmd_polynomial(features, style).item() == pytest.approx(explicit, rel=1e-9)


def test_first_degree_is_the_linear_kernel() -> None:
    features, style = samples(2, 3, 6), samples(2, 3, 9, seed=1)
    torch.testing.assert_close(mmd_polynomial(features, style, degree=1), mmd_linear(features, style))


def test_nothing_lies_between_equal_samples() -> None:
    features = samples(2, 3, 6)
    for distance in (mmd_linear, mmd_polynomial, mmd_gaussian):
        assert float(distance(features, features).abs().max()) < 1e-12


def test_gaussian_by_hand() -> None:
    # x, x' = 0, 1 and s, s' = 2, 2: squared distances x x' 1, s s' 0, x s' 4, x' s 1, their mean 1.5.
    # e^(-1 / 3) + 1 - e^(-4 / 3) - e^(-1 / 3) = 1 - e^(-4 / 3); with variance 1: 1 - e^(-4 / 2).
    features, style = torch.tensor([[[0.0, 1.0]]]).double(), torch.tensor([[[2.0, 2.0]]]).double()
    assert pair_variance(features, style).tolist() == [1.5]
    assert mmd_gaussian(features, style).item() == pytest.approx(1 - math.exp(-4 / 3), rel=1e-12)
    assert mmd_gaussian(features, style, 1.0).item() == pytest.approx(1 - math.exp(-2), rel=1e-12)


def test_gaussian_estimate_is_unbiased() -> None:
    """The mean over draws is the squared MMD of the two whole sets, which the metrics compute from all pairs."""
    first, second = samples(1, 4, 60), samples(1, 4, 35, seed=1) + 0.2
    exact = gaussian_mmd(first[0].T, second[0].T, sigma=0.8, scale=1.0)
    generator = torch.Generator().manual_seed(2)
    draws = [part[:, :, torch.randint(part.shape[2], (200_000,), generator=generator)] for part in (first, second)]
    estimate = mmd_gaussian(*draws, 0.8**2).item()
    # A term lies in [-2, 2] and has a deviation below 1; over 100,000 pairs the standard error is below 0.0032.
    assert exact > 0.05
    assert estimate == pytest.approx(exact, abs=0.008)


def test_gaussian_does_not_depend_on_the_scale_of_the_features() -> None:
    features, style = samples(2, 3, 8), samples(1, 3, 8, seed=1)
    torch.testing.assert_close(mmd_gaussian(10 * features, 10 * style), mmd_gaussian(features, style))


def test_features_of_one_value_have_a_finite_gradient() -> None:
    features = torch.ones(1, 2, 4, requires_grad=True)
    mmd_gaussian(features, torch.ones(1, 2, 4)).sum().backward()
    assert features.grad is not None
    assert bool((features.grad == 0).all())


def test_bandwidth_takes_no_gradient() -> None:
    features, style = samples(2, 3, 8).requires_grad_(), samples(1, 3, 8, seed=1)
    (found,) = torch.autograd.grad(mmd_gaussian(features, style).sum(), features)
    variance = pair_variance(features, style)
    assert not variance.requires_grad
    (expected,) = torch.autograd.grad(mmd_gaussian(features, style, variance).sum(), features)
    assert torch.equal(found, expected)


def test_gradients_are_right() -> None:
    features, style = samples(2, 3, 4).requires_grad_(), samples(1, 3, 4, seed=1)
    assert torch.autograd.gradcheck(lambda maps: mmd_linear(maps, style), features)
    assert torch.autograd.gradcheck(lambda maps: mmd_polynomial(maps, style, 0.5), features)
    assert torch.autograd.gradcheck(lambda maps: mmd_gaussian(maps, style, 0.7), features)


def test_half_precision_is_lifted() -> None:
    # (300^2 + 300^2)^2 = 3.24e10 is far above float16's 65,504.
    features = torch.full((1, 2, 4), 300.0, dtype=torch.float16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = mmd_polynomial(features, torch.zeros(1, 2, 4, dtype=torch.float16))
    assert found.item() == pytest.approx(3.24e10, rel=1e-6)


def test_what_does_not_fit() -> None:
    features = samples(2, 3, 4)
    with pytest.raises(ValueError, match=r"mmd_linear expects features \(B, C, M\).*\(2, 5, 4\)"):
        mmd_linear(features, samples(2, 5, 4))
    with pytest.raises(ValueError, match=r"offset >= 0 and a degree >= 1, got -1\.0 and 2"):
        mmd_polynomial(features, features, offset=-1.0)
    with pytest.raises(ValueError, match="one even number of positions of both, got 4 and 6"):
        mmd_gaussian(features, samples(2, 3, 6))
    with pytest.raises(ValueError, match="got 3 and 3"):
        mmd_gaussian(features[..., :3], features[..., :3])
