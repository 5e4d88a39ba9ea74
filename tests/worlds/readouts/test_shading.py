"""Slopes of brightness in light."""

import pytest
import torch

from stylebench.worlds.readouts import shading_slopes

_DARK = 0.1  # added to a region's brightness before dividing by it


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Return two forms of light (1, 2, 32, 32) and two regions."""
    light = torch.linspace(0, 1, 32).expand(32, 32)
    forms = torch.stack([light, (light.mT > 0.5).float()])[None]
    regions = torch.zeros(1, 2, 32, 32, dtype=torch.bool)
    regions[:, 0, :, :16] = True
    regions[:, 1, :, 18:] = True
    return forms, regions


def test_slopes_are_found_whatever_the_brightness_of_regions() -> None:
    forms, regions = scene()
    relative = 0.8 * (forms[:, 0] - 0.5) + 0.3 * (forms[:, 1] - 0.5)
    for bright in (0.2, 0.5):
        luminance = torch.where(regions[:, 0], 0.7, bright)
        means = torch.where(regions[:, 0], 0.7, bright)
        slopes, _ = shading_slopes(luminance + (means + _DARK) * relative, forms, regions)
        assert slopes[0].tolist() == pytest.approx([0.8, 0.3], abs=0.1)


def test_slopes_of_flat_regions_are_zero() -> None:
    forms, regions = scene()
    luminance = torch.where(regions[:, 0], 0.9, 0.1)
    assert shading_slopes(luminance, forms, regions)[0].abs().max() < 1e-3


def test_covariance_is_that_of_the_forms_within_regions() -> None:
    forms, regions = scene()
    _, covariance = shading_slopes(torch.zeros(1, 32, 32), forms, regions)
    within = [forms[0, 0][regions[0, region]] for region in range(2)]
    expected = sum(((part - part.mean()).square().sum() for part in within), torch.zeros(()))
    assert covariance[0, 0, 0].item() == pytest.approx((expected / regions.sum()).item(), rel=1e-4)
