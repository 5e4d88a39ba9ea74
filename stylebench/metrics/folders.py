"""Folders of images under evaluation: anybody's results, what they were made from, and what they should look like."""

import hashlib
import logging
from collections.abc import Callable, Hashable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from stylebench.checks import Size, sides
from stylebench.data.images import IMAGE_SUFFIXES, decode_image, has_converted_colors, read_size
from stylebench.data.listing import Listing, list_pictures, note_lines
from stylebench.data.splits import unit_hash
from stylebench.files import file_digest
from stylebench.functional.geometry import center_crop
from stylebench.functional.pixels import quantize

_MAX_PIXELS = 178_956_970  # of one picture; Pillow's own bound
_LISTED = 10
_LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp")

_log = logging.getLogger(__name__)


class ImageFolder:
    """The images of a folder in the order of their paths; or a single file.

    Args:
        path: the folder, searched to any depth, or one picture.
        role: what it is for, for messages: the key on the command line.
        size_px: side of the central squares, or height and width of the central crops, that images are shrunk or
            enlarged to; None for their own size.

    Raises:
        FileNotFoundError: if there is no such folder, or no image in it.
        ValueError: if two images have one path without their suffix.
    """

    def __init__(self, path: Path, role: str, size_px: Size | None = None) -> None:
        if not path.exists():
            raise FileNotFoundError(f"there is nothing at {role}={path}; expected a folder of images, or one image")
        self.path, self.role = path, role
        self.single = path.is_file()
        listing = Listing({path.name: path}, {}) if self.single else list_pictures(path)
        self.files = sorted(listing.pictures.values())
        self.left_out = dict(listing.left_out)
        if not self.files:
            beside = listing.words or "no other file either"
            raise FileNotFoundError(
                f"no images ({', '.join(IMAGE_SUFFIXES)}) under {role}={path}: {beside}; name a folder that holds some"
            )
        if self.left_out:
            _log.warning("%s of %s=%s: no pictures by name", listing.words, role, path)
        self.ids = [self._id(file) for file in self.files]
        if len(set(self.ids)) != len(self.ids):
            twice = sorted({id_ for id_ in self.ids if self.ids.count(id_) > 1})
            raise ValueError(
                f"{role}={path} holds several images called {twice[0]} but for their suffix; rename or remove one"
            )
        self.size_px = size_px
        self.notes: dict[str, set[str]] = {}  # ids of images that were read, by what is to say of them

    def __len__(self) -> int:
        return len(self.files)

    def _id(self, file: Path) -> str:
        return file.stem if self.single else str(PurePosixPath(file.relative_to(self.path).with_suffix("")))

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each image as it is looked at, read from the files' headers.

        Raises:
            ImageError: if a file is no image.
        """
        if self.size_px is not None:
            return [sides(self.size_px)] * len(self)
        return [tuple(read_size(file, _MAX_PIXELS)) for file in self.files]  # type: ignore[misc]

    def image(self, number: int) -> Tensor:
        """Return an image, (3, H, W) uint8.

        Raises:
            ImageError: if it cannot be read.
        """
        notes: list[str] = []
        pixels = torch.from_numpy(decode_image(self.files[number], _MAX_PIXELS, notes=notes)).permute(2, 0, 1)
        for note in notes:
            self.notes.setdefault(note, set()).add(self.ids[number])
        if self.size_px is None:
            return pixels
        return quantize(center_crop(pixels[None].float() / 255, sides(self.size_px)).clamp(0, 1))[0]

    def batches(
        self, size: int, limit: int | None = None, alike: Callable[[int], Hashable] = lambda number: None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (B, 3, H, W) uint8 images and their (B,) numbers; those of a batch have one size.

        Args:
            size: B, at most.
            limit: how many images, at most: those with the smallest hashes of their paths, which stand for all, not the
                first ones by name, which may be of one class.
            alike: what the images of a batch have in common beside their size, by number.
        """
        order = sorted(range(len(self)), key=lambda number: unit_hash(self.ids[number]))[:limit]
        groups: dict[Hashable, list[int]] = {}
        for number in order:
            groups.setdefault((self.sizes[number], alike(number)), []).append(number)
        for group in groups.values():
            for start in range(0, len(group), size):
                numbers = group[start : start + size]
                yield torch.stack([self.image(number) for number in numbers]), torch.tensor(numbers)

    def partners(self, ids: list[str]) -> list[int]:
        """Return where the images of the same paths are; a single picture is everybody's.

        Raises:
            ValueError: listing paths without a partner.
        """
        if self.single:
            return [0] * len(ids)
        places = {id_: place for place, id_ in enumerate(self.ids)}
        self._check_partners([id_ for id_ in ids if id_ not in places], len(ids), "generated images", str(self.path))
        known = set(ids)
        left = [id_ for id_ in self.ids if id_ not in known]
        self._check_partners(left, len(self), f"images of {self.role}={self.path}", "the generated ones")
        return [places[id_] for id_ in ids]

    def _check_partners(self, alone: list[str], count: int, whose: str, other: str) -> None:
        if alone:
            more = f", and {len(alone) - _LISTED} more" if len(alone) > _LISTED else ""
            raise ValueError(
                f"{len(alone)} of {count} {whose} have no partner of the same path (without suffix) in {other} "
                f"({self.role}=): {', '.join(alone[:_LISTED])}{more}. Name partners alike, and leave out the others"
            )

    def codec(self) -> str:
        """Return `lossy`, `lossless` or `mixed`, by the files' suffixes."""
        lossy = {file.suffix.lower() in _LOSSY for file in self.files}
        return "mixed" if len(lossy) == 2 else ("lossy" if lossy == {True} else "lossless")

    def tell_notes(self) -> dict[str, int]:
        """Log what is to say of the images that were read; return for how many of them, by the note."""
        for line in note_lines({note: sorted(ids) for note, ids in self.notes.items()}):
            _log.warning("%s=%s: %s", self.role, self.path, line)
        return {note: len(ids) for note, ids in self.notes.items()}

    def describe(self) -> dict[str, Any]:
        """Return path, count, what was left out, and digest, as plain values."""
        return {"path": str(self.path), "count": len(self), "left_out": self.left_out, "digest": self.digest()}

    def digest(self) -> str:
        """Return a digest of all paths and contents."""
        digest = hashlib.sha256()
        for id_, file in zip(self.ids, self.files, strict=True):
            # Features of older versions are of the colors as they stood in the file.
            converted = "sRGB\0" if has_converted_colors(file) else ""
            digest.update(f"{id_}\0{file_digest(file)}\0{converted}".encode())
        if self.size_px is not None:
            digest.update(f"{sides(self.size_px)}".encode())
        return digest.hexdigest()
