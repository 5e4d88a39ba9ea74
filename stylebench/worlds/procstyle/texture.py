"""Texture fields at arbitrary points: gradient noise, printed dots, hatching, cloth, brush dabs.

A field is a function of coordinates alone, so that one call draws it for any set of points of any pictures. Only
correctly rounded operations are used (integer hashes, sums, products, roots), so that results are bit-equal on CPU and
CUDA and don't depend on the rest of the tensor.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# 32-bit constants as signed numbers: int32 products wrap around on every device.
_X_STEP, _Y_STEP = 0x1B873593, -0x3361D2AF
_FIRST, _SECOND = 0x7FEB352D, -0x7B935975
_LOW_BITS = 0xFFFF
# Standard deviation of the raw gradient noise below, measured over 10^7 points.
_NOISE_DEVIATION = 0.1761


class Lattice(NamedTuple):
    """Coordinates for a pattern, in periods.

    Attributes:
        across: place across the pattern's direction; (B, M) or any shape.
        along: place along it; the same shape.
    """

    across: Tensor
    along: Tensor


def _scramble(numbers: Tensor) -> Tensor:
    """Hash int32 numbers: each bit of the result depends on all bits."""
    numbers = numbers ^ ((numbers >> 16) & _LOW_BITS)
    numbers = numbers * _FIRST
    numbers = numbers ^ ((numbers >> 15) & 0x1FFFF)
    numbers = numbers * _SECOND
    return numbers ^ ((numbers >> 16) & _LOW_BITS)


def gradient_noise(x: Tensor, y: Tensor, seed: Tensor) -> Tensor:
    """Evaluate isotropic band-pass noise: random slopes on the integer lattice, joined smoothly.

    Args:
        x: coordinates in lattice cells, any shape, below 2^20 in size.
        y: coordinates, same shape.
        seed: int32, broadcastable to that shape; different seeds give independent fields.

    Returns:
        float32 of the shape of `x`: mean 0, standard deviation 1 over space, within about [-4.5, 4.5]; the spectrum
        peaks near 0.6 cycles a cell.

    Source: Perlin 1985, "An image synthesizer", with the fade curve of Perlin 2002; the lattice hash is C. Wellons'
    32-bit function of "Hash function prospector" (2018).
    """
    column, row = x.floor(), y.floor()
    x, y = x - column, y - row
    key = column.to(torch.int32) * _X_STEP + row.to(torch.int32) * _Y_STEP + seed
    fade_x = x * x * x * (x * (x * 6 - 15) + 10)
    fade_y = y * y * y * (y * (y * 6 - 15) + 10)
    right, below = x - 1, y - 1
    top_left = _slope(key, x, y)
    top = top_left + fade_x * (_slope(key + _X_STEP, right, y) - top_left)
    bottom_left = _slope(key + _Y_STEP, x, below)
    bottom = bottom_left + fade_x * (_slope(key + (_X_STEP + _Y_STEP), right, below) - bottom_left)
    return (top + fade_y * (bottom - top)) * (1 / _NOISE_DEVIATION)


def _slope(key: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the plane through a lattice point, whose two slopes in [-1, 1] come from one hash."""
    bits = _scramble(key)
    horizontal = (bits >> 16).to(torch.float32)
    vertical = ((bits << 16) >> 16).to(torch.float32)
    return (horizontal * x + vertical * y) * 2.0**-15


def round_wave(position: Tensor) -> Tensor:
    """Return a cosine-like wave of period 1 in [-1, 1], 1 at integers: cubic arcs, within 0.011 of the cosine."""
    part = (position - (position + 0.5).floor()).abs() * 2  # 0 at integers, 1 halfway
    return 1 - part * part * (6 - 4 * part)


def line_coverage(distance: Tensor, half_width: Tensor | float, footprint: Tensor | float) -> Tensor:
    """Return how much of a pixel a line covers, exactly for a box pixel across the line.

    Args:
        distance: signed distance of the pixel's center from the line's center, any shape.
        half_width: half the line's width in the same unit, >= 0.
        footprint: the pixel's width, > 0; larger values soften the line.

    Returns:
        Coverage in [0, 1], the shape of `distance`.
    """
    half = footprint * 0.5
    width = torch.as_tensor(half_width, device=distance.device)
    covered = torch.minimum(distance + half, width) - torch.maximum(distance - half, -width)
    return (covered / footprint).clamp(min=0)


