"""Spectra of textures inside masks, free of phase: masked autocorrelation, its spectrum, and energy in bands."""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

_HALF_BAND = 2**0.25  # from a band's middle to its border: half an octave in all
_HALF_ANGLE = math.radians(15)
_ORIENTED = 0.35  # share of a ring's energy in its strongest 30 degrees from which on it has a direction; 1/6 if even
_STEPS = 8  # candidate frequencies an octave
_ANGLES = 36  # candidate orientations
_LEAST_PERIODS = 2  # in the largest lag; slower ones are mixed up with shading and with edges that were blurred
_HIGHEST = 0.45  # cycles a pixel; beyond it a pattern is mostly lost between pixels


class Band(NamedTuple):
    """A part of the plane of frequencies, half an octave wide.

    Attributes:
        frequency: its middle, cycles a pixel.
        orientation: direction in which the pattern repeats, radians from +x toward +y (down) in [0, pi), with 15
            degrees to either side; None for a whole ring.
    """

    frequency: float
    orientation: float | None


def masked_autocorrelation(residuals: Tensor, mask: Tensor, lag: int) -> Tensor:
    """Average products of pixels and their neighbors at every distance up to `lag`, over pairs inside a mask.

    Args:
        residuals: (B, C, H, W), of mean about 0 inside the mask.
        mask: (B, H, W) bool.
        lag: largest distance along either axis in pixels, < H and W.

    Returns:
        (B, 2 lag + 1, 2 lag + 1), mean over channels. The middle is distance 0 and holds the variance; distances that
        no pair has hold 0.

    Source: experiments/worlds/README.md.
    """
    weights = mask[:, None].to(residuals.dtype)  # (B, 1, H, W)
    products = _autocorrelate(residuals * weights, lag).mean(1)
    pairs = _autocorrelate(weights, lag)[:, 0].round()
    return products / pairs.clamp(min=1)


def _autocorrelate(planes: Tensor, lag: int) -> Tensor:
    """Return sums of products with shifted copies, (B, C, 2 lag + 1, 2 lag + 1); padding keeps opposite rims apart."""
    size = [side + lag for side in planes.shape[-2:]]
    full: Tensor = torch.fft.irfft2(torch.fft.rfft2(planes, s=size).abs().square(), s=size)
    places = torch.arange(-lag, lag + 1)
    return full[..., places[:, None], places]


def spectrum(correlation: Tensor) -> Tensor:
    """Turn autocorrelations into power over frequency.

    Args:
        correlation: (..., 2 lag + 1, 2 lag + 1).

    Returns:
        (..., N, N) with N = 4 lag: power at k / N cycles a pixel for k from -N / 2, rows y and columns x; sums to the
        variance. A Hann window over distance smooths it, so a few values can be slightly negative.

    Source: Blackman & Tukey 1958, "The measurement of power spectra".
    """
    lag = correlation.shape[-1] // 2
    size = 4 * lag
    along = 0.5 + 0.5 * torch.cos(math.pi * torch.arange(-lag, lag + 1, dtype=correlation.dtype) / (lag + 1))
    windowed = correlation * along[:, None] * along
    planes = torch.nn.functional.pad(windowed, (0, size - 2 * lag - 1, 0, size - 2 * lag - 1))
    centered = torch.roll(planes, (-lag, -lag), (-2, -1))
    power: Tensor = torch.fft.fftshift(torch.fft.fft2(centered).real, dim=(-2, -1)) / size**2
    return power


def band_energy(power: Tensor, band: Band) -> Tensor:
    """Sum the power in a band: (..., N, N) of `spectrum` to (...), at least 0."""
    return (power * _inside(band, power.shape[-1])).sum((-2, -1)).clamp(min=0)


def find_band(power: Tensor) -> Band:
    """Find the band that holds most power, a wedge where the power has a direction, else a ring.

    Args:
        power: (N, N) of `spectrum`; may be a difference of two.

    Returns:
        The band; its frequency is one of eight an octave, from two periods in the largest lag to 0.45.
    """
    frequency, orientation = spectral_peak(power[None])
    return Band(float(frequency), None if orientation.isnan().any() else float(orientation))


def spectral_peak(power: Tensor) -> tuple[Tensor, Tensor]:
    """Find frequency and orientation of the strongest texture in each image.

    Args:
        power: (B, N, N) of `spectrum`.

    Returns:
        (B,) frequencies in cycles a pixel, and (B,) orientations as in `Band`, NaN where there is no direction.
    """
    size = power.shape[-1]
    frequencies, rings, orientations, sectors = _candidates(size)
    flat = power.flatten(1)  # (B, N * N)
    energy, place = (flat @ rings.T).max(1)
    in_sectors, direction = ((flat * rings[place]) @ sectors.T).max(1)
    return frequencies[place], orientations[direction].where(in_sectors > _ORIENTED * energy, torch.nan)


@lru_cache(maxsize=8)
def _candidates(size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return frequencies with their rings (F, N * N), and orientations with their sectors (A, N * N)."""
    lowest = _LEAST_PERIODS * 4 / size
    count = int(_STEPS * math.log2(_HIGHEST / lowest)) + 1
    frequencies = [lowest * 2 ** (k / _STEPS) for k in range(count)]
    orientations = [k * math.pi / _ANGLES for k in range(_ANGLES)]
    radius, angle = _polar(size)
    rings = torch.stack([_in_ring(radius, frequency).flatten() for frequency in frequencies])
    sectors = torch.stack([_in_sector(angle, orientation).flatten() for orientation in orientations])
    return torch.tensor(frequencies), rings.float(), torch.tensor(orientations), sectors.float()


def _polar(size: int) -> tuple[Tensor, Tensor]:
    """Return length in cycles a pixel and angle of the frequencies of a spectrum, (N, N) each."""
    axis = (torch.arange(size) - size // 2) / size
    x, y = axis.expand(size, size), axis[:, None].expand(size, size)
    return torch.hypot(x, y), torch.atan2(y, x)


def _in_ring(radius: Tensor, frequency: float) -> Tensor:
    return (radius >= frequency / _HALF_BAND) & (radius < frequency * _HALF_BAND)


def _in_sector(angle: Tensor, orientation: float) -> Tensor:
    turn = (angle - orientation) % math.pi
    return torch.minimum(turn, math.pi - turn) <= _HALF_ANGLE


def _inside(band: Band, size: int) -> Tensor:
    """Return which frequencies of a spectrum a band holds, (N, N) bool."""
    radius, angle = _polar(size)
    inside = _in_ring(radius, band.frequency)
    return inside if band.orientation is None else inside & _in_sector(angle, band.orientation)
