"""Rungs of ladders as pictures: those that every world renders in the same way."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from stylebench.data.world import SOURCE, World
from stylebench.functional.pixels import quantize
from stylebench.grading.attack import compressed, noisy
from stylebench.grading.ladders import ANCHORS, CIRCULAR, Ladder
from stylebench.worlds.filters.smoothing import gaussian_blur

_UNIT_PX = 64  # lengths are given for pictures of this size
_DRAWS = 8  # nuisance draws that a seed may use


class Stage(ABC):
    """Renders ladders in a world.

    Rungs that are steps away from the target take its own draw of nuisance, number 0; all others another one.

    Args:
        world: the world.

    Attributes:
        missing: ladders that this world cannot render, with the reason.
    """

    missing: ClassVar[dict[str, str]] = {}

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def unit_px(self) -> float:
        """Pixels in a 64th of a side."""
        return self.world.size_px / _UNIT_PX

    def photo(self, ids: Sequence[str]) -> Tensor:
        """Return the contents as they come, (B, 3, S, S) uint8."""
        return self.world.render(ids, SOURCE)

    def target(self, ids: Sequence[str], style: str) -> Tensor:
        """Return the targets that pair metrics compare with, (B, 3, S, S) uint8."""
        return self.world.render(ids, style, draw=0)

    def rungs(self, ladder: Ladder, ids: Sequence[str], style: str, other: str, seed: int) -> list[Tensor] | None:
        """Render a ladder.

        Args:
            ladder: one that pairs can climb.
            ids: B contents, at least two: each also serves as the wrong content of its neighbor.
            style: the style.
            other: another style.
            seed: of nuisance and of all that is drawn.

        Returns:
            (B, 3, S, S) uint8 a rung; None where this world cannot render it.
        """
        if ladder.name in self.missing:
            return None
        if ladder.name == ANCHORS.name:
            return [self.photo(ids), self.world.render(ids, style, draw=self._draw(seed)), self.photo(_turned(ids))]
        if ladder.name in CIRCULAR[:3] or ladder.name == "L5":
            return [self._damaged(ladder.name, amount, ids, style, seed) for amount in ladder.amounts]
        return [self._rung(ladder.name, amount, ids, style, other, seed) for amount in ladder.amounts]

    def _damaged(self, name: str, amount: float, ids: Sequence[str], style: str, seed: int) -> Tensor:
        exact = self.world.render(ids, style, draw=self._draw(seed)) if name == "L5" else self.target(ids, style)
        if name == "L2":
            return quantize((1 - amount) * (self.photo(ids) / 255) + amount * (exact / 255))
        if name == "L3":
            return quantize(gaussian_blur(exact / 255, amount * self.unit_px)) if amount else exact
        if name == "L4":
            return noisy(exact, amount, seed) if amount else exact
        return compressed(exact, int(amount))

    def _rung(self, name: str, amount: float, ids: Sequence[str], style: str, other: str, seed: int) -> Tensor:
        draw = self._draw(seed)
        if name in ("L1", "L16"):
            return self.world.render(ids, style, draw=draw, strength=amount)
        if name == "L10":
            return self.world.render(_turned(ids), style, draw=draw) if amount else self.world.render(ids, other)
        if name == "L14":
            return self.world.render(ids, style, draw=0 if not amount else self._draw(seed, int(amount)))
        if name == "L8":
            return self.textured(ids, style, amount)
        if name == "L9":
            return self.recolored(ids, style, other, amount, draw)
        if name == "L13":
            return self.partly_textured(ids, style, amount, draw)
        moved = {"L6": self.jittered, "L7": self.exchanged, "L15": self.shifted}
        return moved[name](ids, style, amount, draw)

    @abstractmethod
    def jittered(self, ids: Sequence[str], style: str, amount: float, draw: int) -> Tensor:
        """Render with things displaced at random, by a deviation in sides of the picture."""

    @abstractmethod
    def exchanged(self, ids: Sequence[str], style: str, amount: float, draw: int) -> Tensor:
        """Render with a number of things missing or added."""

    @abstractmethod
    def shifted(self, ids: Sequence[str], style: str, amount: float, draw: int) -> Tensor:
        """Render with all things shifted, by 64ths of a side, in one direction a content."""

    @abstractmethod
    def recolored(self, ids: Sequence[str], style: str, other: str, amount: float, draw: int) -> Tensor:
        """Render with a share of another style's palette."""

    def textured(self, ids: Sequence[str], style: str, amount: float) -> Tensor:
        """Render the target with its texture at an amplitude in [0, 1]."""
        raise NotImplementedError

    def partly_textured(self, ids: Sequence[str], style: str, amount: float, draw: int) -> Tensor:
        """Render with texture in a share of the regions, the others flat."""
        raise NotImplementedError

    def _draw(self, seed: int, number: int = 0) -> int:
        return 1 + seed * _DRAWS + number


def generator_of(*parts: object) -> np.random.Generator:
    """Return random numbers that follow from these parts."""
    seed = int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")
    return np.random.Generator(np.random.PCG64(seed))


def directions(ids: Sequence[str]) -> Tensor:
    """Return a unit vector a content, (B, 2) float32."""
    angles = torch.tensor([2 * np.pi * generator_of("direction", id_).random() for id_ in ids])
    return torch.stack([angles.cos(), angles.sin()], 1).float()


def _turned(ids: Sequence[str]) -> list[str]:
    return [*ids[1:], *ids[:1]]
