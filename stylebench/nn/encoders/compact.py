"""The encoder that ships with the package, trained by this project on nothing but its own renderers.

Source: experiments/compact/ (recipe, measurements and what the features are good for).
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from stylebench.nn.encoders.base import record_name
from stylebench.nn.encoders.vgg import VGGShaped, check_geometry, vgg_stages
from stylebench.nn.encoders.weights import Shipped

_BLOCKS = (2, 2, 2, 2, 1)  # convolutions of each block
_CHANNELS = (24, 48, 96, 144, 176)
SHIPPED = Path(__file__).with_name("compact.safetensors")
_DIGEST = "4a5d639a9f8fc4104c38881d084d1923c5fa65c745450843a4c7d60fa391abf0"


class CompactEncoder(VGGShaped):
    """A small VGG: blocks of 2, 2, 2, 2 and 1 convolutions of 24, 48, 96, 144 and 176 channels, strides 1 .. 16.

    Its taps are named as VGG's. Every rectified channel has mean activation 1. In records its name ends with the first
    8 digits of its weights' digest, before what the geometry adds: `compact-1a2b3c4d_reflect`.

    Args:
        weights: `shipped`, `random` (or `random-<seed>`), or the path of a file of weights.
        content_layers: taps that content losses compare.
        style_layers: taps that style losses compare.
        exchange_layer: tap at which statistics are exchanged.
        padding: what lies beyond the border: `zeros` (as trained), `reflect`, `replicate` or `circular`.
        pooling: `max` (as trained) or `avg`.
        calibration: (N, 3, H, W) uint8 pictures to measure mean activations on; None for the built-in ones.

    Raises:
        ValueError: on an unknown option or tap, or weights of another network.
        FileNotFoundError: if there is no file of weights at the path, or in the installation.
    """

    def __init__(
        self,
        weights: str,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        exchange_layer: str,
        padding: str = "zeros",
        pooling: str = "max",
        calibration: Tensor | None = None,
    ) -> None:
        check_geometry(padding, pooling)
        stages = vgg_stages(_BLOCKS, _CHANNELS)
        super().__init__("compact", stages, "torch", content_layers, style_layers, exchange_layer)
        self._load(weights, {"shipped": Shipped(SHIPPED, _DIGEST)})
        self._normalize(True, calibration)
        self.name = record_name(self.name, self.digest)
        self.set_geometry(padding, pooling)