def hatching(lattice: Lattice, darkness: Tensor, footprint: Tensor, seed: Tensor) -> Tensor:
    """Draw pen lines along the pattern, whose width follows darkness, and crossing ones in the darker half.

    Args:
        lattice: places, in line distances.
        darkness: share of ink wanted, in [0, 1].
        footprint: a pixel's width in line distances.
        seed: int32, of the pen's tremble.

    Returns:
        Coverage by ink in [0, 1].
    """
    tremble = gradient_noise(lattice.across * 0.4, lattice.along * 0.22, seed) * 0.067
    across = lattice.across + tremble
    along = lattice.along + tremble
    first = line_coverage(_to_center(across), _halved(darkness - 0.16, 0.72, 0.5), footprint)
    second = line_coverage(_to_center(along), _halved(darkness - 0.58, 1.2, 0.5), footprint)
    return 1 - (1 - first) * (1 - second)


def _to_center(position: Tensor) -> Tensor:
    """Return the signed distance to the nearest line, lines lying at the integers."""
    return position - (position + 0.5).floor()


def _halved(share: Tensor, gain: float, most: float) -> Tensor:
    """Turn a share of ink into half a line's width."""
    return (share * gain).clamp(0, most) * 0.5


def screen_dots(lattice: Lattice, darkness: Tensor, footprint: Tensor) -> Tensor:
    """Draw print dots in a square screen, whose size follows darkness and which join in the dark.

    Args:
        lattice: places, in dot distances.
        darkness: share of ink wanted, in [0, 1].
        footprint: a pixel's width in dot distances.

    Returns:
        Coverage by ink in [0, 1].

    Source: clustered-dot screening (Ulichney 1987), threshold 1/2 + (cos + cos)/4.
    """
    threshold = 0.5 + 0.25 * (round_wave(lattice.across) + round_wave(lattice.along))
    # The threshold climbs by at most pi/2 a period along an axis: a pixel wide edge.
    return ((darkness - threshold) / (footprint * 2.0) + 0.5).clamp(0, 1)


def weave(lattice: Lattice) -> Tensor:
    """Draw plain cloth: threads that pass over and under one another.

    Args:
        lattice: places, in thread distances.

    Returns:
        Height of the threads, mean about 0, standard deviation about 1.
    """
    across, along = lattice.across, lattice.along
    parity = (across.floor() + along.floor()) * 0.5
    over = parity - parity.floor() > 0.25
    thread = torch.where(over, round_wave(across + 0.5), round_wave(along + 0.5))
    return thread * 1.4


def brush_dabs(lattice: Lattice, seed: Tensor) -> Tensor:
    """Draw thick paint: rows of dabs along the pattern, each of its own tone, with a ridge and bristle marks.

    Args:
        lattice: places, in brush widths.
        seed: int32.

    Returns:
        Height of the paint, mean about 0, standard deviation about 1.
    """
    across, along = lattice.across, lattice.along
    bend = gradient_noise(across * 0.23, along * 0.23, seed) * 0.44
    across, along = across + bend, along * 0.36 + bend * 0.3
    row = across.floor()
    place = row.to(torch.int32)
    start = _unit(place * _X_STEP + seed + 1)
    dab = (along + start * 4).floor().to(torch.int32)
    tone = _unit(place * _X_STEP + dab * _Y_STEP + seed + 2)
    ridge = row - across + 0.5  # lit on one side, shaded on the other
    bristles = gradient_noise(across * 3.3, along, seed + 3)
    return tone * 1.39 + ridge * 1.74 + bristles * 0.33


def _unit(key: Tensor) -> Tensor:
    """Hash int32 keys to numbers in [-1, 1)."""
    return (_scramble(key) >> 8).to(torch.float32) * 2.0**-23


def blots(lattice: Lattice, seed: Tensor) -> Tensor:
    """Draw pooled pigment: soft blots with ragged borders where the pigment dried.

    Args:
        lattice: places, in blot widths.
        seed: int32.

    Returns:
        Amount of pigment, mean about 0, standard deviation about 1.
    """
    across, along = lattice.across, lattice.along
    ragged = gradient_noise(across * 4.0, along * 4.0, seed) * 0.094
    field = gradient_noise(across * 1.6 + ragged, along * 1.6 + ragged, seed + 1)
    rim = (1 - field.abs() * 2.36).clamp(min=0)  # dried borders along the zero line
    return field * 0.84 + rim * 1.83 - 0.33


def dry_gaps(lattice: Lattice, seed: Tensor) -> Tensor:
    """Return where a dry medium dragged over rough ground leaves it bare.

    Args:
        lattice: places, in grains.
        seed: int32.

    Returns:
        Share of bare ground in [0, 1], 0.37 on average.
    """
    grains = gradient_noise(lattice.across * 2.4, lattice.along * 2.0, seed)
    streaks = gradient_noise(lattice.across * 1.6, lattice.along * 0.14, seed + 1)
    return (streaks * 0.313 + grains * 0.253 + 0.33).clamp(0, 1)
