"""ProcStyle as a store: scenes that are drawn by code, in any number of styles."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylebench.checks import check_whole
from stylebench.data.splits import SPLITS, Layout
from stylebench.data.stores import Part
from stylebench.data.world import Anatomy, Contents, World, content_splits
from stylebench.files import cache_dir
from stylebench.worlds.procstyle import (
    COMPONENTS,
    FAMILY,
    NAMED_STYLES,
    PHOTO,
    SHAPES,
    VERSION,
    Style,
    benchmark,
    draw_scenes,
    interpolate,
    parse_style,
    render,
    scene_labels,
)

_BATCH = 16  # scenes rendered at once: few enough to stay in a processor's cache
_LABEL_PX = 32  # side at which the largest visible area is measured
_MATERIALS = 10  # of objects and backgrounds


class ProcStyle(World):
    """Open scenes in a style as domains; classes are the shapes of the scenes' main objects.

    Args:
        size_px: height and width of the pictures, >= 16.
        train_images: scenes of each domain's training split, >= 1.
        val_images: scenes of the validation split, >= 1.
        test_images: scenes of the test split, >= 1.
        packed: see `World`.
        cache: folder of the cache; None for `$STYLEBENCH_CACHE`, else `~/.cache/stylebench`.

    Raises:
        ValueError: if a setting is out of its range.
    """

    name = "procstyle"
    version = VERSION
    components = COMPONENTS
    named = tuple(NAMED_STYLES)

    def __init__(
        self, size_px: int, train_images: int, val_images: int, test_images: int, packed: bool, cache: str | None
    ) -> None:
        super().__init__(size_px, packed, Path(cache).expanduser().absolute() if cache is not None else cache_dir())
        self.counts = {"train": train_images, "val": val_images, "test": test_images}
        for key, value, least in [("size_px", size_px, 16), *((f"{k}_images", n, 1) for k, n in self.counts.items())]:
            check_whole(key, value, least)

    def contents(self, part: Part | None) -> Contents:
        """Return the scenes of a part: their ids say where they belong, so that no two parts or splits share one."""
        ids = {}
        for split in SPLITS:
            shared = part is None or (part.shared_evaluation and split != "train")
            stem = split if shared or part is None else f"{split}-{part.index}"
            ids[split] = [f"{stem}-{number:05d}" for number in range(self.counts[split])]
        ordered, splits = content_splits(ids)
        return Contents(ordered, Layout(splits, SHAPES, _main_classes(tuple(ordered))))

    def check_style(self, style: str) -> None:
        """Raise ValueError, with a list of what there is, if a style's name says nothing."""
        parse_style(style)

    def draw(
        self,
        ids: Sequence[str],
        styles: Sequence[str],
        nuisance: Sequence[int],
        strength: float,
        components: Sequence[str],
    ) -> Tensor:
        """Render scenes; see `World.render`."""
        scenes = draw_scenes(ids)
        made = [_at_strength(*one, strength, tuple(components)) for one in zip(styles, nuisance, strict=True)]
        images = [
            render(scenes.select(range(i, min(i + _BATCH, len(ids)))), made[i : i + _BATCH], nuisance[i : i + _BATCH],
                   self.size_px)
            for i in range(0, len(ids), _BATCH)
        ]  # fmt: skip
        return torch.cat(images)

    def anatomy(self, ids: Sequence[str]) -> Anatomy:
        """Return each scene's materials as regions, its outlines, objects and light."""
        labels = scene_labels(draw_scenes(ids), self.size_px)
        materials = torch.arange(_MATERIALS)[None, :, None, None]
        numbers = torch.arange(1, int(labels.instances.max()) + 1)[None, :, None, None]
        return Anatomy(
            regions=labels.materials[:, None] == materials,
            outline=labels.contour,
            objects=labels.instances[:, None] == numbers,
            light=labels.light,
        )

    def benchmark(self, seconds: float) -> float:
        """Return pictures a second over all cores of this machine, at this world's size."""
        return benchmark(self.size_px, seconds)

    def fingerprint(self) -> Any:
        """Return nothing: ids, styles and version decide every render."""
        return None


def _at_strength(name: str, nuisance: int, strength: float, components: tuple[str, ...]) -> Style:
    """Return a picture's style at a strength, from the source."""
    return _mixed(name, nuisance if name.startswith(FAMILY) else 0, strength, components)


@lru_cache(maxsize=4096)
def _mixed(name: str, nuisance: int, strength: float, components: tuple[str, ...]) -> Style:
    style = parse_style(name, nuisance)
    if strength == 1 and components == COMPONENTS:
        return style
    return interpolate(PHOTO, style, strength, components)


@lru_cache(maxsize=32)
def _main_classes(ids: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the shape of each scene's object with the largest visible area."""
    classes = [scene_labels(draw_scenes(ids[i : i + 256]), _LABEL_PX).main_class for i in range(0, len(ids), 256)]
    return torch.cat(classes).numpy()
