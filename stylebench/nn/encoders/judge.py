"""The encoder that only judges: it scores what others trained, and no method can be trained with it.

Source: experiments/compact/ (recipe and measurements).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.nn.encoders.base import Encoder, record_name
from stylebench.nn.encoders.normalization import Group
from stylebench.nn.encoders.stages import Conv, FrozenConv, Pool, Stage
from stylebench.nn.encoders.weights import Shipped

SHIPPED = Path(__file__).with_name("compact_judge.safetensors")
_DIGEST = "fe4de1a23421aff49083b718f57e2fc0bdad342155791f09d50170789dc2aecc"
_MIXES = (  # squeezed channels; channels seen by a pixel, its neighbors, and neighbors two pixels apart
    ((16, (16, 24, 24)),),
    ((32, (32, 48, 48)), (32, (32, 48, 48))),
    ((48, (48, 64, 64)), (48, (48, 64, 64))),
    ((64, (64, 96, 96)), (64, (64, 96, 96))),
)
_STEM = 32


class Mix(Stage):
    """A 1x1 convolution squeezes; a 1x1, a 3x3 and a 3x3 of dilation 2 see the result side by side."""

    def __init__(self, name: str, inputs: int, squeezed: int, outputs: tuple[int, int, int]) -> None:
        super().__init__()
        self.name = name
        self.squeeze = FrozenConv(inputs, squeezed, 1)
        self.point = FrozenConv(squeezed, outputs[0], 1)
        self.near = FrozenConv(squeezed, outputs[1], 3, padding=1)
        self.far = FrozenConv(squeezed, outputs[2], 3, padding=2, dilation=2)
        self.channels = sum(outputs)

    def convs(self) -> dict[str, FrozenConv]:
        """Return the four convolutions."""
        return {f"{self.name}.{part}": getattr(self, part) for part in ("squeeze", "point", "near", "far")}

    def run(self, x: Tensor, overwrite: bool) -> Tensor:
        """Squeeze, look at three scales, and rectify what they see."""
        squeezed = F.relu_(self.squeeze(x))
        return F.relu_(torch.cat((self.point(squeezed), self.near(squeezed), self.far(squeezed)), 1))


class JudgeEncoder(Encoder):
    """A network of parallel branches with average pooling: taps `stem`, `mix1` .. `mix7`, `pool1` .. `pool3`.

    Strides are 2 for `stem` and `mix1`, 4 for `mix2` and `mix3`, 8 for `mix4` and `mix5`, 16 for `mix6` and `mix7`.
    Every rectified channel of a tap has mean activation 1. In records its name ends with the first 8 digits of its
    weights' digest: `compact_judge-1a2b3c4d`.

    Args:
        weights: `shipped`, `random` (or `random-<seed>`), or the path of a file of weights.
        content_layers: taps that content distances compare.
        style_layers: taps that style distances compare.
        exchange_layer: ignored by judging; a tap, so that all encoders are configured alike.
        calibration: (N, 3, H, W) uint8 pictures to measure mean activations on; None for the built-in ones.

    Raises:
        ValueError: on an unknown tap, or weights of another network.
        FileNotFoundError: if there is no file of weights at the path, or in the installation.
    """

    judges_only: ClassVar[bool] = True

    def __init__(
        self,
        weights: str,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        exchange_layer: str,
        calibration: Tensor | None = None,
    ) -> None:
        super().__init__("compact_judge", _stages(), "torch", content_layers, style_layers, exchange_layer)
        self._load(weights, {"shipped": Shipped(SHIPPED, _DIGEST)})
        self._normalize(True, calibration)
        self.name = record_name(self.name, self.digest)

    def groups(self) -> list[Group]:
        """List the stem and the mixes: made by one or three convolutions, read by the next squeeze."""
        makers = {tap: stage for tap, stage in self.stages.items() if isinstance(stage, Conv | Mix)}
        readers: list[tuple[FrozenConv, ...]] = [
            (stage.squeeze,) for stage in makers.values() if isinstance(stage, Mix)
        ]
        return [
            Group(tap, (stage.conv,) if isinstance(stage, Conv) else (stage.point, stage.near, stage.far), consumers)
            for (tap, stage), consumers in zip(makers.items(), [*readers, ()], strict=True)
        ]


def _stages() -> dict[str, Stage]:
    stages: dict[str, Stage] = {"stem": Conv(0, FrozenConv(3, _STEM, 5, stride=2, padding=2), relu=True)}
    channels, number = _STEM, 0
    for group, mixes in enumerate(_MIXES):
        if group:
            pool = Pool(channels, 3, padding=1)
            pool.pooling = "avg"
            stages[f"pool{group}"] = pool
        for squeezed, outputs in mixes:
            number += 1
            stages[f"mix{number}"] = Mix(f"mix{number}", channels, squeezed, outputs)
            channels = sum(outputs)
    return stages
