"""The multi-domain task: images of several domains, each with a domain to go to and references from there."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stylebench.data.augmentation import RawImages
from stylebench.data.domain import Domain
from stylebench.data.splits import Indices
from stylebench.data.stores import Part, Store
from stylebench.data.streams import Jitter, central, cut, jitter, mixed, pick, shuffled
from stylebench.data.tasks.base import Positions, RawBatch, Task, named

_FEWEST_DOMAINS = 2
_PICTURES = ("image", "reference", "other_reference")


class MultiDomainBatch(NamedTuple):
    """A batch of the multi-domain task, on the device.

    Attributes:
        image: (B, 3, H, W) float32 RGB in [0, 1].
        domain: (B,) int64, the number of each image's domain, in the order of `dataset.domains`.
        reference: (B, 3, H, W) images of the target domains; None where the method does not draw it.
        other_reference: a second, different image of each target domain; None where the method does not draw it.
        target_domain: (B,) int64, the domain each image is to be translated to; in training it may be its own.
    """

    image: Tensor
    domain: Tensor
    reference: Tensor | None
    other_reference: Tensor | None
    target_domain: Tensor


class MultiDomainTask(Task):
    """Draw images and target domains, both balanced.

    Of K consecutive images of the stream each belongs to another of the K domains, in an order drawn for them, whatever
    the domains' sizes; the same holds for target domains, independently. References walk through their domain in pairs,
    so that two references of one sample are never the same image.

    All domains are drawn from; `draws` says which pictures of a sample: `image`, `reference`, `other_reference`.

    Raises:
        ValueError: if `draws` names something else, or not the image.
    """

    name = "multi_domain"
    keys = ("domains",)
    fewest = 2
    evaluated: ClassVar[Mapping[str, str]] = {"content": "image"}
    batch_type: ClassVar[type[MultiDomainBatch]] = MultiDomainBatch

    def __init__(self, domains: Mapping[str, Domain], *, draws: Sequence[str] | None = None, **settings: Any) -> None:
        self.pictures = _PICTURES if draws is None else tuple(draws)
        if not {"image"} <= {*self.pictures} <= {*_PICTURES}:
            raise ValueError(
                f"the multi_domain task draws image, and reference and other_reference where they are asked for; got "
                f"draws {', '.join(self.pictures) or 'nothing'}"
            )
        super().__init__(domains, **settings)

    def _roles(self) -> tuple[str, ...]:
        if len(self.domains) < _FEWEST_DOMAINS:
            raise ValueError(
                f"the multi_domain task needs at least {_FEWEST_DOMAINS} domains, got {len(self.domains)} "
                f"({', '.join(self.domains) or 'none'}); name more: dataset.domains=[<domain>,<domain>,...]"
            )
        return tuple(self.domains)

    @classmethod
    def open(cls, store: Store, settings: Mapping[str, Any]) -> dict[str, Domain]:
        """Open every domain of `dataset.domains`, a list or a mapping from names, on different training contents."""
        value = named(settings, "domains", cls.name)
        if isinstance(value, str) or not isinstance(value, Mapping | list | tuple):
            raise ValueError(f"dataset.domains must be a list of domains, got {value!r}: dataset.domains=[{value},...]")
        values = list(value.values()) if isinstance(value, Mapping) else list(value)
        opened = [
            store.open(entry, Part(index, len(values), shared_evaluation=True)) for index, entry in enumerate(values)
        ]
        names = [str(name) for name in value] if isinstance(value, Mapping) else [domain.name for domain in opened]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"dataset.domains names {', '.join(twice)} more than once; give domains of one name names of their "
                "own: dataset.domains={first: <domain>, second: <domain>}"
            )
        return dict(zip(names, opened, strict=True))

    def draw(self, positions: Positions, split: str) -> RawBatch:
        """Draw images by blocks of K positions: in each block every domain once, and every target domain once."""
        blocks, places = np.divmod(positions, len(self.roles))
        domain = self._in_turn("domain", blocks, places)
        target = self._in_turn("target_domain", blocks, places)
        chosen = [self._pick(d, "image", split, block) for d, block in zip(domain, blocks, strict=True)]
        batch: RawBatch = {"domain": torch.from_numpy(domain), "target_domain": torch.from_numpy(target)}
        batch["image"] = self._cut(domain, chosen, jitter(self.seed, "image", positions, self.flip))
        if len(self.pictures) > 1:
            pairs = [
                (self._pick(d, "reference", split, 2 * block), self._pick(d, "reference", split, 2 * block + 1))
                for d, block in zip(target, blocks, strict=True)
            ]
            pairs = [self._apart(first, second, d, split) for d, (first, second) in zip(target, pairs, strict=True)]
            for place, field in enumerate(_PICTURES[1:]):
                if field in self.pictures:
                    where = jitter(self.seed, field, positions, self.flip)
                    batch[field] = self._cut(target, [pair[place] for pair in pairs], where)
        return batch

    def center(self, start: int, count: int, split: str) -> RawBatch:
        """Take every image of every domain once, in turn; targets are the other domains in turn, never an image's own.

        References stand one and two places further in their domain's order: never an image's own scene, as long as the
        split has more than two.
        """
        orders, samples = self._in_order(split)
        samples = samples[start : start + count]
        others = len(orders) - 1
        domain = np.array([number for number, _ in samples], dtype=np.int64)
        target = np.array([(number + 1 + place % others) % len(orders) for number, place in samples], dtype=np.int64)
        places = [place for _, place in samples]
        where = central(len(samples))

        def at(numbers: Indices, further: int) -> RawImages:
            chosen = [
                int(orders[number][(place + further) % len(orders[number])])
                for number, place in zip(numbers, places, strict=True)
            ]
            return self._cut(numbers, chosen, where)

        shown = {field: at(domain if field == "image" else target, _PICTURES.index(field)) for field in self.pictures}
        return {**shown, "domain": torch.from_numpy(domain), "target_domain": torch.from_numpy(target)}

    def comparable(self, role: str) -> bool:
        """Tell whether a batch holds a field's pictures."""
        return role in self.pictures

    def fixed_ids(self, role: str, split: str, places: Positions) -> list[str]:
        """Return the ids of the images that `fixed` shows at places of a split."""
        orders, samples = self._in_order(split)
        chosen = [samples[int(place)] for place in places]
        return [self.domains[self.roles[number]].ids[int(orders[number][place])] for number, place in chosen]

    def size(self, split: str) -> int:
        """Return how many images all domains hold in a split."""
        return sum(len(self.indices(role, split)) for role in self.roles)

    def _in_order(self, split: str) -> tuple[list[Indices], list[tuple[int, int]]]:
        """Return each domain's images in hash order, and the order in which `fixed` shows them: (domain, place)."""
        orders = [mixed(self.domains[role], self.indices(role, split)) for role in self.roles]
        rounds = range(max(len(order) for order in orders))
        return orders, [
            (number, place) for place in rounds for number, order in enumerate(orders) if place < len(order)
        ]

    def _in_turn(self, role: str, blocks: Positions, places: Positions) -> Indices:
        count = len(self.roles)
        chosen = [
            shuffled(self.seed, role, count, int(block))[place] for block, place in zip(blocks, places, strict=True)
        ]
        return np.array(chosen, dtype=np.int64)

    def _pick(self, number: int, field: str, split: str, position: int) -> int:
        role = self.roles[number]
        indices = self.indices(role, split)
        chosen = pick(self.seed, f"{field}/{role}", len(indices), np.array([position], dtype=np.int64))
        return int(indices[chosen[0]])

    def _apart(self, first: int, second: int, number: int, split: str) -> tuple[int, int]:
        """Keep two references apart where a pass ends between them and the next begins with the same image."""
        if first != second:
            return first, second
        indices = self.indices(self.roles[number], split)
        after = (int(np.searchsorted(indices, second)) + 1) % len(indices)
        return first, int(indices[after])

    def _cut(self, numbers: Indices, chosen: list[int], where: Jitter) -> RawImages:
        """Cut images of different domains, each domain's in one go, and put them back into the batch's order."""
        crops: list[Any] = [None] * len(chosen)
        for number in np.unique(numbers):
            members = np.flatnonzero(numbers == number)
            part = Jitter(where.corners[members], where.mirrored[members])
            raw = cut(self.domains[self.roles[number]], [chosen[i] for i in members], part, self.crop)
            for member, pixels in zip(members, raw.pixels, strict=True):
                crops[member] = pixels
        flip = torch.from_numpy(where.mirrored)
        same = len({crop.shape for crop in crops}) == 1
        return RawImages(torch.stack(crops) if same else crops, flip)
