import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.functional.moments import MeanAndVariance, Moments, domain_distance, merge_all, mixture


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gathered(parts: list[Tensor]) -> Moments:
    return merge_all(Moments.of(part) for part in parts)


@pytest.mark.parametrize("sizes", [[1, 7, 3, 12], [23], [1] * 23])
def test_merged_batches_are_the_moments_of_all_far_from_zero(sizes: list[int]) -> None:
    maps = 1000 + features(23, 5, 4, 3)  # a difference of raw float32 moments has no correct digit here
    found = gathered(list(maps.split(sizes)))
    flat = maps.double().numpy().transpose(1, 0, 2, 3).reshape(5, -1)
    assert found.count == 23 * 12
    np.testing.assert_allclose(found.mean.numpy(), flat.mean(1), rtol=1e-7)
    np.testing.assert_allclose(found.statistics().variance.numpy(), flat.var(1), rtol=1e-6)
    np.testing.assert_allclose(found.statistics(unbiased=True).variance.numpy(), flat.var(1, ddof=1), rtol=1e-6)


@pytest.mark.parametrize("positions", [(), (1,), (1, 1)])
def test_vectors_and_maps_of_one_position_have_moments_too(positions: tuple[int, ...]) -> None:
    vectors = features(9, 4)
    found = gathered([part.view(-1, 4, *positions) for part in (vectors[:2], vectors[2:])])
    assert found.count == 9
    np.testing.assert_allclose(found.statistics().variance.numpy(), vectors.double().numpy().var(0), rtol=1e-12)


def test_sorted_shuffled_and_ragged_batches_agree() -> None:
    maps = features(40, 3, 5, 5) + 4 * torch.arange(40).div(10, rounding_mode="floor").view(-1, 1, 1, 1)  # four classes
    one = Moments.of(maps).statistics()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    for parts in (maps.split(10), maps[order].split(10), maps.split(17), maps.split(1)):
        for found, expected in zip(gathered(list(parts)).statistics(), one, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    averaged = torch.stack([part.var((0, 2, 3)) for part in maps.split(10)]).mean(0).double()
    assert (averaged < 0.1 * one.variance).all()  # the mean of the batches' variances has lost what lies between them


def test_half_precision_is_gathered_in_float32() -> None:
    maps = (1000 * features(8, 2, 6, 6)).half()  # squares overflow float16
    found = Moments.of(maps).statistics()
    assert found.mean.dtype == torch.float64
    np.testing.assert_allclose(found.variance.numpy(), maps.double().numpy().var((0, 2, 3)), rtol=1e-6)


def test_nothing_and_too_little_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(0, 3, 2, 2\)"):
        Moments.of(torch.zeros(0, 3, 2, 2))
    with pytest.raises(ValueError, match="at least 2"):
        Moments.of(torch.zeros(1, 3)).statistics(unbiased=True)
    with pytest.raises(ValueError, match="none"):
        merge_all([])
    with pytest.raises(ValueError, match="3 and 4 channels"):
        Moments.of(torch.zeros(1, 3)).merged(Moments.of(torch.zeros(1, 4)))


def test_a_mixture_has_the_moments_of_its_draws() -> None:
    first, second = features(60, 2, seed=1).double(), 3 + 2 * features(30, 2, seed=2).double()
    one, two = Moments.of(first).statistics(), Moments.of(second).statistics()
    found = mixture(2 / 3, one, two)  # the shares of the two sets
    together = Moments.of(torch.cat([first, second])).statistics()
    torch.testing.assert_close(found.mean, together.mean)
    torch.testing.assert_close(found.variance, together.variance)
    for alpha, alone in ((1.0, one), (0.0, two)):
        torch.testing.assert_close(mixture(alpha, one, two).variance, alone.variance)


def test_domain_distance_of_known_gaussians() -> None:
    def of(mean: float, variance: float) -> MeanAndVariance:
        return MeanAndVariance(torch.tensor([mean, 0.0]), torch.tensor([variance, 1.0]))

    assert domain_distance(of(0, 1), of(0, 1)) == 0
    assert domain_distance(of(0, 1), of(2, 1)) == pytest.approx((4 * 2 * 0.5) / 2)  # the second channel adds 0
    assert domain_distance(of(0, 1), of(0, 4)) == pytest.approx((0.25 + 4 - 2) * 0.5 / 2)
    assert domain_distance(of(1, 2), of(0, 3)) == domain_distance(of(0, 3), of(1, 2))
    with pytest.raises(ValueError, match="2 and 3 channels"):
        domain_distance(of(0, 1), MeanAndVariance(torch.zeros(3), torch.ones(3)))
