"""Folders of picture files as domains."""

import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stylebench.checks import check_choice, check_whole, read_path, read_paths
from stylebench.data.domain import Domain
from stylebench.data.images import IMAGE_SUFFIXES, has_converted_colors
from stylebench.data.listing import Listing, left_out_words, list_pictures, note_lines, sort_out
from stylebench.data.packing import UNREADABLE, Pack, PackSettings, SourceFile, in_threads, open_pack
from stylebench.data.splits import SPLIT_FOLDERS, Layout, check_fractions, joined_layout, layout_by_path
from stylebench.data.stores import Part
from stylebench.files import cache_dir, file_digest, json_digest, write_json

ON_UNREADABLE = ("stop", "skip")
_LISTED = 20  # unreadable files that an error message names

_log = logging.getLogger(__name__)


class Folders:
    """Open folders of images, or single images, as domains; each is packed once into the cache.

    A folder is read with all its sub-folders; hidden files are ignored. Top-level folders named train, val and test are
    its splits (see `splits.assign_splits`), the folders below them, or else the top-level ones, its classes. Where the
    splits come first, `data/A` also finds `data/trainA` and `data/testA` (the layout of CycleGAN's sets) or
    `data/train/A` and `data/test/A` (AFHQ's). A `.txt` file lists images, one path a line, relative to itself. Several
    of these are one domain if they are named as a list; ids then begin with the place in the list.

    Args:
        cache: folder for packs and file digests; None for `$STYLEBENCH_CACHE`, else `~/.cache/stylebench`.
        stored_px: images whose shorter side is longer are shrunk to it (antialiased) when packed; none is enlarged.
        max_pixels: images with more pixels are refused before they are decoded.
        on_unreadable: "stop" at files that are not usable images, or "skip" them and record which.
        val_fraction: part of the images for validation where no folder decides, in [0, 1).
        test_fraction: part of the images for testing where no folder decides, in [0, 1).

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        cache: str | None,
        stored_px: int,
        max_pixels: int,
        on_unreadable: str,
        val_fraction: float,
        test_fraction: float,
    ) -> None:
        check_choice("on_unreadable", on_unreadable, ON_UNREADABLE)
        check_whole("stored_px", stored_px)
        check_whole("max_pixels", max_pixels)
        check_fractions(val_fraction, test_fraction)
        self.cache = Path(read_path("dataset.store.cache", cache)).absolute() if cache is not None else cache_dir()
        self.settings = PackSettings(stored_px, max_pixels)
        self.on_unreadable = on_unreadable
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction

    def open(self, value: str | Path | Sequence[str | Path], part: Part | None = None) -> Domain:
        """Open a folder of images, one image file or a list of images, packing them first if that has not been done.

        Args:
            value: the folder or file, or several that are one domain.
            part: ignored: images are fixed, so there is nothing to divide.

        Returns:
            The domain; its pixels are mapped from the pack.

        Raises:
            FileNotFoundError: if there is no such path, or no image in it.
            UsageError: if it is no path.
            ValueError: if files are unreadable and `on_unreadable` is "stop", the split folders are ambiguous, or a
                list names one folder twice.
            RuntimeError: if the cache cannot be written or the disk has no room.
        """
        return self._open(_paths(value), self.settings)

    def open_pairs(self, value: str | Path) -> Domain:
        """Open a folder of pictures that hold two side by side, see `open`; each of the two is shrunk on its own.

        Args:
            value: the folder, file or list.

        Returns:
            The domain of whole pictures, both sides beside one another.

        Raises:
            FileNotFoundError: as `open`.
            ValueError: as `open`.
            RuntimeError: as `open`.
        """
        return self._open(_paths(value), replace(self.settings, side_by_side=True))

    def _open(self, paths: list[Path], settings: PackSettings) -> Domain:
        listings = [_find(path) for path in paths]
        members = [self._scan(path, listing) for path, listing in zip(paths, listings, strict=True)]
        files = members[0] if len(members) == 1 else _joined(members)
        where = ", ".join(map(str, paths))
        pack = open_pack(files, settings, self.cache, where)
        self._check_unreadable(where, pack)
        left_out = sum((Counter(listing.left_out) for listing in listings), Counter[str]())
        if left_out:
            _log.warning("%s of %s: no pictures by name", left_out_words(left_out), where)
        for line in note_lines(pack.notes):
            _log.warning("%s: %s", where, line)
        return Domain(
            name="+".join(path.stem if path.is_file() else path.name for path in paths),
            path=where,
            ids=pack.ids,
            shapes=pack.shapes,
            pixels=pack.images,
            digest=pack.key,
            layout=self._layout(pack.ids, len(members)),
            stored_px=self.settings.stored_px,
            skipped=pack.skipped,
            left_out=left_out,
            notes=pack.notes,
        )

    def _layout(self, ids: list[str], members: int) -> Layout:
        if members == 1:
            return layout_by_path(ids, self.val_fraction, self.test_fraction)
        local: dict[str, list[str]] = {}
        for id_ in ids:
            place, _, name = id_.partition("/")
            local.setdefault(place, []).append(name)
        return joined_layout(list(local.values()), ids, self.val_fraction, self.test_fraction)

    def _scan(self, path: Path, listing: Listing) -> list[SourceFile]:
        """Return the image files, sorted by posix path, with the digests of their contents."""
        if not listing.pictures:
            seen = listing.words or "no other file either"
            raise FileNotFoundError(
                f"no images ({', '.join('*' + suffix for suffix in IMAGE_SUFFIXES)}) under {path}: {seen}; set the "
                "dataset key that named it (dataset.content, dataset.style, ...) to a folder with images"
            )
        return self._digested(path, listing.pictures)

    def _digested(self, path: Path, images: Mapping[str, Path]) -> list[SourceFile]:
        """Attach content digests, read from the index where nothing says that the file was touched; see `_stamp`."""
        index_file = self.cache / "digests" / f"{json_digest(os.fsdecode(path))}.json"
        known = _read_index(index_file)
        stamps = {id_: _stamp(file) for id_, file in images.items()}
        index = {id_: known[id_] for id_, stamp in stamps.items() if id_ in known and known[id_][:-2] == stamp}
        changed = [id_ for id_ in images if id_ not in index]
        read = in_threads(lambda id_: _read(images[id_]), changed, f"reading {path.name}")
        for id_, (digest, converted) in zip(changed, read, strict=True):
            index[id_] = [*stamps[id_], converted, digest]
        if changed:
            try:
                write_json(index_file, {id_: row for id_, row in index.items() if row[-1] != UNREADABLE})
            except OSError as error:
                raise RuntimeError(
                    f"cannot write to the cache folder {self.cache}: {error}; make it writable, or set "
                    "dataset.store.cache to another folder"
                ) from error
        return [SourceFile(id_, file, index[id_][-1], index[id_][-2]) for id_, file in images.items()]

    def _check_unreadable(self, path: str, pack: Pack) -> None:
        total = len(pack.ids) + len(pack.skipped)
        if pack.skipped and (self.on_unreadable == "stop" or not pack.ids):
            lines = [f"  {id_}: {reason}" for id_, reason in pack.skipped[:_LISTED]]
            if len(pack.skipped) > _LISTED:
                lines.append(f"  and {len(pack.skipped) - _LISTED} more")
            way_out = "; or set dataset.store.on_unreadable=skip to leave them out" if pack.ids else ""
            raise ValueError(
                f"{len(pack.skipped)} of {total} images under {path} cannot be read:\n" + "\n".join(lines) + "\n"
                f"Replace or remove these files{way_out}."
            )
        if pack.skipped:
            _log.warning("left out %d of %d unreadable images under %s", len(pack.skipped), total, path)


def _paths(value: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return what a value names, each once."""
    paths = [Path(name).absolute() for name in read_paths("a domain", value)]
    if not paths:
        raise ValueError(f"a domain of folders needs at least one, got {value!r}")
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(f"{value!r} names a folder twice, which would have images in training and in tests; drop one")
    return paths


