"""Watercolor: flat washes whose pigment settles in the paper's pits, in clouds, and at their edges."""

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.color import Color, color_plane, luma
from stylebench.functional.hash_noise import turbulence
from stylebench.worlds.filters.kuwahara import kuwahara
from stylebench.worlds.filters.paper import paper_grain
from stylebench.worlds.filters.smoothing import gaussian_blur, gradients, pixel_centers
from stylebench.worlds.filters.strength import blend, length_scale, split_strength

_CLOUD_GAIN = 2.5  # octaves of noise rarely peak together: this brings their sum to about +-1


def pigment_density(colors: Tensor, density: Tensor) -> Tensor:
    """Change how much pigment lies on the paper: C (1 - (1 - C)(d - 1)).

    Args:
        colors: (B, 3, H, W) RGB in [0, 1].
        density: (B, 1, H, W), 1 = unchanged, more is darker.

    Returns:
        (B, 3, H, W); black and white stay as they are.

    Source: Bousseau, Kaplan, Thollot & Sillion 2006, "Interactive watercolor rendering with temporal coherence and
    abstraction".
    """
    return colors * (1 - (1 - colors) * (density - 1))


def watercolor(
    images: Tensor,
    strength: float = 1.0,
    *,
    seeds: Tensor,
    wash: float = 6.0,
    clouds: float = 0.3,
    grain: float = 0.2,
    edges: float = 0.4,
    cloud_period: float = 64.0,
    dilution: float = 0.4,
    cover: float = 0.9,
    vividness: float = 0.25,
    wobble: float = 2.0,
    paper: Color = (0.98, 0.97, 0.93),
) -> Tensor:
    """Paint in watercolor.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        strength: in [0, 1.5]; multiplies the washes' size and every change of density; blends cover, chroma and
            paper up to 1.
        seeds: (B,) int64, of clouds and paper.
        wash: radius of the flattening Kuwahara filter, for 256 px.
        clouds: weight of the slow variation of pigment.
        grain: weight of the paper's structure.
        edges: weight of the dark rims.
        cloud_period: size of the clouds, for 256 px.
        dilution: how much less pigment there is on average.
        cover: how dark the darkest pigment is, in [0, 1]; below 1 paper shines through everywhere.
        vividness: gain of chroma; 0 keeps it.
        wobble: how far the paper draws the washes' borders astray, for 256 px.
        paper: RGB in [0, 1].

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: Bousseau, Kaplan, Thollot & Sillion 2006.
    """
    amount, _ = split_strength(strength)
    scale = length_scale(images)
    height, width = images.shape[-2:]
    washes = kuwahara(images, strength, radius=wash)
    washes = _displace(washes, seeds, strength * wobble * scale)
    right, below = gradients(gaussian_blur(luma(washes), 0.8 * scale))
    rim = 2 * torch.tanh((right.square() + below.square()).sqrt() * (8 * scale))  # (B, 1, H, W) in [0, 2]
    cloud = turbulence(seeds, height, width, cloud_period * scale, octaves=4, stream=8)[:, None]
    pits = paper_grain(seeds, images)
    gray = luma(washes)
    pigment = (gray + (1 + vividness) * (washes - gray)).clamp(0, 1)
    sheet = color_plane(paper, images)
    painted = blend(washes, sheet * (cover * pigment + 1 - cover), amount)
    density = 1 + strength * (clouds * _CLOUD_GAIN * cloud + grain * pits + edges * rim - dilution)
    return pigment_density(painted, density).clamp(0, 1)


def _displace(images: Tensor, seeds: Tensor, distance_px: float) -> Tensor:
    """Move pixels by smooth noise of an amplitude in pixels."""
    height, width = images.shape[-2:]
    period_px = max(2.0, 10 * length_scale(images))
    moves = [turbulence(seeds, height, width, period_px, octaves=2, stream=stream) for stream in (16, 18)]
    move = torch.stack([2 * distance_px / side * shift for side, shift in zip((width, height), moves, strict=True)], -1)
    return F.grid_sample(images, pixel_centers(images) + move, padding_mode="border", align_corners=False)
