"""Pack a rendered domain: its pictures are made once, into one file that is mapped into memory."""

import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stylebench.data.domain import Renderer
from stylebench.data.locks import locked

_BATCH = 64  # pictures rendered between two writes


def pack_renders(renderer: Renderer, count: int, size_px: int, digest: str, cache: Path) -> Path:
    """Return the file of a domain's pixels, rendering what is not there yet.

    A stopped job is continued behind its last whole picture; two jobs never write one file at once.

    Args:
        renderer: makes the pictures.
        count: how many.
        size_px: their height and width.
        digest: names the domain's content.
        cache: folder of the cache.

    Returns:
        A file of count * size_px * size_px * 3 bytes.

    Raises:
        RuntimeError: if the cache cannot be written.
    """
    folder = cache / "renders"
    target = folder / f"{digest}.bin"
    picture = 3 * size_px * size_px
    if _holds(target, count * picture):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{digest}.lock", f"renders pictures of {size_px} px"):
            if not _holds(target, count * picture):  # another job may have made it while this one waited
                partial = folder / f".{digest}.partial"
                _render(renderer, count, picture, partial)
                os.replace(partial, target)
    except OSError as error:
        raise RuntimeError(
            f"cannot write rendered pictures under {folder}: {error}; make that folder writable and give it room, set "
            "dataset.store.cache to another folder, or dataset.store.packed=false"
        ) from error
    return target


def _holds(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def _render(renderer: Renderer, count: int, picture: int, partial: Path) -> None:
    partial.touch()
    done = partial.stat().st_size // picture
    os.truncate(partial, done * picture)
    interval = 0.2 if sys.stderr.isatty() else 10.0
    bar = tqdm(desc="rendering", total=count, initial=done, unit="image", delay=1.0, mininterval=interval, leave=False)
    with bar, partial.open("ab") as file:
        for start in range(done, count, _BATCH):
            images = list(renderer(range(start, min(start + _BATCH, count))))
            file.write(np.stack(images).tobytes())
            bar.update(len(images))
        file.flush()
        os.fsync(file.fileno())
