"""Domains whose images say which they are: every pixel of image i of domain d is (i, d, class)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from stylebench.data.augmentation import RawImages
from stylebench.data.domain import Domain
from stylebench.data.splits import Layout, layout_by_path
from stylebench.data.tasks import AdaptationTask, MultiDomainTask, PairedTask, StyleTask, Task, UnpairedTask

CLASSES = ("bar", "disc", "star")


def marked(number: int, count: int, ids: Sequence[str] | None = None, size: tuple[int, int] = (12, 12)) -> Domain:
    """Return a domain of `count` <= 256 images; red is the image's index, green `number`, blue its class."""
    height, width = size
    classes = np.arange(count, dtype=np.int64) % len(CLASSES)
    pixels = np.empty((count, height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(count)[:, None, None]
    pixels[..., 1] = number
    pixels[..., 2] = classes[:, None, None]
    names = list(ids) if ids is not None else [f"{i:04d}.png" for i in range(count)]
    return Domain(
        name=f"domain{number}",
        path=f"memory:{number}",
        ids=names,
        shapes=np.tile(np.array(size, dtype=np.int64), (count, 1)),
        pixels=pixels,
        digest=str(number),
        layout=Layout(layout_by_path(names, 0.2, 0.2).splits, CLASSES, classes),
    )


TASKS: dict[str, tuple[type[Task], Callable[[], dict[str, Domain]]]] = {
    "style": (StyleTask, lambda: {"content": marked(0, 40), "style": marked(1, 25)}),
    "paired": (PairedTask, lambda: {"input": marked(0, 40), "target": marked(1, 40)}),
    "unpaired": (UnpairedTask, lambda: {"a": marked(0, 40), "b": marked(1, 25)}),
    "multi_domain": (MultiDomainTask, lambda: {f"d{i}": marked(i, n) for i, n in enumerate((40, 25, 30))}),
    "adaptation": (AdaptationTask, lambda: {"source": marked(0, 40), "target": marked(1, 25)}),
}
SETTINGS = {"seed": 0, "size_px": 8, "resize_px": None, "flip": True, "batch_size": 12, "on_small": "stop"}


def mark(part: RawImages | Tensor) -> list[tuple[int, int, int]]:
    """Return (image, domain, class) of each image."""
    assert isinstance(part, RawImages)
    return [tuple(int(channel) for channel in image[:, 0, 0]) for image in part.pixels]


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Tell whether two raw batches are equal, bit by bit."""

    def equal(x: RawImages | Tensor, y: RawImages | Tensor) -> bool:
        if isinstance(x, Tensor) or isinstance(y, Tensor):
            return bool((x == y).all())
        return mark(x) == mark(y) and bool((x.flip == y.flip).all())

    return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
