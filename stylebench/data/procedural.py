"""Domains that are drawn by code: a first run needs no pictures and no download."""

from collections.abc import Callable

import numpy as np

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
    """Open domains that are drawn in memory when they are opened, the same ones for the same settings.

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
            if value < least:
                raise ValueError(f"{key} must be at least {least}, got {value}; set dataset.store.{key}")
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
        painters: dict[str, Callable[[], Pixels]] = {"leaves": self._leaves, "strokes": self._strokes}
        if value not in painters:
            raise ValueError(
                f"no procedural domain {value!r}; there are {', '.join(painters)}. For a folder of your own, set "
                "dataset=folders"
            )
        pixels = painters[value]()  # (N, H, W, 3)
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

    def _leaves(self) -> Pixels:
        from stylebench.functional.dead_leaves import dead_leaves

        pictures = dead_leaves(self.count, self.size_px, self.seed).permute(0, 2, 3, 1)  # (N, H, W, 3)
        return np.ascontiguousarray(pictures.numpy())

    def _strokes(self) -> Pixels:
        return paint_strokes(self.size_px, self.seed)[None]  # (1, H, W, 3)
