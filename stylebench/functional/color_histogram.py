"""Color distance: soft histograms over log-chroma, compared by the Hellinger distance."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.pixels import to_float64

_REACH = 3.0  # bins cover log-chroma from -3 to 3
_WIDTH = 0.02  # sigma of the kernel
_LEAST = 1e-6  # keeps logarithms and roots finite at black
_ENTRIES = 1 << 21  # kernel values in memory at a time: 16 MiB each


def uv_histogram(images: Tensor, bins: int = 64, largest_px: int = 150) -> Tensor:
    """Compute RGB-uv histograms: three planes of log-chroma, one relative to each channel.

    A pixel counts by its intensity sqrt(R^2 + G^2 + B^2), and reaches into bins at distance d with weight
    1 / (1 + (d / 0.02)^2) along each axis.

    Args:
        images: (B, 3, H, W) RGB, uint8, or floating in [0, 1].
        bins: along each of u and v.
        largest_px: images with a longer side are resized to this square (bilinear, as published).

    Returns:
        (B, 3, bins, bins) float64, non-negative, each sample's sum 1.

    Raises:
        ValueError: if `images` is not a batch of RGB images.

    Source: Afifi et al. 2021 (HistoGAN), eqs. 1-4; mahmoudnafifi/HistoGAN, `histogram_classes/RGBuvHistBlock.py`.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"expected (B, 3, H, W) RGB images, got shape {tuple(images.shape)}")
    images = to_float64(images).clamp(0, 1)
    if max(images.shape[2:]) > largest_px:
        images = F.interpolate(images, (largest_px, largest_px), mode="bilinear", align_corners=False)
    colors = images.flatten(2)  # (B, 3, N)
    centers = torch.linspace(-_REACH, _REACH, bins, dtype=torch.float64, device=images.device)
    total = colors.new_zeros(len(colors), 3, bins, bins)
    for part in torch.split(colors, max(1, _ENTRIES // (len(colors) * bins)), dim=2):
        total += _count(part, centers)
    return total / total.sum((1, 2, 3), keepdim=True)


def _count(colors: Tensor, centers: Tensor) -> Tensor:
    """Return the unnormalized histograms of (B, 3, N) colors, (B, 3, bins, bins)."""
    weight = (colors.square().sum(1) + _LEAST).sqrt()[..., None]  # (B, N, 1)
    red, green, blue = (colors + _LEAST).log().unbind(1)  # (B, N) each
    red_green, red_blue, green_blue = (
        1 / (1 + ((ratio[..., None] - centers) / _WIDTH).square())  # (B, N, bins)
        for ratio in (red - green, red - blue, green - blue)
    )
    # The bins lie symmetrically about 0, so the kernel of -u is that of u in reverse order.
    planes = (
        (red_green, red_blue),
        (red_green.flip(2), green_blue),
        (red_blue.flip(2), green_blue.flip(2)),
    )
    return torch.stack([(u * weight).mT @ v for u, v in planes], 1)


def hellinger(first: Tensor, second: Tensor) -> Tensor:
    """Compute the Hellinger distance of each pair of histograms.

    Args:
        first: (1 or B, ...) non-negative, each sample's sum 1.
        second: (1 or B, ...), otherwise of the same shape.

    Returns:
        (B,) float64 in [0, 1]: 0 for equal histograms, 1 for disjoint ones.

    Raises:
        ValueError: if the shapes do not match.
    """
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(
            f"expected histograms of one shape, got {tuple(first.shape)} and {tuple(second.shape)}; count both with "
            "the same number of bins"
        )
    difference = first.double().sqrt() - second.double().sqrt()
    return difference.square().flatten(1).sum(1).sqrt() / math.sqrt(2)
