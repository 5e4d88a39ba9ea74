"""Pen hatching: layers of strokes, each in the areas darker than its own tone."""

import math

import torch
from torch import Tensor

from stylebench.functional.color import Color, color_plane, luma
from stylebench.functional.hash_noise import hash_uniform, turbulence
from stylebench.worlds.filters.smoothing import gaussian_blur
from stylebench.worlds.filters.strength import blend, length_scale


def hatching(
    images: Tensor,
    strength: float = 1.0,
    *,
    seeds: Tensor,
    spacing: float = 7.0,
    angles: tuple[float, ...] = (90.0, 0.0, -45.0, 45.0),
    line_width: float = 2.2,
    wobble: float = 1.2,
    softness: float = 0.35,
    ink: Color = (0.14, 0.12, 0.18),
    paper: Color = (0.94, 0.92, 0.84),
) -> Tensor:
    """Hatch with a pen: layer k of n is drawn where brightness is below k / (n + 1).

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        strength: in [0, 1.5]; blends.
        seeds: (B,) int64, of the strokes' phase and wobble.
        spacing: distance of strokes, for 256 px.
        angles: degrees of the layers' strokes, from the darkest tone's to the brightest's.
        line_width: of the strokes, for 256 px.
        wobble: how far strokes stray, for 256 px.
        softness: range of brightness over which strokes taper.
        ink: RGB in [0, 1].
        paper: RGB in [0, 1].

    Returns:
        (B, 3, H, W), in [0, 1] up to strength 1.

    Source: Praun, Hoppe, Webb & Finkelstein 2001, "Real-time hatching": darker tones hold the strokes of all lighter.
    """
    scale = length_scale(images)
    height, width = images.shape[-2:]
    tone = gaussian_blur(luma(images), scale)
    phases = hash_uniform(seeds, 1, len(angles), stream=20)[:, 0]  # (B, layers)
    rows = torch.arange(height, device=images.device, dtype=images.dtype)[:, None]
    columns = torch.arange(width, device=images.device, dtype=images.dtype)
    darkest = torch.zeros_like(tone)
    for layer, angle in enumerate(angles):
        turn = math.radians(angle)
        across = math.cos(turn) * rows - math.sin(turn) * columns  # (H, W), pixels
        stray = turbulence(seeds, height, width, 40 * scale, octaves=2, stream=2 * layer)
        lines = (across + wobble * scale * stray) / (spacing * scale) + phases[:, layer, None, None]
        distance = ((lines - lines.floor() - 0.5).abs() * spacing * scale)[:, None]  # to the nearest stroke's middle
        limit = (layer + 1) / (len(angles) + 1)
        press = ((limit - tone) / softness).clamp(0, 1)  # (B, 1, H, W)
        stroke = (line_width * scale / 2 * press + 0.5 - distance).clamp(0, 1) * press.sqrt()
        darkest = torch.maximum(darkest, stroke)
    dark, light = color_plane(ink, images), color_plane(paper, images)
    return blend(images, light + (dark - light) * darkest, strength)
