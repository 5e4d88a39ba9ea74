"""What tasks share: domains by role, exactly repeatable batches of them, and the step from rectangles to images."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stylebench.checks import (
    Size,
    UsageError,
    check_choice,
    check_size,
    check_whole,
    nearest_multiples,
    read_name,
    read_path,
    read_paths,
)  # fmt: skip
from stylebench.data.augmentation import CropSettings, RawImages, finish_images
from stylebench.data.domain import Domain
from stylebench.data.folders import Folders
from stylebench.data.plan import Pictures, Plan
from stylebench.data.splits import Indices
from stylebench.data.stores import Part, Store
from stylebench.data.streams import central, cut, jitter, mixed, pick
from stylebench.data.tasks.usable import ON_SMALL, held_out, large_enough
from stylebench.data.world import World

UNSET = (None, "", "???")
SETTINGS = ("size_px", "resize_px", "flip", "batch_size", "on_small")  # of every task, under `dataset`
_FEW = 2  # images up to which every split has all

_log = logging.getLogger(__name__)

RawBatch = dict[str, RawImages | Tensor]
Positions = NDArray[np.int64]


class Task(ABC):
    """A way to draw batches from domains; every choice is a pure function of the seed and the place in the stream.

    Args:
        domains: a domain for every role.
        seed: the run's seed; batches depend on it and on their number alone.
        size_px: side of the crops, or height and width.
        resize_px: shorter side of the images the crops are cut from, or height and width that they just cover; None for
            `size_px`.
        flip: mirror every second crop, on average.
        batch_size: images a role in a batch, over all devices.
        on_small: what to do about images that are smaller than the crops: "stop", "upscale" or "skip" them.
        draws: the roles to draw, None = all; the others come as None.

    Raises:
        ValueError: if a setting is out of its range, a role has no domain, or images are too small.

    Attributes:
        name: the task's name in configs.
        keys: the keys under `dataset` that name domains.
        fewest: images that every drawn domain needs for training.
        shared_evaluation: whether the domains of a rendered world show the same contents in val and test.
    """

    name: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    fewest: ClassVar[int] = 1
    shared_evaluation: ClassVar[bool] = True
    batch_type: ClassVar[type[Any]]

    def __init__(
        self,
        domains: Mapping[str, Domain],
        *,
        seed: int,
        size_px: Size,
        resize_px: Size | None,
        flip: bool,
        batch_size: int,
        on_small: str,
        draws: Sequence[str] | None = None,
    ) -> None:
        self.domains = dict(domains)
        self.roles = self._roles()
        wanted = self.roles if draws is None else tuple(draws)
        unknown = sorted({*domains, *wanted} - {*self.roles})
        missing = [role for role in self.roles if role in wanted and role not in domains]
        if unknown or missing or not wanted:
            raise ValueError(
                f"the {self.name} task has the roles {', '.join(self.roles)}; got domains for "
                f"{', '.join(domains) or 'none'} and draws {', '.join(wanted) or 'nothing'}; give every drawn role a "
                "domain, by the key dataset.<role>"
            )
        check_whole("dataset.batch_size", batch_size)
        check_choice("dataset.on_small", on_small, ON_SMALL)
        self.draws = tuple(role for role in self.roles if role in wanted)
        self.batch_size = batch_size
        self.size_px = size_px = check_size("dataset.size_px", size_px)
        self.seed = seed
        self.flip = flip
        self.on_small = on_small
        self.crop = CropSettings(
            size_px, None if resize_px is None else check_size("dataset.resize_px", resize_px), flip
        )
        self._indices = {role: large_enough(self.domains[role], role, size_px, on_small) for role in self.draws}

    @classmethod
    def over(
        cls, domains: Mapping[str, Domain], settings: Mapping[str, Any], seed: int, draws: Sequence[str] | None
    ) -> Self:
        """Return the task over opened domains, with what the config under `dataset` says of it."""
        return cls(domains, seed=seed, draws=draws, **{key: settings[key] for key in SETTINGS})

    @classmethod
    @abstractmethod
    def open(cls, store: Store, settings: Mapping[str, Any]) -> dict[str, Domain]:
        """Open the domain of every role.

        Args:
            store: what opens domains.
            settings: the config under `dataset`.

        Raises:
            ValueError: naming a key that is not set.
        """

    @classmethod
    def is_named(cls, settings: Mapping[str, Any]) -> bool:
        """Tell whether the config under `dataset` names every domain that the task needs."""
        return all(settings.get(key) not in UNSET for key in cls.keys)

    @classmethod
    def open_keys(cls, store: Store, settings: Mapping[str, Any]) -> dict[str, Domain]:
        """Open the domain of every key on different training contents; all names are checked before any is opened."""
        values = {key: named(settings, key, cls.name) for key in cls.keys}
        return {key: open_domain(store, f"dataset.{key}", value, cls.part(key)) for key, value in values.items()}

    @classmethod
    def part(cls, key: str) -> Part:
        """Return the share of a rendered world's contents that the domain of a key shows."""
        return Part(cls.keys.index(key), len(cls.keys), cls.shared_evaluation)

    def _roles(self) -> tuple[str, ...]:
        """Return the roles, in the order in which they appear in grids and records."""
        return self.keys

    @abstractmethod
    def draw(self, positions: Positions, split: str) -> RawBatch:
        """Draw what stands at consecutive positions of the endless stream over a split."""

    @abstractmethod
    def center(self, start: int, count: int, split: str) -> RawBatch:
        """Take central crops of a split, beginning with number `start` of its `size(split)`."""

    @abstractmethod
    def size(self, split: str) -> int:
        """Return how many fixed samples a split holds; ValueError if none."""

    def batch(self, number: int, rank: int = 0, world: int = 1, split: str = "train") -> RawBatch:
        """Draw a rank's slice of a batch: a pure function of the seed, the number and the place in the global batch.

        Args:
            number: which batch of the endless stream, >= 0.
            rank: which device asks.
            world: how many devices share the global batch.
            split: where to draw from.

        Returns:
            What stands at the positions number*batch_size + rank*(batch_size/world) and following of the stream.

        Raises:
            ValueError: if the batch cannot be divided over the devices, or the split is empty.
        """
        size = device_batch_size(self.batch_size, world)
        first = number * self.batch_size + rank * size
        return self.draw(np.arange(first, first + size, dtype=np.int64), split)

    def fixed(self, count: int, split: str, start: int = 0) -> RawBatch:
        """Cut central crops of a split, for validation and sample grids: the same ones every time.

        Args:
            count: how many, B; fewer come where the split ends.
            split: where to take them from.
            start: the first one's place in the split, which is ordered by hash so that the first few stand for all.

        Returns:
            The samples `start` to `start + count` of the split, none twice.

        Raises:
            ValueError: if the split is empty, or `start` lies behind its end.
        """
        count = min(count, self.size(split) - start)
        if count < 1:
            raise ValueError(
                f"fixed images start at {start}, but the {split} split has {self.size(split)} images of "
                f"{self.draws[0]}; choose a start below that and a count of at least 1"
            )
        return self.center(start, count, split)

    def finish(self, raw: Mapping[str, RawImages | Tensor]) -> Any:
        """Turn what `batch` or `fixed` drew into a batch of float images, on the device it is on.

        Args:
            raw: uint8 rectangles and integer labels, by field of the batch.

        Returns:
            The task's batch: (B, 3, H, W) float32 images in [0, 1] and (B,) int64 labels; None for what was
            not drawn.
        """
        made = {
            field: finish_images(part, self.size_px) if isinstance(part, RawImages) else part
            for field, part in raw.items()
        }
        return self.batch_type(**{**dict.fromkeys(self.batch_type._fields), **made})

    def plans(self, split: str, world: World | None = None) -> list[Plan]:
        """Return what results are measured on; none where nothing is known of them.

        Args:
            split: where the images come from.
            world: the rendered world that the domains are of, which knows exact answers.

        Raises:
            ValueError: if the split is empty.
        """
        return []

    def overview(self, split: str) -> Plan | None:
        """Return one plan that shows all that the task asks for, without exact answers; None if there is none."""
        return next(iter(self.plans(split)), None)

    def describe(self) -> dict[str, Any]:
        """Return what a run record says about the data, as plain values."""
        return {role: domain.describe() for role, domain in self.domains.items()}

    def indices(self, role: str, split: str) -> Indices:
        """Return the images of a role that may be drawn from a split; ValueError if there are none."""
        found = self._indices[role].get(split)
        if found is None or not len(found):
            domain = self.domains[role]
            domain.split(split)  # names the splits if there is no such one
            raise ValueError(
                f"the {split} split of {domain.path} has no usable image for {role}; add images to it, or have the "
                "images split by hash (no split folders, dataset.store.val_fraction and test_fraction above 0)"
            )
        return found

    def drawn_images(self, role: str, split: str, positions: Positions) -> RawImages:
        """Draw a role's images independently of all others: each pass shows every image once, in a new order."""
        indices = self.indices(role, split)
        chosen = indices[pick(self.seed, role, len(indices), positions)]
        return cut(self.domains[role], chosen, jitter(self.seed, role, positions, self.flip), self.crop)

    def central_images(self, role: str, split: str, places: Positions) -> RawImages:
        """Cut a role's central crops at places of its hash order; behind the end it starts over."""
        order = self.order(role, split)
        return cut(self.domains[role], order[places % len(order)], central(len(places)), self.crop)

    def order(self, role: str, split: str) -> Indices:
        """Return a role's images of a split in hash order; of one that is not drawn, of any size."""
        domain = self.domains[role]
        if role in self.draws:
            return mixed(domain, self.indices(role, split))
        indices = domain.split(split)
        return mixed(domain, indices if len(indices) else domain.split("all"))

    def in_order(self, role: str, split: str) -> Pictures:
        """Return a role's images of a split in hash order."""
        return Pictures([self.domains[role]], self.order(role, split), self.crop)

    def reference(
        self, role: str, split: str, world: World | None, part: Part, most: int | None = None
    ) -> Callable[[], Pictures | None]:
        """Return what opens the images that a set of results should look like.

        A single picture is no set. In a rendered world the rest of its style's domain stands for it, opened when it is
        asked for.

        Args:
            role: whose images they are.
            split: where they come from.
            world: the rendered world, if there is one.
            part: the role's share of the world's contents.
            most: images, at most.
        """

        def found() -> Pictures | None:
            domain = own = self.domains[role]
            if len(own) == 1 and world is not None:
                domain = world.open(own.address, part)
            if len(domain) == 1:
                return None
            indices = self.indices(role, split) if domain is own and role in self.draws else domain.split(split)
            return Pictures([domain], indices[:most], self.crop)

        return cache(found)

    def check_trainable(self) -> None:
        """Check that every drawn domain has enough training images; a set for testing alone has none.

        Raises:
            ValueError: naming the domain that has too few.
        """
        for role in self.draws:
            domain, count = self.domains[role], len(self._indices[role]["train"])
            if count < self.fewest:
                key = role if role in self.keys else self.keys[0]
                hint = "; to learn from a single picture use a method of the style task" if len(domain) == 1 else ""
                raise ValueError(
                    f"the {self.name} task needs at least {self.fewest} training images of {role}, but {domain.path} "
                    f"has {count}{held_out(domain)}; name a domain with more by dataset.{key}{hint}"
                )
            for split in ("val", "test"):
                shared = len(domain) > _FEW and np.array_equal(domain.split(split), domain.split("train"))
                if shared:
                    _log.warning("nothing of %s is held out: its training images stand for %s", domain.path, split)


