"""Signed distances of the eight shapes that procedural scenes are made of.

Every shape is about 1 in radius and sits at the origin. A distance is the length of the shortest way to the outline,
negative inside; exact but for the inside of the notches of star and cross, where rounding the other corners costs up to
0.03. Only correctly rounded operations are used (no sine, no power), so that results are bit-equal
on CPU and CUDA and don't depend on the place of a pixel in its tensor.

Source: the formulas are those of I. Quilez, "2D distance functions", https://iquilezles.org/articles/distfunctions2d/;
the proportions are ours.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_Distance = Callable[[Tensor, Tensor], Tensor]

_DISC_RADIUS = 0.92
_SQUARE = (0.74, 0.74, 0.08)  # half width and height of the core, radius of the corners
_BAR = (1.0, 0.24, 0.1)
_TRIANGLE_HALF_SIDE, _TRIANGLE_CORNER = 0.92, 0.08
_RING_RADIUS, _RING_HALF_WIDTH = 0.7, 0.27
_STAR_RADIUS, _STAR_WAIST, _STAR_CORNER = 1.02, 0.48, 0.06
_CROSS_ARM, _CROSS_HALF_WIDTH, _CROSS_CORNER = 0.94, 0.28, 0.07
_MOON_RADIUS, _MOON_BITE, _MOON_SHIFT, _MOON_CENTER = 1.02, 0.84, 0.52, 0.38


def length(x: Tensor, y: Tensor) -> Tensor:
    """Return sqrt(x^2 + y^2), rounded the same on every device."""
    return (x * x + y * y).sqrt()


def disc(x: Tensor, y: Tensor) -> Tensor:
    """Return the signed distance to a disc."""
    return length(x, y) - _DISC_RADIUS


def square(x: Tensor, y: Tensor) -> Tensor:
    """Return the signed distance to a square with slightly rounded corners."""
    return _box(x, y, *_SQUARE)


def bar(x: Tensor, y: Tensor) -> Tensor:
    """Return the signed distance to a long rounded rectangle along x."""
    return _box(x, y, *_BAR)


def _box(x: Tensor, y: Tensor, half_width: float, half_height: float, corner: float) -> Tensor:
    right, below = x.abs() - half_width, y.abs() - half_height
    return length(right.clamp(min=0), below.clamp(min=0)) + torch.maximum(right, below).clamp(max=0) - corner


def triangle(x: Tensor, y: Tensor) -> Tensor:
    """Return the signed distance to an equilateral triangle with slightly rounded corners, pointing to -y."""
    root = 3.0**0.5
    x = x.abs() - _TRIANGLE_HALF_SIDE
    y = _TRIANGLE_HALF_SIDE / root - y
    # Fold the plane along the triangle's mirror axes: the lower side stands for all three.
    beyond = x + root * y > 0
    x, y = torch.where(beyond, (x - root * y) * 0.5, x), torch.where(beyond, (-root * x - y) * 0.5, y)
    x = x - x.clamp(-2 * _TRIANGLE_HALF_SIDE, 0)
    return -length(x, y) * y.sign() - _TRIANGLE_CORNER


def ring(x: Tensor, y: Tensor) -> Tensor:
    """Return the signed distance to a flat ring."""
    return (length(x, y) - _RING_RADIUS).abs() - _RING_HALF_WIDTH


def star(x: Tensor, y: Tensor) -> Tensor:
    """Return the signed distance to a five-pointed star with slightly rounded corners, one point to -y."""
    cosine, sine = 0.809016994375, 0.587785252292  # of 36 degrees
    x, y = x.abs(), -y
    for side in (1.0, -1.0):  # fold along the two mirror axes of the upper half
        over = (side * cosine * x - sine * y).clamp(min=0) * 2
        x, y = x - over * (side * cosine), y + over * sine
    x, y = x.abs(), y - _STAR_RADIUS
    edge_x, edge_y = _STAR_WAIST * sine, _STAR_WAIST * cosine - 1
    along = ((x * edge_x + y * edge_y) * (1 / (edge_x**2 + edge_y**2))).clamp(0, _STAR_RADIUS)
    return length(x - edge_x * along, y - edge_y * along) * (y * edge_x - x * edge_y).sign() - _STAR_CORNER


def cross(x: Tensor, y: Tensor) -> Tensor:
    """Return the signed distance to an upright cross with slightly rounded corners."""
    x, y = x.abs(), y.abs()
    x, y = torch.maximum(x, y), torch.minimum(x, y)
    right, below = x - _CROSS_ARM, y - _CROSS_HALF_WIDTH
    out = torch.maximum(right, below)
    outside = out > 0
    # Inside, the nearest point is an edge of the arm or the corner where two arms meet.
    across = torch.where(outside, right, _CROSS_HALF_WIDTH - x).clamp(min=0)
    down = torch.where(outside, below, -out).clamp(min=0)
    return out.sign() * length(across, down) - _CROSS_CORNER


def crescent(x: Tensor, y: Tensor) -> Tensor:
    """Return the signed distance to a crescent, open to +x."""
    x, y = x - _MOON_CENTER, y.abs()
    tip_x = (_MOON_RADIUS**2 - _MOON_BITE**2 + _MOON_SHIFT**2) / (2 * _MOON_SHIFT)
    tip_y = (_MOON_RADIUS**2 - tip_x**2) ** 0.5
    at_tip = x * tip_y - y * tip_x > _MOON_SHIFT * (tip_y - y).clamp(min=0)
    hull = torch.maximum(length(x, y) - _MOON_RADIUS, _MOON_BITE - length(x - _MOON_SHIFT, y))
    return torch.where(at_tip, length(x - tip_x, y - tip_y), hull)


class Shape(NamedTuple):
    """One shape of unit size.

    Attributes:
        distance: signed distance to its outline, of x and y of any shape; y points down.
        inner_radius: radius of the largest disc that fits in.
    """

    distance: _Distance
    inner_radius: float


# In the order of their class numbers.
UNIT_SHAPES: dict[str, Shape] = {
    "disc": Shape(disc, _DISC_RADIUS),
    "square": Shape(square, _SQUARE[0] + _SQUARE[2]),
    "triangle": Shape(triangle, _TRIANGLE_HALF_SIDE / 3**0.5 + _TRIANGLE_CORNER),
    "ring": Shape(ring, _RING_HALF_WIDTH),
    "star": Shape(star, 0.55),
    "cross": Shape(cross, 0.466),
    "crescent": Shape(crescent, (_MOON_RADIUS - _MOON_BITE + _MOON_SHIFT) / 2),
    "bar": Shape(bar, _BAR[1] + _BAR[2]),
}
