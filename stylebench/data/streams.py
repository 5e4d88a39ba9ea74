"""Endless, exactly repeatable draws from one domain.

Position n of a stream is a pure function of (seed, role, n): which image, which crop, whether mirrored. Nothing is
remembered between calls and no global random state is read or changed, so the k-th batch is the same whatever the
number of workers, devices or restarts, and the exact place in the data is one integer.

Random numbers are the raw blocks of the counter-based generator Philox, whose counter is the position. numpy keeps the
raw bits of its generators fixed across versions, which it does not promise for shuffles.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stylebench.data.augmentation import CropSettings, RawImages
from stylebench.data.domain import Domain
from stylebench.data.splits import Indices, unit_hash

_DRAWS = 4  # 64-bit numbers in a Philox block: top, left, flip, one unused


class Stream:
    """Draws from some images of a domain: each pass shows every image once, in a new order.

    Args:
        domain: where the images are.
        indices: the images that are drawn, at least one.
        crop: how rectangles are chosen.
        seed: the run's seed.
        role: what the images are for; streams of different roles are independent.

    """

    def __init__(self, domain: Domain, indices: Indices, crop: CropSettings, seed: int, role: str) -> None:
        self.domain = domain
        self.indices = indices
        self.crop = crop
        self._seed = seed
        self._role = role

    def at(self, positions: NDArray[np.int64]) -> RawImages:
        """Draw the images at consecutive positions of the stream.

        Args:
            positions: (B,) consecutive integers >= 0.

        Returns:
            The crops and flips of these positions.
        """
        passes, places = np.divmod(positions, len(self.indices))
        chosen = [self.indices[self._order(int(e))[i]] for e, i in zip(passes, places, strict=True)]
        bits = _bits(_key(self._seed, self._role, "crop"), int(positions[0]), len(positions))  # (B, 4)
        unit = (bits >> np.uint64(11)) / 2.0**53  # (B, 4) in [0, 1), evenly spaced
        flip = (unit[:, 2] < 0.5) & self.crop.flip
        return self._cut(chosen, unit[:, :2], flip)

    def center(self, start: int, count: int) -> RawImages:
        """Cut central crops, unmirrored, in an order that mixes folders and classes; at the end it starts over."""
        chosen = self.indices[self._mixed[np.arange(start, start + count) % len(self.indices)]]
        return self._cut(chosen, np.full((count, 2), 0.5), np.zeros(count, dtype=bool))

    @cached_property
    def _mixed(self) -> Indices:
        """The images by the hash of their ids: the first few stand for all, also where names sort by class."""
        return np.argsort([unit_hash(self.domain.ids[i]) for i in self.indices], kind="stable")

    def _order(self, number: int) -> Indices:
        return _order(_key(self._seed, self._role, "order", number), len(self.indices))

    def _cut(self, chosen: Sequence[int] | Indices, corners: NDArray[np.float64], flip: NDArray[np.bool_]) -> RawImages:
        """Cut a rectangle out of each image; `corners` (B, 2) says where in [0, 1) of the way down and right."""
        views = []
        for index, (down, right) in zip(chosen, corners, strict=True):
            image = self.domain.view(index)
            side = self.crop.source_side(min(image.shape[:2]))
            top = int(down * (image.shape[0] - side + 1))
            left = int(right * (image.shape[1] - side + 1))
            views.append(image[top : top + side, left : left + side])  # (side, side, 3)
        return RawImages(_to_tensors(views), torch.from_numpy(flip))


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


@lru_cache(maxsize=16)
def _order(key: int, count: int) -> Indices:
    """Return a permutation of range(count) that depends on `key` alone."""
    raw = np.random.Philox(key=key).random_raw(count)
    return np.argsort(raw, kind="stable").astype(np.int64)
