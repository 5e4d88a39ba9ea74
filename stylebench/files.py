"""Files: digests, atomic writes, the cache folder, and the one place that reads pickled tensors."""

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import tempfile
import urllib.parse
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

CACHE_VARIABLE = "STYLEBENCH_CACHE"
_LONGEST_NAME = 200  # bytes of a folder's name; most file systems take 255


class DamagedFileError(ValueError):
    """A file that exists but cannot be read as what it claims to be."""


def cache_dir() -> Path:
    """Return the folder for packed data and measured statistics: `$STYLEBENCH_CACHE`, else `~/.cache/stylebench`."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "stylebench"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """Return the SHA-256 of a JSON-serializable value, the same whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def safe_name(name: str) -> str:
    """Return a name as one part of a path; what no file name may hold, such as a path's slash, is escaped."""
    safe = urllib.parse.quote(name, safe=" !#$&'()+,;=@[]^`{}~-_.")
    if len(safe) > _LONGEST_NAME:
        safe = f"{safe[: _LONGEST_NAME - 9]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return safe


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that replaces it when the block ends well and vanishes when it does not.

    The content is on the disk before the rename, so a reader sees the old file or the whole new one, even after a
    power cut.

    Args:
        path: the file to write; its folder is created.

    Yields:
        A binary file, open for writing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_writable(folder: Path) -> None:
    """Try a folder before the work whose results it should hold; OSError if nothing can be written there."""
    with atomic_write(folder / ".writable"):
        pass
    (folder / ".writable").unlink(missing_ok=True)


def is_json(value: Any) -> bool:
    """Tell whether JSON can hold a value: plain containers of text, whole and finite numbers, switches and nothing."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; refuse non-finite numbers, which JSON does not know."""
    text = json.dumps(value, indent=2, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text.encode() + b"\n")


def csv_text(rows: Sequence[Mapping[str, Any]], first: Sequence[str]) -> str:
    """Return rows as CSV; numbers by `repr`, so that reading gives the same float64, nothing where there is none.

    Args:
        rows: values by column; all but those of the first columns are numbers.
        first: the first columns, whatever the rows hold.
    """
    columns = list(dict.fromkeys([*first, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        metrics = [row.get(name) for name in columns[len(first) :]]
        numbers = ["" if value is None or not math.isfinite(value) else repr(float(value)) for value in metrics]
        writer.writerow([*("" if row.get(name) is None else row[name] for name in first), *numbers])
    return text.getvalue()


def json_file(path: Path, way_out: str) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: the file.
        way_out: what to do if it is damaged, for the message.

    Raises:
        FileNotFoundError: if there is none.
        DamagedFileError: if it is no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({error!r}): {way_out}") from error
    if not isinstance(found, dict):
        raise DamagedFileError(f"{path} is damaged: expected a JSON object, found {type(found).__name__}; {way_out}")
    return found


def yaml_file(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        FileNotFoundError: if there is none.
        DamagedFileError: if it is no mapping.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({str(error).splitlines()[0]})") from error
    if not isinstance(found, dict):
        raise DamagedFileError(f"{path} is damaged: expected a mapping, found {type(found).__name__}")
    return found


def read_pickle(path: Path) -> Any:
    """Read a file written by `torch.save`, with `weights_only=True` and every byte checked against its CRC.

    Args:
        path: the file.

    Returns:
        What was saved: tensors in plain containers, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: if it is truncated, damaged, or holds objects other than tensors and plain values.
    """
    import pickle

    import torch

    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            if broken is not None:
                raise DamagedFileError(f"{path} is damaged: the checksum of its part {broken} is wrong; get it again")
        return torch.load(path, map_location="cpu", weights_only=True)
    except DamagedFileError:
        raise
    except Exception as error:  # bytes that are not pickle fail in whatever way they happen to be read
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # its text advises to read the file without protection
            reason = "it holds other objects, or was written by another program"
        raise DamagedFileError(
            f"{path} cannot be read as tensors and plain values: {reason}; it is truncated, damaged, or not a file of "
            "weights; get it again"
        ) from error
