"""The classic Kuwahara filter by loops, the anisotropic one by another interpolation."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from stylebench.functional.color import luma
from stylebench.worlds.filters.kuwahara import classic_kuwahara, kuwahara
from stylebench.worlds.filters.smoothing import edge_directions, gaussian_blur


def test_classic_kuwahara_equals_a_loop(pictures: Tensor, reference: Any) -> None:
    picture, radius = pictures[0, :, :13, :11].double().numpy(), 2
    padded = np.pad(picture, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
    gray = reference.luma(padded)
    expected = np.zeros_like(picture)
    for row, column in np.ndindex(picture.shape[1:]):
        squares = [
            (slice(top, top + radius + 1), slice(left, left + radius + 1))
            for top in (row, row + radius)
            for left in (column, column + radius)
        ]
        rows, columns = min(squares, key=lambda square: gray[square].var())
        expected[:, row, column] = padded[:, rows, columns].mean((1, 2))
    found = classic_kuwahara(pictures[:1, :, :13, :11].double(), radius)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("radius", [1, 3, 6])
def test_classic_kuwahara_keeps_a_two_tone_edge(two_tones: Tensor, radius: int) -> None:
    torch.testing.assert_close(classic_kuwahara(two_tones, radius), two_tones, atol=1e-6, rtol=0)


def test_kuwahara_equals_spline_interpolation_of_its_formula(pictures: Tensor) -> None:
    image, radius, sharpness, eccentricity = pictures[1:], 24.0, 6.0, 0.7
    scale = 32 / 256
    directions = edge_directions(luma(image), 8.0 * scale)
    x, y, anisotropy = (values[0, 0].double().numpy() for values in directions)
    soft = gaussian_blur(image, 0.1 * radius * scale)[0].double().numpy()
    rows, columns = np.mgrid[:32, :32]
    total, norm = 0.0, 0.0
    for sector in range(8):
        samples, weights = [soft], [0.5]
        for ring, turn in ((0.35, 0), (0.65, -0.27), (0.65, 0.27), (0.95, -0.34), (0.95, 0), (0.95, 0.34)):
            angle = math.pi / 4 * (sector + turn)
            stretch = (eccentricity + anisotropy) / eccentricity
            along = radius * scale * stretch * ring * math.cos(angle)
            across = radius * scale / stretch * ring * math.sin(angle)
            places = (rows + along * x + across * y, columns - along * y + across * x)
            samples.append(
                np.stack([ndimage.map_coordinates(plane, places, order=1, mode="nearest") for plane in soft])
            )
            weights.append(1.0)
        mean = np.average(samples, axis=0, weights=weights)
        variance = np.average((np.asarray(samples) - mean) ** 2, axis=0, weights=weights).mean(0)
        weight = (1 + 255**2 * variance) ** (-sharpness / 2)
        total, norm = total + weight * mean, norm + weight
    found = kuwahara(image, radius=radius, sharpness=sharpness, eccentricity=eccentricity, tensor_sigma=8.0)
    np.testing.assert_allclose(found[0].numpy(), total / norm, atol=3e-4)


def test_kuwahara_flattens_noise_and_keeps_the_edge(two_tones: Tensor) -> None:
    noisy = two_tones + 0.03 * torch.randn(two_tones.shape, generator=torch.Generator().manual_seed(0))
    painted = kuwahara(noisy, radius=40.0)
    sides = (painted[..., 2:10], two_tones[..., 2:10]), (painted[..., 17:28], two_tones[..., 17:28])
    assert all((found - flat).std() < 0.015 for found, flat in sides)
    jump = (painted[:, 0, :, 15] - painted[:, 0, :, 10]).mean()  # of 0.7 in red
    assert jump > 0.65


def test_kuwahara_of_strength_zero_is_the_picture_and_grows_from_there(pictures: Tensor) -> None:
    assert torch.equal(kuwahara(pictures, 0.0), pictures)
    changes = [(kuwahara(pictures, strength) - pictures).abs().mean().item() for strength in (0.01, 0.5, 1.0, 1.5)]
    assert changes[0] < 0.002
    assert changes == sorted(changes)
