"""Bicubic resizing as MATLAB's `imresize` does it, and the low-resolution inputs of super-resolution.

Published super-resolution figures are measured against enlargements by this kernel. torch's own bicubic mode differs:
its kernel has a = -0.75 without antialiasing, and with it leaves the taps beyond the border out instead of mirroring.
"""

import functools
import math

import torch
from torch import Tensor

from stylebench.functional.precision import at_least_float32, float32_island

A = -0.5  # the kernel's free parameter, of Keys 1981 and of MATLAB
REACH = 2  # half-width of the kernel, in pixels of the coarser grid
BLUR_REACH = 4  # half-width of a Gaussian, in standard deviations: what is cut off weighs 6e-5


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Resize by the bicubic kernel; where a side shrinks, the kernel is widened by the factor (antialiasing).

    Pixels are squares with values at their centers; beyond the border the image is mirrored, edge pixel included.

    Args:
        images: (B, C, H, W), any real range.
        height: rows of the result, at least 1.
        width: columns of the result, at least 1.

    Returns:
        (B, C, height, width), at least float32 whatever the input and autocast; it overshoots at edges and is not
        clamped.

    Raises:
        TypeError: if `images` is not floating.
        ValueError: if the shape or a size is wrong.

    Example:
        >>> resize(torch.tensor([[[[0.0, 0.0, 1.0, 1.0]]]]), 1, 2)
        tensor([[[[-0.0234,  1.0234]]]])

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing", eq. 15; antialiasing and borders
        as in MATLAB's `imresize`.
    """
    _check(images)
    if min(height, width) < 1:
        raise ValueError(f"expected a size of at least 1 x 1 pixels, got {height} x {width}")
    with float32_island(images):
        rows = _apply(at_least_float32(images), 2, *_bicubic_taps(images.shape[2], height))  # (B, C, height, W)
        return _apply(rows, 3, *_bicubic_taps(images.shape[3], width))  # (B, C, height, width)


def shrink(images: Tensor, factor: int) -> Tensor:
    """Shrink by a whole factor; see `resize`.

    Args:
        images: (B, C, H, W), any real range; the factor divides H and W.
        factor: at least 1.

    Returns:
        (B, C, H / factor, W / factor), at least float32.

    Raises:
        TypeError: if `images` is not floating.
        ValueError: if the factor does not divide a side; `crop_to_multiple` cuts off the rest.
    """
    _check(images)
    height, width = images.shape[-2:]
    if factor < 1 or height % factor or width % factor:
        raise ValueError(
            f"cannot shrink images of {height} x {width} pixels by a factor of {factor}; cut them to a multiple of it "
            "first (crop_to_multiple)"
        )
    return resize(images, height // factor, width // factor)


def enlarge(images: Tensor, factor: int) -> Tensor:
    """Enlarge by a whole factor; see `resize`.

    Args:
        images: (B, C, H, W), any real range.
        factor: at least 1.

    Returns:
        (B, C, factor H, factor W), at least float32.
    """
    return resize(images, images.shape[-2] * factor, images.shape[-1] * factor)


def blur(images: Tensor, sigma_px: float) -> Tensor:
    """Convolve with a Gaussian; beyond the border the image is mirrored, edge pixel included.

    Args:
        images: (B, C, H, W), any real range.
        sigma_px: standard deviation in pixels, at least 0; 0 changes nothing.

    Returns:
        (B, C, H, W), at least float32.

    Raises:
        TypeError: if `images` is not floating.
        ValueError: if the shape or the width is wrong.
    """
    _check(images)
    if not 0 <= sigma_px < math.inf:
        raise ValueError(f"a blur has a finite width of at least 0 pixels, got {sigma_px}")
    with float32_island(images):
        images = at_least_float32(images)
        if sigma_px == 0:
            return images
        rows = _apply(images, 2, *_gaussian_taps(images.shape[2], sigma_px))  # (B, C, H, W)
        return _apply(rows, 3, *_gaussian_taps(images.shape[3], sigma_px))


def degrade(images: Tensor, factor: int, blur_sigma_px: float) -> Tensor:
    """Make the low-resolution input that belongs to a high-resolution image: blur, shrink, clamp.

    Args:
        images: (B, C, H, W) in [0, 1]; the factor divides H and W.
        factor: by which the sides shrink, at least 1.
        blur_sigma_px: of the Gaussian before, in pixels of `images`; 0 for none.

    Returns:
        (B, C, H / factor, W / factor) in [0, 1], at least float32, not rounded to gray levels.

    Raises:
        TypeError: if `images` is not floating.
        ValueError: if the factor does not divide a side, or the blur is negative.

    Source: Johnson et al. 2016, sec. 4.2: Gaussian of sigma 1.0, then bicubic.
    """
    return shrink(blur(images, blur_sigma_px), factor).clamp(0.0, 1.0)


def crop_to_multiple(images: Tensor, factor: int) -> Tensor:
    """Cut off rows at the bottom and columns at the right until the factor divides both sides.

    Args:
        images: (..., H, W).
        factor: at least 1.

    Returns:
        (..., factor * (H // factor), factor * (W // factor)), a view.

    Raises:
        ValueError: if nothing would be left.
    """
    height, width = (side - side % factor for side in images.shape[-2:])
    if min(height, width) < 1:
        raise ValueError(f"images of {tuple(images.shape[-2:])} pixels (height, width) hold no multiple of {factor}")
    return images[..., :height, :width]


def cubic(distance: Tensor) -> Tensor:
    """Return the value of the cubic convolution kernel at distances in pixels, any sign; 0 from 2 on."""
    x = distance.abs()
    near = ((A + 2) * x - (A + 3)) * x * x + 1
    far = ((A * x - 5 * A) * x + 8 * A) * x - 4 * A
    return torch.where(x <= 1, near, torch.where(x < REACH, far, torch.zeros_like(x)))


def _bicubic_taps(size: int, new_size: int) -> tuple[Tensor, Tensor]:
    """Return what each pixel of a resized line is the sum of: (new_size, T) places and float64 weights of sum 1."""
    scale = new_size / size
    widening = max(1.0, 1.0 / scale)
    centers = (torch.arange(new_size, dtype=torch.float64) + 0.5) / scale - 0.5  # on the old grid
    reach = REACH * widening
    places = (centers - reach).floor().long()[:, None] + torch.arange(math.ceil(2 * reach) + 2)  # (new_size, T)
    return _taps(places, cubic((centers[:, None] - places) / widening), size)


def _gaussian_taps(size: int, sigma_px: float) -> tuple[Tensor, Tensor]:
    """Return the same for a Gaussian, which leaves the size."""
    reach = math.ceil(BLUR_REACH * sigma_px)
    offsets = torch.arange(-reach, reach + 1)
    places = torch.arange(size)[:, None] + offsets  # (size, T)
    return _taps(places, torch.exp(-0.5 * (offsets / sigma_px).double().square()).expand(size, -1), size)


def _taps(places: Tensor, weights: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Mirror places beyond the border, bring the weights of each pixel to sum 1, leave out taps that nobody uses."""
    used = (weights != 0).any(0)
    places, weights = places[:, used], weights[:, used]
    inside = places.remainder(2 * size)
    inside = torch.minimum(inside, 2 * size - 1 - inside)  # ... 1 0 | 0 1 2 ... size-1 | size-1 ...
    return inside, weights / weights.sum(1, keepdim=True)


def _apply(images: Tensor, dim: int, places: Tensor, weights: Tensor) -> Tensor:
    """Sum weighted lines of (B, C, H, W) images along one dimension, tap by tap: no copy of all taps at once."""
    places, weights = places.to(images.device), weights.to(images)  # (size, T) each
    parts = (
        images.index_select(dim, chosen) * (weight[:, None] if dim == 2 else weight)
        for chosen, weight in zip(places.unbind(1), weights.unbind(1), strict=True)
    )
    return functools.reduce(torch.add, parts)


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.numel() == 0:
        raise ValueError(f"expected images of shape (B, C, H, W), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"expected floating-point images, got {images.dtype}; divide uint8 images by 255")
