"""Smoothing and what is made of it: blurs, difference of Gaussians, gradients and directions of edges, soft steps."""

import itertools
import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.color import luma


def gaussian_blur(images: Tensor, sigma_px: float) -> Tensor:
    """Blur with a Gaussian, cut off at three standard deviations; borders are continued with their own value.

    The weights are integrals of the Gaussian over the pixels, so that widths under a pixel mean something too. Sums of
    shifted images instead of a convolution: exact on every device, where cuDNN would round to TF32.

    Args:
        images: (B, C, H, W), any range.
        sigma_px: standard deviation in pixels, >= 0; 0 returns the images.

    Returns:
        (B, C, H, W) in the images' range.
    """
    if sigma_px <= 0:
        return images
    weights = _half_kernel(sigma_px)
    return _blur_along(_blur_along(images, weights, 2), weights, 3)


def difference_of_gaussians(images: Tensor, sigma_px: float, ratio: float) -> tuple[Tensor, Tensor]:
    """Blur with two widths, sigma_px and ratio * sigma_px, and return both; their difference shows edges.

    Args:
        images: (B, C, H, W), any range.
        sigma_px: narrow standard deviation in pixels, > 0.
        ratio: wide over narrow, > 1; 1.6 approximates the Laplacian of a Gaussian.

    Returns:
        Two (B, C, H, W) tensors: narrow and wide.

    Source: Marr & Hildreth 1980, "Theory of edge detection".
    """
    return gaussian_blur(images, sigma_px), gaussian_blur(images, ratio * sigma_px)


def gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Differentiate by the 3 x 3 operator of Scharr, whose direction errs least; borders are continued.

    Args:
        images: (B, C, H, W), any range.

    Returns:
        Two (B, C, H, W) tensors: change a pixel to the right, and downward.

    Source: Jaehne, Scharr & Koerkel 1999, "Principles of filter design": weights 3, 10, 3 of 32.
    """
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")  # (B, C, H+2, W+2)
    across = padded[..., 2:] - padded[..., :-2]  # (B, C, H+2, W)
    down = padded[..., 2:, :] - padded[..., :-2, :]  # (B, C, H, W+2)
    right = (3 * (across[..., :-2, :] + across[..., 2:, :]) + 10 * across[..., 1:-1, :]) / 32
    below = (3 * (down[..., :-2] + down[..., 2:]) + 10 * down[..., 1:-1]) / 32
    return right, below


def edge_directions(brightness: Tensor, sigma_px: float) -> tuple[Tensor, Tensor, Tensor]:
    """Find the direction across edges and how certain it is, from the smoothed structure tensor.

    Args:
        brightness: (B, 1, H, W), any range.
        sigma_px: smoothing of the tensor in pixels, >= 0.

    Returns:
        Three (B, 1, H, W) tensors: the unit vector across the edge, rightward and downward part (rightward part >= 0),
        and the anisotropy in [0, 1]: 0 where no direction prevails, 1 on a straight edge.

    Source: Brox et al. 2006, "Adaptive structure tensors"; anisotropy as in Kyprianidis, Kang & Doellner 2009.
    """
    right, below = gradients(brightness)
    tensor = gaussian_blur(torch.cat((right * right, right * below, below * below), 1), sigma_px)  # (B, 3, H, W)
    xx, xy, yy = tensor[:, :1], tensor[:, 1:2], tensor[:, 2:]
    gap = ((xx - yy).square() + 4 * xy * xy).sqrt()  # difference of the eigenvalues
    # Flat areas have no direction: the small numbers make them (1, 0) of anisotropy 0.
    double = (xx - yy + 1e-12) / (gap + 1e-12)
    cosine = ((1 + double) / 2).clamp(0, 1).sqrt()
    sine = torch.where(xy < 0, -1.0, 1.0) * ((1 - double) / 2).clamp(0, 1).sqrt()
    return cosine, sine, gap / (xx + yy + 1e-6)


def bilateral_blur(images: Tensor, sigma_px: float, sigma_luma: float, passes: int) -> Tensor:
    """Smooth areas and keep edges: neighbors count less the more their brightness differs.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        sigma_px: Gaussian of the distance in pixels, cut off at two standard deviations; 0 returns the images.
        sigma_luma: Gaussian of the difference in brightness, > 0.
        passes: how often; each goes along rows, then along columns.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: Tomasi & Manduchi 1998, "Bilateral filtering"; separable as in Pham & van Vliet 2005.
    """
    if sigma_px <= 0:
        return images
    stack = torch.cat((images, luma(images)), 1)  # (B, 4, H, W)
    for _ in range(passes):
        stack = _bilateral_along(_bilateral_along(stack, sigma_px, sigma_luma, 3), sigma_px, sigma_luma, 2)
    return stack[:, :3]


def pixel_centers(images: Tensor) -> Tensor:
    """Return the (H, W, 2) places of pixels, x before y, as grid_sample measures them: the picture is [-1, 1]^2."""
    sides = [
        (torch.arange(length, device=images.device, dtype=images.dtype) * 2 + 1) / length - 1
        for length in images.shape[-2:]
    ]
    y, x = torch.meshgrid(*sides, indexing="ij")
    return torch.stack((x, y), -1)


def smoothstep(values: Tensor) -> Tensor:
    """Ramp from 0 to 1 over [0, 1] without corners: 3 t^2 - 2 t^3 of the clipped values; any shape."""
    values = values.clamp(0, 1)
    return values * values * (3 - 2 * values)


@lru_cache(maxsize=256)
def _half_kernel(sigma_px: float) -> tuple[float, ...]:
    """Return the weights at distance 0, 1, ... of a Gaussian integrated over pixels; all, both sides, sum to 1."""
    radius = max(1, math.ceil(3 * sigma_px))
    bounds = [math.erf((place - 0.5) / (math.sqrt(2) * sigma_px)) for place in range(radius + 2)]
    half = [high - low for low, high in itertools.pairwise(bounds)]
    total = half[0] + 2 * sum(half[1:])
    return tuple(weight / total for weight in half)


def _bilateral_along(stack: Tensor, sigma_px: float, sigma_luma: float, dim: int) -> Tensor:
    """Smooth (B, 4, H, W) colors and luma along one of the last two dimensions."""
    radius, length = math.ceil(2 * sigma_px), stack.shape[dim]
    padded = F.pad(stack, (radius, radius, 0, 0) if dim == 3 else (0, 0, radius, radius), mode="replicate")
    total, norm = stack.clone(), torch.ones_like(stack[:, 3:])
    for distance in range(-radius, radius + 1):
        if distance:
            shifted = padded.narrow(dim, radius + distance, length)
            difference = (shifted[:, 3:] - stack[:, 3:]).div_(sigma_luma)
            weight = difference.square_().add_((distance / sigma_px) ** 2).mul_(-0.5).exp_()
            total.addcmul_(weight, shifted)
            norm += weight
    return total / norm


def _blur_along(images: Tensor, weights: tuple[float, ...], dim: int) -> Tensor:
    """Sum shifted images along one of the last two dimensions."""
    radius, length = len(weights) - 1, images.shape[dim]
    padded = F.pad(images, (radius, radius, 0, 0) if dim == 3 else (0, 0, radius, radius), mode="replicate")
    total = images * weights[0]
    for distance in range(1, radius + 1):
        total.add_(padded.narrow(dim, radius - distance, length), alpha=weights[distance])
        total.add_(padded.narrow(dim, radius + distance, length), alpha=weights[distance])
    return total
