"""What a method is evaluated on: fixed images of a split, what results are compared with, and the reference set."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stylebench.data.augmentation import whole_image
from stylebench.data.domain import Domain
from stylebench.data.stores import Store
from stylebench.data.tasks import Task
from stylebench.data.worlds import PRIOR, World
from stylebench.functional.pixels import quantize

_SINGLE = "/"  # between a domain and the one picture of it that is meant


class Piece(NamedTuple):
    """Inputs of a few images.

    Attributes:
        batch: the task's batch, on the device, for `translate`.
        known: the fields of an `EvaluationBatch` but for the image.
    """

    batch: Any
    known: dict[str, Any]


class EvaluationInputs:
    """The first images of a task's split in hash order, so that the first few stand for all.

    Args:
        task: the task.
        store: what opened its domains; a rendered world knows exact answers.
        settings: the config under `dataset`.
        split: `val` or `test`.
        count: images, at most; fewer where the split ends.
        scenes: images with exact answers in a rendered world, at most: these cost renders.
        draws: renders that stand for the set of right answers.
        name: tells inputs apart where a method is evaluated on several.
        controls: what the translator is told beside a batch.

    Raises:
        ValueError: if exact answers would have another size than results.
    """

    def __init__(
        self,
        task: Task,
        store: Store,
        settings: Mapping[str, Any],
        *,
        split: str,
        count: int,
        scenes: int,
        draws: int,
        name: str = "",
        controls: Mapping[str, Any] | None = None,
    ) -> None:
        self.task, self.split = task, split
        self.name, self.controls = name, dict(controls or {})
        self.world = store if isinstance(store, World) else None
        self.settings = settings
        self._most = min(count, task.size(split))
        own = task.evaluated.get("content")
        # Where the domain that is translated is the smaller one, `fixed` starts over; no image counts twice here.
        self.count = min(self._most, len(task.indices(own, split))) if own in task.draws else self._most
        # What was made smaller of its target has that one answer, no other draw of its style.
        same_size = all(task.comparable(role) for field, role in task.evaluated.items() if field == "content")
        self.scenes = min(scenes, self.count) if self.world and same_size else 0
        if self.world is not None and self.scenes and self.world.size_px != task.size_px:
            raise ValueError(
                f"exact answers are rendered at dataset.store.size_px={self.world.size_px}, but results have "
                f"dataset.size_px={task.size_px}; set both alike, or metrics.scenes=0 to measure without answers"
            )
        self.draws = draws
        self._single = self._single_style()

    def __len__(self) -> int:
        return self.count

    def roles(self) -> set[str]:
        """Return what results can be compared with."""
        here = {field for field, role in self.task.evaluated.items() if self.task.comparable(role)}
        here |= {"style"} if self._single is not None else set()
        here |= {"world", "target"} if self.scenes else set()
        return here | ({"reference"} if self.reference_count() > 1 else set())

    def pieces(self, size: int, rank: int, processes: int, device: torch.device) -> Iterator[Piece]:
        """Yield the inputs of this process's share: a slice without padding, in pieces.

        Args:
            size: images in a piece, at most.
            rank: this process.
            processes: how many share the images.
            device: where the batch goes.
        """
        first, last = self.count * rank // processes, self.count * (rank + 1) // processes
        while first < last:
            end = min(first + size, last)
            if first < self.scenes < end:  # a piece has exact answers for all of its images, or for none
                end = self.scenes
            yield self._piece(first, end - first, device)
            first = end

    def reference(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ((B, 3, H, W) uint8, (B,) indices) of the reference images, cropped as a method sees them."""
        domain, chosen = self._reference_set()
        for start in range(0, len(chosen), size):
            places = chosen[start : start + size]
            crops = self.task.crops(domain, places)
            yield quantize(crops), torch.from_numpy(places)

    def reference_count(self) -> int:
        """Return how many reference images there are; 0 if the task has no reference set."""
        return len(self._reference_set()[1])

    def reference_facts(self) -> dict[str, Any]:
        """Return what the reference images follow from, for a fingerprint."""
        domain, chosen = self._reference_set()
        crop = self.task.crop
        return {
            "data": domain.digest, "split": self.split, "images": sorted(domain.ids[int(place)] for place in chosen),
            "size_px": crop.size_px, "resize_px": crop.resize_px,
        }  # fmt: skip

    def _reference_set(self) -> tuple[Domain, np.ndarray[Any, np.dtype[np.int64]]]:
        """Return the reference's domain and images.

        A single picture is no set. In a rendered world the rest of its style's domain stands for it.
        """
        role = self.task.reference
        if role is None:
            empty = next(iter(self.task.domains.values()))
            return empty, np.zeros(0, dtype=np.int64)
        domain = self.task.domains[role]
        if len(domain) == 1 and self.world is not None:
            domain = self.world.open(str(self.settings[role]).partition(_SINGLE)[0], self.task.part(role))
        if len(domain) == 1:
            return domain, np.zeros(0, dtype=np.int64)
        usable = (
            self.task.indices(role, self.split)
            if domain is self.task.domains[role] and role in self.task.draws
            else None
        )
        return domain, (domain.split(self.split) if usable is None else usable)[: self._most]

    def _piece(self, start: int, count: int, device: torch.device) -> Piece:
        raw = self.task.fixed(count, self.split, start)
        on_device = {
            field: part.to(device) if isinstance(part, Tensor) else type(part)(*_moved(part, device))
            for field, part in raw.items()
        }
        batch = self.task.finish(on_device)
        places = np.arange(start, start + count, dtype=np.int64)
        known: dict[str, Any] = {"index": torch.from_numpy(places)}
        ids: dict[str, list[str]] = {}
        for field, role in self.task.evaluated.items():
            images = getattr(batch, role, None)
            ids[field] = self.task.fixed_ids(role, self.split, places)
            if images is not None and self.task.comparable(role):
                known[field] = quantize(images)
        if "style" in self.task.evaluated and "style" not in known:
            known["style"] = self._single
        if "target" in known:
            known["target"] = known["target"][:, None]
            if self.scenes and start >= self.scenes:  # exact answers stand for the target, of the first scenes alone
                del known["target"]
        return Piece(batch, known | self._names(ids) | self._answers(ids, start, device))

    def _names(self, ids: Mapping[str, list[str]]) -> dict[str, Any]:
        names: dict[str, Any] = {"content_id": ids.get("content")}
        if "style" in ids:
            names["style_id"] = ids["style"]
        return names

    def _answers(self, ids: Mapping[str, list[str]], start: int, device: torch.device) -> dict[str, Any]:
        """Return exact answers of a rendered world for the first scenes; nothing where there are none."""
        role = self.task.reference
        if self.world is None or start >= self.scenes or role is None or "content" not in ids:
            return {}
        contents = ids["content"]
        styles = self._styles(role, ids.get("style", contents))
        truth = torch.stack([self.world.render(contents, styles, draw=draw) for draw in range(self.draws)], 1)
        return {"world": self.world, "style_id": styles, "styles": self._style_count(role), "target": truth.to(device)}

    def _styles(self, role: str, ids: list[str]) -> list[str]:
        """Return the style that is asked for with each image of a domain."""
        value = str(self.settings[role])
        if value.partition("@")[0].partition(_SINGLE)[0] != PRIOR:
            return [value.partition(_SINGLE)[0]] * len(ids)
        assert self.world is not None
        contents, styles = self.world.look_up(value, self.task.part(role))
        by_id = dict(zip(contents.ids, styles, strict=True))
        return [by_id[id_] for id_ in ids]

    def _style_count(self, role: str) -> int:
        """Return how many styles the images with exact answers ask for."""
        of_style = self.task.evaluated.get("style", self.task.evaluated["content"])
        places = np.arange(self.scenes, dtype=np.int64)
        chosen = self.task.central_indices(of_style, self.split, places)
        domain = self.task.domains[of_style]
        return len(set(self._styles(role, [domain.ids[int(index)] for index in chosen])))

    def _single_style(self) -> Tensor | None:
        """Return the picture of a method that learns one style and draws none: whole, at the scale of the crops."""
        role = self.task.evaluated.get("style")
        if role is None or role in self.task.draws or len(self.task.domains[role]) != 1:
            return None
        return quantize(whole_image(self.task.domains[role], 0, self.task.crop.resize_px or self.task.size_px))


def _moved(raw: Any, device: torch.device) -> Iterator[Any]:
    """Return the parts of raw images on a device."""
    for part in raw:
        yield [pixels.to(device) for pixels in part] if isinstance(part, list) else part.to(device)
