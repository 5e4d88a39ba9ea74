"""Tasks: which domains a method draws from, and how a batch of them is put together."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from stylebench.data.augmentation import CropSettings, RawImages, finish_images
from stylebench.data.domain import Domain
from stylebench.data.splits import SPLITS, Indices
from stylebench.data.streams import Stream

ON_SMALL = ("stop", "upscale", "skip")
_LISTED = 20  # small images that an error message names


class StyleBatch(NamedTuple):
    """A batch of the style task, on the device.

    Attributes:
        content: (B, 3, H, W) float32 RGB in [0, 1], or None if the task draws no contents.
        style: the same for styles.
    """

    content: Tensor | None
    style: Tensor | None


def drawn(images: Tensor | None) -> Tensor:
    """Return the images of a role that the method draws; one that it does not draw is a fault of the method."""
    if images is None:
        raise RuntimeError("the batch does not hold this role: add it to the method's `draws`")
    return images


class StyleTask:
    """Draw content and style images, independently of each other.

    A method that learns one style draws only contents (`draws=("content",)`) and reads its style image from
    `domains["style"]`.

    Args:
        domains: a domain for every role.
        seed: the run's seed; batches depend on it and on their number alone.
        size_px: side of the crops.
        resize_px: shorter side of the images the crops are cut from; None for `size_px`.
        flip: mirror every second crop, on average.
        batch_size: images a role in a batch, over all devices.
        on_small: what to do about images whose shorter side is below `size_px`: "stop", "upscale" or "skip" them.
        draws: the roles to draw; the others come as None.

    Raises:
        ValueError: if a setting is out of its range, a role has no domain, or images are too small.
    """

    roles: ClassVar[tuple[str, ...]] = ("content", "style")

    def __init__(
        self,
        domains: Mapping[str, Domain],
        *,
        seed: int,
        size_px: int,
        resize_px: int | None,
        flip: bool,
        batch_size: int,
        on_small: str,
        draws: Sequence[str] = ("content", "style"),
    ) -> None:
        unknown = sorted({*domains, *draws} - {*self.roles})
        missing = [role for role in self.roles if role in draws and role not in domains]
        if unknown or missing or not draws:
            raise ValueError(
                f"the style task has the roles {', '.join(self.roles)}; got domains for {', '.join(domains) or 'none'} "
                f"and draws {', '.join(draws) or 'nothing'}; give every drawn role a domain, by the key dataset.<role>"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}; set dataset.batch_size")
        if on_small not in ON_SMALL:
            raise ValueError(
                f"on_small must be one of {', '.join(ON_SMALL)}, got {on_small!r}; set dataset.on_small to one of them"
            )
        self.domains = dict(domains)
        self.draws = tuple(role for role in self.roles if role in draws)
        self.batch_size = batch_size
        self.size_px = size_px
        self._seed = seed
        self._streams: dict[tuple[str, str], Stream] = {}
        self._crop = CropSettings(size_px, resize_px, flip)
        self._indices = {role: _large_enough(self.domains[role], role, size_px, on_small) for role in self.draws}

    def batch(self, number: int, rank: int = 0, world: int = 1, split: str = "train") -> dict[str, RawImages]:
        """Draw a rank's slice of a batch: a pure function of the seed, the number and the place in the global batch.

        Args:
            number: which batch of the endless stream, >= 0.
            rank: which device asks.
            world: how many devices share the global batch.
            split: where to draw from.

        Returns:
            For every drawn role the images number*batch_size + rank*(batch_size/world) and following of its stream.

        Raises:
            ValueError: if the batch cannot be divided over the devices, or the split is empty.
        """
        size = device_batch_size(self.batch_size, world)
        first = number * self.batch_size + rank * size
        positions = np.arange(first, first + size, dtype=np.int64)
        return {role: self._stream(role, split).at(positions) for role in self.draws}

    def fixed(self, count: int, split: str, start: int = 0) -> dict[str, RawImages]:
        """Cut the central crops of images of a split, for validation and sample grids: the same ones every time.

        Args:
            count: how many, B; fewer come where the split ends.
            split: where to take them from.
            start: the first one's place in the split, which is ordered by hash so that the first few stand for all.

        Returns:
            For the first drawn role the images `start` to `start + count` of its split, none twice; the other roles
            start over at the end of theirs, so that a few styles serve many contents.

        Raises:
            ValueError: if the split is empty, or `start` lies behind its end.
        """
        count = min(count, self.size(split) - start)
        if count < 1:
            raise ValueError(
                f"fixed images start at {start}, but the {split} split has {self.size(split)} images of "
                f"{self.draws[0]}; choose a start below that and a count of at least 1"
            )
        return {role: self._stream(role, split).center(start, count) for role in self.draws}

    def size(self, split: str) -> int:
        """Return how many images of the first drawn role a split holds; ValueError if none."""
        return len(self._stream(self.draws[0], split).indices)

    def finish(self, raw: Mapping[str, RawImages]) -> StyleBatch:
        """Turn what `batch` or `fixed` drew into float images, on the device it is on.

        Args:
            raw: uint8 rectangles by role.

        Returns:
            The batch, (B, 3, size_px, size_px) float32 in [0, 1] for each drawn role and None for the others.
        """
        images = {role: finish_images(raw[role], self.size_px) if role in raw else None for role in self.roles}
        return StyleBatch(**images)

    def describe(self) -> dict[str, object]:
        """Return what a run record says about the data, as plain values."""
        return {role: domain.describe() for role, domain in self.domains.items()}

    def _stream(self, role: str, split: str) -> Stream:
        domain = self.domains[role]
        indices = self._indices[role].get(split)
        if indices is None or not len(indices):
            domain.split(split)  # names the splits if there is no such one
            raise ValueError(
                f"the {split} split of {domain.path} has no usable image for {role}; add images to it, or have the "
                "images split by hash (no split folders, dataset.source.val_fraction and test_fraction above 0)"
            )
        if (role, split) not in self._streams:
            self._streams[role, split] = Stream(domain, indices, self._crop, self._seed, role)
        return self._streams[role, split]


def device_batch_size(batch_size: int, world: int) -> int:
    """Return a device's share of the global batch.

    Args:
        batch_size: images in the global batch.
        world: number of devices.

    Raises:
        ValueError: if it does not divide; the message names the nearest sizes that do.
    """
    if batch_size % world:
        below = batch_size // world * world
        nearest = f"{below} or {below + world}" if below else f"{world}"
        raise ValueError(
            f"dataset.batch_size={batch_size} is the global batch and cannot be divided over {world} devices; set it "
            f"to {nearest}, or use another number of devices"
        )
    return batch_size // world


def _large_enough(domain: Domain, role: str, size_px: int, on_small: str) -> dict[str, Indices]:
    """Return the indices of each split that may be drawn; raise ValueError if images are too small and that stops."""
    fits = domain.shapes.min(axis=1) >= size_px
    small = np.flatnonzero(~fits)
    if len(small) and on_small == "stop":
        lines = [f"  {domain.ids[i]}: {domain.shape(i)[1]} x {domain.shape(i)[0]}" for i in small[:_LISTED]]
        if len(small) > _LISTED:
            lines.append(f"  and {len(small) - _LISTED} more")
        stored = ""
        if domain.stored_px is not None and domain.stored_px < size_px:
            stored = (
                f" They were stored with dataset.source.stored_px={domain.stored_px}: raise it to {size_px} or more."
            )
        raise ValueError(
            f"{len(small)} of {len(domain)} images of {domain.path} ({role}) are smaller than the crop of {size_px} "
            "px:\n"
            + "\n".join(lines)
            + f"\nLower dataset.size_px, or set dataset.on_small=upscale or dataset.on_small=skip.{stored}"
        )
    keep = fits if on_small == "skip" else np.ones_like(fits)
    if not keep.any():
        raise ValueError(
            f"all {len(domain)} images of {domain.path} ({role}) are smaller than the crop of {size_px} px, so "
            "dataset.on_small=skip leaves none; lower dataset.size_px, or set dataset.on_small=upscale"
        )
    return {split: (indices := domain.split(split))[keep[indices]] for split in (*SPLITS, "all")}
