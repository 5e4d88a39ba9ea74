"""Extract zip, tar and gzip archives whole or not at all, and never outside their folder.

An archive is data from elsewhere. Every name is checked before anything is written under it; links, devices and
encrypted members are refused, not followed; sizes are counted while bytes are copied, so that what an archive claims
about itself is never trusted. Only bytes are taken: owners, permissions and times are not.
"""

import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from errno import EINVAL
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

# Deflate reaches 1032 : 1 on zeros; pictures stay near 1 : 1 and lists of text below 20 : 1.
RATIO_LIMIT = 200
RATIO_FREE_BYTES = 64 * 2**20  # small archives may expand to this whatever their ratio
NAME_LIMIT = 255  # bytes in one part of a path: what common file systems hold
_SEARCH_DEPTH = 4  # folders below the top in which the data is looked for
_LISTED = 8  # entries that a message names
HEADER_LIMIT = 2**20  # bytes in one tar header: paths are far shorter
_CHUNK = 2**20
_Stream = IO[bytes] | gzip.GzipFile
_ZIP, _GZIP, _TAR = b"PK", b"\x1f\x8b", b"ustar"
_TAR_MAGIC_AT = 257
_BLOCK = 512
# Left by macOS beside the real files.
_CLUTTER = re.compile(r"(^|/)(__MACOSX|\.DS_Store|\._[^/]*)(/|$)")
# What the readers raise on bytes that do not hold together, besides some kinds of OSError.
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, struct.error, EOFError,
    NotImplementedError, UnicodeError,
)  # fmt: skip


class ArchiveError(ValueError):
    """An archive that is damaged, or that was refused because of what it holds; nothing was extracted from it."""


class _RefusedError(ValueError):
    """Why an archive is refused, without its path."""


def extract(archive: Path, folder: Path, *, max_bytes: int, max_files: int) -> int:
    """Extract an archive into a new folder; the folder appears when everything is in it.

    Understands zip, tar, tar.gz and a single gzipped file, told apart by their first bytes.

    Args:
        archive: the file.
        folder: the folder to make; must not exist. A hidden one beside it holds the unfinished work, and is cleared
            first if a killed extraction left it.
        max_bytes: refuse archives that hold more, >= 0.
        max_files: refuse archives with more files and folders, >= 0.

    Returns:
        The number of files extracted.

    Raises:
        ArchiveError: if the archive is damaged or truncated; if a name is absolute, climbs by `..`, or equals another
            one but for case or Unicode form; if it holds links, devices or encrypted members; if it exceeds a limit
            or expands suspiciously.
        FileExistsError: if the folder exists.
        RuntimeError: if the disk has not enough room.
    """
    if folder.exists():
        raise FileExistsError(f"expected no folder {folder} to extract {archive.name} into; remove or rename it")
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    sink = _Sink(temporary, archive.stat().st_size, max_bytes, max_files)
    try:
        with _worded(archive):
            _reader(archive)(archive, sink)
        if hasattr(os, "sync"):
            os.sync()  # the folder must not outlive its content in a power cut
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return sink.files


