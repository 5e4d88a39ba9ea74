"""Pictures and plain reference operations for the filters' tests."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage, stats
from torch import Tensor

from stylebench.functional.dead_leaves import dead_leaves

Array = NDArray[np.float64]


class Reference:
    """The filters' parts on single pictures in float64, by numpy and scipy."""

    @staticmethod
    def luma(picture: Array) -> Array:
        return np.tensordot((0.299, 0.587, 0.114), picture, 1)

    @staticmethod
    def blur(plane: Array, sigma: float) -> Array:
        radius = max(1, int(np.ceil(3 * sigma)))
        kernel = np.diff(stats.norm.cdf(np.arange(-radius - 0.5, radius + 1), scale=sigma))
        kernel = kernel / kernel.sum()
        rows = ndimage.correlate1d(plane, kernel, axis=0, mode="nearest")
        return ndimage.correlate1d(rows, kernel, axis=1, mode="nearest")

    @staticmethod
    def gradients(plane: Array) -> tuple[Array, Array]:
        smooth, slope = (3 / 16, 10 / 16, 3 / 16), (-0.5, 0, 0.5)
        right = ndimage.correlate1d(ndimage.correlate1d(plane, smooth, 0, mode="nearest"), slope, 1, mode="nearest")
        below = ndimage.correlate1d(ndimage.correlate1d(plane, smooth, 1, mode="nearest"), slope, 0, mode="nearest")
        return right, below


@pytest.fixture(scope="session")
def reference() -> type[Reference]:
    return Reference


@pytest.fixture(scope="session")
def pictures() -> Tensor:
    """Return (2, 3, 32, 32) pictures in [0, 1]."""
    return dead_leaves(2, 32, seed=3).float() / 255


@pytest.fixture(scope="session")
def two_tones() -> Tensor:
    """Return (1, 3, 24, 30): one color left of column 13, another right of it."""
    image = torch.empty(1, 3, 24, 30)
    image[..., :13] = torch.tensor((0.2, 0.3, 0.8))[None, :, None, None]
    image[..., 13:] = torch.tensor((0.9, 0.6, 0.1))[None, :, None, None]
    return image
