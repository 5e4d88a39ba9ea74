"""The paired task: inputs with their exact targets, given as pictures, or made of the targets."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from stylebench.checks import Size, UsageError, size_advice, size_text
from stylebench.data.augmentation import RawImages
from stylebench.data.degradation import Degradation, Degraded
from stylebench.data.domain import Domain
from stylebench.data.plan import Answers, Pictures, Plan
from stylebench.data.side_by_side import halves, open_pairs
from stylebench.data.splits import Indices
from stylebench.data.stores import Store
from stylebench.data.streams import Jitter, central, cut, jitter, mixed, pick
from stylebench.data.tasks.base import UNSET, Positions, RawBatch, Task, named, open_domain
from stylebench.data.world import World

_LISTED = 10  # images without a partner that an error message names


class PairedBatch(NamedTuple):
    """A batch of the paired task, on the device.

    Attributes:
        input: (B, 3, H, W) float32 RGB in [0, 1]; (B, 3, H / factor, W / factor) where inputs are made of targets.
        target: (B, 3, H, W), the images that the inputs should become, the same crops, mirrored alike.
    """

    input: Tensor
    target: Tensor

    @property
    def shown(self) -> tuple[Tensor, dict[str, Tensor]]:
        """What a model is shown: images to translate, and named pictures beside them."""
        return self.input, {}


class PairedTask(Task):
    """Draw pairs: `dataset.input` and `dataset.target`, matched by path, or `dataset.pairs`, side by side.

    The splits of the inputs hold for both. Both images of a pair are cut and mirrored alike. With
    `dataset.degradation` only targets are named, and `finish` makes smaller inputs of their crops.

    Raises:
        ValueError: if an image has no partner, the two differ in size, or crops cannot be shrunk by a whole factor.

    Attributes:
        degradation: what makes inputs of targets; None where inputs are given.
    """

    name = "paired"
    keys = ("input", "target")
    batch_type: ClassVar[type[PairedBatch]] = PairedBatch

    def __init__(self, domains: Mapping[str, Domain], **settings: Any) -> None:
        inputs = domains.get("input")
        self.degradation = inputs.degradation if isinstance(inputs, Degraded) else None
        super().__init__(domains, **settings)
        self._partners = _partners(self.domains["input"], self.domains["target"])
        if self.degradation is not None:
            _check_size(self.size_px, self.degradation.factor)

    @classmethod
    def is_named(cls, settings: Mapping[str, Any]) -> bool:
        """Tell whether the config names inputs and targets, or pairs, or targets that inputs are made of."""
        made = settings.get("degradation") is not None and settings.get("target") not in UNSET
        return made or settings.get("pairs") not in UNSET or super().is_named(settings)

    @classmethod
    def open(cls, store: Store, settings: Mapping[str, Any]) -> dict[str, Domain]:
        """Open inputs and targets on the same contents, both halves of side-by-side pairs, or targets alone."""
        if settings.get("degradation") is not None:
            return _degraded(store, settings)
        if settings.get("pairs") not in UNSET:
            return halves(open_pairs(store, settings["pairs"]), settings["direction"])
        if settings.get("input") in UNSET and settings.get("target") in UNSET and "pairs" in settings:
            raise UsageError(
                "the paired task needs dataset.input=<folder> and dataset.target=<folder>, matched by path, or "
                "dataset.pairs=<folder of side-by-side pictures>; none of them is set"
            )
        values = {role: named(settings, role, cls.name) for role in cls.keys}
        return {role: open_domain(store, f"dataset.{role}", value, several=False) for role, value in values.items()}

    def draw(self, positions: Positions, split: str) -> RawBatch:
        """Draw pairs: each pass shows every pair once, in a new order."""
        indices = self.indices("input", split)
        chosen = indices[pick(self.seed, "pair", len(indices), positions)]
        return self._cut(chosen, jitter(self.seed, "pair", positions, self.flip))

    def center(self, start: int, count: int, split: str) -> RawBatch:
        """Take the central crops of pairs in the hash order of the inputs."""
        order = mixed(self.domains["input"], self.indices("input", split))
        return self._cut(order[start : start + count], central(count))

    def size(self, split: str) -> int:
        """Return how many pairs a split holds."""
        return len(self.indices("input", split))

    def plans(self, split: str, world: World | None = None) -> list[Plan]:
        """Return one plan: inputs, each with its target; as a set, results should look like the targets."""
        inputs, part = self.in_order("input", split), self.part("target")
        return [
            Plan(
                "",
                split,
                inputs,
                target=Pictures([self.domains["target"]], self._partners[inputs.chosen], self.crop),
                degradation=self.degradation,
                reference=self.reference("target", split, world, part, most=len(inputs)),
                world=None if world is None else Answers(world, self.domains["target"].address, part),
            )
        ]

    def finish(self, raw: Mapping[str, RawImages | Tensor]) -> PairedBatch:
        """Do what every task does, and make the inputs of the targets where none are given."""
        batch: PairedBatch = super().finish(raw)
        return batch if self.degradation is None else batch._replace(input=self.degradation(batch.target))

    def _roles(self) -> tuple[str, ...]:
        return self.keys if self.degradation is None else ("target", "input")  # messages name what the user named

    def _cut(self, chosen: Indices, where: Jitter) -> RawBatch:
        targets = {"target": cut(self.domains["target"], self._partners[chosen], where, self.crop)}
        if self.degradation is not None:
            return dict(targets)
        return {"input": cut(self.domains["input"], chosen, where, self.crop), **targets}


def _degraded(store: Store, settings: Mapping[str, Any]) -> dict[str, Domain]:
    """Open targets, and beside them the inputs that are made of them."""
    degradation = Degradation.of(settings["degradation"])
    given = [key for key in ("input", "pairs") if settings.get(key) not in UNSET]
    if given:
        raise UsageError(
            f"dataset.degradation makes the inputs of dataset.target, but dataset.{given[0]} is set too "
            f"({settings[given[0]]}); drop one: dataset.{given[0]}=null, or dataset.degradation=null"
        )
    value = named(settings, "target", PairedTask.name)
    targets = open_domain(store, "dataset.target", value)
    return {"input": Degraded(targets, degradation), "target": targets}


def _check_size(size_px: Size, factor: int) -> None:
    if advice := size_advice(size_px, factor):
        raise ValueError(
            f"dataset.size_px={size_text(size_px)} is not a multiple of {factor}, by which dataset.degradation shrinks "
            f"crops; {advice}"
        )


def _partners(inputs: Domain, targets: Domain) -> Indices:
    """Return for each input the position of its target: the image under the same path, whatever the file's type.

    Raises:
        ValueError: listing images without a partner, two images of one path, or pairs of different sizes.
    """
    first, second = _by_path(inputs), _by_path(targets)
    if first.keys() != second.keys():
        counts = f"{len(inputs)} images of {inputs.path} (input) and {len(targets)} of {targets.path} (target)"
        lines = [f"  {path}: only in {inputs.path}" for path in first.keys() - second.keys()]
        lines += [f"  {path}: only in {targets.path}" for path in second.keys() - first.keys()]
        more = f"\n  and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
        raise ValueError(
            f"the paired task needs a target for every input, but of {counts} {len(lines)} have no partner of the same "
            "path:\n" + "\n".join(sorted(lines)[:_LISTED]) + more + "\nName the files of a pair alike, remove those "
            "without a partner, or use a method of the unpaired task."
        )
    partners = np.array([second[path] for path in first], dtype=np.int64)
    unlike = np.flatnonzero((inputs.shapes != targets.shapes[partners]).any(axis=1))
    if len(unlike):
        listed = [
            f"  {inputs.ids[i]}: {_size(inputs, i)} and {targets.ids[partners[i]]}: {_size(targets, partners[i])}"
            for i in unlike[:_LISTED]
        ]
        raise ValueError(
            f"{len(unlike)} of {len(inputs)} pairs differ in size (width x height):\n"
            + "\n".join(listed)
            + "\nBring input and target to one size."
        )
    return partners


def _by_path(domain: Domain) -> dict[str, int]:
    """Return the images by path without suffix, in the order of the domain."""
    paths: dict[str, int] = {}
    for index, id_ in enumerate(domain.ids):
        path = str(PurePosixPath(id_).with_suffix(""))
        if path in paths:
            raise ValueError(
                f"{domain.path} holds {domain.ids[paths[path]]} and {id_}, which are one path without their suffix, so "
                "that pairs cannot be told; rename or remove one"
            )
        paths[path] = index
    return paths


def _size(domain: Domain, index: int) -> str:
    height, width = domain.shape(index)
    return f"{width} x {height}"
