"""Quantization: how many levels of brightness there are, and whether edges lie on a grid of blocks."""

from functools import lru_cache

import torch
from torch import Tensor

_BINS = 64


def log_levels(luminance: Tensor) -> Tensor:
    """Count levels of brightness, effectively: the entropy of a histogram of 64 bins.

    Args:
        luminance: (B, H, W) in [0, 1].

    Returns:
        (B,) natural logarithms: 0 for one level, log n for n equally frequent ones, at most log 64.

    Source: experiments/worlds/README.md.
    """
    places = (luminance.flatten(1) * _BINS).long().clamp(0, _BINS - 1)
    counts = luminance.new_zeros(len(luminance), _BINS).scatter_add_(1, places, torch.ones_like(luminance.flatten(1)))
    entropy: Tensor = torch.special.entr(counts / counts.sum(1, keepdim=True)).sum(1)
    return entropy


def edge_energy(luminance: Tensor) -> Tensor:
    """Sum squared differences of neighbors along each line between columns, and between rows, of pixels.

    Args:
        luminance: (B, S, S).

    Returns:
        (B, 2, S - 1): energy between columns k and k + 1, and between rows k and k + 1.
    """
    across, down = luminance.diff(dim=2).square().sum(1), luminance.diff(dim=1).square().sum(2)
    return torch.stack([across, down], 1)


def grid_excess(energy: Tensor, block_px: float, growth: float = 1.0) -> Tensor:
    """Measure how far edges lie on a grid of square blocks, at the offsets where most do.

    Args:
        energy: (..., 2, S - 1) of `edge_energy`.
        block_px: side of a block, > 1; a border lies between the two pixels where a multiple of it falls.
        growth: >= 1; blocks may be up to so many times as large, whatever fits best.

    Returns:
        (...): 1 where all energy is on the grid, about 0 where only the grid's share of lines is, as in a picture
        without one.

    Source: experiments/worlds/README.md, less what a picture without blocks has by chance.
    """
    sides, grids = _grids(energy.shape[-1], block_px, growth)
    on_grid = torch.einsum("...al,sol->...aso", energy, grids).amax(-1).sum(-2)  # (..., sides)
    share = on_grid / energy.sum((-2, -1)).clamp(min=1e-12)[..., None]
    return ((share * sides - 1) / (sides - 1)).amax(-1)


@lru_cache(maxsize=64)
def _grids(length: int, block_px: float, growth: float) -> tuple[Tensor, Tensor]:
    """Return sides of blocks (sides,), and the lines of their grids at all offsets, 0 or 1, (sides, O, length)."""
    step = block_px**2 / (8 * length)  # moves the last border by an eighth of a block
    sides = block_px + step * torch.arange(int((growth - 1) * block_px / step) + 1)
    parts = torch.arange(0, 1, 0.25 / (growth * block_px))[:, None]  # offsets at most a quarter of a pixel apart
    numbers = torch.arange(int(length / block_px) + 1)
    borders = (sides[:, None, None] * (parts + numbers)).floor().long()  # (sides, O, N)
    lines = torch.zeros(*borders.shape[:2], length + 1).scatter_(2, borders.clamp(max=length), 1.0)
    return sides, lines[..., :length]
