"""Lock files: whether a process that holds one is alive, told by the system, or by the name that it left there."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

_WAIT_SECONDS = 1.0  # for those who only ask whether a lock is held


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock for the time of a `with` block; it goes with the process, however that ends.

    A file system without locks is no error: the file also names the process, and that is asked for there. Nor is a
    lock that another holds: then it stays theirs.

    Args:
        path: the file; it is created, and stays.
    """
    with path.open("a+", encoding="utf-8") as file:
        until = time.monotonic() + _WAIT_SECONDS
        while (taken := try_lock(file.fileno(), exclusive=True)) is False and time.monotonic() < until:
            time.sleep(0.01)
        if taken is False:
            yield
            return
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "process": os.getpid()}) + "\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


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
