"""VGG-16 and VGG-19, the classic feature networks of style transfer.

Source: Simonyan & Zisserman 2015, table 1 (configurations D and E); weights from torchvision. Ours: the choice of
padding and pooling, and the normalization to mean activation 1.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchvision.models import VGG16_Weights, VGG19_Weights

from stylebench.checks import check_choice
from stylebench.nn.encoders.base import Encoder
from stylebench.nn.encoders.normalization import Group
from stylebench.nn.encoders.stages import PADDINGS, POOLINGS, Conv, FrozenConv, Pool, Relu, Stage
from stylebench.nn.encoders.weights import torchvision_source

_BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # convolutions of each block
_CHANNELS = (64, 128, 256, 512, 512)
_PUBLISHED = {  # by depth and name: the weights, and the profile that they were trained with
    16: {
        "imagenet": (VGG16_Weights.IMAGENET1K_V1, "torch"),
        "caffe": (VGG16_Weights.IMAGENET1K_FEATURES, "caffe_features"),
    },
    19: {"imagenet": (VGG19_Weights.IMAGENET1K_V1, "torch")},
}


class VGGShaped(Encoder):
    """A chain of blocks of 3x3 convolutions, each rectified, with a pool after every block.

    Taps are `conv<block>_<conv>`, `relu<block>_<conv>` and `pool<block>`.
    """

    def groups(self) -> list[Group]:
        """List each rectified map with its convolution and the next one."""
        convs = {tap: stage.conv for tap, stage in self.stages.items() if isinstance(stage, Conv)}
        taps, chain = [tap.replace("conv", "relu") for tap in convs], list(convs.values())
        return [Group(tap, (chain[i],), tuple(chain[i + 1 : i + 2])) for i, tap in enumerate(taps)]

    def describe(self) -> dict[str, Any]:
        """Return what identifies the encoder in a run's record, as plain values."""
        return {**super().describe(), "padding": self.padding, "pooling": self.pooling}

    def set_geometry(self, padding: str, pooling: str) -> None:
        """Choose what lies beyond the border and how blocks are pooled, from here on."""
        self.padding, self.pooling = padding, pooling
        self.name += "".join(f"_{option}" for option in (padding, pooling) if option not in ("zeros", "max"))
        for stage in self.stages.values():
            if isinstance(stage, Conv):
                stage.conv.padding_mode = padding
            elif isinstance(stage, Pool):
                stage.pooling = pooling
        self._minimum = self._minimum_sizes()


class VGGEncoder(VGGShaped):
    """VGG with taps `conv<block>_<conv>`, `relu<block>_<conv>` and `pool<block>`.

    Papers that write "conv4_2" mean the rectified map: `relu4_2` here. The means of the normalization are measured on
    the network as it was trained (zero padding, max-pooling), so that all variants share one set of weights.

    Args:
        depth: 16 or 19.
        weights: `imagenet`, `caffe` (VGG-16 only: the original network in RGB order), `random` (or
            `random-<seed>`), or the path of a torchvision state dict.
        normalize: whether to scale every channel to mean activation 1.
        content_layers: taps that content losses compare.
        style_layers: taps that style losses compare.
        exchange_layer: tap at which statistics are exchanged.
        padding: what lies beyond the border: `zeros` (as trained), `reflect`, `replicate` or `circular`.
        pooling: `max` (as trained) or `avg` (Gatys et al. 2016, for smoother images).
        profile: preprocessing, `torch` or `caffe_features`; must be the one that the weights were trained with.
        calibration: (N, 3, H, W) uint8 pictures to measure mean activations on; None for the built-in ones.

    Raises:
        ValueError: on an unknown option or tap, weights of another network, or a profile that the weights do not have.
        FileNotFoundError: if there is no file of weights at the path.
        RuntimeError: if the weights cannot be downloaded.
    """

    def __init__(
        self,
        depth: int,
        weights: str,
        normalize: bool,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        exchange_layer: str,
        padding: str = "zeros",
        pooling: str = "max",
        profile: str = "torch",
        calibration: Tensor | None = None,
    ) -> None:
        check_geometry(padding, pooling)
        check_choice("depth", depth, _BLOCKS)
        super().__init__(
            f"vgg{depth}", vgg_stages(_BLOCKS[depth], _CHANNELS), profile, content_layers, style_layers, exchange_layer
        )
        published = _PUBLISHED[depth]
        self._load(weights, {name: torchvision_source(entry) for name, (entry, _) in published.items()})
        for name, (entry, trained_with) in published.items():
            if self.digest.startswith(torchvision_source(entry).digest) and profile != trained_with:
                raise ValueError(
                    f"profile must be {trained_with} with the {name} weights of VGG-{depth}, got {profile}; set it so"
                )
        self._normalize(normalize, calibration)
        self.set_geometry(padding, pooling)


def check_geometry(padding: str, pooling: str) -> None:
    """Raise ValueError if there is no such padding or pooling."""
    check_choice("padding", padding, PADDINGS)
    check_choice("pooling", pooling, POOLINGS)


def vgg_stages(blocks: Sequence[int], channels: Sequence[int]) -> dict[str, Stage]:
    """Build the chain, padded by zeros and max-pooled; layers are counted as torchvision does.

    Args:
        blocks: convolutions of each block.
        channels: of each block.

    Returns:
        The stages by tap name.
    """
    stages: dict[str, Stage] = {}
    inputs, index = 3, 0
    for block, (convs, outputs) in enumerate(zip(blocks, channels, strict=True), start=1):
        for number in range(1, convs + 1):
            stages[f"conv{block}_{number}"] = Conv(index, FrozenConv(inputs, outputs, 3, padding=1), relu=False)
            stages[f"relu{block}_{number}"] = Relu(outputs)
            inputs, index = outputs, index + 2
        stages[f"pool{block}"] = Pool(outputs, 2)
        index += 1
    return stages
