"""Pairs that are stored side by side in one picture, as the pix2pix data sets are."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stylebench.checks import check_choice, read_name, read_path
from stylebench.data.domain import Domain, Pixels
from stylebench.data.folders import Folders
from stylebench.data.splits import Layout
from stylebench.data.stores import Store
from stylebench.files import json_digest

DIRECTIONS = ("a_to_b", "b_to_a")


def open_pairs(store: Store, value: Any) -> Domain:
    """Open a domain of side-by-side pictures; one that shrinks them must know, so that no column mixes both sides.

    Args:
        store: what opens domains.
        value: what `dataset.pairs` was given.

    Returns:
        The whole pictures, for `halves`.

    Raises:
        UsageError: if it names nothing, or several.
    """
    if isinstance(store, Folders):
        return store.open_pairs(read_path("dataset.pairs", value))
    return store.open(read_name("dataset.pairs", value))


def halves(pairs: Domain, direction: str) -> dict[str, Domain]:
    """Open the two halves of a domain of side-by-side pictures, a on the left and b on the right.

    Args:
        pairs: pictures of an even width.
        direction: "a_to_b" has the left half as input, "b_to_a" the right one.

    Returns:
        The domains of the roles "input" and "target"; they share ids, splits and classes.

    Raises:
        ValueError: for an unknown direction, or pictures of an odd width.
    """
    check_choice("dataset.direction", direction, DIRECTIONS)
    odd = np.flatnonzero(pairs.shapes[:, 1] % 2)
    if len(odd):
        raise ValueError(
            f"{len(odd)} of {len(pairs)} pictures of {pairs.path} have an odd width, so they cannot be pairs side by "
            f"side; the first is {pairs.ids[odd[0]]}, {pairs.shape(odd[0])[1]} pixels wide. Remove them, or name two "
            "folders by dataset.input and dataset.target"
        )
    sides = ("a", "b") if direction == "a_to_b" else ("b", "a")
    return {role: _half(pairs, side) for role, side in zip(("input", "target"), sides, strict=True)}


def _half(pairs: Domain, side: str) -> Domain:
    return Domain(
        name=f"{pairs.name}_{side}",
        path=f"{pairs.path} ({'left' if side == 'a' else 'right'} half)",
        ids=pairs.ids,
        shapes=pairs.shapes // np.array([1, 2]),
        pixels=_Half(pairs, side),
        digest=json_digest([pairs.digest, side]),
        layout=Layout(pairs.splits, pairs.classes, pairs.labels),
        stored_px=pairs.stored_px,
        skipped=pairs.skipped,
    )


class _Half:
    """Reads one half of each picture; it is a view, nothing is copied."""

    def __init__(self, pairs: Domain, side: str) -> None:
        self._pairs = pairs
        self._side = side

    def __call__(self, indices: Sequence[int]) -> list[Pixels]:
        images = self._pairs.views(indices)
        return [
            image[:, : image.shape[1] // 2] if self._side == "a" else image[:, image.shape[1] // 2 :]
            for image in images
        ]
