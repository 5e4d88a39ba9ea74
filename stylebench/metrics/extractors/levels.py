"""What networks of one input size are given: checked images, resized by a protocol."""

import torch
from torch import Tensor

from stylebench.metrics.extractors.base import unit_range
from stylebench.metrics.resizing import protocol


def resized_levels(images: Tensor, resize: str, size_px: int) -> Tensor:
    """Check images and resize them by a protocol.

    Args:
        images: (B, 3, H, W) RGB, uint8, or float32 in [0, 1].
        resize: key of `metrics.resizing.PROTOCOLS`.
        size_px: side of the result.

    Returns:
        (B, 3, size_px, size_px) float32 in [0, 255].

    Raises:
        TypeError: on another type.
        ValueError: on another shape, or an unknown protocol.
    """
    levels = unit_range(images) * 255
    if images.dtype == torch.uint8:
        levels = images.float()  # v / 255 * 255 is not v for every v in float32
    return protocol(resize)(levels, size_px)  # (B, 3, size_px, size_px)


def normalized(levels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Turn float32 levels in [0, 255] into the input of a network: (levels / 255 - mean) / std, each (1, 3, 1, 1)."""
    return (levels / 255 - mean) / std
