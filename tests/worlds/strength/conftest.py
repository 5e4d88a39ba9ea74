"""Worlds and readers that tests share; a reader over eight contents is made once, in one to two seconds."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
from PIL import Image

from stylebench.data.folders import Folders
from stylebench.data.world import World
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.worlds.filterstyle.world import FilterStyle
from stylebench.worlds.procstyle.world import ProcStyle
from stylebench.worlds.strength import StrengthReader
from tests.worlds.strength.strengths import MakeReader, eight


@pytest.fixture(scope="session")
def procstyle(tmp_path_factory: pytest.TempPathFactory) -> ProcStyle:
    return ProcStyle(64, 2, 2, 40, packed=False, cache=str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def open_photographs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, int], FilterStyle]:
    """Return a function that makes the world of a folder of photographs at a size."""

    def open_(folder: Path, size_px: int) -> FilterStyle:
        folders = Folders(str(tmp_path_factory.mktemp("cache")), 256, 10**7, "stop", 0.0, 0.0)
        return FilterStyle(str(folder), size_px, packed=False, photographs=folders)

    return open_


@pytest.fixture(scope="session")
def filterstyle(
    tmp_path_factory: pytest.TempPathFactory, open_photographs: Callable[[Path, int], FilterStyle]
) -> FilterStyle:
    """Return a world of eight drawn stand-ins for photographs."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, image in enumerate(dead_leaves(8, 64, seed=1)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    return open_photographs(folder, 64)


@pytest.fixture(scope="session")
def make_reader() -> MakeReader:
    """Return a function that makes a reader over eight contents, once for each world and style."""

    @lru_cache
    def make(world: World, style: str) -> StrengthReader:
        return StrengthReader(world, style, eight(world))

    return make
