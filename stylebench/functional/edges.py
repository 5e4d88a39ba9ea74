"""Edges of an image: the Sobel magnitude of its brightness."""

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.pixels import luma

_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))  # across x; transposed, across y
_STEP = 4.0  # what it answers to a step from 0 to 1


def sobel_magnitude(images: Tensor) -> Tensor:
    """Compute the strength of edges, so that an upright step from black to white has 1; the border is continued.

    Args:
        images: (B, 3, H, W) RGB, uint8, or floating in [0, 1].

    Returns:
        (B, 1, H, W) float64 in [0, sqrt(2)].

    Raises:
        ValueError: if `images` is not a batch of RGB images.

    Source: Sobel & Feldman 1968.
    """
    across = torch.tensor(_SOBEL, dtype=torch.float64, device=images.device) / _STEP
    kernels = torch.stack((across, across.mT))[:, None]  # (2, 1, 3, 3)
    slopes = F.conv2d(F.pad(luma(images), (1, 1, 1, 1), mode="replicate"), kernels)  # (B, 2, H, W)
    return slopes.square().sum(1, keepdim=True).sqrt()  # (B, 1, H, W)
