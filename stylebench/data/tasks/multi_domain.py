"""The multi-domain task: images of several domains, each with a domain to go to and references from there."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from stylebench.data.augmentation import RawImages
from stylebench.data.domain import Domain
from stylebench.data.plan import Answers, Pictures, Plan
from stylebench.data.splits import Indices
from stylebench.data.stores import Part, Store
from stylebench.data.streams import Jitter, central, cut_each, jitter, mixed, pick, shuffled
from stylebench.data.tasks.base import SETTINGS, Positions, RawBatch, Task, named, open_domain
from stylebench.data.world import World

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

    @property
    def shown(self) -> tuple[Tensor, dict[str, Tensor]]:
        """What a model is shown: images to translate, and named pictures beside them."""
        return self.image, {}


class MultiDomainTask(Task):
    """Draw images and target domains, both balanced.

    Of K consecutive images of the stream each belongs to another of the K domains, in an order drawn for them, whatever
    the domains' sizes; the same holds for target domains, independently. References walk through their domain in pairs,
    so that two references of one sample are never the same image.

    All domains are drawn from; `draws` says which pictures of a sample: `image`, `reference`, `other_reference`.

    Args:
        groups: which domains belong to one data set: {set: [domain, ...]}, the domains also as keys of a mapping; None
            for all. Results are measured within each, and between them for who asks for it.

    Raises:
        ValueError: if `draws` names something else, or not the image, or `groups` a domain that is not there.
    """

    name = "multi_domain"
    keys = ("domains",)
    fewest = 2
    batch_type: ClassVar[type[MultiDomainBatch]] = MultiDomainBatch

    def __init__(
        self,
        domains: Mapping[str, Domain],
        *,
        draws: Sequence[str] | None = None,
        groups: Mapping[str, Sequence[str] | Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> None:
        self.pictures = _PICTURES if draws is None else tuple(draws)
        if not {"image"} <= {*self.pictures} <= {*_PICTURES}:
            raise ValueError(
                f"the multi_domain task draws image, and reference and other_reference where they are asked for; got "
                f"draws {', '.join(self.pictures) or 'nothing'}"
            )
        super().__init__(domains, **settings)
        self.groups = _sets(groups, self.roles)

    @classmethod
    def over(
        cls, domains: Mapping[str, Domain], settings: Mapping[str, Any], seed: int, draws: Sequence[str] | None
    ) -> Self:
        """Return the task over opened domains, with what the config under `dataset` says of it."""
        chosen = {key: settings[key] for key in SETTINGS}
        return cls(domains, seed=seed, draws=draws, groups=settings.get("groups"), **chosen)

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
        entries = value if isinstance(value, Mapping) else dict(enumerate(value))
        opened = [
            open_domain(store, f"dataset.domains.{name}", entry, Part(index, len(entries), shared_evaluation=True))
            for index, (name, entry) in enumerate(entries.items())
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
        domain, places, target = self._samples(orders, samples)
        where = central(len(samples))

        def at(numbers: Indices, further: int) -> RawImages:
            chosen = [
                int(orders[number][(place + further) % len(orders[number])])
                for number, place in zip(numbers, places, strict=True)
            ]
            return self._cut(numbers, chosen, where)

        shown = {field: at(domain if field == "image" else target, _PICTURES.index(field)) for field in self.pictures}
        return {**shown, "domain": torch.from_numpy(domain), "target_domain": torch.from_numpy(target)}

    def plans(self, split: str, world: World | None = None) -> list[Plan]:
        """Return the way from every domain to every other; between data sets only for who asks for the target."""
        contents = {role: self.in_order(role, split) for role in self.roles}
        pairs = [(source, target) for target in self.roles for source in self.roles if source != target]
        within = [pair for pair in pairs if any({*pair} <= members for members in self.groups)] or pairs
        return [
            Plan(
                f"{source}-to-{target}",
                split,
                contents[source],
                reference=self.reference(target, split, world, self._part_of(target)),
                world=None if world is None else Answers(world, self.domains[target].address, self._part_of(target)),
                request={"domain": target},
                on_request=(source, target) not in within,
            )
            for source, target in pairs
        ]

    def overview(self, split: str) -> Plan:
        """Return what `fixed` shows: images of all domains, each with a target of its own."""
        orders, samples = self._in_order(split)
        numbers, _, targets = self._samples(orders, samples)
        chosen = np.array([orders[number][place] for number, place in samples], dtype=np.int64)
        contents = Pictures([self.domains[role] for role in self.roles], chosen, self.crop, numbers)
        return Plan("", split, contents, request={"domain": [self.roles[number] for number in targets]})

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

    def _samples(self, orders: list[Indices], samples: list[tuple[int, int]]) -> tuple[Indices, list[int], Indices]:
        """Return the domain of each of some samples, its place there, and the domain it goes to: the others in turn."""
        others = len(orders) - 1
        domain = np.array([number for number, _ in samples], dtype=np.int64)
        target = np.array([(number + 1 + place % others) % len(orders) for number, place in samples], dtype=np.int64)
        return domain, [place for _, place in samples], target

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
        return cut_each([self.domains[role] for role in self.roles], numbers, chosen, where, self.crop)

    def _part_of(self, role: str) -> Part:
        """Return the share of a rendered world's contents that a domain shows."""
        return Part(self.roles.index(role), len(self.roles), shared_evaluation=True)


def _sets(groups: Mapping[str, Sequence[str] | Mapping[str, Any]] | None, names: Sequence[str]) -> list[set[str]]:
    """Return the names of the domains of each data set."""
    if groups is None:
        return [{*names}]
    found = [{str(name) for name in members} for members in groups.values()]
    if unknown := sorted(set().union(*found) - {*names}):
        raise ValueError(
            f"dataset.groups names {', '.join(unknown)}, but the domains are {', '.join(names)}; name these, or set "
            "dataset.groups=null"
        )
    return found
