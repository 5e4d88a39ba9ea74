"""Texture fields: their statistics, their determinism, and how ink follows tone."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.worlds.procstyle.texture import (
    Lattice,
    blots,
    brush_dabs,
    dry_gaps,
    gradient_noise,
    hatching,
    line_coverage,
    round_wave,
    screen_dots,
    weave,
)

SEED = torch.tensor([[77]], dtype=torch.int32)
FIELDS: dict[str, Callable[[Lattice], Tensor]] = {
    "brush": lambda lattice: brush_dabs(lattice, SEED),
    "blots": lambda lattice: blots(lattice, SEED),
    "weave": weave,
}


def grid(periods: float, size: int = 256) -> Lattice:
    axis = (torch.arange(size, dtype=torch.float32) + 0.5) * (periods / size)
    across, along = torch.meshgrid(axis, axis, indexing="xy")
    return Lattice(across + 3.3, along + 7.1)


def test_noise_has_mean_0_and_deviation_1() -> None:
    noise = gradient_noise(*grid(120, 400), SEED)
    assert abs(float(noise.mean())) < 0.02
    assert float(noise.std()) == pytest.approx(1, abs=0.03)
    assert float(noise.abs().max()) < 5


def test_noise_is_band_limited_around_its_peak() -> None:
    noise = gradient_noise(*grid(40), SEED).double().numpy()
    power = np.abs(np.fft.fft2(noise)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256) * 256 / 40, np.fft.fftfreq(256) * 256 / 40))
    bands = [power[(frequency >= low) & (frequency < low + 0.1)].mean() for low in np.arange(0, 2, 0.1)]
    assert 0.4 <= 0.1 * int(np.argmax(bands)) <= 0.8
    assert power[frequency < 0.2].sum() < 0.05 * power.sum()
    assert power[frequency > 1.5].sum() < 0.05 * power.sum()


def test_noise_of_other_seeds_is_unrelated() -> None:
    lattice = grid(60)
    seeds = torch.tensor([1, 2, 3, 1 << 30], dtype=torch.int32)[:, None, None]
    fields = gradient_noise(lattice.across[None], lattice.along[None], seeds).flatten(1)
    correlation = torch.corrcoef(fields) - torch.eye(4)
    assert float(correlation.abs().max()) < 0.05


def test_noise_is_smooth_across_cells_and_signs() -> None:
    x = torch.linspace(-3, 3, 6001)
    noise = gradient_noise(x, torch.full_like(x, -0.4), SEED[0])
    assert float(noise.diff().abs().max()) < 0.018  # 0.001 cells times a slope of at most about 15


def test_values_do_not_depend_on_the_place_in_the_tensor() -> None:
    x, y = torch.rand(2, 500, generator=torch.Generator().manual_seed(0)) * 100
    whole = gradient_noise(x, y, SEED[0])
    parts = [gradient_noise(x[i : i + 3], y[i : i + 3], SEED[0]) for i in range(0, 300, 3)]
    assert torch.equal(whole[:300], torch.cat(parts))


def test_round_wave_is_close_to_a_cosine() -> None:
    position = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    assert float((round_wave(position) - (2 * math.pi * position).cos()).abs().max()) < 0.021


def test_line_coverage_equals_supersampling() -> None:
    distance = torch.linspace(-1.5, 1.5, 61, dtype=torch.float64)
    offsets = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000 - 0.5
    for half_width, footprint in ((0.5, 0.3), (0.05, 0.4), (0.2, 0.4)):
        samples = (distance[:, None] + offsets * footprint).abs() < half_width
        found = line_coverage(distance, half_width, torch.tensor(footprint, dtype=torch.float64))
        assert float((found - samples.double().mean(1)).abs().max()) < 2e-3


@pytest.mark.parametrize("kind", ["hatch", "dots"])
def test_ink_grows_with_the_share_that_is_asked_for(kind: str) -> None:
    lattice, footprint = grid(16), torch.tensor([[0.1]])
    shares = torch.linspace(0, 1, 9)
    covers = [
        hatching(lattice, torch.full_like(lattice.across, float(share)), footprint, SEED)
        if kind == "hatch"
        else screen_dots(lattice, torch.full_like(lattice.across, float(share)), footprint)
        for share in shares
    ]
    means = torch.stack([cover.mean() for cover in covers])
    assert all(0 <= float(cover.min()) <= float(cover.max()) <= 1 for cover in covers)
    assert bool((means.diff() >= 0).all())
    assert means[0] < 0.02
    assert means[-1] > 0.6
    if kind == "dots":
        assert float(means[4]) == pytest.approx(0.5, abs=0.01)  # a checkerboard


def test_hatching_runs_along_and_crosses_in_the_dark() -> None:
    lattice = grid(16)
    light, dark = (
        hatching(lattice, torch.full_like(lattice.across, share), torch.tensor([[0.1]]), SEED) for share in (0.4, 0.9)
    )
    assert float(light.diff(dim=1).abs().mean()) > 4 * float(light.diff(dim=0).abs().mean())
    assert float(dark.diff(dim=0).abs().mean()) > 4 * float(light.diff(dim=0).abs().mean())


@pytest.mark.parametrize("kind", FIELDS)
def test_fields_have_mean_0_and_deviation_1(kind: str) -> None:
    field = FIELDS[kind](grid(60))
    assert abs(float(field.mean())) < 0.05
    assert float(field.std()) == pytest.approx(1, abs=0.05)


def test_dabs_and_gaps_run_along() -> None:
    lattice = grid(16)
    for field in (brush_dabs(lattice, SEED), dry_gaps(lattice, SEED)):
        assert float(field.diff(dim=1).abs().mean()) > 1.3 * float(field.diff(dim=0).abs().mean())


def test_gaps_are_shares() -> None:
    gaps = dry_gaps(grid(40), SEED)
    assert float(gaps.min()) == 0
    assert float(gaps.max()) == 1
    assert float(gaps.mean()) == pytest.approx(0.37, abs=0.04)
