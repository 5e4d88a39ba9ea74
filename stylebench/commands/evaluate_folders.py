"""Evaluation of folders of images, whoever made them: as sets, or pair by pair."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylebench.checks import UsageError, check_size
from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.cache import ReferenceCache
from stylebench.metrics.evaluator import Evaluator
from stylebench.metrics.folders import ImageFolder
from stylebench.metrics.measuring import reference_sets
from stylebench.metrics.records import to_record

log = logging.getLogger(__name__)
PAIRED = ("content", "style", "target")
FEWEST = 2  # images of a set
_LISTED = 4  # sizes that a message names


@dataclass(frozen=True)
class Folders:
    """The image folders of an evaluation.

    Attributes:
        generated: what a method made.
        reference: what it should look like as a set, None for no set metrics.
        others: `content`, `style` and `target`, those that are given.
    """

    generated: ImageFolder
    reference: ImageFolder | None
    others: Mapping[str, ImageFolder]

    def describe(self) -> dict[str, Any]:
        """Return path, count, what was left out, and digest of each folder by its role."""
        return {role: folder.describe() for role, folder in self.given.items()}

    @property
    def given(self) -> dict[str, ImageFolder]:
        """The folders that were named, by role."""
        given = {"generated": self.generated, "reference": self.reference, **self.others}
        return {role: folder for role, folder in given.items() if folder is not None}

    def tell_notes(self) -> dict[str, dict[str, int]]:
        """Log what is to say of the images that were read; return it by role."""
        return {role: notes for role, folder in self.given.items() if (notes := folder.tell_notes())}

    def codecs(self) -> dict[str, str]:
        """Return how the files of the two sets are compressed, as facts of every value."""
        reference = {} if self.reference is None else {"reference_codec": self.reference.codec()}
        return {"source_codec": self.generated.codec(), **reference}


def open_folders(config: Mapping[str, Any]) -> Folders:
    """Open the folders that the command names, and match those that go in pairs.

    Raises:
        UsageError: if there is nothing to compare with.
        FileNotFoundError: if a folder or its images are missing.
        ValueError: if an image has no partner, or one of another size that it is compared with place by place.
    """
    if config["reference"] is None and all(config[role] is None for role in PAIRED):
        raise UsageError(
            "name what the images are compared with: reference=<folder> as a set, or content=, style=, target= pair by "
            "pair"
        )
    size_px = None if config["size_px"] is None else check_size("size_px", config["size_px"])
    named = {role: config[role] for role in ("generated", "reference", *PAIRED) if config[role] is not None}
    folders = {role: ImageFolder(Path(path), role, size_px) for role, path in named.items()}
    generated, reference = folders.pop("generated"), folders.pop("reference", None)
    for role, folder in folders.items():
        partners = folder.partners(generated.ids)
        if role != "style":
            _check_sizes(role, folder, generated, partners)
    return Folders(generated, reference, folders)


def evaluate_folders(
    evaluator: Evaluator, folders: Folders, cache: ReferenceCache, *, size: int, limit: int, device: torch.device
) -> dict[str, dict[str, Any]]:
    """Evaluate folders of images.

    Args:
        evaluator: what to measure.
        folders: the images.
        cache: of the reference's features.
        size: images at a time.
        limit: generated images that are looked at, at most.
        device: for the networks.

    Returns:
        The record's entries, by record key.

    Raises:
        ValueError: if sizes do not fit.
    """
    evaluator.check_required({*folders.others, *(["reference"] if folders.reference is not None else [])})
    _check_set_sizes(evaluator, folders)
    evaluator.to(device).reset()
    generated = folders.generated
    partners = {role: folder.partners(generated.ids) for role, folder in folders.others.items()}
    if len(generated) > limit:
        log.info("measuring %d of %d generated images, by hash (metrics.num_images)", limit, len(generated))
    for images, numbers in generated.batches(
        size,
        limit,
        lambda number: tuple(folder.sizes[partners[role][number]] for role, folder in folders.others.items()),
    ):
        chosen = numbers.tolist()
        known: dict[str, Any] = {"content_id": [generated.ids[number] for number in chosen]}
        for role, folder in folders.others.items():
            known |= _partners(role, folder, [partners[role][number] for number in chosen], device)
        evaluator.update(
            EvaluationBatch(
                image=images.to(device),
                index=numbers,
                **known,
            )
        )
    reference = _reference(evaluator, folders, cache, size)
    facts = folders.codecs()
    if len(set(facts.values())) > 1:
        log.warning(
            "generated images are %s, reference images %s: distances between sets see compression, too", *facts.values()
        )
    return to_record(evaluator.compute(reference), **facts)


def _partners(role: str, folder: ImageFolder, places: list[int], device: torch.device) -> dict[str, Any]:
    """Return a role's pictures of some images, as fields of a batch, with their names."""
    if folder.single and role == "style":
        return {"style": folder.image(0)[None].to(device), "style_id": [folder.ids[0]] * len(places)}
    pictures: Tensor = torch.stack([folder.image(place) for place in places]).to(device)  # (B, 3, H, W)
    if role == "target":
        return {"target": pictures[:, None]}
    return {role: pictures, f"{role}_id": [folder.ids[place] for place in places]}


def _check_sizes(role: str, folder: ImageFolder, generated: ImageFolder, partners: list[int]) -> None:
    """Check that what is compared place by place has the size of the generated image, each of its own."""
    for number, place in enumerate(partners):
        (height, width), (own_height, own_width) = folder.sizes[place], generated.sizes[number]
        if (height, width) != (own_height, own_width):
            raise ValueError(
                f"{role}={folder.files[place]} is {width} x {height}, {generated.files[number]} {own_width} x "
                f"{own_height} (width x height); they are compared place by place: resize one of the folders, or have "
                "all cut and resized to a common size by size_px=256"
            )


def _check_set_sizes(evaluator: Evaluator, folders: Folders) -> None:
    """Check that images are of one size where a network looks at sets of them at their own size."""
    own = [name for name in evaluator.set_extractors() if evaluator.extractors[name].size_px is None]
    reference = folders.reference
    if not own or reference is None or len(reference) < FEWEST:
        return
    sizes = sorted({*folders.generated.sizes, *reference.sizes})
    if len(sizes) > 1:
        listed = ", ".join(f"{width} x {height}" for height, width in sizes[:_LISTED])
        raise ValueError(
            f"the images of {reference.role} and {folders.generated.role} have {len(sizes)} sizes ({listed}; width x "
            f"height), and {', '.join(own)} look at images at their own size, where scale counts as style: have all "
            "cut and resized to a common size by size_px=256, or choose metrics whose networks resize"
        )


def _reference(evaluator: Evaluator, folders: Folders, cache: ReferenceCache, size: int) -> dict[str, Any]:
    reference = folders.reference
    if reference is None or len(reference) < FEWEST:
        return {}
    facts = {"data": reference.digest(), "codec": reference.codec()}
    return reference_sets(evaluator, cache, facts, lambda: reference.batches(size))
