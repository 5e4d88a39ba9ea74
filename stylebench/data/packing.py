"""Pack decoded images into one uint8 file that is mapped into memory: written once, atomically, resumable, locked.

A pack is a folder `<cache>/packs/<key>/` with `images.bin` (the images' bytes, row by row, RGB, one image behind the
other) and `manifest.json` (ids, sizes, what was left out). The key is a digest of the files' contents, their relative
paths and the settings, so a changed file or setting makes another pack, and a moved folder makes none.

While it is written the pack is the hidden folder `.<key>.partial`: images go to `images.bin`, and only once they are
on the disk one line for each to `entries.jsonl`. A killed job is continued behind the last whole line.
"""

import json
import logging
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stylebench.data.images import ImageError, decode_image, decode_pair, read_size, stored_pair_size, stored_size
from stylebench.data.locks import locked
from stylebench.files import json_digest, write_json
from stylebench.machine import core_count

PACK_FORMAT = 1  # raise it when packs of older code must not be read
IMAGES, MANIFEST, ENTRIES = "images.bin", "manifest.json", "entries.jsonl"
# Images reach the disk, and thereby survive a kill, in groups: after so many bytes or so many seconds.
GROUP_BYTES = 64 * 2**20
GROUP_SECONDS = 2.0
UNREADABLE = "unreadable"  # instead of the digest of a file that could not be opened
_CHANNELS = 3

_log = logging.getLogger(__name__)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class SourceFile:
    """A file to pack.

    Attributes:
        id: posix path relative to its folder.
        path: where it lies.
        digest: of its content, or UNREADABLE.
        converted: whether its colors are turned into sRGB.
    """

    id: str
    path: Path
    digest: str
    converted: bool = False


@dataclass(frozen=True)
class PackSettings:
    """What decides a pack's pixels besides the files: see `Folders`; side_by_side: each file holds two pictures."""

    stored_px: int
    max_pixels: int
    side_by_side: bool = False


@dataclass(frozen=True)
class Pack:
    """A finished pack.

    Attributes:
        images: the file of pixels.
        key: the digest that names the pack.
        ids: ids of the images in it, in order.
        shapes: (N, 2) int64 heights and widths.
        skipped: (id, reason) of the files that are not usable images.
        notes: ids of the images that there is something to say of, by the note.
    """

    images: Path
    key: str
    ids: list[str]
    shapes: NDArray[np.int64]
    skipped: list[tuple[str, str]]
    notes: dict[str, list[str]]


def pack_key(files: Sequence[SourceFile], settings: PackSettings) -> str:
    """Return the digest that names the pack of these files with these settings."""
    # Older packs hold the colors of a profile as they stood in the file.
    contents = [[file.id, file.digest, *(["sRGB"] if file.converted else [])] for file in files]
    # Packs of other files keep the keys that they had before there were pairs.
    kind = ["side by side"] if settings.side_by_side else []
    return json_digest([PACK_FORMAT, settings.stored_px, settings.max_pixels, contents, *kind])


def open_pack(files: Sequence[SourceFile], settings: PackSettings, cache: Path, name: str) -> Pack:
    """Return the pack of some files, written first if there is none or if it is damaged.

    Args:
        files: the files, in the order of the pack.
        settings: how images are stored.
        cache: folder for packs.
        name: what the files are, for messages.

    Returns:
        The finished pack; files that are not usable images are listed in `skipped`.

    Raises:
        RuntimeError: if the disk has not enough room or the cache folder cannot be written.
    """
    key = pack_key(files, settings)
    target = cache / "packs" / key
    pack = _read_pack(target)
    if pack is not None:
        return pack
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.parent / f"{key}.lock", f"packs {name}"):
            pack = _read_pack(target)  # another job may have written it while this one waited
            if pack is None:
                _write_pack(files, settings, target, name)
                pack = _read_pack(target)
    except OSError as error:
        raise RuntimeError(
            f"cannot write the pack of {name} under {cache}: {error}; make that folder writable and give it room, or "
            "set dataset.store.cache to another folder"
        ) from error
    if pack is None:
        raise RuntimeError(f"the pack {target} is damaged although it was just written; check the disk it lies on")
    return pack


def in_threads(
    function: Callable[[_Item], _Result], items: Sequence[_Item], title: str, done: int = 0
) -> Iterator[_Result]:
    """Apply a function to items in threads; yield results in order, with a progress bar on stderr if it takes a while.

    Args:
        function: what to apply; should release the interpreter lock (as Pillow, hashing and file reads do).
        items: its arguments.
        title: label of the progress bar.
        done: how many items were done before, for the progress bar.

    Yields:
        The results, in the order of the items; few are held at a time.
    """
    workers = core_count()
    waiting: deque[Future[_Result]] = deque()
    # In a log file every update is a line of its own: there, fewer.
    interval = 0.2 if sys.stderr.isatty() else 10.0
    bar = tqdm(
        desc=title, total=done + len(items), initial=done, unit="image", delay=1.0, mininterval=interval, leave=False
    )
    with bar, ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
                    bar.update()
            while waiting:
                yield waiting.popleft().result()
                bar.update()
        finally:
            for future in waiting:
                future.cancel()


