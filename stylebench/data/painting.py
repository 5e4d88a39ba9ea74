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
_STEPS = 10  # points along a stroke
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
    canvas = Image.new("RGB", (side, side), _as_color(_PALETTE[0]))
    draw = ImageDraw.Draw(canvas)
    for count, length, width in _LAYERS:
        starts = rng.uniform(-0.05, 1.05, (count, 2))
        paths = _trace(swirls, starts, length * rng.uniform(0.6, 1.3, count))  # (strokes, points, 2)
        colors = _colors(swirls.height(paths[:, _STEPS // 2]) + rng.normal(0, 0.10, count))  # (strokes, 3)
        for path, color, breadth in zip(paths, colors, width * rng.uniform(0.7, 1.3, count), strict=True):
            _paint_stroke(draw, rng, path * side, color, float(breadth) * side)
    return np.asarray(canvas.resize((size_px, size_px), Image.Resampling.LANCZOS))


class _Swirls:
    """A flow around a few centers, and a smooth height for choosing colors; points (..., 2) lie in the unit square."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._centers = rng.uniform(0, 1, (_SWIRLS, 2))
        self._radii = rng.uniform(0.10, 0.30, _SWIRLS)
        self._turns = rng.choice([-1.0, 1.0], _SWIRLS)
        self._drift = np.array([1.0, rng.uniform(-0.3, 0.3)])
        self._phase = rng.uniform(0, 2 * np.pi)

    def direction(self, points: _Array) -> _Array:
        """Return unit vectors along which strokes run at points (N, 2)."""
        offsets = points[:, None] - self._centers  # (N, swirls, 2)
        pulls = self._turns * np.exp(-(offsets**2).sum(axis=2) / (2 * self._radii**2)) / self._radii  # (N, swirls)
        around = np.stack([-offsets[..., 1], offsets[..., 0]], axis=2)  # (N, swirls, 2)
        flow = 0.35 * self._drift + (pulls[..., None] * around).sum(axis=1)  # (N, 2)
        return _unit(flow)

    def height(self, points: _Array) -> _Array:
        """Return numbers for points (N, 2): rings of light, up to 1, around the centers, and dark between them."""
        distances = np.linalg.norm(points[:, None] - self._centers, axis=2) / self._radii  # (N, swirls)
        rings = np.exp(-0.5 * distances**2) * (0.75 + 0.25 * np.cos(5 * distances))
        waves = np.sin(2 * np.pi * (1.3 * points[:, 1] + 0.4 * np.sin(2 * np.pi * points[:, 0] + self._phase)))
        height: _Array = 0.22 + 0.12 * waves + 0.75 * rings.max(axis=1)
        return height


def _trace(swirls: _Swirls, starts: _Array, lengths: _Array) -> _Array:
    """Follow the flow from starts (N, 2); return paths (N, points, 2)."""
    points = [starts]
    for _ in range(_STEPS):
        points.append(points[-1] + swirls.direction(points[-1]) * lengths[:, None] / _STEPS)
    return np.stack(points, axis=1)


def _paint_stroke(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, path: _Array, color: _Array, breadth: float
) -> None:
    """Paint one stroke as a bundle of bristles along a path (points, 2), in pixels of the canvas."""
    along = _unit(np.gradient(path, axis=0))
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)  # (points, 2)
    taper = np.sqrt(np.sin(np.linspace(0.12, np.pi - 0.12, len(path))))[:, None]  # thin at both ends
    thickness = max(1, round(1.5 * breadth / _BRISTLES))
    tints = rng.normal(0, 5, (_BRISTLES, 3))
    shades = rng.normal(0, 0.07, _BRISTLES)
    for offset, shade, tint in zip(np.linspace(-0.5, 0.5, _BRISTLES), shades, tints, strict=True):
        bristle = path + across * taper * offset * breadth
        # Light falls from one side onto the ridge of paint; every bristle also carries its own tint.
        fill = _as_color(color * (1 + 0.44 * offset + shade) + tint)
        draw.line([(x, y) for x, y in bristle.tolist()], fill=fill, width=thickness, joint="curve")


def _unit(vectors: _Array) -> _Array:
    unit: _Array = vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)
    return unit


def _colors(heights: _Array) -> _Array:
    """Read colors off the palette: (N,) heights, clipped to [0, 1], to (N, 3)."""
    stops = np.linspace(0, 1, len(_PALETTE))
    return np.stack([np.interp(heights, stops, channel) for channel in _PALETTE.T], axis=1)


def _as_color(color: _Array) -> tuple[int, int, int]:
    red, green, blue = np.clip(color, 0, 255).astype(int).tolist()
    return red, green, blue
