"""Noise by hashing: a function of seed and place alone, as even as it should be."""

import pytest
import torch

from stylebench.functional.hash_noise import hash_mix, hash_uniform, turbulence, value_noise


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
