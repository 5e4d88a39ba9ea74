"""Metrics against what a rendered world knows: how much of the style is there, and whether the regions still are."""

import torch
from torch import Tensor

from stylebench.checks import check_whole
from stylebench.data.world import World
from stylebench.functional.segments import region_iou
from stylebench.metrics.batch import Views
from stylebench.metrics.pairs import PairMetric
from stylebench.worlds.strength import StrengthReader

_FEWEST = 4  # contents that calibrate a reader, where many styles share the renders


class Strength(PairMetric):
    """Component read-outs of style strength: 0 = like the source, 1 = like the style, more = overdone.

    Calibrations are kept, so that only the first evaluation of a style renders.

    Args:
        contents: contents that calibrate the readers, over all styles of the evaluation (`EvaluationBatch.styles`).
    """

    stem, usual, larger_is_better = "strength", "world", True
    allowed = ("world",)

    def __init__(self, contents: int = 32) -> None:
        super().__init__("world")
        self.contents = check_whole("contents", contents, _FEWEST)
        self._readers: dict[tuple[str, int], StrengthReader] = {}
        self._world: World | None = None

    def rows(self, views: Views) -> dict[str, Tensor]:
        """Return strengths by component, their mean under "", and stray texture; NaN where nothing can be read."""
        world, styles, contents = known(views)
        images = views.batch.image.cpu()
        rows: dict[str, Tensor] = {}
        for style in dict.fromkeys(styles):
            places = [place for place, name in enumerate(styles) if name == style]
            reader = self._reader(world, style, views.batch.styles)
            readings = reader.read(images[places], [contents[place] for place in places])
            found = {"": readings.strength, **readings.components, "stray_texture": readings.texture_excess}
            for name, values in found.items():
                row = rows.setdefault(name, torch.full((len(images),), torch.nan, dtype=torch.float64))
                row[places] = values.double()
        return rows

    def _reader(self, world: World, style: str, styles: int) -> StrengthReader:
        if world is not self._world:
            self._readers, self._world = {}, world
        key = (style, styles)
        if key not in self._readers:
            few = None if styles == 1 else _some_contents(world, max(_FEWEST, self.contents // styles))
            self._readers[key] = StrengthReader(world, style, few)
        return self._readers[key]


class Masks(PairMetric):
    """Whether the content's regions can still be told apart by color: mean intersection over union, in [0, 1]."""

    stem, usual, larger_is_better = "masks", "world", True
    allowed = ("world",)

    def __init__(self) -> None:
        super().__init__("world")

    def rows(self, views: Views) -> dict[str, Tensor]:
        """Return the mean over regions of each image."""
        world, _, contents = known(views)
        images = views.batch.image.cpu().float() / 255
        return {"": region_iou(images, world.anatomy(contents).regions).double()}


def known(views: Views) -> tuple[World, list[str], list[str]]:
    """Return the world, and the style and content of each image.

    Raises:
        ValueError: if the batch does not tell.
    """
    batch = views.batch
    if batch.world is None or batch.style_id is None or batch.content_id is None:
        raise ValueError("read-outs need the world that rendered the contents, and the style and content of each image")
    return batch.world, list(batch.style_id), list(batch.content_id)


def _some_contents(world: World, count: int) -> list[str]:
    contents = world.contents(None)
    test = contents.layout.splits["test"]
    chosen = test if len(test) >= count else range(len(contents.ids))
    return [contents.ids[int(index)] for index in list(chosen)[:count]]
