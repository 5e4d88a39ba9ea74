"""Resizing and cropping of float images."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def resized(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, 3, h, w) pictures in [0, 1] to (B, 3, *size), antialiased, clamped."""
    if list(pictures.shape[-2:]) == list(size):
        return pictures
    return F.interpolate(pictures, list(size), mode="bicubic", antialias=True, align_corners=False).clamp(0.0, 1.0)


def center_square(images: Tensor, size_px: int) -> Tensor:
    """Crop the largest centered square and resize it, antialiased.

    Args:
        images: (B, 3, H, W) in [0, 1].
        size_px: side of the result, in pixels.

    Returns:
        (B, 3, size_px, size_px) in [0, 1].
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[..., top : top + side, left : left + side]  # (B, 3, side, side)
    return F.interpolate(square, size=(size_px, size_px), mode="bilinear", antialias=True)
