"""Dead-leaves pictures: occluding, shaded, textured shapes with the statistics of natural images.

Shapes of power-law sizes that hide one another give images the scale invariance, the sharp edges and the heavy-tailed
filter responses of photographs, which neither noise nor plain gradients have. They stand in for photographs where
none are at hand: to calibrate encoders, and as contents that need no download.

Source: Lee, Mumford & Huang 2001, "Occlusion models for natural images" (discs with density r^-3). Texture, shading,
shape outlines and colours are ours.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_Array = NDArray[np.float32]

_SHAPES = 260  # leaves in a picture: enough that the background shows through in a few places only
_RADII = (0.018, 0.42)  # smallest and largest radius, in parts of the picture's side
_TEXTURES = 4  # different textures in a picture
# Chroma axes of natural scenes in RGB: sky to earth (blue-yellow) varies most, then foliage to brick (green-red).
_BLUE_YELLOW = np.array((0.55, 0.05, -0.85), dtype=np.float32)
_RED_GREEN = np.array((0.62, -0.62, 0.15), dtype=np.float32)


def dead_leaves(count: int, size_px: int, seed: int) -> Tensor:
    """Draw dead-leaves pictures: the i-th depends on `seed`, `size_px` and i alone, so a longer series adds to a shorter.

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
    """Paint one picture, farthest leaf first, as (H, W, 3) uint8."""
    textures = [_texture(rng, size) for _ in range(_TEXTURES)]
    mood = rng.normal(0, (0.08, 0.04)).astype(np.float32)  # the picture's own cast on the two chroma axes
    exposure = rng.normal(-1.15, 0.25)  # mean log reflectance, so that the pictures' mean grey is that of photographs
    top, bottom = rng.normal(0, 0.35, 2)
    sky = np.linspace(top, bottom, size, dtype=np.float32)[:, None]  # log light from top to bottom
    light = np.exp(exposure + 0.5 + sky + 0.1 * textures[0])  # (H, W)
    canvas = light[..., None] * (1 + _chroma(rng, mood))  # (H, W, 3), linear light
    radii = size * _power_law(rng, _SHAPES, *_RADII)
    for radius in np.sort(radii * np.exp(rng.normal(0, 0.7, _SHAPES)))[::-1] if rng.random() < 0.5 else radii:
        _paint_leaf(canvas, rng, float(min(radius, size)), textures, exposure, mood)
    canvas = np.clip(canvas, 0, 1) ** np.float32(1 / 2.2)  # linear light to display values
    canvas += rng.normal(0, rng.uniform(0, 0.012), canvas.shape)  # sensor noise
    return np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8)


def _power_law(rng: np.random.Generator, count: int, low: float, high: float) -> NDArray[np.float64]:
    """Draw radii with density proportional to r^-3 between two bounds (inverse of its distribution function)."""
    return (low**-2 - rng.random(count) * (low**-2 - high**-2)) ** -0.5


def _chroma(rng: np.random.Generator, mood: _Array) -> _Array:
    """Draw a leaf's colour as relative excess of R, G and B over its grey: (3,)."""
    spread = rng.laplace(0, (0.22, 0.08)).astype(np.float32) + mood
    return np.clip(spread[0] * _BLUE_YELLOW + spread[1] * _RED_GREEN, -0.9, 1.2)


def _texture(rng: np.random.Generator, size: int) -> _Array:
    """Make a periodic random field of mean 0 and standard deviation 1 with a 1/f^a spectrum, some of them stretched."""
    exponent, stretch, angle = rng.uniform(0.9, 1.8), np.exp(abs(rng.normal(0, 0.7))), rng.uniform(0, np.pi)
    rows, columns = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    along = np.cos(angle) * columns + np.sin(angle) * rows
    across = np.cos(angle) * rows - np.sin(angle) * columns
    frequency = np.hypot(along * stretch, across / stretch)
    frequency[0, 0] = np.inf  # no constant part
    spectrum = np.fft.rfft2(rng.normal(size=(size, size))) / frequency**exponent
    field = np.fft.irfft2(spectrum, s=(size, size))
    return (field / field.std()).astype(np.float32)


def _paint_leaf(
    canvas: _Array, rng: np.random.Generator, radius: float, textures: list[_Array], exposure: float, mood: _Array
) -> None:
    """Blend one shaded, textured shape into `canvas` (H, W, 3), in place."""
    size = canvas.shape[0]
    centre = rng.uniform(-0.5 * radius, size + 0.5 * radius, 2)
    top, left = np.maximum(np.floor(centre - 1.6 * radius).astype(int), 0)
    bottom, right = np.minimum(np.ceil(centre + 1.6 * radius).astype(int) + 1, size)
    outline = _Outline(rng)
    shading, contrast = rng.normal(0, 0.35, 2), rng.gamma(1.5, 0.12)
    log_light, colour = exposure + rng.normal(0, 0.65), 1 + _chroma(rng, mood)
    texture, shift = textures[rng.integers(len(textures))], rng.integers(0, size, 2)
    softness = 1.0 + radius * 0.05 * rng.exponential() * (rng.random() < 0.3)  # pixels; some leaves are out of focus
    if bottom <= top or right <= left:
        return
    y = ((np.arange(top, bottom, dtype=np.float32) - centre[0]) / radius)[:, None].astype(np.float32)
    x = ((np.arange(left, right, dtype=np.float32) - centre[1]) / radius)[None].astype(np.float32)
    cover = np.clip(outline.inside(y, x) * np.float32(radius / softness) + 0.5, 0, 1)[..., None]  # (h, w, 1)
    rows, columns = (np.arange(top, bottom) + shift[0]) % size, (np.arange(left, right) + shift[1]) % size
    light = np.exp(log_light + shading[0] * y + shading[1] * x + contrast * texture[rows[:, None], columns[None]])
    patch = canvas[top:bottom, left:right]
    patch += cover * (light[..., None].astype(np.float32) * colour - patch)


class _Outline:
    """A random smooth or cornered closed outline around the origin, of radius about 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw aspect, direction, squareness and waviness."""
        self.aspect = np.float32(np.exp(rng.normal(0, 0.35)))
        self.angle = rng.uniform(0, np.pi)
        self.power = np.float32(rng.choice((2.0, 2.0, 1.0, 8.0)))  # ellipse, lozenge, rectangle
        self.waves = [(int(rng.integers(2, 9)), rng.uniform(0, 2 * np.pi), abs(rng.normal(0, 0.06))) for _ in range(2)]

    def inside(self, y: _Array, x: _Array) -> _Array:
        """Return (h, w) signed distances to the outline, positive inside, about in radii, of (h, 1) and (1, w) offsets."""
        cosine, sine = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        along, across = (cosine * x + sine * y) / self.aspect, (cosine * y - sine * x) * self.aspect
        distance = (np.abs(along) ** self.power + np.abs(across) ** self.power) ** (1 / self.power)
        theta = np.arctan2(across, along)
        edge = 1.0 + sum(np.float32(height) * np.cos(number * theta + phase) for number, phase, height in self.waves)
        return (edge - distance).astype(np.float32)
