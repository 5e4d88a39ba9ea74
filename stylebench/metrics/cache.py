"""Features of reference sets, kept on disk under a fingerprint of everything that they follow from."""

import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from stylebench.files import atomic_write
from stylebench.metrics.features import FeatureSet
from stylebench.metrics.records import PROTOCOL

_log = logging.getLogger(__name__)
_MAGIC = "stylebench-features-1"


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Return the 32 hexadecimal digits under which features are kept.

    Args:
        facts: plain values: the images' content hash, split, crop and size, the extractor's description, whether
            features are kept. The order of keys does not matter.
    """
    canonical = json.dumps({**facts, "protocol": PROTOCOL}, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


class ReferenceCache:
    """A folder of feature sets.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, facts: Mapping[str, Any], make: Callable[[], FeatureSet]) -> FeatureSet:
        """Return features from the cache, or make and keep them, one process at a time.

        A damaged file, or one with another fingerprint, is logged and computed again.

        Args:
            facts: what the features follow from, see `fingerprint`.
            make: computes them.
        """
        key = fingerprint(facts)
        path = self.folder / f"{key}.npz"
        found = self._read(path, key)
        if found is not None:
            return found
        lock = FileLock(self.folder / f".{key}.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (OSError, NotImplementedError) as error:
            _log.warning(
                "cannot keep features in %s (%s): set metrics.cache to a folder that can be written", self.folder, error
            )
            return make()
        try:
            found = self._read(path, key)  # another process may have made it meanwhile
            if found is None:
                found = make()
                self._write(path, key, facts, found)
        finally:
            lock.release()
        return found

    def _read(self, path: Path, key: str) -> FeatureSet | None:
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                parts = {name: stored[name] for name in stored.files}
            if str(parts.pop("magic")) != _MAGIC or str(parts.pop("key")) != key:
                raise ValueError("it is of another fingerprint")
            return _from_arrays(parts)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            _log.warning("the cached features %s cannot be used (%s); they are made again", path, error)
            return None

    def _write(self, path: Path, key: str, facts: Mapping[str, Any], features: FeatureSet) -> None:
        arrays: dict[str, Any] = {
            "magic": _MAGIC,
            "key": key,
            "facts": json.dumps(facts, sort_keys=True),
            "count": features.count,
            "mean": features.mean.numpy(force=True),
        }
        if features.scatter is not None:
            arrays["scatter"] = features.scatter.numpy(force=True)
        if features.features is not None:
            arrays["features"] = features.features.numpy(force=True)
        with atomic_write(path) as file:
            np.savez(file, **arrays)


def _from_arrays(parts: Mapping[str, np.ndarray[Any, Any]]) -> FeatureSet:
    """Rebuild a set, and check that its parts fit each other.

    Raises:
        ValueError: if they do not.
        KeyError: if one is missing.
    """
    count, mean = int(parts["count"]), torch.from_numpy(parts["mean"])
    scatter = torch.from_numpy(parts["scatter"]) if "scatter" in parts else None
    features = torch.from_numpy(parts["features"]) if "features" in parts else None
    width = len(mean)
    fits = mean.dtype == torch.float64 and (scatter is not None or features is not None)
    fits = fits and (scatter is None or scatter.shape == (width, width))
    if not fits or (features is not None and features.shape != (count, width)):
        raise ValueError("its arrays do not fit each other")
    return FeatureSet(count, mean, scatter, features)
