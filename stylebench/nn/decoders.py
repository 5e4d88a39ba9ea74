"""Decoders: from the features of an encoder back to an image of the encoder's input size.

Huang & Belongie, "Arbitrary Style Transfer in Real-Time with Adaptive Instance Normalization", ICCV 2017, section 6:
the decoder mirrors the encoder, with nearest upsampling for pooling and reflection padding everywhere.
"""

from typing import NamedTuple, Self, cast

from torch import Tensor, nn

from stylebench.checks import check_choice
from stylebench.functional.precision import at_least_float32
from stylebench.nn.bands import BAND_ROWS, KEEP_BYTES, run_in_bands
from stylebench.nn.encoders.base import Encoder
from stylebench.nn.encoders.stages import Stage
from stylebench.nn.layers import NORMS, OutputConv, ReflectConv, UpsampleConv, make_norm

DECODER_NORMS = ("none", *NORMS)
_LEAST_CONVOLUTIONS = 2  # of a level that was upsampled: one reads the enlarged map, one leads on to the next
_MID_GRAY = 0.5
_PROBE = 16  # positions a side of the features whose sizes are checked


class Level(NamedTuple):
    """A resolution of a decoder.

    Attributes:
        width: channels of its convolutions, but the last, which leads on to the next level's.
        convolutions: how many there are.
    """

    width: int
    convolutions: int


def mirrored_levels(encoder: Encoder, layer: str) -> list[Level]:
    """Return the levels of the decoder that undoes an encoder up to a tap, from the tap's stride to stride 1.

    A level has as many convolutions as the encoder has stages with convolutions at that stride up to the tap, at least
    two behind an upsampling, and the width of the first of these stages (where there is none, half of the level
    before). For VGG this is the exact mirror of its convolutions; a fire module of SqueezeNet counts as one.

    | encoder | width x convolutions at strides 8, 4, 2, 1 |
    |---|---|
    | VGG-19, relu4_1 | 512 x 1, 256 x 4, 128 x 2, 64 x 2 |
    | compact, relu4_1 | 144 x 1, 96 x 2, 48 x 2, 24 x 2 |
    | SqueezeNet (same), fire6 | 384 x 2, 128 x 3, 96 x 2, 48 x 2 |

    Raises:
        ValueError: if the encoder has no such tap (the message lists those there are), or cannot be mirrored: its
            strides are not powers of two, or a side of s * k pixels does not become k positions at stride s.
    """
    if layer not in encoder.channels:
        raise ValueError(f"{encoder.name} has no layer {layer!r}; choose from {', '.join(encoder.taps)}")
    stride = encoder.strides[layer]
    side, found = _PROBE * stride, dict[int, list[int]]()
    for tap in encoder.taps[: encoder.taps.index(layer) + 1]:
        stage = cast(Stage, encoder.stages[tap])
        side = stage.size_out(side)
        if stage.convs():
            found.setdefault(encoder.strides[tap], []).append(stage.channels)
    if side != _PROBE or stride & (stride - 1):
        raise ValueError(
            f"no decoder can mirror {encoder.name} up to {layer}: its stride is {stride}, and {_PROBE * stride} px "
            f"become {side} positions instead of {_PROBE}; use one with padding=same (SqueezeNet), or another encoder"
        )
    levels = [Level(encoder.channels[layer], max(1, len(found.get(stride, []))))]
    while stride > 1:
        stride //= 2
        widths = found.get(stride, [max(1, levels[-1].width // 2)])
        levels.append(Level(widths[0], max(_LEAST_CONVOLUTIONS, len(widths))))
    return levels


class Decoder(nn.Module):
    """Convolutions from features to an image, doubling the size from level to level.

    3x3 convolutions, reflection padding, ReLU after all but the last, nearest upsampling (computed together with the
    convolution behind it, exactly). For VGG-19 up to relu4_1, 3,505,219 parameters without norms. Initialization:
    torch's default, convolution weights and biases U(+-1/sqrt(fan_in)), but for the last bias, which is mid-gray: black
    pictures would be made brighter by all layers at once in the first updates, and many channels never fire again.

    Args:
        inputs: channels of the features.
        levels: see `mirrored_levels`.
        norm: what follows each convolution but the last: `none`, `batch` or `instance` (the ablation of Huang &
            Belongie 2017, section 7).

    Attributes:
        stride: pixels of the image for a position of the features.

    Raises:
        ValueError: if there is no such norm.

    Source: naoto0804/pytorch-AdaIN net.py (layout); xunhuang1995/AdaIN-style train.lua (the mirror of any tap).
    """

    def __init__(self, inputs: int, levels: list[Level], norm: str = "none") -> None:
        super().__init__()
        check_choice("norm", norm, DECODER_NORMS)
        self.inputs, self.stride = inputs, 2 ** (len(levels) - 1)
        layers: list[nn.Module] = []
        channels = inputs
        for depth, level in enumerate(levels):
            following = levels[depth + 1].width if depth + 1 < len(levels) else None
            for number in range(level.convolutions):
                last = number == level.convolutions - 1
                if last and following is None:
                    layers.append(OutputConv(channels, 3, 3))
                    nn.init.constant_(cast(Tensor, layers[-1].bias), _MID_GRAY)
                    break
                outputs = following if last and following is not None else level.width
                enlarge = number == 0 and depth > 0
                layers.append(UpsampleConv(channels, outputs) if enlarge else ReflectConv(channels, outputs, 3))
                layers += [] if norm == "none" else [make_norm(norm, outputs)]
                layers.append(nn.ReLU(inplace=True))
                channels = outputs
        self.layers = nn.Sequential(*layers)

    @classmethod
    def for_encoder(cls, encoder: Encoder, norm: str = "none", inputs: int | None = None) -> Self:
        """Return the decoder that mirrors an encoder up to its `exchange_layer`.

        Args:
            encoder: the encoder.
            norm: see the class.
            inputs: channels of the features, None for those of the tap.

        Raises:
            ValueError: as `mirrored_levels`, or on an unknown norm.
        """
        layer = encoder.exchange_layer
        return cls(encoder.channels[layer] if inputs is None else inputs, mirrored_levels(encoder, layer), norm)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, inputs, h, w) features to (B, 3, stride * h, stride * w) RGB around [0, 1], not clamped.

        Raises:
            ValueError: if the shape is another one, or a side has a single position (a mirror needs two).
        """
        self._check(maps)
        return at_least_float32(self.layers(maps))

    def in_bands(self, maps: Tensor, band_rows: int = BAND_ROWS, keep_bytes: int = KEEP_BYTES) -> Tensor:
        """Return what `forward` does in evaluation mode, up to rounding, with the memory of a few bands of rows.

        Args:
            maps: as for `forward`.
            band_rows: see `run_in_bands`.
            keep_bytes: see `run_in_bands`.

        Raises:
            ValueError: as `forward`, or if batch norm is in training mode.
        """
        self._check(maps)
        return run_in_bands(self.layers, maps, band_rows, keep_bytes)

    def _check(self, maps: Tensor) -> None:
        if maps.ndim != 4 or maps.shape[1] != self.inputs:
            raise ValueError(f"expected features of shape (B, {self.inputs}, h, w), got {tuple(maps.shape)}")
        if min(maps.shape[2:]) < 2:
            raise ValueError(
                f"the decoder needs at least 2 x 2 positions, got {maps.shape[2]} x {maps.shape[3]}; use images of "
                f"more than {self.stride} px a side"
            )
