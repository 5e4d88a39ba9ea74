"""Resizing and cropping of float images."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def resized(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, 3, h, w) pictures in [0, 1] to (B, 3, *size), antialiased, clamped."""
    if list(pictures.shape[-2:]) == list(size):
        return pictures
    return F.interpolate(pictures, list(size), mode="bicubic", antialias=True, align_corners=False).clamp(0.0, 1.0)


def center_crop(images: Tensor, size: Sequence[int]) -> Tensor:
    """Crop the largest centered rectangle of a shape and resize it, antialiased.

    Args:
        images: (B, 3, H, W) in [0, 1].
        size: height and width of the result, in pixels.

    Returns:
        (B, 3, *size) in [0, 1].
    """
    height, width = images.shape[-2:]
    scale = min(height / size[0], width / size[1])
    rows, columns = min(height, round(size[0] * scale)), min(width, round(size[1] * scale))
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = images[..., top : top + rows, left : left + columns]  # (B, 3, rows, columns)
    return F.interpolate(cut, size=list(size), mode="bilinear", antialias=True)
