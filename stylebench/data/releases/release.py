"""A named data set: where its files come from, under which terms, and what its folder must hold."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from stylebench.data.images import IMAGE_SUFFIXES
from stylebench.data.locks import locked
from stylebench.data.releases.archives import extract_part, folders_below
from stylebench.download import DownloadError, differing, download, file_digests
from stylebench.files import DamagedFileError, cache_dir, json_digest, write_json

RECORD = ".release.json"  # digests of the files that were used, beside the data
_DIGITS = {"sha256": 64, "md5": 32}
_LISTED = 3  # missing entries that a message names


class Arrangement(Protocol):
    """A step that makes roles out of what the files hold: links and lists, no pixels. Safe to repeat."""

    def arrange(self, root: Path) -> None:
        """Arrange the complete data set in `root`; change nothing that is right already."""


@dataclass(frozen=True)
class ReleaseFile:
    """One published file.

    Attributes:
        name: its file name.
        mirrors: http and https addresses, in the order in which they are tried; none if it must be fetched by hand.
        sha256: its published digest in hexadecimal digits; None: the first one that is used is trusted, then pinned.
        md5: the same, where MD5 is what is published.
        size_bytes: its published size; None if unknown.
        extract: whether it is an archive.
        into: folder below the root that it, or its content, goes to; empty: the root.
        gives: entries of the layout that it provides; None: those below `into`, or the file itself.
    """

    name: str
    mirrors: Sequence[str] = ()
    sha256: str | None = None
    md5: str | None = None
    size_bytes: int | None = None
    extract: bool = False
    into: str = ""
    gives: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for path in (self.name, self.into):
            _check_inside(path, self.name)
        for algorithm, value in self.digests.items():
            if not re.fullmatch(rf"[0-9a-fA-F]{{{_DIGITS[algorithm]}}}", value):
                raise ValueError(f"{algorithm} of {self.name} must have {_DIGITS[algorithm]} digits, got {value!r}")

    @property
    def digests(self) -> dict[str, str]:
        """The published digests by algorithm."""
        known = {"sha256": self.sha256, "md5": self.md5}
        return {algorithm: value for algorithm, value in known.items() if value is not None}

    def keys(self, layout: Mapping[str, int]) -> list[str]:
        """Return the entries of a layout that this file provides."""
        if self.gives is not None:
            return list(self.gives)
        if not self.extract:
            return [(PurePosixPath(self.into) / self.name).as_posix()]
        return [key for key in layout if not self.into or PurePosixPath(key).is_relative_to(self.into)]

    def facts(self) -> str:
        """Return the name with what is known of size and digest, one of two."""
        known = [] if self.size_bytes is None else [f"{self.size_bytes:,} bytes"]
        known += [f"{algorithm} {value}" for algorithm, value in list(self.digests.items())[:1]]
        return f"{self.name} ({', '.join(known) or 'size and digest unknown'})"


@dataclass(kw_only=True)
class Release:
    """A published data set that can be brought to a folder, or recognized there.

    Attributes:
        name: of its configuration file, for the commands in messages.
        title: what it is.
        paper: who published it.
        license: the terms of use in a few words.
        homepage: where it is described.
        size_gb: about how much is downloaded, in 10^9 bytes; None if unknown.
        images: number of images; None if unknown.
        license_click: whether its publisher wants an agreement or an account before the download.
        license_accepted: the user's word that there is one; without it such files are fetched by hand.
        files: arguments of `ReleaseFile` by a short name.
        layout: smallest counts by path below the root: a folder counts its images, nested ones too; a file counts
            itself; a pattern with `*` counts the files it matches.
        arrange: steps that run once the layout is complete.
        steps: what to do by hand when no mirror answers or none may be asked, one sentence each.
        max_gb: refuse downloads and archives that hold more, in 10^9 bytes.
        max_files: refuse archives with more files and folders.
        keep_archives: keep downloaded archives; those that were placed by hand always stay.

    Raises:
        ValueError: if a path leaves the root, or a digest has the wrong number of digits.
        TypeError: if a file is described by unknown keys.
    """

    name: str
    title: str
    paper: str
    license: str
    homepage: str
    size_gb: float | None
    images: int | None
    license_click: bool
    license_accepted: bool
    files: Mapping[str, Mapping[str, Any]]
    layout: Mapping[str, int]
    arrange: Sequence[Arrangement]
    steps: Sequence[str]
    max_gb: float
    max_files: int
    keep_archives: bool

    def __post_init__(self) -> None:
        self._files = {key: ReleaseFile(**entry) for key, entry in self.files.items()}
        self._max_bytes = int(self.max_gb * 1e9)
        for key in self.layout:
            _check_inside(key, "the layout")

    def prepare(self, root: str | Path) -> None:
        """Make the folder hold the data set: find what is there, download and extract what is not, arrange, check.

        A complete folder costs a count of its files and no download. Files that were placed in `root` by hand are
        verified and used. What an interrupted call has done is kept.

        Args:
            root: the folder; made if it is missing.

        Raises:
            FileNotFoundError: if files must be fetched by hand, or the data set is incomplete in the end.
            RuntimeError: if no mirror delivers a file, the disk has not enough room, or the cache cannot be written.
            DamagedFileError: if a file that was placed by hand has another digest than the published or first one.
            ArchiveError: if an archive is damaged, hostile, or holds something else.
        """
        root = Path(root).expanduser().absolute()
        incomplete = bool(self.missing(root))
        if incomplete:
            self._point_elsewhere(root)
            root.mkdir(parents=True, exist_ok=True)
        if incomplete or self._left_over(root):
            with locked(_lock_file(root), f"prepares {self.title}"):
                self._complete(root)
                for path in self._left_over(root):
                    path.unlink()
        for step in self.arrange:
            step.arrange(root)

    def missing(self, root: str | Path, keys: Sequence[str] | None = None) -> list[str]:
        """Say what a folder lacks.

        Args:
            root: the folder.
            keys: entries of the layout to look at; None for all.

        Returns:
            One phrase for each entry that holds too little; empty if the data set is complete.
        """
        chosen = {key: self.layout.get(key, 1) for key in (self.layout if keys is None else keys)}
        found = {key: _count(Path(root), key) for key in chosen}
        return [
            f"{key}: found {'nothing' if not found[key] else f'{found[key]:,}'}, expected at least {least:,}"
            for key, least in chosen.items()
            if found[key] < least
        ]

    def describe(self) -> dict[str, Any]:
        """Return title, terms, sizes and files as plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "paper": self.paper,
            "license": self.license,
            "license_click": self.license_click,
            "homepage": self.homepage,
            "size_gb": self.size_gb,
            "images": self.images,
            "files": [file.facts() for file in self._files.values()],
            "layout": dict(self.layout),
        }

    def _complete(self, root: Path) -> None:
        """Bring every file whose part is missing, then check the whole."""
        record = _read_record(root / RECORD)
        needed = {key: file for key, file in self._files.items() if self.missing(root, file.keys(self.layout))}
        absent = [file for file in needed.values() if self._placed(root, file) is None]
        by_hand = [file for file in absent if not file.mirrors or (self.license_click and not self.license_accepted)]
        if by_hand:
            raise FileNotFoundError(self._ask(root, by_hand))
        for short, file in needed.items():
            self._bring(root, short, file, record)
        if self.missing(root):
            raise FileNotFoundError(
                f"{self._lacks(root)}Add what is missing, or empty the folder and run again: {self._command(root)}"
            )

    def _left_over(self, root: Path) -> list[Path]:
        """Return the archives that were downloaded here and are not needed any more."""
        record = _read_record(root / RECORD)
        downloaded = [
            file.name for file in self._files.values() if file.extract and record.get(file.name, {}).get("url")
        ]
        return [] if self.keep_archives else [root / name for name in downloaded if (root / name).is_file()]

    def _bring(self, root: Path, short: str, file: ReleaseFile, record: dict[str, Any]) -> None:
        """Find or download a file, verify it, put its content in place, and only then pin its digests."""
        known = record.get(file.name, {})
        pinned = file.digests or {name: known[name] for name in _DIGITS if name in known}
        path = self._placed(root, file)
        if path is None:
            path = root / file.name
            try:
                fetched = download(file.mirrors, path, digests=pinned, size=file.size_bytes, max_bytes=self._max_bytes)
            except DownloadError as error:
                trust = (
                    f"If the publisher has replaced it, {self._trust(root, short, file)}.\n" if error.another else ""
                )
                raise RuntimeError(f"{self._lacks(root)}{error}\n{trust}{self._steps(root, [file])}") from None
            found = fetched.digests
            record[file.name] = {"url": fetched.url}
            write_json(root / RECORD, record)
        else:
            found = self._verify(root, path, short, file, pinned)
        size = path.stat().st_size
        target = root / file.into
        target.mkdir(parents=True, exist_ok=True)
        if file.extract:
            inside = [PurePosixPath(key).relative_to(file.into).as_posix() for key in file.keys(self.layout)]
            expected = [key for key in inside if key != "."]
            extract_part(path, target, expected, max_bytes=self._max_bytes, max_files=self.max_files)
        elif path != target / file.name:
            os.replace(path, target / file.name)
        url = record.get(file.name, {}).get("url")
        record[file.name] = {"url": url, "size_bytes": size, **found}
        write_json(root / RECORD, record)

    def _verify(
        self, root: Path, path: Path, short: str, file: ReleaseFile, pinned: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the digests of a file that is already there; refuse one that is not the pinned one."""
        size = path.stat().st_size
        if file.size_bytes not in (None, size):
            wrong = f"expected {file.size_bytes:,} bytes, found {size:,}"
        else:
            found = file_digests(path)
            wrong = differing(pinned, found)
            if not wrong:
                return found
        raise DamagedFileError(
            f"{path} is not the file that was {'published' if file.digests else 'first used here'}: {wrong}. Remove it "
            f"to have it downloaded again; if you know that it is right, {self._trust(root, short, file)}"
        )

    def _trust(self, root: Path, short: str, file: ReleaseFile) -> str:
        """Word how to have the next file trusted and pinned in place of the known one."""
        known = [*file.digests, *([] if file.size_bytes is None else ["size_bytes"])]
        if not known:
            return f"remove {file.name} from {root / RECORD}"
        return "add " + " ".join(f"dataset.release.files.{short}.{name}=null" for name in known)

    def _placed(self, root: Path, file: ReleaseFile) -> Path | None:
        """Return where a file lies that is already there."""
        places = [root / file.name] if file.extract else [root / file.into / file.name, root / file.name]
        return next((path for path in places if path.is_file()), None)

    def _point_elsewhere(self, root: Path) -> None:
        """Refuse to download what lies complete in a folder below."""
        if not root.is_dir():
            return
        for below in folders_below(root, 2):
            if any(_count(below, key) for key in self.layout) and not self.missing(below):
                raise FileNotFoundError(
                    f"{self.title} should lie in {root}, found it in {below}; set dataset.root={below}, or move its "
                    f"content up into {root}"
                )

    def _lacks(self, root: Path) -> str:
        """Word what is missing, the first few parts by name."""
        missing = self.missing(root)
        lines = [f"{self.title} in {root} is incomplete:", *missing[:_LISTED]]
        if len(missing) > _LISTED:
            lines.append(f"and {len(missing) - _LISTED} more")
        return "\n  ".join(lines) + "\n"

    def _ask(self, root: Path, files: Sequence[ReleaseFile]) -> str:
        """Word that some files need a human being, and why."""
        text = self._lacks(root)
        if self.license_click:
            text += f"It may be used on these terms only: {self.license} ({self.homepage})\n"
            if all(file.mirrors for file in files):
                text += f"If you agree, run: {self._command(root)} dataset.release.license_accepted=true\n"
        return text + self._steps(root, files)

    def _steps(self, root: Path, files: Sequence[ReleaseFile]) -> str:
        """Word how to get some files by hand."""
        steps = [*self.steps, *(f"put {file.facts()} into {root}" for file in files)]
        steps.append(f"run again: {self._command(root)}")
        lines = [f"  {number}. {step}" for number, step in enumerate(steps, 1)]
        return f"By hand (home page: {self.homepage}):\n" + "\n".join(lines)

    def _command(self, root: Path) -> str:
        return f"stylebench prepare dataset={self.name} dataset.root={root}"


def _check_inside(path: str, owner: str) -> None:
    """Refuse a path of the configuration that leaves the root."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise ValueError(f"paths of {owner} must be relative, without '..' and with '/', got {path!r}; correct it")


def _lock_file(root: Path) -> Path:
    """Return the lock of a data folder. It lies in the cache: removed from the folder, it could not exclude anyone."""
    folder = cache_dir() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeError(
            f"cannot write to the cache folder {folder.parent}: {error}; make it writable, or set STYLEBENCH_CACHE to "
            "another folder"
        ) from error
    return folder / f"{json_digest(os.path.realpath(root))}.lock"


def _count(root: Path, key: str) -> int:
    """Count the images below a folder, or the files that a path or pattern names."""
    path = root / key
    if path.is_dir():
        count = 0
        for _, folders, names in os.walk(path):
            folders[:] = [name for name in folders if not name.startswith(".")]  # unfinished work is hidden
            count += sum(name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".") for name in names)
        return count
    if path.is_file():
        return 1
    return sum(found.is_file() for found in root.glob(key)) if re.search(r"[*?[]", key) else 0


def _read_record(path: Path) -> dict[str, Any]:
    """Read the digests of the files that were used before."""
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_bytes())
        if isinstance(record, dict) and all(isinstance(entry, dict) for entry in record.values()):
            return record
    except ValueError:
        pass
    raise DamagedFileError(
        f"{path} should be a JSON file with the digests of the files that were used, found something else; remove it "
        "to trust those files again"
    )
