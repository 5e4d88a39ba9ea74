"""Endless, exactly repeatable draws.

Position n of a stream is a pure function of (seed, role, n): which image, which crop, whether mirrored. Nothing is
remembered between calls and no global random state is read or changed, so the k-th batch is the same whatever the
number of workers, devices or restarts, and the exact place in the data is one integer.

Random numbers are the raw blocks of the counter-based generator Philox, whose counter is the position. numpy keeps the
raw bits of its generators fixed across versions, which it does not promise for shuffles.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stylebench.data.augmentation import CropSettings, RawImages
from stylebench.data.domain import Domain
from stylebench.data.splits import Indices, unit_hash

_SHORT = 256
_DRAWS = 4  # 64-bit numbers in a Philox block: top, left, flip, one unused


class Jitter(NamedTuple):
    """Where to cut, and what to mirror.

    Attributes:
        corners: (B, 2) in [0, 1), how far down and right of all possible places a crop begins.
        mirrored: (B,) bool.
    """

    corners: NDArray[np.float64]
    mirrored: NDArray[np.bool_]


def pick(seed: int, role: str, count: int, positions: NDArray[np.int64]) -> Indices:
    """Choose one of `count` things at each position: a pass shows each of them once, every pass in a new order.

    Args:
        seed: the run's seed.
        role: what the choice is for; streams of different roles are independent.
        count: number of things, >= 1.
        positions: (B,) integers >= 0.

    Returns:
        (B,) numbers in [0, count).
    """
    passes, places = np.divmod(positions, count)
    chosen = [shuffled(seed, role, count, int(number))[place] for number, place in zip(passes, places, strict=True)]
    return np.array(chosen, dtype=np.int64)


def shuffled(seed: int, role: str, count: int, number: int) -> Indices:
    """Return the order of pass `number` of a role: a permutation of range(count)."""
    key = _key(seed, role, "order", number)
    # Short orders are made again: there are many of them, and they would push the long ones out of the cache.
    return _order.__wrapped__(key, count) if count <= _SHORT else _order(key, count)


def jitter(seed: int, role: str, positions: NDArray[np.int64], flip: bool) -> Jitter:
    """Draw crops and flips at consecutive positions.

    Args:
        seed: the run's seed.
        role: what the images are for.
        positions: (B,) consecutive integers >= 0.
        flip: mirror every second image, on average.
    """
    bits = _bits(_key(seed, role, "crop"), int(positions[0]), len(positions))  # (B, 4)
    unit = (bits >> np.uint64(11)) / 2.0**53  # (B, 4) in [0, 1), evenly spaced
    return Jitter(unit[:, :2], (unit[:, 2] < 0.5) & flip)


def central(count: int) -> Jitter:
    """Return the jitter of central, unmirrored crops."""
    return Jitter(np.full((count, 2), 0.5), np.zeros(count, dtype=bool))


def mixed(domain: Domain, indices: Indices) -> Indices:
    """Sort images by the hash of their ids: the first few stand for all, also where names sort by class."""
    return indices[np.argsort([unit_hash(domain.ids[i]) for i in indices], kind="stable")]


def cut(domain: Domain, chosen: Sequence[int] | Indices, where: Jitter, crop: CropSettings) -> RawImages:
    """Cut a rectangle out of each of some images.

    Args:
        domain: where the images are.
        chosen: (B,) positions in the domain.
        where: corners and flips.
        crop: how large the rectangles are.
    """
    return cut_pictures(domain.views([int(index) for index in chosen]), where, crop)


def cut_pictures(images: Iterable[NDArray[np.uint8]], where: Jitter, crop: CropSettings) -> RawImages:
    """Cut a rectangle out of each of some (H, W, 3) images; see `cut`."""
    views = []
    for image, (down, right) in zip(images, where.corners, strict=True):
        height, width = crop.source_size(*image.shape[:2])
        top = int(down * (image.shape[0] - height + 1))
        left = int(right * (image.shape[1] - width + 1))
        views.append(image[top : top + height, left : left + width])  # (height, width, 3)
    return RawImages(_to_tensors(views), torch.from_numpy(where.mirrored))


def cut_each(
    domains: Sequence[Domain], numbers: Indices, chosen: Sequence[int] | Indices, where: Jitter, crop: CropSettings
) -> RawImages:
    """Cut images of several domains, each domain's in one go, and put them back into the batch's order.

    Args:
        domains: where the images are.
        numbers: (B,) which of the domains each image is of.
        chosen: (B,) positions in them.
        where: corners and flips.
        crop: how large the rectangles are.
    """
    crops: list[Any] = [None] * len(chosen)
    for number in np.unique(numbers).tolist():
        members = np.flatnonzero(numbers == number)
        part = Jitter(where.corners[members], where.mirrored[members])
        raw = cut(domains[number], [chosen[i] for i in members.tolist()], part, crop)
        for member, pixels in zip(members, raw.pixels, strict=True):
            crops[member] = pixels
    flip = torch.from_numpy(where.mirrored)
    same = len({pixels.shape for pixels in crops}) == 1
    return RawImages(torch.stack(crops) if same else crops, flip)


def _to_tensors(views: Sequence[NDArray[np.uint8]]) -> Tensor | list[Tensor]:
    """Copy views (h, w, 3) into one tensor (B, 3, h, w), channels last in memory, or a list where sizes differ."""
    if len({view.shape for view in views}) == 1:
        return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)  # (B, 3, h, w)
    return [torch.from_numpy(view.copy()).permute(2, 0, 1) for view in views]  # (3, h, w) each


@lru_cache(maxsize=4096)
def _key(*parts: object) -> int:
    """Return a 128-bit Philox key for these parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:16], "big")


def _bits(key: int, start: int, count: int) -> NDArray[np.uint64]:
    """Return the Philox blocks of `count` counters from `start`, (count, 4)."""
    raw = np.random.Philox(key=key, counter=start).random_raw(count * _DRAWS)
    return np.asarray(raw, dtype=np.uint64).reshape(count, _DRAWS)


@lru_cache(maxsize=64)
def _order(key: int, count: int) -> Indices:
    """Return a permutation of range(count) that depends on `key` alone."""
    raw = np.random.Philox(key=key).random_raw(count)
    return np.argsort(raw, kind="stable").astype(np.int64)
