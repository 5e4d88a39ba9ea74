"""Dead-leaves pictures: occluding, shaded, textured shapes with the statistics of natural images.

Shapes of power-law sizes that hide one another give images the scale invariance, the sharp edges and the heavy-tailed
filter responses of photographs, which neither noise nor plain gradients have. They stand in for photographs where
none are at hand: to calibrate encoders, and as contents that need no download.

Source: Lee, Mumford & Huang 2001, "Occlusion models for natural images" (discs with density r^-3). Texture, shading,
outlines, colors and the number of shapes are ours, set so that mean, contrast, chroma and differences of neighboring
pixels are near those of photographs.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_Array = NDArray[np.float32]

_SHAPES = (12, 220)  # leaves in a picture, log-uniform between these: from a plain sky to undergrowth
_RADII = (0.02, 0.6)  # smallest and largest radius, in parts of the picture's side
_TEXTURES = 5  # different textures in a picture
# Chroma axes of natural scenes in RGB: sky to earth (blue-yellow) varies most, then foliage to brick (green-red).
_BLUE_YELLOW = np.array((0.60, 0.08, -0.95), dtype=np.float32)
_RED_GREEN = np.array((0.75, -0.65, 0.05), dtype=np.float32)


def dead_leaves(count: int, size_px: int, seed: int) -> Tensor:
    """Draw dead-leaves pictures; each depends on `seed`, `size_px` and its place alone, so a series can be extended.

    Args:
        count: how many pictures, N >= 1.
        size_px: height and width in pixels, >= 8.
        seed: any non-negative integer; the global random state is neither read nor changed.

    Returns:
        (N, 3, size_px, size_px) uint8 RGB pictures.

    Raises:
        ValueError: if a number is below its bound.

    Source: Lee, Mumford & Huang 2001 for sizes and occlusion.
    """
    for name, value, least in (("count", count, 1), ("size_px", size_px, 8), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"dead_leaves expects {name} >= {least}, got {value}; choose a larger {name}")
    pictures = np.stack([_picture(np.random.default_rng((seed, size_px, index)), size_px) for index in range(count)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()  # (N, 3, H, W)


def _picture(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Paint one picture, leaf over leaf, as (H, W, 3) uint8."""
    textures = [_texture(rng, size) for _ in range(_TEXTURES)]
    mood = rng.normal((0.05, 0.02), (0.20, 0.07)).astype(np.float32)  # cast on the two chroma axes, warm on average
    exposure = rng.normal(-1.65, 0.5)  # mean log light
    top, bottom = rng.normal(0, 0.5, 2)
    sky = np.linspace(top, bottom, size, dtype=np.float32)[:, None]  # log light from top to bottom
    light = np.exp(exposure + rng.normal(0.3, 0.6) + sky + rng.gamma(1.0, 0.1) * textures[0])  # (H, W)
    canvas: _Array = (light[..., None] * _color(rng, mood)).astype(np.float32)  # (H, W, 3), linear light
    count = int(np.exp(rng.uniform(*np.log(_SHAPES))))
    radii = size * _power_law(rng, count, *_RADII)
    if rng.random() < 0.5:  # large things behind small ones, as in a landscape; else in any order
        radii = np.sort(radii * np.exp(rng.normal(0, 0.7, count)))[::-1]
    for radius in radii:
        _paint_leaf(canvas, rng, float(min(radius, size)), textures, exposure, mood)
    display = np.clip(canvas, 0, 1) ** np.float32(1 / 2.2)  # linear light to display values
    display += rng.normal(0, rng.uniform(0, 0.02), display.shape)  # sensor noise
    pixels: NDArray[np.uint8] = np.round(np.clip(display, 0, 1) * 255).astype(np.uint8)
    return pixels


def _power_law(rng: np.random.Generator, count: int, low: float, high: float) -> NDArray[np.float64]:
    """Draw radii with density proportional to r^-2.2 between two bounds, by the inverse of its distribution function.

    The exponent is smaller than the 3 of unbounded scale invariance because the smallest leaves are cut off.
    """
    start, end = low**-1.2, high**-1.2
    radii: NDArray[np.float64] = (start - rng.random(count) * (start - end)) ** (-1 / 1.2)
    return radii