def _joined(members: Sequence[Sequence[SourceFile]]) -> list[SourceFile]:
    """Return the files of several folders, with ids that begin with the folder's place."""
    digits = len(str(len(members)))
    return [
        replace(file, id=f"{place:0{digits}d}/{file.id}") for place, files in enumerate(members, 1) for file in files
    ]


def _find(path: Path) -> Listing:
    """List the pictures that a path stands for."""
    if path.is_file() and path.suffix.lower() == ".txt":
        return sort_out(_read_list(path))
    if path.is_file():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(f"{path} is no image file by its name; expected one of {', '.join(IMAGE_SUFFIXES)}")
        return sort_out({path.name: path})
    if path.is_dir():
        return list_pictures(path)
    by_split = _split_folders(path)
    if not by_split:
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        there = sorted(entry.name for entry in beside if not entry.name.startswith("."))
        holds = f"; {path.parent} holds {', '.join(there[:_LISTED])}" if there else ""
        raise FileNotFoundError(
            f"no folder or image {path}{holds}; set the dataset key that named it (dataset.content, dataset.style, "
            "...) to an existing one"
        )
    parts = {split: list_pictures(folder) for split, folder in by_split.items()}
    pictures = {f"{split}/{id_}": file for split, part in parts.items() for id_, file in part.pictures.items()}
    return Listing(dict(sorted(pictures.items())), sum((Counter(part.left_out) for part in parts.values()), Counter()))


def _split_folders(path: Path) -> dict[str, Path]:
    """Return the folders of a domain whose splits come first, by split: trainA, testA or train/A, test/A for A."""
    found = {}
    for word in SPLIT_FOLDERS:
        for folder in (path.with_name(f"{word}{path.name}"), path.parent / word / path.name):
            if folder.is_dir():
                found[word] = folder
    return found


def _read_list(path: Path) -> dict[str, Path]:
    """Return the files that a list names, by the paths it gives."""
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    files = {name: path.parent / name for name in names if name and not name.startswith("#")}
    missing = [name for name, file in files.items() if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(files)} files that {path} lists are not there, the first is {missing[0]}; paths "
            "in a list are relative to the folder it lies in"
        )
    return files


def _read(file: Path) -> tuple[str, bool]:
    """Return a file's digest, or UNREADABLE, and whether its colors are turned into sRGB."""
    try:
        return file_digest(file), has_converted_colors(file)
    except OSError:
        return UNREADABLE, False


def _stamp(file: Path) -> list[int]:
    """Return what changes with a file's content: its time can be set back, its inode and its change time cannot."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]


def _read_index(file: Path) -> dict[str, Any]:
    try:
        index = json.loads(file.read_bytes())
    except (OSError, ValueError):  # a missing or damaged index only costs time
        return {}
    return index if isinstance(index, dict) else {}
