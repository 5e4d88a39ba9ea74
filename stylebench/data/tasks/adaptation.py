"""The adaptation task: labeled images of one domain, unlabeled ones of another."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stylebench.data.domain import Domain
from stylebench.data.splits import Indices
from stylebench.data.stores import Store
from stylebench.data.streams import central, cut, jitter, mixed, pick
from stylebench.data.tasks.base import Positions, RawBatch, Task


class AdaptationBatch(NamedTuple):
    """A batch of the adaptation task, on the device.

    Attributes:
        source: (B, 3, H, W) float32 RGB in [0, 1] of the source domain.
        label: (B,) int64 classes of the source images, numbers in `AdaptationTask.classes`.
        target: (B, 3, H, W) images of the target domain.
        target_label: (B,) int64 classes of the target images, for scoring: None in training, where no method may see
            them, and where the target has none.
    """

    source: Tensor
    label: Tensor
    target: Tensor
    target_label: Tensor | None


class AdaptationTask(Task):
    """Draw source images with their classes, and target images without; the two streams are independent.

    Attributes:
        classes: names of the classes, in the order of their numbers.

    Raises:
        ValueError: if the source has no classes, or the target has other ones.
    """

    name = "adaptation"
    keys = ("source", "target")
    fewest = 2
    batch_type: ClassVar[type[AdaptationBatch]] = AdaptationBatch

    def __init__(self, domains: Mapping[str, Domain], **settings: Any) -> None:
        super().__init__(domains, **settings)
        source, target = self.domains["source"], self.domains["target"]
        if source.labels is None:
            raise ValueError(
                f"the adaptation task needs a class for every source image, but {source.path} has none; sort its "
                "images into one folder per class (<domain>/<class>/*.jpg), or name a domain with classes by "
                "dataset.source"
            )
        if target.labels is not None and target.classes != source.classes:
            raise ValueError(
                f"source and target must have the same classes, but {_differ(source, target)}; name domains with the "
                "same class folders by dataset.source and dataset.target"
            )
        self.classes = source.classes

    @classmethod
    def open(cls, store: Store, settings: Mapping[str, Any]) -> dict[str, Domain]:
        """Open both domains, on different training contents."""
        return cls.open_keys(store, settings)

    def draw(self, positions: Positions, split: str) -> RawBatch:
        """Draw source images with classes and, independently, target images."""
        indices = self.indices("source", split)
        chosen = indices[pick(self.seed, "source", len(indices), positions)]
        where = jitter(self.seed, "source", positions, self.flip)
        return {
            "source": cut(self.domains["source"], chosen, where, self.crop),
            "label": self._labels("source", chosen),
            "target": self.drawn_images("target", split, positions),
        }

    def center(self, start: int, count: int, split: str) -> RawBatch:
        """Take images of both domains in hash order, with their classes; the shorter domain starts over at its end."""
        places = np.arange(start, start + count, dtype=np.int64)
        raw: RawBatch = {}
        for role, field in (("source", "label"), ("target", "target_label")):
            order = mixed(self.domains[role], self.indices(role, split))
            chosen = order[places % len(order)]
            raw[role] = cut(self.domains[role], chosen, central(count), self.crop)
            if self.domains[role].labels is not None:
                raw[field] = self._labels(role, chosen)
        return raw

    def size(self, split: str) -> int:
        """Return how many images the larger domain's split holds: each image of both is shown."""
        return max(len(self.indices(role, split)) for role in self.draws)

    def _labels(self, role: str, chosen: Indices) -> Tensor:
        labels = self.domains[role].labels
        assert labels is not None
        return torch.from_numpy(labels[chosen])


def _differ(source: Domain, target: Domain) -> str:
    """Say which classes only one of two domains has."""
    parts = [
        f"{', '.join(sorted(set(one.classes) - set(other.classes)))} only in {one.path}"
        for one, other in ((source, target), (target, source))
        if set(one.classes) - set(other.classes)
    ]
    return " and ".join(parts) or "in another order"
