"""Noise by hashing: a function of seed and place alone, as even as it should be."""

from statistics import NormalDist

import pytest
import torch

from stylebench.functional import hash_noise
from stylebench.functional.hash_noise import hash_mix, hash_normal, hash_uniform, turbulence, value_noise


def scalar_mix(number: int) -> int:
    number &= 0xFFFFFFFF
    number = ((number ^ (number >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF
    number = ((number ^ (number >> 15)) * 0x735A2D97) & 0xFFFFFFFF
    return number ^ (number >> 15)


def test_hash_mix_equals_the_scalar_formula() -> None:
    numbers = [0, 1, 2, 77, 2**31, 2**32 - 1, 2**40 + 5, -1, -(2**62)]
    assert hash_mix(torch.tensor(numbers)).tolist() == [scalar_mix(number) for number in numbers]


def test_hash_mix_turns_half_of_the_bits() -> None:
    numbers = torch.arange(4096)
    changed = hash_mix(numbers[:, None] ^ (1 << torch.arange(32))) ^ hash_mix(numbers)[:, None]  # (4096, 32)
    bits = (changed[..., None] >> torch.arange(32)) & 1
    shares = bits.double().mean(0)  # (flipped, turned); s.e. 0.008
    assert (shares - 0.5).abs().max() < 0.06


def test_hash_uniform_is_even_and_uncorrelated() -> None:
    fields = hash_uniform(torch.tensor([0, 1, 2**33, -7]), 64, 96)
    assert fields.shape == (4, 64, 96)
    assert 0 <= fields.min() <= fields.max() < 1
    assert (torch.histc(fields, 16, 0, 1) - fields.numel() / 16).abs().max() < 5 * (fields.numel() / 16) ** 0.5
    correlations = torch.corrcoef(fields.flatten(1)) - torch.eye(4)
    assert correlations.abs().max() < 4 / (64 * 96) ** 0.5
    centered = fields - 0.5
    for shifted in (centered[:, 1:] * centered[:, :-1], centered[:, :, 1:] * centered[:, :, :-1]):
        assert (shifted.mean() * 12).abs() < 4 / shifted.numel() ** 0.5


def test_hash_uniform_grows_from_its_corner_and_streams_differ() -> None:
    seeds = torch.tensor([5, 6])
    assert torch.equal(hash_uniform(seeds, 9, 7), hash_uniform(seeds, 20, 30)[:, :9, :7])
    assert torch.equal(hash_uniform(seeds, 9, 7)[1:], hash_uniform(seeds[1:], 9, 7))
    assert not torch.equal(hash_uniform(seeds, 9, 7), hash_uniform(seeds, 9, 7, stream=1))


def test_hash_normal_is_the_quantile_of_its_uniform_draw() -> None:
    """Known values from the scalar hash, by the standard library's own inverse of the normal distribution."""
    step, seeds = 0x1E3779B1, [0, 7, 2**40 + 5]
    expected = []
    for seed in seeds:
        key = scalar_mix(scalar_mix(seed) ^ (seed >> 32) ^ ((2**24 + 3 + 1) * step))
        cells = [scalar_mix(scalar_mix(key) ^ (column * step)) >> 8 for column in range(6)]
        expected.append([NormalDist().inv_cdf((cell + 0.5) / 2**24) for cell in cells])
    found = hash_normal(torch.tensor(seeds), 6, stream=3)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-6, atol=1e-6)
    assert torch.equal(found[:, :2], hash_normal(torch.tensor(seeds), 2, stream=3))
    assert torch.equal(found[1:], hash_normal(torch.tensor(seeds[1:]), 6, stream=3))


def test_hash_normal_has_the_moments_of_a_normal_distribution() -> None:
    draws = hash_normal(torch.arange(4000), 64).double()  # (4000, 64)
    count = draws.numel()
    # Standard errors of the mean of x^k: sqrt(var x^k / n), with var 1, 2, 15 and 96.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((draws**power).mean()) - moment) < 4 * (variance / count) ** 0.5, power
    inside = [float((draws.abs() < bound).double().mean()) for bound in (1, 2, 3)]
    for share, expected in zip(inside, (0.682689, 0.954500, 0.997300), strict=True):
        assert abs(share - expected) < 4 * (expected * (1 - expected) / count) ** 0.5


def test_hash_normal_is_uncorrelated_over_seeds_dimensions_and_streams() -> None:
    streams = [hash_normal(torch.arange(4000), 16, stream) for stream in range(3)]
    columns = torch.cat([*streams, hash_uniform(torch.arange(4000), 1, 16)[:, 0]], 1)  # (4000, 64)
    correlations = torch.corrcoef(columns.double().T) - torch.eye(64)
    assert (
        correlations.abs().max() < 5 / 4000**0.5
    )  # of 2016 pairs, 4.5 standard errors are expected in one of 70 tests
    rows = torch.corrcoef(hash_normal(torch.arange(64), 4000).double()) - torch.eye(64)
    assert rows.abs().max() < 5 / 4000**0.5


def test_hash_normal_is_finite_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for uniform in (0.0, 1 - 2.0**-24):
        monkeypatch.setattr(hash_noise, "hash_uniform", lambda seeds, *_, u=uniform: torch.full((len(seeds), 1, 4), u))
        draws = hash_normal(torch.arange(3), 4)
        assert draws.abs().max() == draws.abs().min() == pytest.approx(NormalDist().inv_cdf(1 - 2**-25), abs=1e-5)


def test_hash_normal_expects_a_row_of_seeds() -> None:
    with pytest.raises(ValueError, match=r"seeds of shape \(B,\), got \(2, 1\)"):
        hash_normal(torch.zeros(2, 1, dtype=torch.int64), 3)


def test_value_noise_meets_its_lattice_and_is_smooth() -> None:
    seeds = torch.tensor([3])
    noise = value_noise(seeds, 30, 45, period_px=7.5)
    knots = hash_uniform(seeds, 5, 8) * 2 - 1
    # Pixel 7 has its center at 7.5, on the lattice line 1; pixel 22 on line 3, pixel 37 on line 5.
    torch.testing.assert_close(noise[0, [7, 22]][:, [7, 22, 37]], knots[0, [1, 3]][:, [1, 3, 5]])
    assert (noise[:, 1:] - noise[:, :-1]).abs().max() < 1.5 / 7.5 * 2  # smoothstep's steepest slope times the range


def test_turbulence_stays_within_one_and_leaves_out_octaves_below_a_pixel() -> None:
    seeds = torch.arange(8)
    field = turbulence(seeds, 64, 64, period_px=16)
    assert field.abs().max() <= 1
    assert field.mean().abs() < 0.05
    torch.testing.assert_close(turbulence(seeds, 8, 8, 1.5, octaves=6), value_noise(seeds, 8, 8, 1.5))


def test_hash_uniform_refuses_seeds_of_two_dimensions() -> None:
    with pytest.raises(ValueError, match=r"shape \(B,\), got \(2, 1\)"):
        hash_uniform(torch.zeros(2, 1, dtype=torch.int64), 4, 4)