def _color(rng: np.random.Generator, mood: _Array) -> _Array:
    """Draw a leaf's color as R, G and B relative to its gray: (3,), mostly dull, sometimes vivid."""
    spread = rng.laplace(0, (0.30, 0.16)).astype(np.float32) + mood
    excess: _Array = np.clip(spread[0] * _BLUE_YELLOW + spread[1] * _RED_GREEN, -0.97, 2.0)
    return 1 + excess


def _texture(rng: np.random.Generator, size: int) -> _Array:
    """Make a periodic random field of mean 0 and deviation 1: a 1/f^a spectrum, often stretched, at times stripes."""
    exponent, stretch, angle = rng.uniform(0.3, 1.8), np.exp(abs(rng.normal(0, 0.8))), rng.uniform(0, np.pi)
    rows, columns = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    along = np.cos(angle) * columns + np.sin(angle) * rows
    across = np.cos(angle) * rows - np.sin(angle) * columns
    frequency = np.hypot(along * stretch, across / stretch)
    frequency[0, 0] = np.inf  # no constant part
    spectrum = np.fft.rfft2(rng.normal(size=(size, size))) / frequency**exponent
    if rng.random() < 0.3:  # railings, bricks, weave: power around one frequency
        pitch = np.exp(rng.uniform(np.log(0.03), np.log(0.3)))
        spectrum = spectrum * np.exp(-((np.hypot(along, across / 4) - pitch) ** 2) / (2 * (0.12 * pitch) ** 2))
    field = np.fft.irfft2(spectrum, s=(size, size))
    scaled: _Array = (field / max(field.std(), 1e-12)).astype(np.float32)
    return scaled


def _paint_leaf(
    canvas: _Array, rng: np.random.Generator, radius: float, textures: list[_Array], exposure: float, mood: _Array
) -> None:
    """Blend one shaded, textured shape into `canvas` (H, W, 3), in place."""
    size = canvas.shape[0]
    center = rng.uniform(-0.5 * radius, size + 0.5 * radius, 2)
    outline = _Outline(rng)
    top, left = np.maximum(np.floor(center - 1.8 * radius).astype(int), 0)
    bottom, right = np.minimum(np.ceil(center + 1.8 * radius).astype(int) + 1, size)
    if bottom <= top or right <= left:
        return
    y = ((np.arange(top, bottom) - center[0]) / radius)[:, None].astype(np.float32)
    x = ((np.arange(left, right) - center[1]) / radius)[None].astype(np.float32)
    blur = 1.0 + radius * 0.25 * rng.exponential() * (rng.random() < 0.3)  # pixels; some leaves are out of focus
    cover = np.clip(outline.inside(y, x) * np.float32(radius / blur) + 0.5, 0, 1)[..., None]  # (h, w, 1)
    texture, shift = textures[rng.integers(len(textures))], rng.integers(0, size, 2)
    rows, columns = (np.arange(top, bottom) + shift[0]) % size, (np.arange(left, right) + shift[1]) % size
    shading = rng.normal(0, 0.5, 2)
    light = exposure + rng.normal(0, 0.95) + shading[0] * y + shading[1] * x  # (h, w), logarithms
    light = np.exp(light + rng.gamma(1.0, 0.25) * texture[rows[:, None], columns[None]]).astype(np.float32)
    patch = canvas[top:bottom, left:right]
    patch += cover * (light[..., None] * _color(rng, mood) - patch)


class _Outline:
    """A random smooth or cornered closed outline around the origin, of radius about 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw aspect, direction, squareness and waviness."""
        self.aspect = np.float32(np.exp(np.clip(rng.normal(0, 0.45), -1, 1)))
        self.angle = rng.uniform(0, np.pi)
        self.power = np.float32(rng.choice((2.0, 2.0, 1.0, 8.0)))  # ellipse, lozenge, rectangle
        self.waves = [(int(rng.integers(2, 9)), rng.uniform(0, 2 * np.pi), abs(rng.normal(0, 0.06))) for _ in range(2)]

    def inside(self, y: _Array, x: _Array) -> _Array:
        """Return (h, w) signed distances to the outline, positive inside, in radii, of (h, 1) and (1, w) offsets."""
        cosine, sine = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        along, across = (cosine * x + sine * y) / self.aspect, (cosine * y - sine * x) * self.aspect
        distance = (np.abs(along) ** self.power + np.abs(across) ** self.power) ** (1 / self.power)
        theta = np.arctan2(across, along)
        edge = 1.0 + sum(np.float32(height) * np.cos(number * theta + phase) for number, phase, height in self.waves)
        return (edge - distance).astype(np.float32)
