"""The paired task: inputs with their exact targets."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from stylebench.data.domain import Domain
from stylebench.data.side_by_side import halves, open_pairs
from stylebench.data.splits import Indices
from stylebench.data.stores import Store
from stylebench.data.streams import Jitter, central, cut, jitter, mixed, pick
from stylebench.data.tasks.base import UNSET, Positions, RawBatch, Task, named
from stylebench.messages import UsageError

_LISTED = 10  # images without a partner that an error message names


class PairedBatch(NamedTuple):
    """A batch of the paired task, on the device.

    Attributes:
        input: (B, 3, H, W) float32 RGB in [0, 1].
        target: the images that the inputs should become, the same crops, mirrored alike.
    """

    input: Tensor
    target: Tensor


class PairedTask(Task):
    """Draw pairs: `dataset.input` and `dataset.target`, matched by path, or `dataset.pairs`, side by side.

    The splits of the inputs hold for both. Both images of a pair are cut and mirrored alike.

    Raises:
        ValueError: if an image has no partner, or the two differ in size.
    """

    name = "paired"
    keys = ("input", "target")
    evaluated: ClassVar[Mapping[str, str]] = {"content": "input", "target": "target"}
    reference: ClassVar[str | None] = "target"
    batch_type: ClassVar[type[PairedBatch]] = PairedBatch

    def __init__(self, domains: Mapping[str, Domain], **settings: Any) -> None:
        super().__init__(domains, **settings)
        self._partners = _partners(self.domains["input"], self.domains["target"])

    @classmethod
    def is_named(cls, settings: Mapping[str, Any]) -> bool:
        """Tell whether the config names inputs and targets, or pairs."""
        return settings.get("pairs") not in UNSET or super().is_named(settings)

    @classmethod
    def open(cls, store: Store, settings: Mapping[str, Any]) -> dict[str, Domain]:
        """Open inputs and targets on the same contents, or both halves of side-by-side pairs."""
        if settings.get("pairs") not in UNSET:
            return halves(open_pairs(store, settings["pairs"]), settings["direction"])
        if settings.get("input") in UNSET and settings.get("target") in UNSET and "pairs" in settings:
            raise UsageError(
                "the paired task needs dataset.input=<folder> and dataset.target=<folder>, matched by path, or "
                "dataset.pairs=<folder of side-by-side pictures>; none of them is set"
            )
        values = {role: named(settings, role, cls.name) for role in cls.keys}
        return {role: store.open(value) for role, value in values.items()}

    def draw(self, positions: Positions, split: str) -> RawBatch:
        """Draw pairs: each pass shows every pair once, in a new order."""
        indices = self.indices("input", split)
        chosen = indices[pick(self.seed, "pair", len(indices), positions)]
        return self._cut(chosen, jitter(self.seed, "pair", positions, self.flip))

    def center(self, start: int, count: int, split: str) -> RawBatch:
        """Take the central crops of pairs in the hash order of the inputs."""
        order = mixed(self.domains["input"], self.indices("input", split))
        return self._cut(order[start : start + count], central(count))

    def central_indices(self, role: str, split: str, places: Positions) -> Indices:
        """Return the pairs at places of a split: a target is its input's partner."""
        chosen = super().central_indices("input", split, places)
        return chosen if role == "input" else self._partners[chosen]

    def size(self, split: str) -> int:
        """Return how many pairs a split holds."""
        return len(self.indices("input", split))

    def _cut(self, chosen: Indices, where: Jitter) -> RawBatch:
        return {
            "input": cut(self.domains["input"], chosen, where, self.crop),
            "target": cut(self.domains["target"], self._partners[chosen], where, self.crop),
        }


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
