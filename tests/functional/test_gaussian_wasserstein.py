"""The Wasserstein distance of Gaussians as a loss: against the metrics' Frechet distance, and its gradients."""

import pytest
import torch
from torch import Tensor

from stylebench.functional.frechet import frechet_distance
from stylebench.functional.gaussian_wasserstein import GaussianTarget, gaussian_target, squared_wasserstein


def moments(count: int, channels: int = 4, seed: int = 0, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Return mean and biased covariance of features at `count` positions; of low rank where there are few."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, channels, count, generator=generator, dtype=torch.float64) + seed
    centered = features - features.mean(2, keepdim=True)
    return features.mean(2), centered @ centered.mT / count


def test_known_answer() -> None:
    # One dimension: (m - m')^2 + (s - s')^2 with means 0 and 3, deviations 1 and 2: 9 + 1.
    one = torch.ones(1, 1)
    target = gaussian_target(3 * one, 4 * one.unsqueeze(2))
    assert squared_wasserstein(0 * one, one.unsqueeze(2), target).tolist() == [10.0]


def test_commuting_covariances() -> None:
    # Diagonal ones: the squared differences of deviations, (1 - 3)^2 + (2 - 2)^2 + (4 - 0)^2 = 20.
    covariance = torch.diag(torch.tensor([1.0, 4.0, 16.0]))[None]
    target = gaussian_target(torch.zeros(1, 3), torch.diag(torch.tensor([9.0, 4.0, 0.0]))[None])
    torch.testing.assert_close(squared_wasserstein(torch.zeros(1, 3), covariance, target), torch.tensor([20.0]))


@pytest.mark.parametrize("counts", [(50, 30), (50, 3), (3, 50), (2, 3)])
def test_equals_the_frechet_distance(counts: tuple[int, int]) -> None:
    own, other = moments(counts[0], 6), moments(counts[1], 6, seed=1)
    expected = frechet_distance(own[0][0], own[1][0], other[0][0], other[1][0])
    assert squared_wasserstein(*own, gaussian_target(*other)).item() == pytest.approx(expected, rel=1e-6)


def test_root_is_that_of_the_covariance() -> None:
    mean, covariance = moments(30)
    target = gaussian_target(mean, covariance)
    torch.testing.assert_close(target.root @ target.root, covariance)
    torch.testing.assert_close(target.root, target.root.mT)
    assert not target.root.requires_grad


@pytest.mark.parametrize("count", [50, 3])
def test_no_distance_from_itself(count: int) -> None:
    own = moments(count, 6)
    trace = own[1].diagonal(dim1=1, dim2=2).sum().item()
    assert abs(squared_wasserstein(*own, gaussian_target(*own)).item()) < 1e-7 * trace


def test_one_target_serves_a_batch() -> None:
    own, other = moments(20, batch=3), moments(30, seed=1)
    together = squared_wasserstein(*own, gaussian_target(*other))
    assert together.shape == (3,)
    alone = squared_wasserstein(own[0][1:2], own[1][1:2], gaussian_target(*other))
    torch.testing.assert_close(together[1:2], alone)


def test_gradient_is_right_at_full_rank() -> None:
    mean, covariance = moments(30, 3, batch=2)
    target = gaussian_target(*moments(20, 3, seed=1))
    assert torch.autograd.gradcheck(
        lambda m, c: squared_wasserstein(m, c, target), (mean.requires_grad_(), covariance.requires_grad_())
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("counts", [(2, 50), (50, 2), (2, 2), (1, 50), (1, 1)])
def test_gradient_is_finite_and_leads_down_without_full_rank(counts: tuple[int, int], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 8, counts[0], generator=generator, dtype=dtype).requires_grad_()
    mean, covariance = moments(counts[1], 8, seed=1)
    target = gaussian_target(mean.to(dtype), covariance.to(dtype))

    def distance(maps: Tensor) -> Tensor:
        centered = maps - maps.mean(2, keepdim=True)
        return squared_wasserstein(maps.mean(2), centered @ centered.mT / maps.shape[2], target).sum()

    (gradient,) = torch.autograd.grad(distance(features), features)
    assert bool(gradient.isfinite().all())
    with torch.no_grad():
        assert distance(features - 1e-2 * gradient) < distance(features)


def test_equal_eigenvalues_have_a_finite_gradient() -> None:
    covariance = torch.eye(4)[None].requires_grad_()
    target = gaussian_target(torch.zeros(1, 4), 4 * torch.eye(4)[None])
    squared_wasserstein(torch.zeros(1, 4), covariance, target).sum().backward()
    # d/ds of (sqrt(s) - 2)^2 at s = 1 is 1 - 2 / 1 = -1 along every axis.
    torch.testing.assert_close(covariance.grad, -torch.eye(4)[None])


def test_half_precision_is_lifted() -> None:
    mean, covariance = (part.half() for part in moments(30))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = squared_wasserstein(mean, covariance, gaussian_target(mean, covariance))
    assert found.dtype == torch.float32
    assert abs(found.item()) < 1e-3
    assert isinstance(gaussian_target(mean, covariance), GaussianTarget)


def test_what_does_not_fit() -> None:
    mean, covariance = moments(30)
    with pytest.raises(ValueError, match=r"means \(B, C\) and covariances \(B, C, C\), got \(1, 4\) and \(1, 4\)"):
        gaussian_target(mean, mean)
    with pytest.raises(ValueError, match=r"target of shape \(1, 4\).*got \(1, 5\)"):
        squared_wasserstein(mean, covariance, gaussian_target(*moments(30, 5)))
    with pytest.raises(ValueError, match="not finite"):
        gaussian_target(mean, covariance * float("nan"))
