"""Domains that are drawn by code: a first run needs no pictures and no download."""

import functools
from collections.abc import Callable

import numpy as np

from stylebench.checks import check_whole
from stylebench.data.domain import Domain, Pixels
from stylebench.data.painting import paint_strokes
from stylebench.data.splits import layout_by_path
from stylebench.data.stores import Part
from stylebench.files import json_digest

# Drawings change with the code: raise it when they do.
_VERSION = 1
_VAL_FRACTION = 0.1
_TEST_FRACTION = 0.1


class Procedural:
    """Open domains that are drawn in memory when they are first opened, the same ones for the same settings.

    `leaves` are dead-leaves pictures, occluding shaded shapes with the statistics of photographs, to serve as contents;
    `strokes` is one picture in thick brush strokes, to serve as a style.

    Args:
        count: number of pictures in `leaves`, >= 1.
        size_px: height and width of the pictures, >= 16.
        seed: decides what is drawn, >= 0.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(self, count: int, size_px: int, seed: int) -> None:
        for key, value, least in (("count", count, 1), ("size_px", size_px, 16), ("seed", seed, 0)):
            check_whole(key, value, least)
        self.count = count
        self.size_px = size_px
        self.seed = seed

    def open(self, value: str, part: Part | None = None) -> Domain:
        """Draw a domain.

        Args:
            value: "leaves" or "strokes".
            part: ignored: the pictures are fixed.

        Returns:
            The domain, in memory.

        Raises:
            ValueError: if there is no domain of that name.
        """
        painters: dict[str, Callable[[], Pixels]] = {
            "leaves": lambda: _leaves(self.count, self.size_px, self.seed),
            "strokes": lambda: _strokes(self.size_px, self.seed),
        }
        if value not in painters:
            raise ValueError(
                f"no procedural domain {value!r}; there are {', '.join(painters)}. For a folder of your own, set "
                "dataset=folders"
            )
        pixels = painters[value]().copy()  # (N, H, W, 3), of the caller's own
        ids = [f"{value}-{i:06d}" for i in range(len(pixels))]
        return Domain(
            name=value,
            path=f"procedural:{value}",
            ids=ids,
            shapes=np.full((len(pixels), 2), self.size_px, dtype=np.int64),
            pixels=pixels,
            digest=json_digest([_VERSION, value, len(pixels), self.size_px, self.seed]),
            layout=layout_by_path(ids, _VAL_FRACTION, _TEST_FRACTION),
        )


@functools.lru_cache(maxsize=4)
def _leaves(count: int, size_px: int, seed: int) -> Pixels:
    from stylebench.functional.dead_leaves import dead_leaves

    return np.ascontiguousarray(dead_leaves(count, size_px, seed).permute(0, 2, 3, 1).numpy())  # (N, H, W, 3)


@functools.lru_cache(maxsize=4)
def _strokes(size_px: int, seed: int) -> Pixels:
    return paint_strokes(size_px, seed)[None]  # (1, H, W, 3)
