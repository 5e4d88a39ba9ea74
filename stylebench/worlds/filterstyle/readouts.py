"""Where a photograph's style is read off: areas of like brightness, and the distance to its own strong contours."""

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.color import luma
from stylebench.worlds.filters.smoothing import gaussian_blur, gradients, pixel_centers
from stylebench.worlds.filters.strength import length_scale

REGIONS = 5
FARTHEST_PX = 8
_REGION_SIGMA = 4.0  # for 256 px
_CONTOUR_SIGMA = 2.0  # for 256 px
_STRONGEST_SHARE = 0.1  # of the pixels may belong to a contour
_LEAST_GRADIENT = 0.02  # brightness a pixel of 256; weaker gradients are noise, however strong among their neighbors

_CODES = 64  # numbers that a packed way may take
_NOTHING = 1 << 28  # packed: no ridge pixel in reach


def readout_regions(images: Tensor) -> Tensor:
    """Divide photographs into five areas by brightness, each a fifth of the pixels.

    Args:
        images: (B, 3, H, W) uint8 photographs.

    Returns:
        (B, 5, H, W) bool, from dark to bright; every pixel lies in one area. Where brightness ties, as in a constant
        picture, areas are uneven and may be empty.

    Source: experiments/worlds/README.md: luminance quintiles of the smoothed photograph.
    """
    scale = length_scale(images)
    # Rounded, so that a constant area is constant to the last bit on every device.
    smooth = (gaussian_blur(luma(images / 255), _REGION_SIGMA * scale) * 4096).round()  # (B, 1, H, W)
    ranked = smooth.flatten(1).sort(1).values  # (B, H * W)
    places = torch.arange(1, REGIONS, device=images.device) * ranked.shape[1] // REGIONS
    limits = ranked[:, places]  # (B, 4)
    number = (smooth >= limits[:, :, None, None]).sum(1, keepdim=True)  # (B, 1, H, W) in 0 .. 4
    return number == torch.arange(REGIONS, device=images.device)[:, None, None]


def readout_contours(images: Tensor) -> Tensor:
    """Measure the distance of every pixel to the photograph's nearest strong contour.

    Contours are the ridges of the gradient of brightness (smoothed) among its strongest tenth, with the ridge's place
    found to a fraction of a pixel.

    Args:
        images: (B, 3, H, W) uint8 photographs.

    Returns:
        (B, H, W) float32 distances in pixels, positive on the contour's brighter side, clipped to [-8, 8]; 8 where no
        contour is so near.

    Source: experiments/worlds/README.md; ridges as in Canny 1986, "A computational approach to edge detection".
    """
    scale = length_scale(images)
    right, below = gradients(gaussian_blur(luma(images / 255), _CONTOUR_SIGMA * scale))
    height = (right.square() + below.square()).sqrt()  # (B, 1, H, W)
    unit_x, unit_y = right / height.clamp(min=1e-9), below / height.clamp(min=1e-9)
    ahead, behind = _height_at(height, unit_x, unit_y), _height_at(height, -unit_x, -unit_y)
    strongest = height.flatten(1).topk(int(height[0].numel() * _STRONGEST_SHARE), dim=1).values
    limit = strongest[:, -1].clamp(min=_LEAST_GRADIENT / scale)  # (B,)
    ridge = (height >= ahead) & (height > behind) & (height >= limit[:, None, None, None])
    # The top of the parabola through the three heights, in pixels along the gradient.
    top = (ahead - behind) / (2 * (2 * height - ahead - behind).clamp(min=1e-9))
    top = top.clamp(-0.5, 0.5)
    return _signed_distance(ridge, unit_x, unit_y, top)[:, 0]


def _height_at(height: Tensor, shift_x: Tensor, shift_y: Tensor) -> Tensor:
    """Read (B, 1, H, W) heights at a shift in pixels from every pixel, bilinearly."""
    rows, columns = height.shape[-2:]
    shift = torch.stack((shift_x * (2 / columns), shift_y * (2 / rows)), -1)[:, 0]  # (B, H, W, 2)
    return F.grid_sample(height, pixel_centers(height) + shift, padding_mode="border", align_corners=False)


def _signed_distance(ridge: Tensor, unit_x: Tensor, unit_y: Tensor, top: Tensor) -> Tensor:
    """Return (B, 1, H, W) distances to the ridge point of the nearest ridge pixel, signed by the gradient there."""
    rows, columns = ridge.shape[-2:]
    # Squared distance and way to the nearest ridge pixel, packed into one number so that a minimum carries all along.
    found = torch.where(ridge, 0, _NOTHING).to(torch.int32)  # (B, 1, H, W)
    found = _nearest_along(_nearest_along(found, 3, _CODES), 2, 1)
    way_x, way_y = found // _CODES % _CODES - _CODES // 2, found % _CODES - _CODES // 2
    near = found < _NOTHING
    y = (torch.arange(rows, device=ridge.device)[:, None] + way_y).clamp(0, rows - 1)
    x = (torch.arange(columns, device=ridge.device) + way_x).clamp(0, columns - 1)
    place = (y * columns + x).long().flatten(1)  # (B, H * W)
    unit_x, unit_y, top = (values.flatten(1).gather(1, place).view_as(values) for values in (unit_x, unit_y, top))
    across_x, across_y = -way_x - top * unit_x, -way_y - top * unit_y  # from the ridge point to the pixel
    side = torch.where(across_x * unit_x + across_y * unit_y < 0, -1.0, 1.0)
    distance = side * (across_x.square() + across_y.square()).sqrt()
    return torch.where(near, distance, float(FARTHEST_PX)).clamp(-FARTHEST_PX, FARTHEST_PX)


def _nearest_along(found: Tensor, dim: int, unit: int) -> Tensor:
    """Take over the nearest find of pixels along one dimension; `unit` is where the packed number keeps that way."""
    reach, length = FARTHEST_PX + 1, found.shape[dim]  # one more than clipped to: the ridge point may lie nearer
    best, offer = found + _CODES // 2 * unit, torch.empty_like(found)
    for shift in range(-reach, reach + 1):
        kept = length - abs(shift)
        if shift and kept > 0:
            here, there = max(0, -shift), max(0, shift)  # the pixel at `here + i` looks at `there + i`
            target, offered = best.narrow(dim, here, kept), offer.narrow(dim, here, kept)
            torch.add(found.narrow(dim, there, kept), shift**2 * _CODES**2 + (shift + _CODES // 2) * unit, out=offered)
            torch.minimum(target, offered, out=target)
    return best