def extract_part(archive: Path, target: Path, expected: Sequence[str], *, max_bytes: int, max_files: int) -> None:
    """Extract an archive, find the folder in it that holds what is expected, and move its content into another folder.

    Publishers pack the same data under different top folders. Other parts of the archive are thrown away.

    Args:
        archive: the file.
        target: an existing folder. Files in it are replaced by files of the same name, others stay.
        expected: relative paths or patterns; the highest folder that holds any of them is the one.
        max_bytes: see `extract`.
        max_files: see `extract`.

    Raises:
        ArchiveError: as `extract`, or if nothing that is expected is there; the target is untouched then.
        RuntimeError: if the disk has not enough room.
    """
    temporary = target / f".{archive.name}.extracted"
    shutil.rmtree(temporary, ignore_errors=True)
    extract(archive, temporary, max_bytes=max_bytes, max_files=max_files)
    try:
        for folder in (temporary, *folders_below(temporary, _SEARCH_DEPTH)):
            if any(next(folder.glob(path), None) is not None for path in expected):
                return _merge(folder, target)
        found = sorted(path.name for path in temporary.iterdir())
        raise ArchiveError(
            f"{archive} is another archive: expected {', '.join(expected[:_LISTED])} in it, found "
            f"{', '.join(found[:_LISTED]) or 'nothing'}; nothing was extracted. Remove it, and get the right one"
        )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def folders_below(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the folders below a folder, without hidden ones, level by level down to a depth."""
    level = [folder]
    for _ in range(depth):
        level = [path for above in level for path in _folders(above)]
        yield from level


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _merge(source: Path, target: Path) -> None:
    """Move the content of one folder into another on the same disk."""
    for entry in source.iterdir():
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _merge(entry, place)
        else:
            os.replace(entry, place)


@contextmanager
def _worded(archive: Path) -> Iterator[None]:
    """Turn what goes wrong with an archive into one `ArchiveError`."""
    try:
        yield
    except _RefusedError as error:
        raise ArchiveError(
            f"{archive} was refused: it {error}; nothing was extracted. Remove the file, and get it again from a "
            "source that you trust"
        ) from None
    except (*_DAMAGE, OSError) as error:
        # Decoders' complaints have no number, jumps to a place that no file has no name; the rest is the system's.
        if isinstance(error, OSError) and error.errno is not None and (error.errno, error.filename) != (EINVAL, None):
            raise
        reason = str(error) or type(error).__name__
        raise ArchiveError(
            f"{archive} is damaged or truncated ({reason}); nothing was extracted. Remove the file to have it "
            "downloaded again"
        ) from error


class _Sink:
    """Checks the members of one archive and writes them below a folder.

    Attributes:
        files: number of files written.
    """

    def __init__(self, folder: Path, archive_bytes: int, max_bytes: int, max_files: int) -> None:
        self.files = 0
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._plausible_bytes = RATIO_LIMIT * archive_bytes + RATIO_FREE_BYTES
        self._bytes = 0
        self._members = 0
        self._seen: dict[str, tuple[str, bool]] = {}  # folded path -> (path as spelled, is it a folder)

    def announce(self, sizes: Iterable[int]) -> None:
        """Refuse an archive by the sizes it declares, before a byte is written."""
        total = sum(sizes)
        self._check_bytes(total)
        free = shutil.disk_usage(self._folder).free
        if total > free:
            raise RuntimeError(
                f"extracting needs {total:,} bytes, but only {free:,} are free under {self._folder.parent}; free some "
                "or choose a folder on another disk"
            )

    def add_folder(self, name: str) -> None:
        """Make a folder."""
        parts = self._check(name, is_folder=True)
        if not _CLUTTER.search(name):
            self._folder.joinpath(*parts).mkdir(parents=True, exist_ok=True)

    def add_file(self, name: str, source: _Stream) -> None:
        """Copy a file; its bytes are counted, not its declared size."""
        parts = self._check(name, is_folder=False)
        if _CLUTTER.search(name):
            return
        path = self._folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            while chunk := source.read(_CHUNK):
                self._bytes += len(chunk)
                self._check_bytes(self._bytes)
                file.write(chunk)
        self.files += 1

    def _check_bytes(self, total: int) -> None:
        if total > self._max_bytes:
            raise _RefusedError(f"holds more than the {self._max_bytes:,} bytes that are allowed for it")
        if total > self._plausible_bytes:
            raise _RefusedError(f"expands more than {RATIO_LIMIT} times, like an archive made to fill the disk")

    def _check(self, name: str, is_folder: bool) -> list[str]:
        """Return the parts of a member's path once it is known to be harmless and new."""
        self._members += 1
        if self._members > self._max_files:
            raise _RefusedError(f"holds more than the {self._max_files:,} files and folders that are allowed for it")
        parts = _safe_parts(name)
        if not parts and not is_folder:
            raise _RefusedError(f"holds a file without a name, {name!r}")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            key = unicodedata.normalize("NFC", path).casefold()
            entry = (path, depth < len(parts) or is_folder)
            known = self._seen.get(key)
            # A folder may come again; a file may not, nor another spelling that some file systems take for the first.
            if known is not None and (known != entry or not entry[1]):
                raise _RefusedError(f"holds {known[0]!r} and {path!r}, which would lie in the same place")
            self._seen[key] = entry
        return parts


def _safe_parts(name: str) -> list[str]:
    """Split the name of a member into the parts of a path that stays below its folder; "." is dropped."""
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise _RefusedError(f"holds the absolute path {name!r}")
    if "\\" in name or any(unicodedata.category(character) == "Cc" for character in name):
        raise _RefusedError(f"holds the name {name!r}, with a backslash or a control character")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _RefusedError(f"holds {name!r}, which leaves the folder by '..'")
    if any(len(os.fsencode(part)) > NAME_LIMIT for part in parts):
        raise _RefusedError(f"holds a name of more than {NAME_LIMIT} bytes, {name[:40]!r}...")
    return parts


def _reader(archive: Path) -> Any:
    """Return the function that reads an archive, by its first bytes."""
    with archive.open("rb") as file:
        head = file.read(_BLOCK)
    if head.startswith(_ZIP):
        return _read_zip
    if head.startswith(_GZIP):
        with gzip.open(archive) as unpacked:
            inner = unpacked.read(_BLOCK)
        return _read_tar_gz if _is_tar(inner) else _read_gzip
    if _is_tar(head):
        return _read_tar
    raise _RefusedError(f"is not a zip, tar or gzip archive (it starts with {head[:16]!r})")


def _is_tar(head: bytes) -> bool:
    return head[_TAR_MAGIC_AT:].startswith(_TAR)


def _read_zip(archive: Path, sink: _Sink) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        sink.announce(member.file_size for member in members)
        for member in _progress(members, archive.name, len(members)):
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _RefusedError(f"holds {member.filename!r}, a link or device")
            if member.flag_bits & 1:
                raise _RefusedError(f"holds {member.filename!r}, which is encrypted")
            if member.is_dir():
                sink.add_folder(member.filename)
            else:
                with file.open(member) as source:
                    sink.add_file(member.filename, source)


def _read_gzip(archive: Path, sink: _Sink) -> None:
    with gzip.open(archive) as source:
        sink.add_file(archive.name.removesuffix(".gz") or archive.name, source)


def _read_tar_gz(archive: Path, sink: _Sink) -> None:
    with gzip.open(archive) as stream:
        _read_tar_stream(_Bounded(stream), archive.name, sink)
        while stream.read(_CHUNK):  # the checksum stands behind the last byte
            pass


def _read_tar(archive: Path, sink: _Sink) -> None:
    with archive.open("rb") as stream:
        _read_tar_stream(_Bounded(stream), archive.name, sink)


def _read_tar_stream(stream: "_Bounded", name: str, sink: _Sink) -> None:
    with tarfile.open(fileobj=stream, mode="r:") as file:  # type: ignore[call-overload]
        claimed = 0
        for member in _progress(iter(file.next, None), name):
            file.members.clear()  # tarfile would keep every header in memory
            claimed += member.size  # also of members that are skipped: unpacking them takes as long
            sink.announce([claimed])
            if member.isdir():
                sink.add_folder(member.name)
            elif member.isreg() and not member.issparse():
                sink.add_file(member.name, file.extractfile(member))
            else:
                raise _RefusedError(f"holds {member.name!r}, a link, device or sparse file")
    if stream.last != bytes(_BLOCK):  # tarfile takes any nonsense for the end; the real one is a block of zeros
        raise EOFError("the tar archive ends without its end mark")


class _Bounded:
    """A stream that tarfile can read, but not be made to read a gigantic header from into memory.

    Attributes:
        last: what the last read returned.
    """

    def __init__(self, stream: _Stream) -> None:
        self.last = b""
        self._stream = stream

    def read(self, size: int) -> bytes:
        if size < 0 or size > HEADER_LIMIT:
            raise _RefusedError(f"holds a header of {size:,} bytes")
        self.last = self._stream.read(size)
        return self.last

    def seek(self, position: int) -> int:
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()


def _progress(members: Iterable[Any], title: str, total: int | None = None) -> Iterator[Any]:
    """Yield members, with a progress bar on stderr if it takes a while."""
    # In a log file every update is a line of its own: there, fewer.
    interval = 0.2 if sys.stderr.isatty() else 10.0
    yield from tqdm(
        members, desc=f"extracting {title}", total=total, unit="file", delay=1.0, mininterval=interval, leave=False
    )
