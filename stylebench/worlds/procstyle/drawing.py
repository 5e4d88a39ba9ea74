"""Draw scenes at random, each from its own key."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stylebench.worlds.procstyle.scenes import BACKGROUNDS, MATERIALS, OBJECTS, SHAPES, VERSION, Scenes
from stylebench.worlds.procstyle.surfaces import outline_distances, pixel_grid, top_layer

_PLACES, _SIZES = (0.15, 0.85), (0.07, 0.22)
_AZIMUTHS, _ELEVATIONS = (195.0, 345.0), (38.0, 62.0)  # degrees; light comes from above
_VISIBLE = 0.29  # least visible part of an object on the test grid, so that 0.25 holds on any grid
_TEST_PX = 48
_PER_SCENE, _PER_OBJECT = 4, 6  # random numbers


def draw_scenes(keys: Sequence[str]) -> Scenes:
    """Draw scenes, each a function of its key alone.

    Two to six objects of random shape, place, size, angle and material lie in random order on one of four backdrops.
    A scene in which an object would keep less than a quarter of its area is redrawn from the same stream.

    Args:
        keys: names of the scenes, such as "train-0-00012".

    Returns:
        The scenes, in the order of the keys, on the CPU.

    Source: experiments/worlds/README.md.
    """
    streams = [np.random.Generator(np.random.PCG64(_seed(key))) for key in keys]
    numbers = np.empty((len(keys), _PER_SCENE + _PER_OBJECT * OBJECTS[1]))
    open_ = np.arange(len(keys))
    while len(open_):
        for index in open_:
            numbers[index] = streams[index].random(numbers.shape[1])
        seen = visible_shares(_scenes(numbers[open_]))
        open_ = open_[(seen < _VISIBLE).any(1).numpy()]
    return _scenes(numbers)


def _seed(key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{VERSION}:{key}".encode()).digest(), "big")


def _scenes(numbers: NDArray[np.float64]) -> Scenes:
    """Turn (B, 40) uniform numbers into scenes."""
    whole, each = numbers[:, :_PER_SCENE], numbers[:, _PER_SCENE:].reshape(len(numbers), OBJECTS[1], _PER_OBJECT)
    count = OBJECTS[0] + np.floor(whole[:, 0] * (OBJECTS[1] - OBJECTS[0] + 1)).astype(np.int64)
    absent = np.arange(OBJECTS[1]) >= count[:, None]  # (B, 6)
    shape = np.where(absent, -1, np.floor(each[..., 0] * len(SHAPES)).astype(np.int64))
    angle = 2 * np.pi * each[..., 4]
    azimuth, elevation = (np.deg2rad(_between(whole[:, i], span)) for i, span in ((2, _AZIMUTHS), (3, _ELEVATIONS)))
    light = np.stack(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)], axis=1
    )
    return Scenes(
        count=torch.from_numpy(count),
        shape=torch.from_numpy(shape),
        center=_floats(_between(each[..., 1:3], _PLACES)),
        size=_floats(_between(each[..., 3], _SIZES)),
        turn=_floats(np.stack([np.cos(angle), np.sin(angle)], axis=-1)),
        material=torch.from_numpy(np.floor(each[..., 5] * MATERIALS).astype(np.int64)),
        background=torch.from_numpy(np.floor(whole[:, 1] * BACKGROUNDS).astype(np.int64)),
        light=_floats(light),
    )


def _between(uniform: NDArray[np.float64], span: tuple[float, float]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = span[0] + uniform * (span[1] - span[0])
    return scaled


def _floats(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def visible_shares(scenes: Scenes, size_px: int = _TEST_PX) -> Tensor:
    """Measure how much of each object is seen.

    Args:
        scenes: B scenes.
        size_px: side of the grid on which areas are measured.

    Returns:
        (B, 6) visible area over the area that the object has inside the picture, in [0, 1]; 1 where there is none.
    """
    distances = outline_distances(scenes, pixel_grid(size_px, scenes.device))[:, :, 1:-1, 1:-1]
    cover = (0.5 - distances[:, 1:] * size_px).clamp(0, 1)  # (B, 6, H, W)
    front = top_layer(distances, 0.0)[:, None]
    own = torch.arange(1, OBJECTS[1] + 1, device=scenes.device)[:, None, None]
    whole = cover.sum((2, 3), dtype=torch.float64)
    seen = (cover * (front == own)).sum((2, 3), dtype=torch.float64)
    rims = (cover * (front < own)).sum((2, 3), dtype=torch.float64)  # covered by less than half: seen at the outline
    shares = (seen + rims) / whole.clamp(min=1e-9)
    return torch.where(scenes.shape >= 0, shares, 1.0)
