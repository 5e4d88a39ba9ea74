"""Paint one picture in thick brush strokes: a style that is obvious at a glance, drawn by code alone.

Strokes follow a field of swirls, broad ones first and fine ones on top, each a bundle of bristles of slightly unlike
color. Colors come from a small palette of deep blues and warm lights, chosen by a smooth field, so that neighboring
strokes belong together and edges between masses of color appear.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_Array = NDArray[np.float64]

_OVERSAMPLING = 3  # painted so much larger, then shrunk: smooth edges
_SWIRLS = 7
# Stroke layers: strokes a picture, length and width in parts of the picture's side.
_LAYERS = ((500, 0.09, 0.070), (260, 0.30, 0.050), (650, 0.20, 0.026), (900, 0.12, 0.014))
_STEPS = 14  # points along a stroke
_BRISTLES = 7
# From shade to light; RGB in [0, 255].
_PALETTE = np.array(
    [(16, 24, 66), (24, 58, 128), (34, 110, 166), (92, 170, 178), (226, 208, 132), (246, 176, 46), (226, 96, 38)],
    dtype=float,
)


def paint_strokes(size_px: int, seed: int) -> NDArray[np.uint8]:
    """Paint a picture.

    Args:
        size_px: height and width.
        seed: decides the picture, >= 0.

    Returns:
        (size_px, size_px, 3) uint8 RGB.
    """
    rng = np.random.default_rng(seed)
    swirls = _Swirls(rng)
    side = size_px * _OVERSAMPLING
    canvas = Image.new("RGB", (side, side), tuple(int(c) for c in _PALETTE[0]))
    draw = ImageDraw.Draw(canvas)
    for count, length, width in _LAYERS:
        starts = rng.uniform(-0.05, 1.05, (count, 2))
        for start in starts:
            _paint_stroke(draw, rng, swirls, start, length * rng.uniform(0.6, 1.3), width * rng.uniform(0.7, 1.3), side)
    return np.asarray(canvas.resize((size_px, size_px), Image.Resampling.LANCZOS))


class _Swirls:
    """A flow around a few centers, and a smooth height for choosing colors; points lie in the unit square."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._centers = rng.uniform(0, 1, (_SWIRLS, 2))
        self._radii = rng.uniform(0.10, 0.30, _SWIRLS)
        self._turns = rng.choice([-1.0, 1.0], _SWIRLS)
        self._drift = np.array([1.0, rng.uniform(-0.3, 0.3)])
        self._phase = rng.uniform(0, 2 * np.pi, 3)

    def direction(self, point: _Array) -> _Array:
        """Return the unit vector along which a stroke runs at a point (x, y)."""
        offset = point - self._centers  # (swirls, 2)
        pull = self._turns * np.exp(-(offset**2).sum(axis=1) / (2 * self._radii**2)) / self._radii
        around = np.stack([-offset[:, 1], offset[:, 0]], axis=1)  # (swirls, 2)
        flow = 0.35 * self._drift + (pull[:, None] * around).sum(axis=0)
        unit: _Array = flow / (np.linalg.norm(flow) + 1e-9)
        return unit

    def height(self, point: _Array) -> float:
        """Return a number in [0, 1]: rings of light around the centers, dark between them."""
        distance = np.linalg.norm(point - self._centers, axis=1) / self._radii  # (swirls,)
        rings = np.exp(-0.5 * distance**2) * (0.75 + 0.25 * np.cos(5 * distance))
        waves = 0.12 * np.sin(2 * np.pi * (1.3 * point[1] + 0.4 * np.sin(2 * np.pi * point[0] + self._phase[0])))
        return float(np.clip(0.22 + waves + 0.75 * rings.max(), 0, 1))


def _paint_stroke(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    swirls: _Swirls,
    start: _Array,
    length: float,
    width: float,
    side: int,
) -> None:
    points = [start]
    for _ in range(_STEPS):
        points.append(points[-1] + swirls.direction(points[-1]) * length / _STEPS)
    path = np.array(points)  # (steps + 1, 2)
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / (np.linalg.norm(along, axis=1, keepdims=True) + 1e-9)
    taper = np.sqrt(np.sin(np.linspace(0.12, np.pi - 0.12, len(path))))[:, None]  # thin at both ends
    base = _color(swirls.height(path[len(path) // 2]) + rng.normal(0, 0.10))
    thickness = max(1, round(1.5 * width * side / _BRISTLES))
    for offset in np.linspace(-0.5, 0.5, _BRISTLES):
        # Light falls from one side onto the ridge of paint; every bristle also carries its own tint.
        shade = 1 + 0.22 * offset * 2 + rng.normal(0, 0.07)
        color = np.clip(base * shade + rng.normal(0, 5, 3), 0, 255)
        bristle = (path + across * taper * offset * width) * side
        draw.line(
            [(x, y) for x, y in bristle.tolist()], fill=tuple(int(c) for c in color), width=thickness, joint="curve"
        )


def _color(height: float) -> _Array:
    place = float(np.clip(height, 0, 1)) * (len(_PALETTE) - 1)
    low = min(int(place), len(_PALETTE) - 2)
    color: _Array = _PALETTE[low] + (place - low) * (_PALETTE[low + 1] - _PALETTE[low])
    return color
