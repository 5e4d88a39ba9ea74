"""Pixel values: rounding to uint8, brightness, and peak signal-to-noise ratios; all sums in float64."""

import torch
from torch import Tensor

from stylebench.functional.precision import at_least_float32

CAP_DB = 100.0  # what equal images get in place of infinity
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
_VIDEO_LUMA = (65.481, 128.553, 24.966)  # of video range: black 16, white 235


def quantize(images: Tensor) -> Tensor:
    """Round images to the 256 levels that a PNG file holds; ties go to the even level.

    Half types are lifted to float32 first: scaled in their own precision they would land on other levels.

    Args:
        images: any shape, any floating type, range [0, 1]; values beyond it are clamped.

    Returns:
        uint8 of the same shape.

    Raises:
        TypeError: if `images` is not floating.
        ValueError: if a value is not finite.

    Example:
        >>> quantize(torch.tensor([0.0, 0.5, 1.0]))
        tensor([  0, 128, 255], dtype=torch.uint8)
    """
    if not images.is_floating_point():
        raise TypeError(f"quantize expects floating images in [0, 1], got {images.dtype}; uint8 images are ready as is")
    if not images.isfinite().all():
        raise ValueError(
            "quantize expects finite values in [0, 1], found NaN or infinity; look at what made the images"
        )
    # Torch rounds half to even.
    return round_levels(at_least_float32(images) * 255)


def round_levels(levels: Tensor) -> Tensor:
    """Round floating levels in [0, 255] to uint8, ties to the even one; values beyond are clamped, none is checked."""
    return levels.round().clamp_(0, 255).to(torch.uint8)


def to_float64(images: Tensor) -> Tensor:
    """Bring images to float64 in [0, 1]: uint8 is divided by 255, floating images are taken to be there already."""
    return images.double() / 255 if images.dtype == torch.uint8 else images.double()


def to_signed(images: Tensor) -> Tensor:
    """Map [0, 1] to [-1, 1], the range in which translation networks work."""
    return 2 * images - 1


def from_signed(images: Tensor) -> Tensor:
    """Map [-1, 1] to [0, 1]; what lies outside stays outside."""
    return (images + 1) / 2


def luma(images: Tensor) -> Tensor:
    """Compute the brightness of display RGB in full range.

    Args:
        images: (B, 3, H, W) RGB, uint8, or floating in [0, 1].

    Returns:
        (B, 1, H, W) float64 in [0, 1].

    Raises:
        ValueError: if `images` is not a batch of RGB images.

    Source: ITU-R BT.601, section 2.5.1.
    """
    _check_rgb(images)
    weights = torch.tensor(LUMA, dtype=torch.float64, device=images.device)
    return torch.einsum("bchw,c->bhw", to_float64(images), weights)[:, None]  # (B, 1, H, W)


def video_luma(images: Tensor) -> Tensor:
    """Compute the Y of video range, which super-resolution papers measure: black is 16, white 235.

    Args:
        images: (B, 3, H, W) RGB, uint8, or floating in [0, 1].

    Returns:
        (B, 1, H, W) float64 in [16, 235], not rounded.

    Raises:
        ValueError: if `images` is not a batch of RGB images.

    Source: ITU-R BT.601; XPixelGroup/BasicSR, `basicsr/utils/color_util.py`.
    """
    _check_rgb(images)
    weights = torch.tensor(_VIDEO_LUMA, dtype=torch.float64, device=images.device)
    return 16 + torch.einsum("bchw,c->bhw", to_float64(images), weights)[:, None]  # (B, 1, H, W)


def psnr(first: Tensor, second: Tensor, peak: float = 255.0) -> Tensor:
    """Compute the peak signal-to-noise ratio of each pair of images; a mean over images is then one of decibels.

    Args:
        first: (B, ...) uint8, or floating in [0, peak].
        second: as `first`.
        peak: largest value that a pixel can have.

    Returns:
        (B,) float64 decibels, at most `CAP_DB`: count the caps with `(psnr(...) == CAP_DB).sum()`.

    Raises:
        ValueError: if the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"expected two batches of one shape, got {tuple(first.shape)} and {tuple(second.shape)}; bring the images "
            "to one size before they are compared"
        )
    error = (first.double() - second.double()).square().flatten(1).mean(1)  # (B,)
    return (10 * torch.log10(peak**2 / error)).clamp(max=CAP_DB)  # an error of 0 gives infinity, then the cap


def without_border(images: Tensor, border_px: int) -> Tensor:
    """Cut off a border on all four sides.

    Args:
        images: (..., H, W).
        border_px: pixels to cut off on each side.

    Returns:
        (..., H - 2 border_px, W - 2 border_px), a view.

    Raises:
        ValueError: if nothing would be left, or the border is negative.
    """
    height, width = images.shape[-2:]
    if border_px < 0 or min(height, width) <= 2 * border_px:
        raise ValueError(
            f"expected a border of at least 0 and less than half of {height} x {width} pixels, got {border_px}; choose "
            "a smaller one, or larger images"
        )
    return images[..., border_px : height - border_px, border_px : width - border_px]


def _check_rgb(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"expected (B, 3, H, W) RGB images, got shape {tuple(images.shape)}")
