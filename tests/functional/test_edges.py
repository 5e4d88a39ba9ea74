"""Edges: steps worked out by hand, and SciPy's Sobel filter as reference."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from stylebench.functional.edges import sobel_magnitude


def test_edges_of_an_upright_step() -> None:
    # Luma 0 0 1 1 along x: (1 + 2 + 1) / 4 = 1 at the two columns beside the step, 0 at the continued border.
    image = torch.zeros(1, 3, 3, 4)
    image[..., 2:] = 1
    expected = torch.tensor([0.0, 1, 1, 0], dtype=torch.float64).expand(1, 1, 3, 4)
    torch.testing.assert_close(sobel_magnitude(image), expected)
    torch.testing.assert_close(sobel_magnitude(image.mT), expected.mT)


def test_edges_equal_scipy() -> None:
    image = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    gray = np.einsum("bchw,c->bhw", image.double().numpy(), [0.299, 0.587, 0.114])
    expected = [np.hypot(ndimage.sobel(g, 0, mode="nearest"), ndimage.sobel(g, 1, mode="nearest")) / 4 for g in gray]
    np.testing.assert_allclose(sobel_magnitude(image)[:, 0].numpy(), np.stack(expected), atol=1e-12)


def test_edges_ignore_brightness_and_take_uint8() -> None:
    image = torch.randint(0, 200, (1, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sobel_magnitude(image + 40), sobel_magnitude(image))
    torch.testing.assert_close(sobel_magnitude(image.double() / 255), sobel_magnitude(image))


def test_edges_refuse_gray_images() -> None:
    with pytest.raises(ValueError, match="RGB"):
        sobel_magnitude(torch.zeros(1, 1, 4, 4))
