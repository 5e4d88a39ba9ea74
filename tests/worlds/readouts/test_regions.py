"""Regions: masks, means and trends, against NumPy."""

import numpy as np
import torch

from stylebench.worlds.readouts import clear_regions, coordinates, region_means, region_trends, spread


def halves(size: int) -> torch.Tensor:
    left = torch.zeros(1, 2, size, size, dtype=torch.bool)
    left[:, 0, :, : size // 2] = True
    left[:, 1, :, size // 2 :] = True
    return left


def test_clear_regions_keeps_distance_and_drops_what_is_small() -> None:
    outline = (torch.arange(16) - 7.5).expand(1, 16, 16)  # an upright outline in the middle
    clear = clear_regions(halves(16), outline, 3.0, least_px=64)
    assert clear.sum((0, 2, 3)).tolist() == [5 * 16, 5 * 16]  # columns 0..4 and 11..15
    assert not clear_regions(halves(16), outline, 3.0, least_px=81).any()


def test_region_means_and_spread_are_inverse_on_flat_regions() -> None:
    regions, colors = halves(8), torch.tensor([[[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]]])
    image = spread(colors, regions)
    means, sizes = region_means(image, regions)
    assert torch.allclose(means, colors)
    assert sizes.tolist() == [[32.0, 32.0]]


def test_region_means_of_an_empty_region_are_zero() -> None:
    means, sizes = region_means(torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool))
    assert not means.any()
    assert not sizes.any()


def test_trend_of_a_plane_is_that_plane_in_every_region() -> None:
    regions, plane = halves(16), coordinates(16, 16)
    slopes = torch.tensor([[[1.0, -2.0, 0.5], [0.3, 0.0, 4.0]]])  # (1, R, C) along x
    image = spread(slopes, regions) * plane[:, :1] + plane[:, 1:] + 0.25
    assert torch.allclose(region_trends(image, plane, regions, regions), image, atol=1e-2)  # of a range of 3


def test_trend_equals_least_squares_on_the_fitted_part() -> None:
    torch.manual_seed(0)
    images, covariates = torch.rand(2, 3, 12, 12), torch.rand(2, 2, 12, 12)
    regions = torch.ones(2, 1, 12, 12, dtype=torch.bool)
    fitted = torch.rand(2, 1, 12, 12) < 0.6
    trends = region_trends(images, covariates, fitted, regions)
    for picture in range(2):
        design = np.concatenate([np.ones((144, 1)), covariates[picture].flatten(1).T.numpy()], 1)
        chosen = fitted[picture, 0].flatten().numpy()
        values = images[picture].flatten(1).T.numpy()
        weights = np.linalg.lstsq(design[chosen], values[chosen], rcond=None)[0]
        assert np.allclose(trends[picture].flatten(1).T.numpy(), design @ weights, atol=2e-3)


def test_trend_is_zero_without_a_fitted_part() -> None:
    regions = halves(8)
    trends = region_trends(torch.ones(1, 3, 8, 8), coordinates(8, 8), torch.zeros_like(regions), regions)
    assert not trends.any()
