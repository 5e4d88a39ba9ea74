"""Which images belong to train, val and test: by folder where there are folders, else by a hash of the id."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

SPLITS = ("train", "val", "test")
# Names of top-level folders that mean a split.
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Layout(NamedTuple):
    """How the images of a domain are divided.

    Attributes:
        splits: ascending positions under "train", "val", "test" and "all".
        classes: class names; none where there are no classes.
        labels: (N,) each image's position in `classes`, or None where there are no classes.
    """

    splits: Mapping[str, Indices]
    classes: Sequence[str] = ()
    labels: Indices | None = None


def layout_by_path(ids: Sequence[str], val_fraction: float, test_fraction: float) -> Layout:
    """Read splits and classes off the ids; see `assign_splits` and `class_labels`."""
    return Layout(assign_splits(ids, val_fraction, test_fraction), *class_labels(ids))


def joined_layout(members: Sequence[Sequence[str]], ids: Sequence[str], val: float, test: float) -> Layout:
    """Read splits and classes of several folders that are one domain.

    Split folders count in the folder that has them; all other images are split together, by the hash of their ids.

    Args:
        members: ids of each folder's images, relative to it.
        ids: ids of all in the domain, one folder behind the other.
        val: part of the images for validation where no folder decides.
        test: part of the images for testing where no folder decides.
    """
    ends = np.cumsum([len(member) for member in members])
    everything = np.arange(len(ids), dtype=np.int64)
    parts = np.split(everything, ends[:-1])
    by_folder = [any(map(split_folder, member)) for member in members]
    groups = [(part, list(member)) for part, member, has in zip(parts, members, by_folder, strict=True) if has]
    rest = [part for part, has in zip(parts, by_folder, strict=True) if not has]
    if rest:
        pooled = np.concatenate(rest)
        groups.append((pooled, [ids[i] for i in pooled]))
    found = [(part, assign_splits(names, val, test)) for part, names in groups]
    splits = {name: np.sort(np.concatenate([part[places[name]] for part, places in found])) for name in SPLITS}
    return Layout({**splits, "all": everything}, *class_labels([id_ for member in members for id_ in member]))


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Raise ValueError unless both fractions are at least 0 and leave something for training."""
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
        raise ValueError(
            f"val_fraction and test_fraction must be at least 0 with a sum below 1, got {val_fraction} and "
            f"{test_fraction}; lower one of them"
        )


def assign_splits(ids: Sequence[str], val_fraction: float, test_fraction: float) -> dict[str, Indices]:
    """Assign every image to a split, the same on every machine and stable when images are added.

    Top-level folders named train, val (or valid, validation) and test decide where there are any; a val or test that
    has no folder is cut out of train. Without such folders the hash of each id decides. A hashed split that came out
    empty takes the image whose hash lies nearest to its range; of one or two images every split has all.

    Args:
        ids: relative posix paths, sorted.
        val_fraction: part of the images for validation, in [0, 1); 0 holds nothing out: val shows the training images.
        test_fraction: part of the images for testing, in [0, 1); 0 as for validation.

    Returns:
        Ascending positions in `ids` under "train", "val", "test" and "all".

    Raises:
        ValueError: if some images lie in split folders and others do not, or the fractions leave nothing to train on.
    """
    check_fractions(val_fraction, test_fraction)
    everything = np.arange(len(ids), dtype=np.int64)
    by_folder = [split_folder(id_) for id_ in ids]
    inside = sum(split is not None for split in by_folder)
    if 0 < inside < len(ids):
        outside = ids[by_folder.index(None)]
        raise ValueError(
            f"{inside} of {len(ids)} images lie in folders named after splits (train, val, test) and others, such as "
            f"{outside}, do not; move those into a split folder, or rename the split folders to have all split by hash"
        )
    if inside:
        splits = {name: everything[[split == name for split in by_folder]] for name in SPLITS}
        wanted = {
            "val": 0.0 if len(splits["val"]) else val_fraction,
            "test": 0.0 if len(splits["test"]) else test_fraction,
        }
        cut = _hashed([ids[i] for i in splits["train"]], wanted)
        splits |= {name: splits["train"][cut[name]] for name in SPLITS if name == "train" or wanted[name]}
    else:
        masks = _hashed(ids, {"val": val_fraction, "test": test_fraction})
        splits = {name: everything[mask] for name, mask in masks.items()}
    nothing = [name for name, part in (("val", val_fraction), ("test", test_fraction)) if not part]
    splits |= {name: splits["train"] for name in nothing if not len(splits[name])}
    return {**splits, "all": everything}


def split_folder(id_: str) -> str | None:
    """Return the split that an id's top-level folder names, or None."""
    top, slash, _ = id_.partition("/")
    return SPLIT_FOLDERS.get(top.lower()) if slash else None


def class_labels(ids: Sequence[str]) -> tuple[list[str], Indices | None]:
    """Read class labels off the top-level folders, below the split folder where there is one.

    Args:
        ids: relative posix paths.

    Returns:
        The sorted class names and each image's position among them; no names and None if an image lies in no class
        folder.
    """
    paths = [id_.split("/")[1:] if split_folder(id_) else id_.split("/") for id_ in ids]
    if not paths or min(len(path) for path in paths) < 2:
        return [], None
    classes = sorted({path[0] for path in paths})
    number = {name: position for position, name in enumerate(classes)}
    return classes, np.array([number[path[0]] for path in paths], dtype=np.int64)


def _hashed(ids: Sequence[str], fractions: Mapping[str, float]) -> dict[str, NDArray[np.bool_]]:
    """Split by the hash of the id; return one mask for each split. See `assign_splits` for few images."""
    if len(ids) <= 2:
        return {name: np.ones(len(ids), dtype=bool) for name in SPLITS}
    places = np.array([unit_hash(id_) for id_ in ids])
    test_end = fractions["test"]
    val_end = test_end + fractions["val"]
    ranges = {"test": (0.0, test_end), "val": (test_end, val_end), "train": (val_end, 1.0)}
    masks = {name: (low <= places) & (places < high) for name, (low, high) in ranges.items()}
    for name, (low, high) in ranges.items():
        if high > low and not masks[name].any():
            distance = np.maximum(low - places, places - high)
            for mask in masks.values():
                if mask.sum() == 1:  # do not empty another split to fill this one
                    distance[mask] = np.inf
            nearest = int(distance.argmin())
            for split, mask in masks.items():
                mask[nearest] = split == name
    return masks


def unit_hash(id_: str) -> float:
    """Map an id to [0, 1), evenly: the first 53 bits of its SHA-256, which a float64 holds exactly."""
    digest = hashlib.sha256(id_.encode("utf-8", "surrogateescape")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53
