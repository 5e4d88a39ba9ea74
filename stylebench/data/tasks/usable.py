"""Which images of a domain a task can use: those that are large enough, and where the others went."""

import numpy as np

from stylebench.checks import Size, sides, size_text
from stylebench.data.domain import Domain
from stylebench.data.splits import SPLITS, Indices, split_folder

ON_SMALL = ("stop", "upscale", "skip")
_LISTED = 20  # small images that an error message names


def large_enough(domain: Domain, role: str, size_px: Size, on_small: str) -> dict[str, Indices]:
    """Return the indices of each split that may be drawn; raise ValueError if images are too small and that stops."""
    fits = np.all(domain.shapes >= np.array(sides(size_px)), axis=1)
    crop, longest = f"the crop of {size_text(size_px)} px", max(sides(size_px))
    small = np.flatnonzero(~fits)
    if len(small) and on_small == "stop":
        lines = [f"  {domain.ids[i]}: {domain.shape(i)[1]} x {domain.shape(i)[0]}" for i in small[:_LISTED]]
        if len(small) > _LISTED:
            lines.append(f"  and {len(small) - _LISTED} more")
        stored = ""
        if domain.stored_px is not None and domain.stored_px < longest:
            stored = (
                f" They were stored with dataset.store.stored_px={domain.stored_px}: raise it to {longest} or more."
            )
        raise ValueError(
            f"{len(small)} of {len(domain)} images of {domain.path} ({role}) are smaller than {crop}:\n"
            + "\n".join(lines)
            + f"\nLower dataset.size_px, or set dataset.on_small=upscale or dataset.on_small=skip.{stored}"
        )
    keep = fits if on_small == "skip" else np.ones_like(fits)
    if not keep.any():
        raise ValueError(
            f"all {len(domain)} images of {domain.path} ({role}) are smaller than {crop}, so "
            "dataset.on_small=skip leaves none; lower dataset.size_px, or set dataset.on_small=upscale"
        )
    return {split: (indices := domain.split(split))[keep[indices]] for split in (*SPLITS, "all")}


def held_out(domain: Domain) -> str:
    """Say where the other images of a domain are, and how to keep them for training."""
    others = {split: len(domain.split(split)) for split in ("val", "test")}
    held = [f"{count} in {split}" for split, count in others.items() if count]
    if not held or len(domain.split("train")) == len(domain):
        return ""
    keep = ""
    if split_folder(domain.ids[0]) is None:
        keep = "; hold nothing out by dataset.store.val_fraction=0 dataset.store.test_fraction=0"
    return f" of its {len(domain)} images ({', '.join(held)}){keep}"
