"""Textures without end: nine families of pattern, bent, colored and lit at random.

They teach what photographs of surfaces vary in: regularity, direction, scale, relief, edges. Each is a height field in
[0, 1], shown by a ramp of colors or by light from one side.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_Array = NDArray[np.float32]

FAMILIES = ("cloud", "stripes", "grid", "cells", "cracks", "bubbles", "crosshatch", "web", "knit")


def textures(count: int, size_px: int, seed: int, first: int = 0) -> tuple[Tensor, Tensor]:
    """Draw textures; each depends on `seed`, `size_px` and its place alone.

    Args:
        count: how many, N.
        size_px: height and width.
        seed: of the series.
        first: place of the first one.

    Returns:
        (N, 3, size_px, size_px) uint8 RGB, and (N,) int64 positions in `FAMILIES`.
    """
    images, families = [], []
    for place in range(first, first + count):
        rng = np.random.default_rng((seed, size_px, place))
        family = int(rng.integers(len(FAMILIES)))
        images.append(_picture(rng, FAMILIES[family], size_px))
        families.append(family)
    return torch.from_numpy(np.stack(images)), torch.tensor(families)


def _picture(rng: np.random.Generator, family: str, size_px: int) -> NDArray[np.uint8]:
    """Draw one texture, (3, H, W)."""
    field = _Field(rng, size_px)
    height = getattr(field, family)()
    if rng.random() < 0.35:  # grain on it
        height = height + rng.uniform(0.03, 0.25) * field.noise(rng.uniform(0.2, 1.4))
    height = (height - height.min()) / max(float(np.ptp(height)), 1e-6)
    if rng.random() < 0.4:
        height = np.clip((height - rng.uniform(0.2, 0.6)) * rng.uniform(2, 12) + 0.5, 0, 1)
    image = _colored(rng, height)
    if rng.random() < 0.55:
        image = image * _light(rng, height)
    gradient = field.x * rng.normal(0, 0.25) + field.y * rng.normal(0, 0.25)
    image = image * np.exp(gradient) + rng.normal(0, rng.uniform(0, 0.03), image.shape)
    pixels: NDArray[np.uint8] = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return pixels


def _colored(rng: np.random.Generator, height: _Array) -> _Array:
    """Map heights through a ramp of two to five colors, (3, H, W)."""
    count = int(rng.integers(2, 6))
    gray = rng.random() < 0.25
    values = np.sort(rng.random(count)) if rng.random() < 0.7 else rng.random(count)
    hue = rng.normal(0, 0.25 if rng.random() < 0.6 else 0.6, 3)[:, None] + rng.normal(0, 0.1, (3, count))
    ramp = np.clip(values + (0 if gray else 0.35) * hue, 0, 1)
    places = np.linspace(0, 1, count)
    colored: _Array = np.stack([np.interp(height, places, channel) for channel in ramp]).astype(np.float32)
    return colored


def _light(rng: np.random.Generator, height: _Array) -> _Array:
    """Shade a relief by light from one side, (H, W)."""
    down, right = np.gradient(height * height.shape[0] * rng.uniform(0.03, 0.15))
    angle = rng.uniform(0, 2 * np.pi)
    slope = down * np.sin(angle) + right * np.cos(angle)
    shade: _Array = ((1 + slope) / np.sqrt(1 + down**2 + right**2)).astype(np.float32)
    return np.clip(shade, 0.05, 2.5)


class _Field:
    """The plane of one texture: turned, stretched and bent coordinates, and patterns on them."""

    def __init__(self, rng: np.random.Generator, size_px: int) -> None:
        self.rng, self.size = rng, size_px
        line = (np.arange(size_px, dtype=np.float32) + 0.5) / size_px - 0.5
        self.x, self.y = np.broadcast_arrays(line, line[:, None])
        angle, stretch = rng.uniform(0, np.pi), math.exp(rng.normal(0, 0.25))
        u = (math.cos(angle) * self.x + math.sin(angle) * self.y) * stretch
        v = (math.cos(angle) * self.y - math.sin(angle) * self.x) / stretch
        tilt = 1 + rng.uniform(0, 0.5) * (rng.random() < 0.4) * v  # seen at a slant
        self.u, self.v = u / tilt, v / tilt
        if rng.random() < 0.7:
            bend = 0.08 * rng.exponential()
            self.u = self.u + bend * self.noise(rng.uniform(1.6, 2.6)) * 0.4
            self.v = self.v + bend * self.noise(rng.uniform(1.6, 2.6)) * 0.4
        self.count = math.exp(rng.uniform(math.log(3), math.log(22)))  # periods in the side

    def noise(self, exponent: float, stretch: float = 1.0) -> _Array:
        """Return a random field of spectrum 1/f^exponent, mean 0 and deviation 1; stretched along the field's u."""
        rows, columns = np.meshgrid(np.fft.fftfreq(self.size), np.fft.rfftfreq(self.size), indexing="ij")
        frequency = np.hypot(columns * stretch, rows / stretch)
        frequency[0, 0] = np.inf
        spectrum = np.fft.rfft2(self.rng.normal(size=(self.size, self.size))) / frequency**exponent
        field = np.fft.irfft2(spectrum, s=(self.size, self.size))
        scaled: _Array = (field / field.std()).astype(np.float32)
        return scaled

    def cloud(self) -> _Array:
        """Blotches: noise of a band of scales, at times drawn out."""
        return self.noise(self.rng.uniform(0.8, 2.2), math.exp(self.rng.normal(0, 0.5)))

    def stripes(self) -> _Array:
        """Bands, from sine to sharp, even or not."""
        phase = self.u * self.count + self.rng.random()
        if self.rng.random() < 0.4:
            phase = phase + 0.25 * np.sin(2 * np.pi * phase * self.rng.uniform(0.2, 0.7))
        return self._wave(phase)

    def grid(self) -> _Array:
        """Checks or tiles with joints."""
        first, second = self.u * self.count, self.v * self.count * self.rng.choice((1.0, 1.0, 0.5, 2.0))
        if self.rng.random() < 0.5:
            checks: _Array = self._wave(first, sharp=True) * self._wave(second, sharp=True)
            return checks
        shift = 0.5 * (np.floor(second) % 2) * (self.rng.random() < 0.4)  # bricks
        joint = np.minimum(np.abs((first + shift) % 1 - 0.5), np.abs(second % 1 - 0.5))
        return np.clip(joint * self.rng.uniform(4, 14), 0, 1).astype(np.float32) * self._patches(first + shift, second)

    def cells(self) -> _Array:
        """Crystals: flat or sloping cells."""
        near, _, owner = self._seeds()
        tones = self.rng.random(owner.max() + 1).astype(np.float32)[owner]
        return tones + self.rng.uniform(0, 1.2) * near

    def cracks(self) -> _Array:
        """Lines between cells, at two scales at times."""
        near, second, _ = self._seeds()
        edge = np.clip((second - near) * self.rng.uniform(3, 12), 0, 1)
        return edge + 0.3 * self.noise(1.5)

    def bubbles(self) -> _Array:
        """Round bumps, apart or crowded."""
        near, _, _ = self._seeds()
        return np.sqrt(np.clip(1 - (near * self.rng.uniform(1.2, 2.4)) ** 2, 0, 1)).astype(np.float32)

    def crosshatch(self) -> _Array:
        """Two or three sets of thin lines."""
        total = np.zeros_like(self.u)
        width = self.rng.uniform(0.08, 0.3)
        for turn in np.cumsum(self.rng.uniform(0.5, 1.4, int(self.rng.integers(2, 4)))):
            phase = (math.cos(turn) * self.u + math.sin(turn) * self.v) * self.count
            total = np.maximum(total, np.clip((width - np.abs(phase % 1 - 0.5)) * 12, 0, 1))
        return total

    def web(self) -> _Array:
        """Threads around a hub."""
        du, dv = self.u - self.rng.uniform(-0.4, 0.4), self.v - self.rng.uniform(-0.4, 0.4)
        spokes = np.arctan2(dv, du) / (2 * np.pi) * int(self.rng.integers(7, 22))
        reach = np.hypot(du, dv) * (1 + 0.08 * np.cos(2 * np.pi * spokes))
        rings = np.abs((reach * self.count) % 1 - 0.5)
        radial = np.abs(spokes % 1 - 0.5) * np.clip(reach * 8, 0.1, 3)
        thread: _Array = np.exp(-((np.minimum(rings, radial) / self.rng.uniform(0.04, 0.12)) ** 2)).astype(np.float32)
        return thread

    def knit(self) -> _Array:
        """Strands that cross over and under each other."""
        first, second = self.u * self.count, self.v * self.count
        over = (np.floor(first) + np.floor(second)) % 2
        strand = np.where(over > 0, np.sin(np.pi * (first % 1)), np.sin(np.pi * (second % 1)))
        along = np.where(over > 0, np.cos(2 * np.pi * second * self.rng.choice((1.0, 3.0))), np.cos(2 * np.pi * first))
        knit: _Array = (strand + 0.25 * along).astype(np.float32)
        return knit

    def _wave(self, phase: _Array, sharp: bool = False) -> _Array:
        wave = np.sin(2 * np.pi * phase)
        gain = self.rng.uniform(4, 20) if sharp or self.rng.random() < 0.5 else 0.5
        waves: _Array = np.tanh(gain * wave).astype(np.float32)
        return waves

    def _patches(self, first: _Array, second: _Array) -> _Array:
        """Give every tile a tone of its own, at times."""
        if self.rng.random() < 0.5:
            return np.ones_like(first)
        table = self.rng.uniform(0.4, 1, (64, 64)).astype(np.float32)
        tones: _Array = table[np.floor(first).astype(int) % 64, np.floor(second).astype(int) % 64]
        return tones

    def _seeds(self) -> tuple[_Array, _Array, NDArray[np.int64]]:
        """Return distances to the nearest two of scattered seeds, in cell widths, and the nearest one's number."""
        across = max(3, round(min(self.count, 12)))
        grid = np.stack(np.meshgrid(np.arange(across + 4), np.arange(across + 4)), -1).reshape(-1, 2)
        seeds = (grid - 1.5 + self.rng.uniform(-0.5, 0.5, grid.shape) * self.rng.uniform(0.3, 1)) / across - 0.5
        seeds = seeds[self.rng.random(len(seeds)) < self.rng.choice((1.0, 1.0, 0.7))].astype(np.float32)
        points = torch.from_numpy(np.stack([self.u, self.v], -1).reshape(-1, 2).astype(np.float32))
        distances, places = torch.cdist(points, torch.from_numpy(seeds)).topk(2, largest=False)
        shape = (self.size, self.size)
        near, second = (distances[:, k].reshape(shape).numpy() * across for k in (0, 1))
        return near, second, places[:, 0].reshape(shape).numpy()
