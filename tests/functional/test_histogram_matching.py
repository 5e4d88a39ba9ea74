"""Histogram matching against hand-computed quantiles and its invariances."""

import pytest
import torch

from stylebench.functional.histogram_matching import match_histograms


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_values_take_the_reference_of_equal_rank() -> None:
    images = torch.tensor([3.0, 1.0, 2.0, 0.0]).view(1, 1, 2, 2)
    reference = torch.tensor([40.0, 10.0, 30.0, 20.0]).view(1, 1, 1, 4)
    # ranks 3, 1, 2, 0 of 4 are quantiles 7/8, 3/8, 5/8, 1/8: places 3, 1, 2, 0 of the sorted reference
    assert match_histograms(images, reference).flatten().tolist() == [40.0, 20.0, 30.0, 10.0]


def test_ties_stay_ties() -> None:
    images = torch.tensor([0.0, 0.0, 1.0, 1.0]).view(1, 1, 2, 2)
    reference = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 2, 2)
    # the two zeros share quantile 1/4: place 0.5 between 1 and 2
    assert match_histograms(images, reference).flatten().tolist() == [1.5, 1.5, 3.5, 3.5]


def test_own_histogram_changes_nothing() -> None:
    images = drawn(2, 3, 9, 7)
    assert torch.allclose(match_histograms(images, images), images, atol=1e-12)


def test_distribution_of_another_size_is_reached() -> None:
    made = match_histograms(drawn(1, 3, 40, 50), drawn(1, 3, 30, 30, seed=1).square())
    wanted = drawn(1, 3, 30, 30, seed=1).square()
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    for channel in range(3):
        found = made[0, channel].flatten().quantile(levels)
        assert torch.allclose(found, wanted[0, channel].flatten().quantile(levels), atol=2e-3)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="equal C"):
        match_histograms(drawn(1, 3, 4, 4), drawn(1, 1, 4, 4))
    with pytest.raises(ValueError, match="got 2 for 3 images"):
        match_histograms(drawn(3, 1, 4, 4), drawn(2, 1, 4, 4))
