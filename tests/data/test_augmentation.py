from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.checks import Size
from stylebench.data.augmentation import CropSettings, RawImages, finish_images, whole_image
from stylebench.data.domain import Domain

MakeDomain = Callable[..., Domain]


def triangle_resize(values: np.ndarray, size: int) -> np.ndarray:
    """Resize the rows of (n, m) by the antialiased triangle filter, written from its definition."""
    scale = len(values) / size
    support = max(scale, 1.0)
    out = np.zeros((size, *values.shape[1:]))
    for i in range(size):
        center = (i + 0.5) * scale
        places = np.arange(len(values)) + 0.5
        weights = np.clip(1 - np.abs(places - center) / support, 0, None)
        out[i] = np.tensordot(weights / weights.sum(), values, axes=1)
    return out


def raw(pixels: np.ndarray, flip: list[bool]) -> RawImages:
    return RawImages(torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.tensor(flip))


def test_finish_without_resizing_is_exact() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)
    images = finish_images(raw(pixels, [False, True]), 6)
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    expected = pixels.astype(np.float32).transpose(0, 3, 1, 2) / np.float32(255)
    np.testing.assert_array_equal(images[0], expected[0])
    np.testing.assert_array_equal(images[1], expected[1][:, :, ::-1])


@pytest.mark.parametrize(("source", "size"), [(16, 4), (15, 7), (5, 8)])
def test_finish_resizes_with_the_antialiased_triangle_filter(source: int, size: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, source, source, 3), dtype=np.uint8)
    images = finish_images(raw(pixels, [False]), size)
    rows = triangle_resize(pixels[0] / 255.0, size)  # (size, source, 3)
    both = triangle_resize(rows.transpose(1, 0, 2), size).transpose(2, 1, 0)  # (3, size, size)
    np.testing.assert_allclose(images[0], both, atol=2e-6)  # float32 sums


def test_finish_lists_equal_tensors() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 9, 9, 3), dtype=np.uint8)
    stacked = raw(pixels, [True, False, True])
    listed = RawImages(list(stacked.pixels), stacked.flip)
    torch.testing.assert_close(finish_images(listed, 6), finish_images(stacked, 6), rtol=0, atol=1e-6)


def test_finish_stays_in_range() -> None:
    pixels = np.full((1, 97, 97, 3), 255, dtype=np.uint8)
    images = finish_images(raw(pixels, [False]), 31)
    assert float(images.max()) <= 1.0
    assert float(images.min()) > 1 - 1e-6


@pytest.mark.parametrize(
    ("size_px", "resize_px", "shorter_px", "side"),
    [(64, None, 256, 256), (64, 128, 256, 128), (64, 96, 256, 171), (256, 256, 256, 256), (64, 128, 1, 1)],
)
def test_source_side(size_px: int, resize_px: int | None, shorter_px: int, side: int) -> None:
    assert CropSettings(size_px, resize_px, False).source_size(shorter_px, 2 * shorter_px) == (side, side)


@pytest.mark.parametrize(
    ("size_px", "resize_px", "stored", "cut"),
    [
        ((64, 32), None, (200, 300), (200, 100)),  # the largest rectangle twice as high as wide
        ((64, 32), None, (300, 100), (200, 100)),
        ((32, 64), (64, 128), (256, 256), (64, 128)),  # at half the scale that covers 64 x 128: 256 / 128 = 2
        ((32, 64), 64, (128, 256), (64, 128)),
        ((16, 16), (32, 64), (100, 100), (25, 25)),
        ((1, 64), None, (3, 50), (1, 50)),
    ],
)
def test_the_rectangle_that_becomes_a_crop_of_two_sides(
    size_px: Size, resize_px: Size | None, stored: tuple[int, int], cut: tuple[int, int]
) -> None:
    assert CropSettings(size_px, resize_px, False).source_size(*stored) == cut


@pytest.mark.parametrize(
    ("size_px", "resize_px", "message"),
    [
        ((64, 32), (32, 64), r"size_px=\[64,32\] does not fit .* resize_px=\[32,64\]"),
        ((64, 32), 48, r"size_px=\[64,32\] does not fit .* resize_px=48"),
        ((64, 0), None, r"dataset\.size_px must be .* got \(64, 0\)"),
        ((64, 32, 3), None, r"dataset\.size_px must be .* got \(64, 32, 3\)"),
        (64, (True, 64), r"dataset\.resize_px must be .* got \(True, 64\)"),
    ],
)
def test_each_of_two_sides_is_checked(size_px: Size, resize_px: Size | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CropSettings(size_px, resize_px, False)


def test_crop_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"resize_px=32; raise dataset\.resize_px, or set it to null"):
        CropSettings(64, 32, False)
    with pytest.raises(ValueError, match=r"dataset\.size_px must be a whole number of at least 1, got 0"):
        CropSettings(0, None, False)


@pytest.mark.parametrize(
    ("size", "shorter", "expected"),
    [((40, 60), 20, (20, 30)), ((60, 40), 20, (30, 20)), ((40, 60), 80, (80, 120)), ((40, 60), None, (40, 60))],
)
def test_whole_image_keeps_proportions(
    make_domain: MakeDomain, size: tuple[int, int], shorter: int | None, expected: tuple[int, int]
) -> None:
    image = whole_image(make_domain([(9, 9), size]), 1, shorter)
    assert image.shape == (1, 3, *expected)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    assert 0 <= float(image.min()) < float(image.max()) <= 1


def test_whole_image_without_resizing_is_the_stored_image(make_domain: MakeDomain) -> None:
    domain = make_domain([(5, 8)])
    restored: Tensor = (whole_image(domain, 0, None)[0] * 255).round().to(torch.uint8)
    np.testing.assert_array_equal(restored.permute(1, 2, 0), domain.image(0))
