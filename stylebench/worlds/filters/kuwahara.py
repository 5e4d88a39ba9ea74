"""The Kuwahara filter: every pixel takes the mean of its most uniform neighborhood, as flat as a brush stroke."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.color import luma
from stylebench.worlds.filters.smoothing import edge_directions, gaussian_blur, pixel_centers
from stylebench.worlds.filters.strength import length_scale

_SECTORS = 8
# Samples of a sector: radius in parts of the ellipse's, angle in parts of the sector from its middle. The pixel itself
# is one more, of half the weight.
_SAMPLES = ((0.35, 0.0), (0.65, -0.27), (0.65, 0.27), (0.95, -0.34), (0.95, 0.0), (0.95, 0.34))
_OWN_WEIGHT = 0.5
_SAMPLE_SIGMA = 0.1  # of the radius: each sample stands for its surroundings, else single pixels would show as specks


def classic_kuwahara(images: Tensor, radius_px: int) -> Tensor:
    """Replace each pixel by the mean of that of its four corner squares whose brightness varies least.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        radius_px: squares have radius_px + 1 pixels a side, of which the pixel is one corner; >= 1.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: Kuwahara, Hachimura, Eiho & Kinoshita 1976, "Processing of RI-angiocardiographic images".
    """
    side = radius_px + 1
    stack = torch.cat((images, luma(images), luma(images).square()), 1)  # (B, 5, H, W)
    # Borders are continued before the means are taken, so the frame has every square of every pixel.
    padded = F.pad(stack, (radius_px,) * 4, mode="replicate")
    means = F.avg_pool2d(padded, side, stride=1)  # (B, 5, H + radius, W + radius)
    height, width = images.shape[-2:]
    corners = torch.stack(
        [means[..., top : top + height, left : left + width] for top in (0, radius_px) for left in (0, radius_px)],
        1,
    )  # (B, 4, 5, H, W)
    variance = corners[:, :, 4] - corners[:, :, 3].square()
    best = variance.argmin(1, keepdim=True)  # (B, 1, H, W)
    return corners[:, :, :3].gather(1, best[:, :, None].expand(-1, -1, 3, -1, -1)).squeeze(1)


def kuwahara(
    images: Tensor,
    strength: float = 1.0,
    *,
    radius: float = 6.0,
    sharpness: float = 8.0,
    eccentricity: float = 1.0,
    tensor_sigma: float = 2.0,
) -> Tensor:
    """Paint in soft strokes along the picture's own lines: the anisotropic Kuwahara filter.

    Around each pixel lies an ellipse, stretched along the edge there, of eight sectors. The result is the mean of the
    sectors' mean colors, weighted by (1 + (255 s)^2)^(-sharpness / 2) with s the sector's standard deviation, so that
    sectors across an edge hardly count.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        strength: in [0, 1.5]; multiplies the radius.
        radius: of the ellipse where no direction prevails, for 256 px.
        sharpness: exponent q of the weights, > 0.
        eccentricity: alpha > 0; axes are radius * (alpha + A) / alpha and its inverse ratio, A the anisotropy. The
            smaller, the longer the strokes.
        tensor_sigma: smoothing of the structure tensor, for 256 px.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: Kyprianidis, Kang & Doellner 2009, "Image and video abstraction by anisotropic Kuwahara filtering"; sector
    means over seven slightly blurred samples each instead of all pixels.
    """
    reach = radius * strength * length_scale(images)
    if reach <= 0:
        return images
    across_x, across_y, anisotropy = edge_directions(luma(images), tensor_sigma * length_scale(images))
    stretch = (eccentricity + anisotropy) / eccentricity
    major, minor = reach * stretch, reach / stretch  # (B, 1, H, W) each
    height, width = images.shape[-2:]
    # grid_sample measures in half pictures.
    along = torch.stack((major * across_y * (-2 / width), major * across_x * (2 / height)), -1)  # (B, 1, H, W, 2)
    across = torch.stack((minor * across_x * (2 / width), minor * across_y * (2 / height)), -1)
    own = pixel_centers(images)
    soft = gaussian_blur(images, _SAMPLE_SIGMA * reach)
    total, norm = torch.zeros_like(images), torch.zeros_like(anisotropy)
    for sector in range(_SECTORS):
        places = [own + u * along + v * across for u, v in _sector_points(sector)]
        mean, variance = _moments(soft, torch.cat(places, 1))
        weight = (1 + 255**2 * variance).log_().mul_(-sharpness / 2).exp_()
        total.addcmul_(weight, mean)
        norm += weight
    return total / norm


def _sector_points(sector: int) -> list[tuple[float, float]]:
    """Return a sector's sample points in the unit circle, first coordinate along the edge."""
    turns = [(radius, 2 * math.pi * (sector + turn) / _SECTORS) for radius, turn in _SAMPLES]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for radius, angle in turns]


def _moments(images: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Sample pictures around every pixel.

    Args:
        images: (B, 3, H, W).
        places: (B, S, H, W, 2), as grid_sample measures.

    Returns:
        Mean color (B, 3, H, W) and variance, mean of the channels' (B, 1, H, W), of the S samples and the pixel itself.
    """
    samples = F.grid_sample(images, places.flatten(1, 2), padding_mode="border", align_corners=False)
    samples = samples.view(*images.shape[:2], places.shape[1], *images.shape[2:])  # (B, 3, S, H, W)
    count = places.shape[1] + _OWN_WEIGHT
    mean = (samples.sum(2) + _OWN_WEIGHT * images) / count
    square = (samples.square_().sum(2) + _OWN_WEIGHT * images.square()) / count
    return mean, (square - mean.square()).mean(1, keepdim=True).clamp(min=0)
