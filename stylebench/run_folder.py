"""The run folder: the names of its files, what they say, and how its run ended. Needs neither torch nor Hydra.

A run folder is the only thing that passes between training and reporting. The command that makes it writes
`record.json`; every evaluation writes files of its own under `evaluation/<set>/`, so that an evaluation of a run that
is still training loses nothing.
"""

import contextlib
import json
import math
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from stylebench.files import DamagedFileError, try_lock

RECORD = "record.json"
CONFIG = "config.yaml"
METRICS = "metrics.csv"
SAMPLES = "samples"
CHECKPOINTS = "checkpoints"
LOG = "train.log"
REPORT = "report.html"
EVALUATION = "evaluation"
VALUES = "values.json"
ROWS = "rows.csv"
MANIFEST = "manifest.json"
LOCK = ".lock"
EARLIER = "earlier-"  # a run that another one replaced lies in `earlier-<n>`
RUN_FILES = (RECORD, CONFIG, METRICS, SAMPLES, CHECKPOINTS)  # of one run, set aside together

RECORD_FORMAT = 2
CHECKPOINT_FORMAT = 1
CHECKPOINT_KEY = "stylebench"  # what a checkpoint holds beside Lightning's own entries
CHECKPOINT_PATTERN = "batch-*.ckpt"
BATCHES = "train/batches"  # the first column of metrics.csv: finished batches, the only clock

RUNNING, FINISHED, STOPPED, FAILED, KILLED = "running", "finished", "stopped", "failed", "killed"
HEARTBEAT_SECONDS = 60.0  # how often a training run says that it is alive
_UNKNOWN_HEARTBEAT_SECONDS = 3600.0  # of a record that does not say how often: those written at checkpoints alone
_MISSED_BEATS = 3
_LOCK_SECONDS = 1.0  # how long a run waits for those who only ask whether it is held
_LONGEST_NAME = 200  # bytes of a folder's name; most file systems take 255

SHOWN = ("dashboard", "table", "record")  # everywhere, not on dashboards, not even in tables
NOT_APPLICABLE = "not_applicable"


class RunFolder:
    """One run folder, read lazily: the record and the config once, when they are first asked for.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def has_record(self) -> bool:
        """Whether a run left its record here."""
        return (self.path / RECORD).is_file()

    @cached_property
    def record(self) -> dict[str, Any]:
        """What `record.json` holds.

        Raises:
            FileNotFoundError: if there is none.
            DamagedFileError: if it is not a JSON object.
        """
        return _read_object(self.path / RECORD, "give the run's settings again, and another folder by run=")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration: of the record, or of `config.yaml` where the record has none. Not to be trusted.

        Raises:
            FileNotFoundError: if there is neither.
            DamagedFileError: if the file cannot be read.
        """
        inside = self.record.get("config") if self.has_record else None
        return inside if isinstance(inside, dict) else _read_yaml(self.path / CONFIG)

    @property
    def status(self) -> str:
        """How the run ended, or `running`; `killed` follows from what it left.

        A run is killed if its record says running, no process holds its lock, and its last sign of life is older than
        three of its heartbeats. A sign from the future, by another clock, counts as one of now.
        """
        recorded = str(self.record.get("status"))
        if recorded != RUNNING or _beats(self.record) or self._is_held():
            return recorded
        return KILLED

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints, newest (most batches) first."""
        return checkpoint_files(self.path / CHECKPOINTS)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder's lock for the time of a `with` block, so that others see that its run is alive.

        A file system without locks is no error: the file also names the process, and that is asked for there.
        """
        with (self.path / LOCK).open("a+", encoding="utf-8") as file:
            until = time.monotonic() + _LOCK_SECONDS
            while try_lock(file.fileno(), exclusive=True) is False and time.monotonic() < until:
                time.sleep(0.01)  # somebody asks just now whether it is held
            file.truncate(0)
            file.write(json.dumps({"host": socket.gethostname(), "process": os.getpid()}) + "\n")
            file.flush()
            try:
                yield  # the lock goes with the file, or with the process
            finally:
                file.truncate(0)

    def _is_held(self) -> bool:
        """Tell whether a process holds the lock, or, where that cannot be asked, whether the one it names is alive."""
        try:
            with (self.path / LOCK).open(encoding="utf-8") as file:
                free = try_lock(file.fileno(), exclusive=False)
                return _is_alive(file.read()) if free is None else not free
        except OSError:  # no lock was ever taken here, or it is not ours to read
            return False


