"""Smoothing against scipy, and directions of edges against an eigenvalue solver."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.functional.color import luma
from stylebench.worlds.filters.smoothing import (
    bilateral_blur,
    edge_directions,
    gaussian_blur,
    gradients,
    pixel_centers,
    smoothstep,
)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.7, 20.0])
def test_gaussian_blur_equals_scipy(pictures: Tensor, reference: Any, sigma: float) -> None:
    blurred = gaussian_blur(pictures, sigma).double().numpy()
    expected = np.stack([[reference.blur(plane, sigma) for plane in picture] for picture in pictures.double().numpy()])
    np.testing.assert_allclose(blurred, expected, atol=2e-6)


def test_gaussian_blur_without_width_returns_the_picture(pictures: Tensor) -> None:
    assert torch.equal(gaussian_blur(pictures, 0), pictures)


def test_gradients_of_a_plane_are_its_slopes() -> None:
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    right, below = gradients((2 * columns - 3 * rows)[None, None])
    torch.testing.assert_close(right[..., 1:-1, 1:-1], torch.full((1, 1, 6, 7), 2.0))
    torch.testing.assert_close(below[..., 1:-1, 1:-1], torch.full((1, 1, 6, 7), -3.0))


def test_edge_directions_are_eigenvectors_of_the_structure_tensor(pictures: Tensor, reference: Any) -> None:
    brightness = luma(pictures[:1])
    x, y, anisotropy = (values[0, 0].double().numpy() for values in edge_directions(brightness, 1.5))
    right, below = reference.gradients(brightness[0, 0].double().numpy())
    xx, xy, yy = (reference.blur(product, 1.5) for product in (right * right, right * below, below * below))
    values, vectors = np.linalg.eigh(np.stack((xx, xy, xy, yy), -1).reshape(*xx.shape, 2, 2))
    expected = (values[..., 1] - values[..., 0]) / (values.sum(-1) + 1e-6)
    np.testing.assert_allclose(anisotropy, expected, atol=1e-3)
    aligned = np.abs(vectors[..., 0, 1] * x + vectors[..., 1, 1] * y)  # with the eigenvector of the larger one
    assert aligned[expected > 0.1].min() > 0.9999


def test_a_flat_picture_has_no_direction() -> None:
    x, y, anisotropy = edge_directions(torch.full((1, 1, 8, 8), 0.3), 1.0)
    assert torch.equal(anisotropy, torch.zeros_like(anisotropy))
    torch.testing.assert_close(x.square() + y.square(), torch.ones_like(x))


def test_bilateral_blur_equals_a_loop(pictures: Tensor, reference: Any) -> None:
    picture = pictures[0, :, :12, :14].double().numpy()
    expected = picture
    for axis in (2, 1):
        before, gray = expected, reference.luma(expected)
        expected = np.zeros_like(before)
        for row, column in np.ndindex(gray.shape):
            total = np.zeros(4)
            for step in range(-3, 4):
                place = [row, column]
                place[axis - 1] = int(np.clip(place[axis - 1] + step, 0, gray.shape[axis - 1] - 1))
                difference = (gray[place[0], place[1]] - gray[row, column]) / 0.1
                weight = np.exp(-0.5 * ((step / 1.5) ** 2 + difference**2))
                total += weight * np.append(before[:, place[0], place[1]], 1)
            expected[:, row, column] = total[:3] / total[3]
    found = bilateral_blur(pictures[:1, :, :12, :14], 1.5, 0.1, passes=1)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2e-6)


def test_bilateral_blur_keeps_a_strong_edge(two_tones: Tensor) -> None:
    gray = (two_tones > 0.5).float()[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(bilateral_blur(gray, 2.0, 0.08, passes=2), gray, atol=1e-6, rtol=0)


def test_pixel_centers_make_grid_sample_the_identity(pictures: Tensor) -> None:
    grid = pixel_centers(pictures)[None].expand(2, -1, -1, -1)
    sampled = torch.nn.functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(sampled, pictures, atol=1e-5, rtol=0)


def test_smoothstep_ends_flat() -> None:
    values = smoothstep(torch.tensor((-1.0, 0.0, 0.25, 0.5, 1.0, 2.0)))
    torch.testing.assert_close(values, torch.tensor((0, 0, 0.15625, 0.5, 1, 1)))
