"""Pairs of content and style for the studies: of both rendered worlds, a new set a seed, and of real pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from experiments.metrics.grade import open_world
from experiments.metrics.photos import read_squares, sample_files
from stylebench.data.world import World

WORLDS = ("procstyle", "filterstyle")
REAL = "real"
GROUPS = (*WORLDS, REAL)
_BLOCK = 12  # contents and styles of a seed, so that fewer pairs of it are the first ones


@dataclass(frozen=True)
class Pair:
    """What an optimization starts from.

    Attributes:
        group: `procstyle`, `filterstyle` or `real`.
        seed: of the pair, and of the noise that an optimization of it starts with.
        name: tells the pairs of a group and seed apart.
        content: (1, 3, s, s) in [0, 1].
        style: (1, 3, s, s) in [0, 1].
        regions: (1, R, s, s) bool, areas of one material; None where they are not known.
    """

    group: str
    seed: int
    name: str
    content: Tensor
    style: Tensor
    regions: Tensor | None = None


def world_pairs(world: World, seed: int, count: int) -> list[Pair]:
    """Return pairs of a world: no two seeds share a content, a style, or a picture of a style.

    The picture of a style shows another content than the pair's, one of those for training.

    Args:
        world: one that renders at the size asked for.
        seed: which set of pairs.
        count: pairs.

    Raises:
        ValueError: if the world has too few contents.
    """
    contents = world.contents(None)
    test, train = ([contents.ids[int(place)] for place in contents.layout.splits[split]] for split in ("test", "train"))
    first = seed * max(count, _BLOCK)
    last = first + count
    if last > min(len(test), len(train)):
        raise ValueError(
            f"{world.name} must hold {last} contents for testing and for training, found {len(test)} and "
            f"{len(train)}; ask for fewer pairs or seeds, or give more photographs"
        )
    names = [f"prior-{number}" for number in range(first, last)]
    shown = world.render(test[first:last], "photo")
    styles = world.render(train[first:last], names, purpose="reference")
    regions = world.anatomy(test[first:last]).regions if world.name == "procstyle" else None
    return [
        Pair(
            world.name, seed, f"{test[first + place]} x {name}", shown[place : place + 1].float() / 255,
            styles[place : place + 1].float() / 255, None if regions is None else regions[place : place + 1],
        )
        for place, name in enumerate(names)
    ]  # fmt: skip


def real_pairs(contents: Path, styles: Path, count: int, size_px: int, seed: int = 0) -> list[Pair]:
    """Return every content with every style.

    Args:
        contents: folder of photographs.
        styles: folder of paintings.
        count: of contents, and of styles.
        size_px: side of the squares.
        seed: of the choice, and of the noise.
    """
    files = [sample_files(folder, count, seed) for folder in (contents, styles)]
    pictures = [read_squares(chosen, size_px).float() / 255 for chosen in files]
    return [
        Pair(REAL, seed, f"{one.stem} x {other.stem}", pictures[0][i : i + 1], pictures[1][j : j + 1])
        for i, one in enumerate(files[0])
        for j, other in enumerate(files[1])
    ]


@dataclass(frozen=True)
class Source:
    """Where pairs come from.

    Attributes:
        photos: folder of photographs, for FilterStyle; None to leave that world out.
        contents: folder of photographs, for real pairs; None to leave them out.
        styles: folder of paintings, for real pairs.
        size_px: side of the pictures.
        pairs: pairs of a world and seed.
        seeds: how many.
        real: contents, and styles, of the real pairs.
        groups: which groups to take.
        of_each: pairs a group where a study takes a few.
    """

    photos: Path | None
    contents: Path | None
    styles: Path | None
    size_px: int
    pairs: int
    seeds: int
    real: int
    groups: Sequence[str] = GROUPS
    of_each: int = 3

    def of_world(self, name: str, seeds: Sequence[int] | None = None) -> list[Pair]:
        """Return the pairs of a world; none where its photographs are not given."""
        if name not in self.groups or (name == "filterstyle" and self.photos is None):
            return []
        world = open_world(name, self.size_px, self.photos)
        chosen = range(self.seeds) if seeds is None else seeds
        return [pair for seed in chosen for pair in world_pairs(world, seed, self.pairs)]

    def of_pictures(self) -> list[Pair]:
        """Return the real pairs; none where their folders are not given."""
        if REAL not in self.groups or self.contents is None or self.styles is None:
            return []
        return real_pairs(self.contents, self.styles, self.real, self.size_px)

    def all(self) -> list[Pair]:
        """Return the pairs of all groups."""
        return [*(pair for name in WORLDS for pair in self.of_world(name)), *self.of_pictures()]

    def few(self) -> list[Pair]:
        """Return a few pairs that share nothing: of seed 0 of the worlds, and of the diagonal of the real ones."""
        worlds = [pair for name in WORLDS for pair in self.of_world(name, [0])[: self.of_each]]
        return [*worlds, *self.of_pictures()[:: self.real + 1][: self.of_each]]


def noise_picture(like: Tensor, seed: int) -> Tensor:
    """Return white noise of a picture's shape, U(0, 1): what a score is where nothing was kept."""
    return torch.rand(like.shape, generator=torch.Generator().manual_seed(seed))
