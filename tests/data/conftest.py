"""Pictures on disk and domains in memory for the data tests."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylebench.data.domain import Domain
from stylebench.data.folders import Folders
from stylebench.data.splits import layout_by_path


@pytest.fixture
def folders(tmp_path: Path) -> Callable[..., Folders]:
    """Make a `Folders` with a private cache; keyword arguments override its settings."""

    def make(**settings: object) -> Folders:
        defaults = {
            "cache": str(tmp_path / "cache"),
            "stored_px": 64,
            "max_pixels": 1_000_000,
            "on_unreadable": "stop",
            "val_fraction": 0.2,
            "test_fraction": 0.2,
        }
        return Folders(**(defaults | settings))

    return make


@pytest.fixture
def write_images() -> Callable[..., dict[str, np.ndarray]]:
    """Write random PNG images below a folder; return their pixels by id."""

    def write(folder: Path, ids: Sequence[str], size: tuple[int, int] = (20, 30)) -> dict[str, np.ndarray]:
        pixels = {}
        for number, id_ in enumerate(ids):
            path = folder / id_
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels[id_] = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels[id_]).save(path)
        return pixels

    return write


@pytest.fixture
def make_domain() -> Callable[..., Domain]:
    """Make a domain of random images in memory."""

    def make(
        sizes: Sequence[tuple[int, int]],
        name: str = "random",
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        **settings: object,
    ) -> Domain:
        rng = np.random.default_rng(len(sizes))
        images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
        defaults = {
            "path": f"memory:{name}",
            "ids": [f"{i:04d}.png" for i in range(len(sizes))],
            "digest": "0" * 64,
        } | settings
        return Domain(
            name=name,
            shapes=np.array(sizes, dtype=np.int64),
            pixels=np.concatenate([image.reshape(-1) for image in images]),
            layout=layout_by_path(defaults["ids"], val_fraction, test_fraction),
            **defaults,
        )

    return make
