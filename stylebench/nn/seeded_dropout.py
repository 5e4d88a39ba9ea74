"""Dropout whose masks follow from seeds: the same on one device or many, and after a resume."""

import contextlib
import math
from collections.abc import Iterator

from torch import Tensor, nn

from stylebench.functional.hash_noise import hash_uniform


class SeededDropout(nn.Dropout):
    """Dropout that `seeded_dropout` has draw by seeds, in training and outside it.

    Args:
        p: share of the entries that are set to 0; the others grow by 1 / (1 - p).
        stream: tells the layers of a network apart, >= 0.

    Attributes:
        seeds: while that is on, int64 on the device of the maps: (B,), one an image, or (1,) for all alike.
    """

    seeds: Tensor | None = None

    def __init__(self, p: float, stream: int) -> None:
        super().__init__(p)
        self.stream = stream

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, C) or (B, C, ...) maps with entries set to 0."""
        if self.seeds is None:
            return super().forward(maps)
        uniform = hash_uniform(self.seeds, maps.shape[1], math.prod(maps.shape[2:]), self.stream)  # (B or 1, C, P)
        kept = (uniform >= self.p).view(-1, *maps.shape[1:])
        return maps * kept / (1 - self.p)


@contextlib.contextmanager
def seeded_dropout(network: nn.Module, seeds: Tensor | None) -> Iterator[None]:
    """Have the `SeededDropout` layers of a network draw by seeds for a `with` block.

    Args:
        network: any module.
        seeds: (B,) int64, one an image, or (1,) for all alike; None for layers that work as torch's do.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, SeededDropout)]
    try:
        for layer in layers:
            layer.seeds = seeds
        yield
    finally:
        for layer in layers:
            layer.seeds = None
