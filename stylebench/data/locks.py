"""Locks between jobs that write one folder."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_log = logging.getLogger(__name__)


@contextmanager
def locked(path: Path, work: str) -> Iterator[None]:
    """Hold a lock file for the time of a `with` block; say what is waited for if another job holds it.

    Args:
        path: the lock file; its folder exists.
        work: what the other job does then: "packs photos".
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("waiting for another job that %s (it holds %s)", work, path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
