"""The unpaired task: two domains, and nothing that says which image belongs to which."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from stylebench.data.domain import Domain
from stylebench.data.plan import Answers, Plan
from stylebench.data.stores import Store
from stylebench.data.tasks.base import Positions, RawBatch, Task
from stylebench.data.world import World


class UnpairedBatch(NamedTuple):
    """A batch of the unpaired task, on the device.

    Attributes:
        a: (B, 3, H, W) float32 RGB in [0, 1] of domain a.
        b: the same of domain b.
    """

    a: Tensor
    b: Tensor

    @property
    def shown(self) -> tuple[Tensor, dict[str, Tensor]]:
        """What a model is shown: images to translate, and named pictures beside them."""
        return self.a, {}


class UnpairedTask(Task):
    """Draw from two domains, independently of each other.

    In a rendered world the domains have no training scene in common; their val and test splits show the same ones, so
    that a translation can be compared with the exact answer.
    """

    name = "unpaired"
    keys = ("a", "b")
    fewest = 2
    batch_type: ClassVar[type[UnpairedBatch]] = UnpairedBatch

    @classmethod
    def open(cls, store: Store, settings: Mapping[str, Any]) -> dict[str, Domain]:
        """Open both domains, on different training contents."""
        return cls.open_keys(store, settings)

    def draw(self, positions: Positions, split: str) -> RawBatch:
        """Draw each domain from a stream of its own."""
        return {role: self.drawn_images(role, split, positions) for role in self.draws}

    def center(self, start: int, count: int, split: str) -> RawBatch:
        """Take images of both domains in hash order; the shorter domain starts over at its end."""
        places = np.arange(start, start + count, dtype=np.int64)
        return {role: self.central_images(role, split, places) for role in self.draws}

    def size(self, split: str) -> int:
        """Return how many images the larger domain's split holds: each image of both is shown."""
        return max(len(self.indices(role, split)) for role in self.draws)

    def plans(self, split: str, world: World | None = None) -> list[Plan]:
        """Return the way from a to b, and, for who asks for it, the way back."""
        there, back = self._way("a", "b", split, world), self._way("b", "a", split, world)
        return [there, replace(back, request={"direction": "b_to_a"}, on_request=True)]

    def _way(self, source: str, target: str, split: str, world: World | None) -> Plan:
        part = self.part(target)
        return Plan(
            "",
            split,
            self.in_order(source, split),
            reference=self.reference(target, split, world, part),
            world=None if world is None else Answers(world, self.domains[target].address, part),
        )
