"""A domain: an ordered set of images that can be read by index, whole or in part, at memory speed."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stylebench.data.splits import SPLITS, Indices, Layout

Pixels = NDArray[np.uint8]


class Renderer(Protocol):
    """Makes images when they are asked for: the same ones for the same indices, alone or in company."""

    def __call__(self, indices: Sequence[int]) -> Sequence[Pixels]:
        """Return the images at `indices`, (H, W, 3) uint8 RGB each."""


class Domain:
    """Images of one domain: photographs, the paintings of one hand, sketches.

    They lie one behind the other in one uint8 array, in memory or in a packed file that is mapped when the first image
    is read, or are made by a renderer, so that a domain costs nothing to open, and nothing to send to another process.

    Attributes:
        name: short name for messages and records.
        path: where the images come from.
        address: what names the domain in a config; `<address>/<id>` is one image of it.
        ids: stable ids, unique and sorted: posix paths relative to `path`.
        shapes: (N, 2) int64, height and width of each stored image.
        labels: (N,) int64 positions in `classes`, or None where there are no classes.
        classes: class names.
        digest: digest of the content: equal digests mean equal pixels under equal ids.
        stored_px: shorter sides were shrunk to this when the domain was stored; None if none could be longer.
        skipped: (id, reason) of the image files that cannot be read.
        left_out: how many files are no images by their name, by their ending.
        notes: ids of the images that there is something to say of, by the note.
        splits: ascending indices under "train", "val", "test" and "all"; see `split`.
    """

    def __init__(
        self,
        *,
        name: str,
        path: str,
        ids: Sequence[str],
        shapes: Indices,
        pixels: Path | Pixels | Renderer,
        digest: str,
        layout: Layout,
        address: str | None = None,
        stored_px: int | None = None,
        skipped: Sequence[tuple[str, str]] = (),
        left_out: Mapping[str, int] | None = None,
        notes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.address = path if address is None else address
        self.ids = list(ids)
        self.shapes = shapes
        self.digest = digest
        self.stored_px = stored_px
        self.skipped = list(skipped)
        self.left_out = dict(left_out or {})
        self.notes = dict(notes or {})
        self.classes, self.labels = list(layout.classes), layout.labels
        self.splits = dict(layout.splits)
        self._ends = np.cumsum(3 * shapes.prod(axis=1))
        self._source = pixels
        self._pixels: Pixels | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Domain({self.name!r}, {len(self)} images)"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}  # a memory map would be copied; the other process maps its own

    def split(self, name: str) -> Indices:
        """Return the ascending indices of a split.

        Args:
            name: "train", "val", "test" or "all".

        Returns:
            (n,) int64, empty if the split has no image.

        Raises:
            ValueError: if there is no split of that name.
        """
        if name not in self.splits:
            raise ValueError(f"no split {name!r} in domain {self.name}; there are {', '.join((*SPLITS, 'all'))}")
        return self.splits[name]

    def shape(self, index: int) -> tuple[int, int]:
        """Return an image's height and width in pixels."""
        height, width = self.shapes[index]
        return int(height), int(width)

    def view(self, index: int) -> Pixels:
        """Return an image without copying it.

        Args:
            index: position in `ids`; negative ones count from the end.

        Returns:
            (H, W, 3) uint8 RGB, read-only.

        Raises:
            IndexError: if there is no such image.
        """
        return self.views([index])[0]

    def views(self, indices: Iterable[int]) -> list[Pixels]:
        """Return several images without copying them; a rendered domain makes them in one go.

        Args:
            indices: positions in `ids`; negative ones count from the end.

        Returns:
            (H, W, 3) uint8 RGB each, read-only.

        Raises:
            IndexError: if there is no such image.
        """
        if callable(self._source):
            return [_read_only(image) for image in self._source([range(len(self))[i] for i in indices])]
        if self._pixels is None:
            self._pixels = self._open(self._source)
        return [self._slice(self._pixels, index) for index in indices]

    def image(self, index: int) -> Pixels:
        """Return a copy of an image, (H, W, 3) uint8 RGB; see `view`."""
        return self.view(index).copy()

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Pixels:
        """Copy a rectangle out of an image, reading nothing else.

        Args:
            index: position in `ids`.
            top: first row.
            left: first column.
            height: rows of the rectangle.
            width: columns of the rectangle.

        Returns:
            (height, width, 3) uint8 RGB.

        Raises:
            ValueError: if the rectangle is empty or leaves the image.
        """
        rows, columns = self.shape(index)
        if min(top, left) < 0 or min(height, width) < 1 or top + height > rows or left + width > columns:
            raise ValueError(
                f"a crop of {height} x {width} at ({top}, {left}) does not lie inside image {self.ids[index]} of "
                f"{self.name}, which is {rows} x {columns}; choose a rectangle inside it"
            )
        return self.view(index)[top : top + height, left : left + width].copy()

    def describe(self) -> dict[str, Any]:
        """Return what a run record says about this domain, as plain values."""
        return {
            "name": self.name,
            "path": self.path,
            "count": len(self),
            "splits": {name: len(self.split(name)) for name in SPLITS},
            "classes": len(self.classes),
            "digest": self.digest,
            "stored_px": self.stored_px,
            "skipped": [list(entry) for entry in self.skipped],
            "left_out": self.left_out,
            "notes": {note: len(ids) for note, ids in self.notes.items()},
        }

    def _slice(self, pixels: Pixels, index: int) -> Pixels:
        height, width = self.shapes[index]
        end = self._ends[index]
        return pixels[end - 3 * height * width : end].reshape(height, width, 3)

    @staticmethod
    def _open(source: Path | Pixels) -> Pixels:
        if isinstance(source, Path):
            # The plain array keeps the map alive and slices several times faster than numpy's memmap class.
            return np.asarray(np.memmap(source, dtype=np.uint8, mode="r"))
        return _read_only(source.reshape(-1))


def _read_only(pixels: Pixels) -> Pixels:
    view = pixels.view()
    view.flags.writeable = False
    return view