def find_runs(root: str | Path) -> Iterator[RunFolder]:
    """Yield the run folders at and below a folder, in the order of their paths, as they are found.

    What a run folder holds is not searched: an earlier run that was set aside is not one of its own. Links to folders
    below the first are not followed.

    Args:
        root: where to look; a folder that cannot be read is passed over.
    """
    folder = Path(root)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # gone, or not ours to read
        return
    if any(entry.name == RECORD for entry in entries):
        yield RunFolder(folder)
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from find_runs(entry.path)


def checkpoint_name(batches: int) -> str:
    """Return the name of the checkpoint after a number of batches."""
    return f"batch-{batches:09d}.ckpt"


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, newest (most batches) first."""
    found = [
        path for path in folder.glob(CHECKPOINT_PATTERN) if re.fullmatch(r"batch-\d{9,}\.ckpt", path.name, re.ASCII)
    ]
    return sorted(found, key=lambda path: int(path.stem.removeprefix("batch-")), reverse=True)


def dashboard(entries: Mapping[str, Mapping[str, Any]], stage: str | None = None) -> dict[str, float]:
    """Return the values of entries by dashboard key: `val/fd_compact_judge`; those that do not apply are left out.

    Args:
        entries: by record key.
        stage: `val` or `test`; None for keys without it.
    """
    return {
        entry["alias"] if stage is None else f"{stage}/{entry['alias']}": entry["value"]
        for entry in entries.values()
        if entry["value"] is not None and entry["shown"] == SHOWN[0]
    }


def mean_dashboard(dashboards: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over several evaluations of each value that all of them have.

    Args:
        dashboards: values by dashboard key, one for each evaluation, at least one.
    """
    first, *others = dashboards
    shared = [key for key in first if all(key in other for other in others)]
    return {key: math.fsum(each[key] for each in dashboards) / len(dashboards) for key in shared}


def one_column(keys: Sequence[str]) -> str:
    """Check that values may stand in one column of a table: their record keys must be the same.

    Args:
        keys: record keys, counts included.

    Returns:
        The key.

    Raises:
        ValueError: if they differ: distances in different feature spaces, or from different numbers of images.
    """
    different = sorted(set(keys))
    if len(different) != 1:
        raise ValueError(
            f"one column of a table takes one record key, got {', '.join(different) or 'none'}; evaluate all runs with "
            "the same extractor, resize protocol and number of images"
        )
    return different[0]


def now() -> str:
    """Return the time as records have it: ISO 8601, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _beats(record: Mapping[str, Any]) -> bool:
    """Tell whether a record's last sign of life is young enough, or from the future."""
    try:
        age = (datetime.now(UTC) - datetime.fromisoformat(str(record.get("updated")))).total_seconds()
        return age <= _MISSED_BEATS * float(record.get("heartbeat_seconds", _UNKNOWN_HEARTBEAT_SECONDS))
    except (ValueError, TypeError):  # no time, or one without its zone: no sign of life
        return False


def _is_alive(named: str) -> bool:
    """Tell whether the process that a lock file names is alive; of one on another host nothing is known."""
    try:
        process = json.loads(named)
        if process["host"] != socket.gethostname():
            return False
        os.kill(int(process["process"]), 0)
    except PermissionError:  # another user's: it is alive
        return True
    except (OSError, LookupError, ValueError, TypeError):  # gone, or never named
        return False
    return True


def _read_object(path: Path, way_out: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({error!r}): {way_out}") from error
    if not isinstance(found, dict):
        raise DamagedFileError(f"{path} is damaged: expected a JSON object, found {type(found).__name__}; {way_out}")
    return found


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({str(error).splitlines()[0]})") from error
    if not isinstance(found, dict):
        raise DamagedFileError(f"{path} is damaged: expected a mapping, found {type(found).__name__}")
    return found
