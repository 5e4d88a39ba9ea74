"""Lock files: whether a process that holds one is alive, told by the system, or by the name that it left there."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

_WAIT_SECONDS = 1.0  # for those who only ask whether a lock is held
_held: set[IO[str]] = set()


class HeldError(RuntimeError):
    """A lock that another process holds; the message says which, on which machine, and since when."""


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock for the time of a `with` block; it goes with the process, however that ends.

    A file system without locks is no error: the file also names the process, and that is asked for there.

    Args:
        path: the file; it is created, and stays.

    Raises:
        HeldError: if another holds it.
    """
    with _locked(path) as file:
        file.truncate(0)
        holder = {"host": socket.gethostname(), "process": os.getpid(), "since": _now()}
        file.write(json.dumps(holder) + "\n")
        file.flush()
        _held.add(file)
        try:
            yield
        finally:
            _held.discard(file)
            file.truncate(0)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """Open a lock file and lock it; one that its holder removed meanwhile is made again."""
    while True:
        with path.open("a+", encoding="utf-8") as file:
            until = time.monotonic() + _WAIT_SECONDS
            while (taken := try_lock(file.fileno(), exclusive=True)) is False and time.monotonic() < until:
                time.sleep(0.01)
            file.seek(0)
            named = file.read()
            if taken is False or (taken is None and _is_alive(named)):
                raise HeldError(_describe(named))
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                continue
            yield file
            return


def _leave_to_parent() -> None:
    """Close what a process that was forked off inherited: a lock is its parent's, and ends with it."""
    for file in _held:
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing is inherited
    os.register_at_fork(after_in_child=_leave_to_parent)


def is_held(path: Path) -> bool:
    """Tell whether a process holds a lock, or, where that cannot be asked, whether the one it names is alive."""
    try:
        with path.open(encoding="utf-8") as file:
            free = try_lock(file.fileno(), exclusive=False)
            return _is_alive(file.read()) if free is None else not free
    except OSError:  # no lock was ever taken here, or it is not ours to read
        return False


def try_lock(descriptor: int, *, exclusive: bool) -> bool | None:
    """Try to lock an open file, without waiting; the lock ends when the file is closed.

    Args:
        descriptor: of the file.
        exclusive: for this process alone, else shared with others who ask for it shared.

    Returns:
        True if it is locked now, False if another has locked it, None where files cannot be locked.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems
        return None
    return True


def _describe(named: str) -> str:
    """Say who holds a lock, by what its file says."""
    try:
        holder: dict[str, Any] = json.loads(named)
        since = f", since {holder['since']}" if "since" in holder else ""
        return f"process {holder['process']} on {holder['host']}{since}"
    except (LookupError, ValueError, TypeError):  # it has just been taken
        return "another process"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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
