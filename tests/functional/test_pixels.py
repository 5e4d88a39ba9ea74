"""Pixels: the quantizer, brightness and signal-to-noise ratios against numbers worked out by hand."""

import math

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from stylebench.functional.pixels import CAP_DB, luma, psnr, quantize, round_levels, video_luma, without_border

_LEVELS = torch.arange(256, dtype=torch.uint8)


def _pictures(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 9, 7), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quantize_returns_every_level(dtype: torch.dtype) -> None:
    unit = _LEVELS.to(dtype) / 255
    assert torch.equal(quantize(unit), _LEVELS)
    assert torch.equal(quantize(((unit * 2 - 1) + 1) / 2), _LEVELS)  # through the range [-1, 1]


def test_truncation_would_lose_levels() -> None:
    # What the rounding is for: the way through [-1, 1] ends just below many levels.
    through = ((_LEVELS.float() / 255 * 2 - 1) + 1) / 2
    assert ((through * 255).byte() != _LEVELS).sum() == 63


def test_quantize_rounds_half_to_even_and_clamps() -> None:
    halves = torch.tensor([0.5, 1.5, 2.5, 126.5], dtype=torch.float64) / 255
    exact = halves * 255 == torch.tensor([0.5, 1.5, 2.5, 126.5], dtype=torch.float64)
    assert exact.all()
    assert quantize(halves).tolist() == [0, 2, 2, 126]
    assert quantize(torch.tensor([-0.3, 1.7])).tolist() == [0, 255]


def test_quantize_lifts_bfloat16_before_it_scales() -> None:
    values = torch.linspace(0, 1, 1001).bfloat16()
    assert torch.equal(quantize(values), quantize(values.float()))
    in_half = (values * 255).round().clamp(0, 255).to(torch.uint8)
    assert not torch.equal(quantize(values), in_half)


def test_levels_are_rounded_half_to_even_and_clamped_in_a_tensor_of_their_own() -> None:
    levels = torch.tensor([-3.0, 0.5, 1.5, 254.5, 260.0])
    rounded = round_levels(levels)
    assert (rounded.dtype, rounded.tolist()) == (torch.uint8, [0, 0, 2, 254, 255])
    assert levels.tolist() == [-3.0, 0.5, 1.5, 254.5, 260.0]


def test_quantize_refuses_integers_and_non_finite_values() -> None:
    with pytest.raises(TypeError, match="uint8"):
        quantize(_LEVELS)
    for broken in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            quantize(torch.tensor([0.5, broken]))


def test_luma_of_black_white_and_green() -> None:
    colors = torch.tensor([[0, 0, 0], [255, 255, 255], [0, 255, 0]], dtype=torch.uint8)[..., None, None]  # (3, 3, 1, 1)
    assert luma(colors).flatten().tolist() == pytest.approx([0, 1, 0.587])
    # 16, 16 + 65.481 + 128.553 + 24.966 = 235, 16 + 128.553
    assert video_luma(colors).flatten().tolist() == pytest.approx([16, 235, 144.553])
    assert torch.equal(video_luma(colors), video_luma(colors.double() / 255))
    with pytest.raises(ValueError, match="RGB"):
        luma(colors[:, :1])


def test_psnr_is_averaged_in_decibels() -> None:
    # Errors of 0.1 and 0.01 everywhere: MSE 1e-2 and 1e-4, 20 and 40 dB, mean 30; the pooled MSE would give 22.97.
    first = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    second = torch.tensor([0.1, 0.01], dtype=torch.float64)[:, None, None, None].expand_as(first)
    values = psnr(first, second, peak=1.0)
    assert values.tolist() == pytest.approx([20, 40])
    assert values.mean().item() == pytest.approx(30)
    pooled = peak_signal_noise_ratio(first, second, data_range=1.0)
    assert pooled.item() == pytest.approx(22.97, abs=0.005)


def test_psnr_of_one_level() -> None:
    # 20 log10(255) = 48.1308 dB
    plane = torch.full((1, 1, 5, 5), 100.0)
    assert psnr(plane, plane + 1).item() == pytest.approx(48.1308, abs=5e-5)


def test_psnr_of_equal_images_is_capped_and_countable() -> None:
    first, second = _pictures(3, 0), _pictures(3, 1)
    second[1] = first[1]
    values = psnr(first, second)
    assert values.dtype == torch.float64
    assert (values == CAP_DB).tolist() == [False, True, False]


def test_psnr_equals_torchmetrics_per_image() -> None:
    first, second = _pictures(3, 0), _pictures(3, 1)
    theirs = peak_signal_noise_ratio(first.double(), second.double(), data_range=255.0, dim=(1, 2, 3), reduction="none")
    # They take the logarithm of 10 and of the range in float32.
    torch.testing.assert_close(psnr(first, second), theirs, rtol=1e-7, atol=0)
    with pytest.raises(ValueError, match="one shape"):
        psnr(first, second[:2])


def test_without_border() -> None:
    images = torch.arange(20).reshape(4, 5)
    assert without_border(images, 1).tolist() == [[6, 7, 8], [11, 12, 13]]
    assert torch.equal(without_border(images, 0), images)
    for border in (2, -1):
        with pytest.raises(ValueError, match="border"):
            without_border(images, border)