def _read_pack(folder: Path) -> Pack | None:
    """Read a finished pack; None if there is none or its files do not fit together."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        size = (folder / IMAGES).stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        _log.warning("the pack %s has a damaged manifest; packing again", folder)
        return None
    shapes = np.array(manifest["shapes"], dtype=np.int64).reshape(-1, 2)
    if size != _CHANNELS * int(shapes.prod(axis=1).sum()):
        _log.warning("the pack %s has %d bytes, not what its manifest says; packing again", folder, size)
        return None
    skipped = [(id_, reason) for id_, reason in manifest["skipped"]]
    return Pack(folder / IMAGES, manifest["key"], manifest["ids"], shapes, skipped, manifest.get("notes", {}))


def _write_pack(files: Sequence[SourceFile], settings: PackSettings, target: Path, name: str) -> None:
    partial = target.with_name(f".{target.name}.partial")
    partial.mkdir(exist_ok=True)
    entries = _resume(partial)
    left = files[len(entries) :]
    _check_room(left, settings, partial, name)
    _log.info("packing %d images of %s under %s", len(files), name, target.parent)
    with (partial / IMAGES).open("ab") as images, (partial / ENTRIES).open("ab") as lines:
        writer = _GroupWriter(images, lines)
        for entry, pixels in in_threads(lambda file: _decode(file, settings), left, f"packing {name}", len(entries)):
            writer.add(entry, pixels)
            entries.append(entry)
        writer.flush()
    good = [entry for entry in entries if "reason" not in entry]
    notes: dict[str, list[str]] = {}
    for entry in good:
        for note in entry.get("notes", ()):
            notes.setdefault(note, []).append(entry["id"])
    manifest = {
        "format": PACK_FORMAT,
        "key": target.name,
        "stored_px": settings.stored_px,
        "max_pixels": settings.max_pixels,
        "ids": [entry["id"] for entry in good],
        "shapes": [entry["shape"] for entry in good],
        "skipped": [[entry["id"], entry["reason"]] for entry in entries if "reason" in entry],
        "notes": notes,
    }
    write_json(partial / MANIFEST, manifest)
    (partial / ENTRIES).unlink()
    if target.exists():  # a damaged one
        shutil.rmtree(target)
    partial.rename(target)
    _sync_folder(target.parent)


class _GroupWriter:
    """Append images and their entries so that an entry is on the disk only after its pixels are."""

    def __init__(self, images: Any, lines: Any) -> None:
        self._images = images
        self._lines = lines
        self._pending: list[dict[str, Any]] = []
        self._bytes = 0
        self._since = time.monotonic()

    def add(self, entry: dict[str, Any], pixels: NDArray[np.uint8] | None) -> None:
        if pixels is not None:
            self._images.write(pixels.data)
            self._bytes += pixels.nbytes
        self._pending.append(entry)
        if self._bytes >= GROUP_BYTES or time.monotonic() - self._since >= GROUP_SECONDS:
            self.flush()

    def flush(self) -> None:
        _sync(self._images)
        self._lines.write(b"".join(json.dumps(entry).encode() + b"\n" for entry in self._pending))
        _sync(self._lines)
        self._pending.clear()
        self._bytes = 0
        self._since = time.monotonic()


def _resume(partial: Path) -> list[dict[str, Any]]:
    """Cut what a killed job left back to its last whole entry, and return the entries."""
    lines, images = partial / ENTRIES, partial / IMAGES
    lines.touch()
    images.touch()
    entries, end_lines, end_images = [], 0, 0
    size = images.stat().st_size
    for line in lines.read_bytes().splitlines(keepends=True):
        entry = _parse_entry(line)
        if entry is None:
            break
        after = end_images + _CHANNELS * int(np.prod(entry["shape"])) if "shape" in entry else end_images
        if after > size:
            break
        entries.append(entry)
        end_lines, end_images = end_lines + len(line), after
    os.truncate(lines, end_lines)
    os.truncate(images, end_images)
    return entries


def _parse_entry(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return entry


def _check_room(files: Iterable[SourceFile], settings: PackSettings, folder: Path, name: str) -> None:
    """Raise RuntimeError if the disk under `folder` has no room for the decoded files."""
    files = list(files)
    need = sum(in_threads(lambda file: _stored_bytes(file, settings), files, f"measuring {name}"))
    free = shutil.disk_usage(folder).free
    if need > free:
        raise RuntimeError(
            f"packing {len(files)} images of {name} needs {need / 2**30:.2f} GiB under {folder.parent}, but "
            f"{free / 2**30:.2f} GiB are free; free some space, set dataset.store.cache to a folder on another disk, "
            "or lower dataset.store.stored_px"
        )


def _stored_bytes(file: SourceFile, settings: PackSettings) -> int:
    try:
        full = read_size(file.path, settings.max_pixels)
    except (ImageError, OSError):
        return 0  # decoding reports it
    size = (stored_pair_size if settings.side_by_side else stored_size)(full, settings.stored_px)
    return _CHANNELS * size.height * size.width


def _decode(file: SourceFile, settings: PackSettings) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
    if file.digest == UNREADABLE:
        return {"id": file.id, "reason": "cannot be opened; make it readable, or remove it"}, None
    try:
        decode = decode_pair if settings.side_by_side else decode_image
        notes: list[str] = []
        pixels = decode(file.path, settings.max_pixels, settings.stored_px, notes)
    except ImageError as error:
        return {"id": file.id, "reason": error.reason}, None
    except OSError as error:
        # A pack must not remember for good what a shared disk did in a bad moment.
        raise RuntimeError(
            f"{file.path} cannot be read any more: {error}; check the disk it lies on, and run again"
        ) from error
    return {"id": file.id, "shape": pixels.shape[:2], **({"notes": notes} if notes else {})}, pixels


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
