"""Printed dots: one rotated dot screen an ink."""

import math

import torch
from torch import Tensor

from stylebench.functional.color import Color, color_plane, luma
from stylebench.functional.hash_noise import hash_uniform
from stylebench.worlds.filters.smoothing import smoothstep
from stylebench.worlds.filters.strength import blend, length_scale

PROCESS_INKS: tuple[Color, ...] = ((0.0, 0.62, 0.87), (0.90, 0.05, 0.50), (1.0, 0.90, 0.0), (0.10, 0.09, 0.10))


def dot_screen(seeds: Tensor, height: int, width: int, period_px: float, angles: tuple[float, ...]) -> Tensor:
    """Make threshold screens of clustered dots on rotated square lattices, one a given angle.

    Args:
        seeds: (B,) int64, deciding where the lattices lie.
        height: rows.
        width: columns.
        period_px: lattice distance in pixels, > 0.
        angles: degrees, one a screen.

    Returns:
        (B, screens, H, W) in [0, 1]: 0 in the middle of a dot, 1 amid four dots.

    Source: Ulichney 1987, "Digital Halftoning"; the cosine spot is the usual one of PostScript.
    """
    offsets = hash_uniform(seeds, len(angles), 2) * period_px  # (B, screens, 2)
    x = torch.arange(width, device=seeds.device)[None, None] + offsets[..., 1:]  # (B, screens, W)
    y = torch.arange(height, device=seeds.device)[None, None] + offsets[..., :1]  # (B, screens, H)
    turns = torch.tensor(angles, device=seeds.device)[:, None] * (math.pi / 180)
    wave = 2 * math.pi / period_px
    # cos(a + b) = cos a cos b - sin a sin b makes products of a row and a column of what would be cosines of planes.
    right, down = wave * x * torch.cos(turns), wave * y * torch.sin(turns)
    along = _cosine_of_sum(right, down)
    right, down = -wave * x * torch.sin(turns), wave * y * torch.cos(turns)
    return 0.5 + 0.25 * (along + _cosine_of_sum(right, down))


def halftone(
    images: Tensor,
    strength: float = 1.0,
    *,
    seeds: Tensor,
    period: float = 6.0,
    angles: tuple[float, ...] = (15.0, 75.0, 0.0, 45.0),
    black: float = 1.0,
    inks: tuple[Color, ...] = PROCESS_INKS,
    paper: Color = (0.94, 0.93, 0.88),
) -> Tensor:
    """Print in dots of cyan, magenta, yellow and black, or of four inks in their place.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        strength: in [0, 1.5]; blends.
        seeds: (B,) int64, of the screens' offsets.
        period: distance of dots, for 256 px.
        angles: degrees of the four screens.
        black: share of the common part of the three color inks that black replaces, in [0, 1].
        inks: RGB in [0, 1] of the four inks, or of a single one, which prints brightness at the last angle.
        paper: RGB in [0, 1].

    Returns:
        (B, 3, H, W), in [0, 1] up to strength 1.

    Source: Ulichney 1987, "Digital Halftoning" (clustered dots); the angles are those of offset print.
    """
    height, width = images.shape[-2:]
    period_px = period * length_scale(images)
    screens = dot_screen(seeds, height, width, period_px, angles[-len(inks) :])  # (B, inks, H, W)
    amounts = ink_amounts(images, black) if len(inks) > 1 else 1 - luma(images)
    # The edge of a dot is a ramp one pixel wide (pi / 2 / period is the screen's mean gradient); half a ramp is added
    # at either end, so that white paper stays white and solid ink solid.
    ramp = min(1.0, math.pi / (2 * period_px))
    level = amounts * (1 + ramp) - ramp / 2
    cover = smoothstep((level - screens) / ramp + 0.5)
    print_ = color_plane(paper, images)
    for number, ink in enumerate(inks):
        print_ = print_ * (1 - cover[:, number : number + 1] * (1 - color_plane(ink, images)))
    return blend(images, print_, strength)


def ink_amounts(images: Tensor, black: float) -> Tensor:
    """Separate colors into cyan, magenta, yellow and black.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        black: share of the gray part printed in black, in [0, 1].

    Returns:
        (B, 4, H, W) in [0, 1].
    """
    absent = 1 - images
    key = black * absent.amin(1, keepdim=True)
    return torch.cat(((absent - key) / (1 - key).clamp(min=1e-3), key), 1)


def _cosine_of_sum(columns: Tensor, rows: Tensor) -> Tensor:
    """Return cos(column + row): (B, S, W) and (B, S, H) to (B, S, H, W)."""
    return torch.cos(rows)[..., None] * torch.cos(columns)[..., None, :] - (
        torch.sin(rows)[..., None] * torch.sin(columns)[..., None, :]
    )
