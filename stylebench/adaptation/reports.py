"""What calibration found: the statistics of a domain, and how they were taken."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from stylebench.functional.moments import MeanAndVariance

Forward = Callable[[nn.Module, Any], object]  # runs a network on a batch


@dataclass(frozen=True)
class LayerReport:
    """What calibration found in one layer.

    Attributes:
        channels: number of channels.
        entries: of a channel: images times positions.
        distance: symmetric KL divergence from the source's statistics, mean over channels.
        dead: channels that are constant over the domain.
    """

    channels: int
    entries: int
    distance: float
    dead: int


@dataclass(frozen=True)
class CalibrationReport:
    """Statistics of a domain, and how they were taken.

    Attributes:
        images: how many were shown, over all processes.
        propagate: `sequential` or `batch`.
        passes: over the images.
        seconds: of wall time.
        layers: by name, those that were adapted.
        statistics: (C,) float64 mean and variance by layer, for `keep`.
    """

    images: int
    propagate: str
    passes: int
    seconds: float
    layers: Mapping[str, LayerReport]
    statistics: Mapping[str, MeanAndVariance] = field(repr=False)

    def record(self) -> dict[str, Any]:
        """Return what a record keeps: all but the statistics."""
        return {
            "images": self.images, "propagate": self.propagate, "passes": self.passes, "seconds": self.seconds,
            "layers": {name: vars(layer) for name, layer in self.layers.items()},
        }  # fmt: skip
