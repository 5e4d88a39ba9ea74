"""Spectra of masked textures: against brute force, and on waves of known frequency."""

import math

import numpy as np
import pytest
import torch

from stylebench.worlds.readouts import Band, band_energy, find_band, masked_autocorrelation, spectral_peak, spectrum

LAG = 16


def wave(frequency: float, degrees: float, phase: float = 0.0, size: int = 64) -> torch.Tensor:
    """Return a cosine of amplitude 1, (1, 1, size, size), that repeats in a direction."""
    places = torch.arange(size).float()
    turn = math.radians(degrees)
    along = math.cos(turn) * places + math.sin(turn) * places[:, None]
    return torch.cos(2 * math.pi * frequency * along + phase)[None, None]


def blobs() -> torch.Tensor:
    """Return a ragged mask of two thirds of a picture, (1, 64, 64)."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return ((x - 20).square() + (y - 30).square() > 150)[None] & (x + y > 20)


def power(images: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    seen = torch.ones_like(images[:, 0], dtype=torch.bool) if mask is None else mask
    return spectrum(masked_autocorrelation(images, seen, LAG))


def test_autocorrelation_equals_the_mean_over_all_pairs_in_the_mask() -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.normal(size=(12, 12)), rng.random((12, 12)) < 0.5
    got = masked_autocorrelation(torch.tensor(image)[None, None], torch.tensor(mask)[None], 3)[0]
    for dy in range(-3, 4):
        for dx in range(-3, 4):
            products = [
                image[y, x] * image[y + dy, x + dx]
                for y in range(max(0, -dy), min(12, 12 - dy))
                for x in range(max(0, -dx), min(12, 12 - dx))
                if mask[y, x] and mask[y + dy, x + dx]
            ]
            assert got[3 + dy, 3 + dx].item() == pytest.approx(np.mean(products), abs=1e-9)


def test_autocorrelation_of_an_empty_mask_is_zero() -> None:
    assert not masked_autocorrelation(torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool), 2).any()


def test_spectrum_sums_to_the_variance() -> None:
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert power(image).sum().item() == pytest.approx(image.square().mean().item(), rel=1e-4)


@pytest.mark.parametrize(("frequency", "degrees"), [(0.13, 0.0), (0.2, 30.0), (0.25, 135.0), (0.15, 90.0)])
def test_peak_of_a_wave_is_its_frequency_and_direction(frequency: float, degrees: float) -> None:
    found, angle = spectral_peak(power(wave(frequency, degrees), blobs()))
    assert max(found.item() / frequency, frequency / found.item()) < 2**0.25  # within the band around it
    difference = (math.degrees(angle.item()) - degrees) % 180
    assert min(difference, 180 - difference) <= 6


def test_energy_is_free_of_phase_and_mask() -> None:
    band = Band(0.2, math.radians(30))
    energies = [
        band_energy(power(wave(0.2, 30, phase), mask), band).item()
        for phase in (0.0, 1.0, 2.0)
        for mask in (None, blobs())
    ]
    assert max(energies) < 1.03 * min(energies)
    assert min(energies) > 0.5 * 0.75  # of the variance 1 / 2; the window smears the rest


def test_energy_lies_in_no_other_band() -> None:
    spread = power(wave(0.2, 30))
    own = band_energy(spread, Band(0.2, math.radians(30)))
    for other in (Band(0.2, math.radians(90)), Band(0.1, math.radians(30)), Band(0.4, None)):
        assert band_energy(spread, other) < 0.02 * own


def test_amplitude_adds_in_energy() -> None:
    band = Band(0.2, None)
    single, double = (band_energy(power(factor * wave(0.2, 30)), band).item() for factor in (1, 2))
    assert double == pytest.approx(4 * single, rel=1e-4)


def test_band_of_a_wave_is_a_wedge_and_of_noise_a_ring() -> None:
    band = find_band(power(wave(0.2, 30))[0])
    assert band.orientation is not None
    assert math.degrees(band.orientation) == pytest.approx(30, abs=6)
    noise = torch.randn(8, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert find_band(power(noise).mean(0)).orientation is None


def test_flat_images_have_no_direction() -> None:
    assert spectral_peak(power(torch.zeros(2, 1, 64, 64)))[1].isnan().all()