def named(settings: Mapping[str, Any], key: str, task: str) -> Any:
    """Return the value of `dataset.<key>`.

    Raises:
        UsageError: if it is not set.
    """
    value = settings.get(key)
    if value in UNSET:
        raise UsageError(
            f"dataset.{key} is not set; give it on the command line: dataset.{key}=... (a domain for the {task} task: "
            "a folder, or a name that the data set knows)"
        )
    return value


def open_domain(store: Store, key: str, value: Any, part: Part | None = None, *, several: bool = True) -> Domain:
    """Open the domain that a key names, or where it may be so, several folders as one.

    Args:
        store: what opens domains.
        key: for messages.
        value: what the key was given.
        part: the domain's share of the contents.
        several: whether a list makes sense here.

    Raises:
        UsageError: if the value names nothing, or several where one is expected.
    """
    if not isinstance(store, Folders):
        return store.open(read_name(key, value), part)
    listed = several and isinstance(value, list | tuple) and value
    try:
        return store.open(read_paths(key, value) if listed else read_path(key, value))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{key}: {error}") from error


def device_batch_size(batch_size: int, world: int) -> int:
    """Return a device's share of the global batch.

    Args:
        batch_size: images in the global batch.
        world: number of devices.

    Raises:
        ValueError: if it does not divide; the message names the nearest sizes that do.
    """
    if batch_size % world:
        raise ValueError(
            f"dataset.batch_size={batch_size} is the global batch and cannot be divided over {world} devices; set it "
            f"to {nearest_multiples(batch_size, world)}, or use another number of devices"
        )
    return batch_size // world
