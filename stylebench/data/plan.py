"""Plans: what results are measured on, said once: the contents, what they are compared with, and what is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stylebench.checks import size_text
from stylebench.data.augmentation import CropSettings, RawImages, finish_images
from stylebench.data.domain import Domain
from stylebench.data.splits import Indices
from stylebench.data.stores import Part
from stylebench.data.streams import central, cut, cut_each
from stylebench.data.world import PRIOR, World
from stylebench.functional.pixels import quantize


class Pictures:
    """Images in a fixed order, cut in their center as a task cuts its own; behind their end they start over.

    Args:
        domains: where the images are.
        chosen: (N,) positions of the images, each in its domain.
        crop: how crops are cut.
        numbers: (N,) which of the domains each image is of; None where there is one.
    """

    def __init__(
        self, domains: Sequence[Domain], chosen: Indices, crop: CropSettings, numbers: Indices | None = None
    ) -> None:
        self.domains, self.chosen, self.crop, self.numbers = list(domains), chosen, crop, numbers

    def __len__(self) -> int:
        return len(self.chosen)

    def first(self, count: int) -> "Pictures":
        """Return the first images alone."""
        return Pictures(
            self.domains, self.chosen[:count], self.crop, None if self.numbers is None else self.numbers[:count]
        )

    def ids(self, places: Indices) -> list[str]:
        """Return the ids of the images at (B,) places."""
        places = places % len(self)
        numbers = np.zeros(len(places), dtype=np.int64) if self.numbers is None else self.numbers[places]
        return [
            self.domains[number].ids[int(index)] for number, index in zip(numbers, self.chosen[places], strict=True)
        ]

    def crops(self, places: Indices, device: torch.device) -> Tensor:
        """Return the images at (B,) places: (B, 3, H, W) float32 in [0, 1]."""
        places = places % len(self)
        where = central(len(places))
        if self.numbers is None:
            raw = cut(self.domains[0], self.chosen[places], where, self.crop)
        else:
            raw = cut_each(self.domains, self.numbers[places], self.chosen[places], where, self.crop)
        pixels = (
            raw.pixels.to(device) if isinstance(raw.pixels, Tensor) else [pixels.to(device) for pixels in raw.pixels]
        )
        return finish_images(RawImages(pixels, raw.flip.to(device)), self.crop.size_px)


@dataclass(frozen=True)
class Answers:
    """The exact answers of a rendered world.

    Attributes:
        world: what renders them.
        address: the domain that results should be in, as the world opens it.
        part: that domain's share of the contents.
    """

    world: World
    address: str
    part: Part

    def styles(self, ids: Sequence[str]) -> list[str]:
        """Return the style that is asked for with each of some images of the domain."""
        if self.address.partition("@")[0] != PRIOR:
            return [self.address] * len(ids)
        contents, styles = self.world.look_up(self.address, self.part)
        by_id = dict(zip(contents.ids, styles, strict=True))
        return [by_id[id_] for id_ in ids]

    def render(self, contents: Sequence[str], styles: Sequence[str], draws: int) -> Tensor:
        """Return the right answers for some contents, (B, draws, 3, H, W) uint8 on the CPU."""
        return torch.stack([self.world.render(contents, styles, draw=draw) for draw in range(draws)], 1)


class Piece(NamedTuple):
    """A few contents of a plan, on the device.

    Attributes:
        images: (B, 3, H, W) in [0, 1], what is translated.
        pictures: (1 or B, 3, h, w) pictures that the model may be shown beside them, by the name of its input.
        request: controls: a value for all images, or a list with one for each.
        known: the fields of an `EvaluationBatch` but for the image.
    """

    images: Tensor
    pictures: dict[str, Tensor]
    request: dict[str, Any]
    known: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What results are measured on: contents of a split in hash order, so that the first few stand for all.

    Attributes:
        name: tells the plans of a task apart; empty if one is measured at a time.
        split: where the images come from.
        contents: what is translated.
        pictures: what the model may be shown beside each content, by the name of its input.
        style: the style that is asked for with each content.
        whole_style: (1, 3, h, w) uint8, the one picture of a style that was learned in training.
        target: the right answer to each content.
        degradation: what makes the contents of the targets; None where they are images of their own.
        reference: opens the images that results should look like as a set.
        world: the exact answers, in a rendered world.
        request: controls of the model: a value for all images, or a list with one for each.
        alternatives: other requests, at least two, whose results for one content should differ.
        on_request: whether it is measured only where its request is asked for.
        scenes: images with exact answers, the first so many.
        draws: renders that stand for the set of right answers.
    """

    name: str
    split: str
    contents: Pictures
    pictures: Mapping[str, Pictures] = field(default_factory=dict)
    style: Pictures | None = None
    whole_style: Tensor | None = None
    target: Pictures | None = None
    degradation: Callable[[Tensor], Tensor] | None = None
    reference: Callable[[], Pictures | None] = lambda: None
    world: Answers | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[Mapping[str, Any], ...] = ()
    on_request: bool = False
    scenes: int = 0
    draws: int = 1

    def __len__(self) -> int:
        return len(self.contents)

    def limited(self, images: int, scenes: int = 0, draws: int = 1) -> "Plan":
        """Return this plan for the first images alone; without a number of scenes, without exact answers.

        Args:
            images: contents, and images of the reference, at most.
            scenes: images with exact answers, at most: these cost renders.
            draws: renders that stand for the set of right answers.

        Raises:
            ValueError: if exact answers would have another size than results.
        """
        contents = self.contents.first(images)
        # What was made smaller of its target has that one answer, no other draw of its style.
        answered = 0 if self.world is None or self.degradation is not None else min(scenes, len(contents))
        size_px = self.contents.crop.size_px
        if self.world is not None and answered and self.world.world.size_px != size_px:
            raise ValueError(
                f"exact answers are rendered at dataset.store.size_px={self.world.world.size_px}, but results have "
                f"dataset.size_px={size_text(size_px)}; set both alike, or metrics.scenes=0 to measure without answers"
            )
        whole = self.reference

        def reference() -> Pictures | None:
            found = whole()
            return None if found is None else found.first(images)

        return replace(self, contents=contents, reference=reference, scenes=answered, draws=draws)

    def roles(self) -> set[str]:
        """Return what results can be compared with."""
        here = {
            "content": self.degradation is None,
            "style": "style" in self.pictures or self.whole_style is not None,
            "target": self.target is not None or self.scenes > 0,
            "world": self.scenes > 0,
            "alternatives": bool(self.alternatives),
            "reference": self.reference_count() > 1,
        }
        return {role for role, there in here.items() if there}

    def pieces(self, size: int, rank: int, processes: int, device: torch.device) -> Iterator[Piece]:
        """Yield this process's share of the contents: a slice without padding, in pieces.

        Args:
            size: images in a piece, at most.
            rank: this process.
            processes: how many share the images.
            device: where the pieces go.
        """
        first, last = len(self) * rank // processes, len(self) * (rank + 1) // processes
        while first < last:
            end = min(first + size, last)
            if first < self.scenes < end:  # a piece has exact answers for all of its images, or for none
                end = self.scenes
            yield self._piece(np.arange(first, end, dtype=np.int64), device)
            first = end

    def reference_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ((B, 3, H, W) uint8, (B,) indices) of the reference images, cropped as a method sees them."""
        found = self.reference()
        for start in range(0, 0 if found is None else len(found), size):
            assert found is not None
            places = np.arange(start, min(start + size, len(found)), dtype=np.int64)
            yield quantize(found.crops(places, torch.device("cpu"))), torch.from_numpy(found.chosen[places])

    def reference_count(self) -> int:
        """Return how many reference images there are; 0 if there is no reference set."""
        found = self.reference()
        return 0 if found is None else len(found)

    def reference_facts(self) -> dict[str, Any]:
        """Return what the reference images follow from, for a fingerprint; empty if there are none."""
        found = self.reference()
        if found is None or not len(found):
            return {}
        return {
            "data": found.domains[0].digest, "split": self.split,
            "images": sorted(found.ids(np.arange(len(found), dtype=np.int64))),
            "size_px": found.crop.size_px, "resize_px": found.crop.resize_px,
        }  # fmt: skip

    def _piece(self, places: Indices, device: torch.device) -> Piece:
        target = None if self.target is None else self.target.crops(places, device)
        if self.degradation is None:
            images = self.contents.crops(places, device)
        else:
            assert target is not None
            images = self.degradation(target)
        pictures = {name: shown.crops(places, device) for name, shown in self.pictures.items()}
        known: dict[str, Any] = {"index": torch.from_numpy(places), "content_id": self.contents.ids(places)}
        if self.degradation is None:
            known["content"] = quantize(images)
        if self.style is not None:
            known["style_id"] = self.style.ids(places)
            known["style"] = quantize(pictures["style"]) if "style" in pictures else self.whole_style
        if target is not None and not self.scenes:  # else exact answers stand for it, of the first scenes alone
            known["target"] = quantize(target)[:, None]
        request = {
            name: [value[place] for place in places] if isinstance(value, list) else value
            for name, value in self.request.items()
        }
        return Piece(images, pictures, request, known | self._answers(places, device))

    def _answers(self, places: Indices, device: torch.device) -> dict[str, Any]:
        """Return exact answers for the first scenes; nothing behind them."""
        if self.world is None or places[0] >= self.scenes:
            return {}
        asked = self.contents if self.style is None else self.style  # whose images say which style is asked for
        styles = self.world.styles(asked.ids(places))
        truth = self.world.render(self.contents.ids(places), styles, self.draws)
        every = self.world.styles(asked.ids(np.arange(self.scenes, dtype=np.int64)))
        return {"world": self.world.world, "style_id": styles, "styles": len(set(every)), "target": truth.to(device)}


def asked_for(plans: Sequence[Plan], controls: Mapping[str, Any]) -> list[Plan]:
    """Return the plans that are measured: those whose request a user asks for, else all that need no asking.

    Args:
        plans: of a task.
        controls: what a user has set for the model.
    """
    agreeing = [
        plan
        for plan in plans
        if any(name in controls and str(controls[name]) == value for name, value in plan.request.items())
    ]
    return agreeing or [plan for plan in plans if not plan.on_request]
