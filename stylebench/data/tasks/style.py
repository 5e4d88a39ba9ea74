"""The style task: contents, and the styles to render them in."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from stylebench.checks import sides
from stylebench.data.augmentation import whole_image
from stylebench.data.domain import Domain
from stylebench.data.plan import Answers, Plan
from stylebench.data.stores import Store
from stylebench.data.tasks.base import Positions, RawBatch, Task
from stylebench.data.world import World
from stylebench.functional.pixels import quantize


class StyleBatch(NamedTuple):
    """A batch of the style task, on the device.

    Attributes:
        content: (B, 3, H, W) float32 RGB in [0, 1], or None if the method draws no contents.
        style: the same for styles.
    """

    content: Tensor | None
    style: Tensor | None

    @property
    def shown(self) -> tuple[Tensor, dict[str, Tensor]]:
        """What a model is shown: images to translate, and named pictures beside them."""
        return drawn(self.content), {} if self.style is None else {"style": self.style}


class StyleTask(Task):
    """Draw content and style images, independently of each other.

    A method that learns one style draws only contents (`draws=("content",)`) and reads its style image from
    `domains["style"]`. In a rendered world contents and styles never show the same scene, in any split: a style image
    is no answer.
    """

    name = "style"
    keys = ("content", "style")
    shared_evaluation = False
    batch_type: ClassVar[type[StyleBatch]] = StyleBatch

    @classmethod
    def open(cls, store: Store, settings: Mapping[str, Any]) -> dict[str, Domain]:
        """Open both domains on different contents."""
        return cls.open_keys(store, settings)

    def draw(self, positions: Positions, split: str) -> RawBatch:
        """Draw each role from a stream of its own."""
        return {role: self.drawn_images(role, split, positions) for role in self.draws}

    def center(self, start: int, count: int, split: str) -> RawBatch:
        """Take the images of the first drawn role once; styles start over at their end, a few serve many contents."""
        places = np.arange(start, start + count, dtype=np.int64)
        return {role: self.central_images(role, split, places) for role in self.draws}

    def size(self, split: str) -> int:
        """Return how many images of the first drawn role a split holds."""
        return len(self.indices(self.draws[0], split))

    def plans(self, split: str, world: World | None = None) -> list[Plan]:
        """Return one plan: contents, each with a style; results should look like the styles."""
        contents, style, part = self.in_order("content", split), self.in_order("style", split), self.part("style")
        return [
            Plan(
                "",
                split,
                contents,
                pictures={"style": style} if "style" in self.draws else {},
                style=style,
                whole_style=self._learned_style(),
                reference=self.reference("style", split, world, part, most=len(contents)),
                world=None if world is None else Answers(world, self.domains["style"].address, part),
            )
        ]

    def _learned_style(self) -> Tensor | None:
        """Return the picture of a method that learns one style and draws none: whole, at the scale of the crops."""
        domain = self.domains["style"]
        if "style" in self.draws or len(domain) != 1:
            return None
        return quantize(whole_image(domain, 0, min(sides(self.crop.resize_px or self.size_px))))


def drawn(images: Tensor | None) -> Tensor:
    """Return the images of a role that the method draws; one that it does not draw is a fault of the method."""
    if images is None:
        raise RuntimeError("the batch does not hold this role: add it to the method's `draws`")
    return images
