"""Random fields without state: every value is a hash of its seed and place, alike on every device and in any order.

A generator's stream depends on how many numbers were drawn before; a hash doesn't. So a picture's noise is a function
of its own seed alone, whatever the batch it is rendered in, and CPU and CUDA agree to the last bit.
"""

import torch
from torch import Tensor

_BITS = 0xFFFFFFFF
# Multipliers below 2^31: the product with a 32-bit number fits into a signed 64-bit one, so nothing ever overflows.
_FIRST, _SECOND = 0x21F0AAAD, 0x735A2D97
_NORMAL_STREAMS = 1 << 24  # normal draws use streams above those of uniform ones
_STEP = 0x1E3779B1  # odd, so that multiplying by it permutes the 32-bit numbers


def hash_mix(numbers: Tensor) -> Tensor:
    """Scramble 32-bit numbers so that one changed bit changes half of the result's bits.

    Args:
        numbers: any shape, int64; only the lowest 32 bits count.

    Returns:
        Tensor of the same shape, int64 in [0, 2^32); a permutation of that range.

    Source: C. Wellons, "Hash function prospector" (2018), the two-multiplier function of bias 0.11.
    """
    numbers = numbers & _BITS
    numbers = ((numbers ^ (numbers >> 16)) * _FIRST) & _BITS
    numbers = ((numbers ^ (numbers >> 15)) * _SECOND) & _BITS
    return numbers ^ (numbers >> 15)


def hash_uniform(seeds: Tensor, height: int, width: int, stream: int = 0) -> Tensor:
    """Draw white noise, one field a seed; a larger field begins with the smaller one.

    Args:
        seeds: (B,) int64, any values.
        height: rows, H >= 1.
        width: columns, W >= 1.
        stream: number of the field among those of one seed, >= 0; different numbers give independent fields.

    Returns:
        (B, H, W) float32 in [0, 1), multiples of 2^-24, on the device of `seeds`.

    Raises:
        ValueError: if `seeds` is not one-dimensional.
    """
    if seeds.ndim != 1:
        raise ValueError(f"hash_uniform expects seeds of shape (B,), got {tuple(seeds.shape)}; flatten them")
    rows, columns = (torch.arange(length, device=seeds.device) for length in (height, width))
    # Both halves of a 64-bit seed count.
    # The 1 is there because zero is a fixed point of the hash.
    keys = hash_mix(hash_mix(seeds) ^ (seeds >> 32) ^ ((stream + 1) * _STEP))
    keys = hash_mix(keys[:, None] ^ (rows * _STEP))  # (B, H)
    keys = hash_mix(keys[:, :, None] ^ (columns * _STEP))  # (B, H, W)
    return (keys >> 8).to(torch.float32) * 2.0**-24


def hash_normal(seeds: Tensor, dim: int, stream: int = 0) -> Tensor:
    """Draw standard normal vectors, one a seed; a longer vector begins with the shorter one.

    Each number is the normal quantile of the middle of a uniform draw's cell, so it is never infinite: the largest
    size is 5.42, the quantile of 1 - 2^-25.

    Args:
        seeds: (B,) int64, any values.
        dim: length of each vector, D >= 1.
        stream: number of the vector among those of one seed, >= 0; different numbers give independent vectors,
            independent also of what `hash_uniform` draws from the same seed and stream.

    Returns:
        (B, D) float32, on the device of `seeds`; computed in float64, so that devices agree to float32 rounding.

    Raises:
        ValueError: if `seeds` is not one-dimensional.

    Source: inversion, Devroye 1986, "Non-Uniform Random Variate Generation", sec. II.2.
    """
    uniform = hash_uniform(seeds, 1, dim, _NORMAL_STREAMS + stream)[:, 0]  # (B, D) multiples of 2^-24
    normal: Tensor = torch.special.ndtri(uniform.double() + 2.0**-25)  # (B, D)
    return normal.float()


def value_noise(seeds: Tensor, height: int, width: int, period_px: float, stream: int = 0) -> Tensor:
    """Draw smooth noise: random values on a square lattice, joined by smoothstep weights.

    Args:
        seeds: (B,) int64, any values.
        height: rows, H >= 1.
        width: columns, W >= 1.
        period_px: distance of lattice points in pixels, > 0.
        stream: as for `hash_uniform`.

    Returns:
        (B, H, W) float32 in [-1, 1], mean 0 over seeds.

    Source: the lattice value noise of Ebert et al. 2003, "Texturing and Modeling".
    """
    (top, down), (left, right) = (_lattice(length, period_px, seeds.device) for length in (height, width))
    knots = hash_uniform(seeds, int(top[-1]) + 2, int(left[-1]) + 2, stream) * 2 - 1  # (B, h, w)
    rows = torch.lerp(knots[:, :, left], knots[:, :, left + 1], right)  # (B, h, W)
    return torch.lerp(rows.index_select(1, top), rows.index_select(1, top + 1), down[:, None])  # (B, H, W)


def turbulence(
    seeds: Tensor, height: int, width: int, period_px: float, octaves: int = 4, gain: float = 0.5, stream: int = 0
) -> Tensor:
    """Add up octaves of value noise, each of half the period and `gain` times the amplitude of the one before.

    Args:
        seeds: (B,) int64, any values.
        height: rows, H >= 1.
        width: columns, W >= 1.
        period_px: lattice distance of the coarsest octave in pixels, > 0.
        octaves: how many, >= 1; those with a period below a pixel are left out.
        gain: amplitude ratio of neighboring octaves, in (0, 1].
        stream: as for `hash_uniform`; the octaves take the numbers `stream`, `stream` + 1, ...

    Returns:
        (B, H, W) float32, divided by the sum of amplitudes, so in [-1, 1]; mean 0 over seeds.

    Source: Perlin 1985, "An image synthesizer" (1/f sum of noise).
    """
    total, amplitude, field = 0.0, 1.0, torch.zeros(len(seeds), height, width, device=seeds.device)
    for octave in range(octaves):
        period = period_px / 2**octave
        if octave and period < 1:
            break
        field = field + amplitude * value_noise(seeds, height, width, period, stream + octave)
        total, amplitude = total + amplitude, amplitude * gain
    return field / total


def _lattice(length: int, period_px: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return each pixel center's cell, (length,) int64, and the weight of the cell's far end, (length,) in [0, 1]."""
    # In float64, and on the CPU: elsewhere a rounding error could put a pixel into the neighboring cell.
    position = (torch.arange(length, dtype=torch.float64) + 0.5) / period_px
    cell = position.floor()
    part = position - cell
    return cell.long().to(device), (part * part * (3 - 2 * part)).to(device, torch.float32)
