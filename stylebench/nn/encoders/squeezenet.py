"""SqueezeNet 1.0: ImageNet features of 5 MB that a CPU computes quickly.

Source: Iandola et al. 2016, table 1; weights from torchvision. Ours: the `same` geometry and the normalization of fire
modules to mean activation 1.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchvision.models import SqueezeNet1_0_Weights

from stylebench.checks import check_choice
from stylebench.nn.encoders.base import Encoder
from stylebench.nn.encoders.normalization import Group
from stylebench.nn.encoders.stages import Conv, Fire, FrozenConv, Pool, Stage
from stylebench.nn.encoders.weights import torchvision_source

GEOMETRIES = ("valid", "same")
_PUBLISHED = {"imagenet": torchvision_source(SqueezeNet1_0_Weights.IMAGENET1K_V1)}
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))  # squeezed, expanded


class SqueezeNetEncoder(Encoder):
    """SqueezeNet 1.0 with taps `conv1`, `pool1`, `fire2`..`fire4`, `pool4`, `fire5`..`fire8`, `pool8`, `fire9`.

    All taps are rectified. With `padding="same"` a tap of stride s has size ceil(H / s), so that decoders mirror it and
    tiles line up; class scores move a little, since the sampling grid shifts. `valid` is the network as trained, with
    torchvision's sizes: 256 -> 125 -> 62 -> 31 -> 15. Means are measured in the geometry chosen.

    Args:
        weights: `imagenet`, `random` (or `random-<seed>`), or the path of a torchvision state dict.
        normalize: whether to scale every tap's channels to mean activation 1 (squeezed maps stay as they are).
        content_layers: taps that content losses compare.
        style_layers: taps that style losses compare.
        exchange_layer: tap at which statistics are exchanged.
        padding: where padding goes, `same` or `valid`.
        calibration: (N, 3, H, W) uint8 pictures to measure mean activations on; None for the built-in ones.

    Raises:
        ValueError: on an unknown option or tap, or weights of another network.
        FileNotFoundError: if there is no file of weights at the path.
        RuntimeError: if the weights cannot be downloaded.
    """

    def __init__(
        self,
        weights: str,
        normalize: bool,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        exchange_layer: str,
        padding: str = "same",
        calibration: Tensor | None = None,
    ) -> None:
        check_choice("padding", padding, GEOMETRIES)
        stages = _stages(padding == "same")
        super().__init__(f"squeezenet1_0_{padding}", stages, "torch", content_layers, style_layers, exchange_layer)
        self.padding = padding
        self._load(weights, _PUBLISHED)
        self._normalize(normalize, calibration)

    def groups(self) -> list[Group]:
        """List `conv1` and the fire modules: made by one or two convolutions, read by the next squeeze."""
        makers = {tap: stage for tap, stage in self.stages.items() if isinstance(stage, Conv | Fire)}
        readers: list[tuple[FrozenConv, ...]] = [
            (stage.squeeze,) for stage in makers.values() if isinstance(stage, Fire)
        ]
        return [
            Group(tap, (stage.conv,) if isinstance(stage, Conv) else (stage.expand1x1, stage.expand3x3), consumers)
            for (tap, stage), consumers in zip(makers.items(), [*readers, ()], strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """Return what identifies the encoder in a run's record, as plain values."""
        return {**super().describe(), "padding": self.padding}


def _stages(same: bool) -> dict[str, Stage]:
    """Build the chain; `same` pads conv1 by 3 and the pools by 1, and rounds the pools' sizes down."""
    stages: dict[str, Stage] = {"conv1": Conv(0, FrozenConv(3, 96, 7, stride=2, padding=3 if same else 0), relu=True)}
    channels, index = 96, 2  # layer 1 is conv1's ReLU
    for number, (squeezed, expanded) in enumerate(_FIRES, start=2):
        if number in (2, 5, 9):
            stages[f"pool{number - 1}"] = Pool(channels, 3, padding=1 if same else 0, ceil_mode=not same)
            index += 1
        stages[f"fire{number}"] = Fire(index, channels, squeezed, expanded)
        channels, index = 2 * expanded, index + 1
    return stages
