"""Regions of an image: the parts of them that are safe to read, their mean colors, and trends within them."""

import torch
from torch import Tensor

LEAST_PX = 64  # regions with fewer pixels say too little about a texture
_RIDGE = 1e-4  # of the number of pixels: keeps a fit defined where a covariate is constant


def clear_regions(regions: Tensor, outline: Tensor, clearance_px: float, least_px: int = LEAST_PX) -> Tensor:
    """Keep of each region what lies away from outlines, and nothing of regions of which too little is left.

    Args:
        regions: (B, R, H, W) bool.
        outline: (B, H, W) distances to the nearest outline in pixels, of either sign.
        clearance_px: pixels at least this far from an outline stay.
        least_px: regions left with fewer pixels are emptied.

    Returns:
        (B, R, H, W) bool.

    Source: experiments/worlds/README.md.
    """
    clear = regions & (outline.abs() >= clearance_px)[:, None]
    return clear & (clear.sum((2, 3), keepdim=True) >= least_px)


def region_means(images: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Average colors over regions.

    Args:
        images: (B, C, H, W), any range.
        regions: (B, R, H, W) bool.

    Returns:
        (B, R, C) means, 0 in empty regions, and (B, R) numbers of pixels, float.
    """
    weights = regions.flatten(2).to(images.dtype)  # (B, R, P)
    sizes = weights.sum(2)
    return weights @ images.flatten(2).mT / sizes.clamp(min=1)[..., None], sizes


def spread(values: Tensor, regions: Tensor) -> Tensor:
    """Give every pixel the value of its region.

    Args:
        values: (B, R, C).
        regions: (B, R, H, W) bool, disjoint.

    Returns:
        (B, C, H, W); 0 outside the regions.
    """
    pixels = values.mT @ regions.flatten(2).to(values.dtype)  # (B, C, P)
    return pixels.view(*pixels.shape[:2], *regions.shape[2:])


def region_trends(images: Tensor, covariates: Tensor, fitted: Tensor, regions: Tensor) -> Tensor:
    """Describe each region by its mean color and a linear function of covariates, by least squares.

    Args:
        images: (B, C, H, W), any range.
        covariates: (B or 1, K, H, W) in about [-1, 1], such as coordinates or light.
        fitted: (B, R, H, W) bool, the part of each region that the fit sees; where it is empty, so is the trend.
        regions: (B, R, H, W) bool, disjoint.

    Returns:
        (B, C, H, W) trends; 0 outside the regions.
    """
    design = _design(covariates, len(images))  # (B, K + 1, P)
    count = design.shape[1]
    weights = fitted.flatten(2).to(images.dtype)  # (B, R, P)
    pairs = (design[:, :, None] * design[:, None]).flatten(1, 2)  # (B, (K + 1)^2, P)
    gram = (weights @ pairs.mT).view(*weights.shape[:2], count, count)  # (B, R, K + 1, K + 1)
    products = (design[:, :, None] * images.flatten(2)[:, None]).flatten(1, 2)  # (B, (K + 1) C, P)
    right = (weights @ products.mT).view(*weights.shape[:2], count, -1)  # (B, R, K + 1, C)
    ridge = torch.eye(count, dtype=gram.dtype) * (_RIDGE * gram[..., :1, :1] + 1e-6)
    fit: Tensor = torch.linalg.solve(gram + ridge, right)  # (B, R, K + 1, C)
    by_pixel = spread(fit.flatten(2), regions).view(len(images), count, -1, design.shape[2])  # (B, K + 1, C, P)
    return (by_pixel * design[:, :, None]).sum(1).view_as(images)


def _design(covariates: Tensor, count: int) -> Tensor:
    """Return a row of ones and the covariates, centered over the picture, as (B, K + 1, P)."""
    flat = covariates.flatten(2).expand(count, -1, -1)
    return torch.cat([torch.ones_like(flat[:, :1]), flat - flat.mean(2, keepdim=True)], 1)


def coordinates(height: int, width: int) -> Tensor:
    """Return the places of pixels as covariates of plane trends: (1, 2, H, W), x and y in [-0.5, 0.5]."""
    y = (torch.arange(height) + 0.5) / height - 0.5
    x = (torch.arange(width) + 0.5) / width - 0.5
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))[None]
