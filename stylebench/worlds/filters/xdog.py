"""Ink drawings by extended differences of Gaussians (XDoG)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.color import Color, color_plane, luma
from stylebench.worlds.filters.paper import paper_grain
from stylebench.worlds.filters.smoothing import difference_of_gaussians, edge_directions, pixel_centers
from stylebench.worlds.filters.strength import blend, length_scale

_FLOW_STEPS = (-3, -2, -1, 1, 2, 3)  # samples along an edge, in thirds of the reach


def extended_dog(
    brightness: Tensor, *, sigma_px: float, ratio: float, gain: float, threshold: float, slope: float, flow_px: float
) -> Tensor:
    """Threshold a sharpened picture softly: 1 where it is brighter than the threshold, a tanh slope to 0 below.

    Args:
        brightness: (B, 1, H, W) in [0, 1].
        sigma_px: narrow Gaussian in pixels, > 0.
        ratio: k, wide over narrow.
        gain: p, how many times the difference of Gaussians is added.
        threshold: epsilon, in units of brightness.
        slope: phi, steepness below the threshold.
        flow_px: how far the sharpened picture is smoothed along its edges before, either way; 0 doesn't smooth.

    Returns:
        (B, 1, H, W) in [0, 1]; constant where the input is constant.

    Source: Winnemoeller, Kyprianidis & Olsen 2012, "XDoG"; the smoothing along edges is that of its flow-based form,
    over straight pieces instead of curves.
    """
    narrow, wide = difference_of_gaussians(brightness, sigma_px, ratio)
    sharpened = _smooth_along_edges((1 + gain) * narrow - gain * wide, brightness, 2.5 * sigma_px, flow_px)
    return 1 + torch.tanh(slope * (sharpened - threshold).clamp(max=0))


def xdog(
    images: Tensor,
    strength: float = 1.0,
    *,
    seeds: Tensor,
    sigma: float = 1.0,
    ratio: float = 1.6,
    gain: float = 20.0,
    threshold: float = 0.7,
    slope: float = 10.0,
    flow: float = 4.0,
    grain: float = 0.08,
    ink: Color = (0.12, 0.11, 0.14),
    paper: Color = (0.94, 0.92, 0.86),
) -> Tensor:
    """Draw with a brush and ink on grained paper.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        strength: in [0, 1.5]; multiplies the gain, and blends.
        seeds: (B,) int64, of the paper's grain.
        sigma: narrow Gaussian, for 256 px.
        ratio: wide over narrow.
        gain: of the difference of Gaussians.
        threshold: epsilon of `extended_dog`.
        slope: phi of `extended_dog`.
        flow: reach of the smoothing along edges, for 256 px.
        grain: how dark the paper's pits are, in [0, 1]; 0 is smooth.
        ink: RGB in [0, 1].
        paper: RGB in [0, 1].

    Returns:
        (B, 3, H, W), in [0, 1] up to strength 1.

    Source: Winnemoeller, Kyprianidis & Olsen 2012, "XDoG: an extended difference-of-Gaussians compendium".
    """
    tone = extended_dog(
        luma(images),
        sigma_px=sigma * length_scale(images),
        ratio=ratio,
        gain=gain * strength,
        threshold=threshold,
        slope=slope,
        flow_px=flow * length_scale(images),
    )
    tone = tone * (1 - grain * (0.5 + 0.5 * paper_grain(seeds, images)))
    dark, light = color_plane(ink, images), color_plane(paper, images)
    return blend(images, dark + (light - dark) * tone, strength)


def _smooth_along_edges(values: Tensor, brightness: Tensor, tensor_sigma_px: float, reach_px: float) -> Tensor:
    """Average (B, 1, H, W) values along the edges of `brightness`, Gaussian weights of standard deviation reach / 2."""
    if reach_px <= 0:
        return values
    height, width = values.shape[-2:]
    across_x, across_y, _ = edge_directions(brightness, tensor_sigma_px)
    along = torch.stack((across_y * (-2 / width), across_x * (2 / height)), -1)[:, 0]  # (B, H, W, 2), a pixel's length
    own, total, norm = pixel_centers(values), values.clone(), 1.0
    for step in _FLOW_STEPS:
        weight = math.exp(-2 * (step / 3) ** 2)
        places = own + along * (step * reach_px / 3)
        total.add_(F.grid_sample(values, places, padding_mode="border", align_corners=False), alpha=weight)
        norm += weight
    return total / norm
