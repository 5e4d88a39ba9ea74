"""Feed-forward networks that give a photograph one style.

Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016: the
architecture of its supplement (`JohnsonPaper`) and the widely used layout without transposed convolutions
(`JohnsonModern`).

Deviations, both networks: any image size (extended by reflection to a multiple of 4, cropped after; sizes that are
multiples of 4 are untouched); the default norm is instance norm (Ulyanov et al. 2017) and the default head
`0.5 + 0.6 tanh`, which reaches black and white at a finite input.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.checks import check_choice, check_whole
from stylebench.nn.bands import BAND_ROWS, KEEP_BYTES, PerPixel, run_in_bands
from stylebench.nn.heads import HEADS as PLAIN_HEADS
from stylebench.nn.heads import check_size, enter, leave
from stylebench.nn.layers import (
    InstanceNorm,
    OutputConv,
    ReflectConv,
    Residual,
    UpsampleConv,
    make_norm,
    pad_to_multiple,
)

HEADS = (*PLAIN_HEADS, "lua")
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)  # of the ImageNet training set, on the scale 0..255
LUA_TANH_SCALE = 150.0  # `-tanh_constant` of jcjohnson/fast-neural-style
BLOCKS = 5
STRIDE = 4  # two halvings; the sides of what enters the network are multiples of it


class _Johnson(nn.Module):
    """What both networks share: checks, sizes, and the ranges at both ends. Subclasses fill in `body`.

    The heads are those of `nn/heads.py`, and of jcjohnson/fast-neural-style

    | head | enters | leaves |
    |---|---|---|
    | `lua` | BGR, 0..255 minus the caffe mean | (150 tanh(z) + mean) / 255, BGR to RGB |

    Outputs of `tanh`, `lua` and `linear` may lie outside [0, 1]; `Translator.translate` clamps.
    """

    minimum_px: int
    margin_px: int = 0
    body: nn.Sequential
    caffe_mean: Tensor

    def __init__(self, width: int, norm: str, head: str) -> None:
        super().__init__()
        check_whole("width", width)
        check_choice("head", head, HEADS)
        self.width, self.norm, self.head = width, norm, head
        self.register_buffer("caffe_mean", torch.tensor(CAFFE_MEAN_BGR).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Stylize images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], any size from `minimum_px` on.

        Returns:
            (B, 3, H, W) RGB, [0, 1] with excursions that depend on the head; of the input's type under autocast too.

        Raises:
            ValueError: if the shape is another one or a side is shorter than `minimum_px`.
        """
        check_size(images, self.minimum_px, type(self).__name__)
        height, width = images.shape[-2:]
        maps = self.body(self._enter(self._extend(images)))
        return self._leave(maps.to(images.dtype))[..., :height, :width]

    def in_bands(self, images: Tensor, band_rows: int = BAND_ROWS, keep_bytes: int = KEEP_BYTES) -> Tensor:
        """Stylize big images: as `forward` in evaluation mode, up to rounding, in a fraction of the memory.

        Measured: at most 3.5 GiB for the whole process, `JohnsonModern` of width 32 with instance norm, float32 on the
        CPU, one image of 6000 x 4000 px.

        Args:
            images: as for `forward`.
            band_rows: see `run_in_bands`.
            keep_bytes: see `run_in_bands`.

        Returns:
            (B, 3, H, W) as from `forward`, without a graph.

        Raises:
            ValueError: as `forward`, or if batch norm is in training mode.
        """
        check_size(images, self.minimum_px, type(self).__name__)
        height, width = images.shape[-2:]
        layers = nn.Sequential(
            nn.ReflectionPad2d((0, -width % STRIDE, 0, -height % STRIDE)),
            nn.ReflectionPad2d(self.margin_px),
            PerPixel(self._enter),
            self.body,
            PerPixel(lambda maps: self._leave(maps.to(images.dtype))),
        )
        return run_in_bands(layers, images, band_rows, keep_bytes)[..., :height, :width]

    def _extend(self, images: Tensor) -> Tensor:
        images = pad_to_multiple(images, STRIDE)
        if self.margin_px == 0:
            return images
        return F.pad(images, (self.margin_px,) * 4, mode="reflect")  # (B, 3, H + 80, W + 80)

    def _enter(self, images: Tensor) -> Tensor:
        if self.head == "lua":
            return images.flip(1).mul(255.0).sub(self.caffe_mean)
        return enter(images, self.head)

    def _leave(self, maps: Tensor) -> Tensor:
        if self.head == "lua":
            return maps.tanh().mul(LUA_TANH_SCALE).add(self.caffe_mean).div(255.0).flip(1)
        return leave(maps, self.head)


class JohnsonModern(_Johnson):
    """The layout of pytorch/examples: every convolution pads by reflection, upsampling is nearest plus convolution.

    Residual blocks keep the size. 1,679,235 parameters at width 32. Initialization as there, torch's defaults:
    convolution weights and biases U(+-1/sqrt(fan_in)), norm scale 1, shift 0.

    Args:
        width: channels at full resolution (32; the half-width networks of jcjohnson/fast-neural-style have 16).
        norm: `instance` or `batch`.
        head: `tanh`, `paper`, `lua` or `linear`; see the table of the base class.

    Source: pytorch/examples fast_neural_style/neural_style/transformer_net.py (layout, initialization).
    """

    minimum_px = 5

    def __init__(self, width: int = 32, norm: str = "instance", head: str = "tanh") -> None:
        super().__init__(width, norm, head)

        def stage(convolution: nn.Conv2d) -> list[nn.Module]:
            return [convolution, make_norm(norm, convolution.out_channels), nn.ReLU(inplace=True)]

        def residual() -> nn.Module:
            last = ReflectConv(4 * width, 4 * width, 3)
            return Residual(*stage(ReflectConv(4 * width, 4 * width, 3)), last, make_norm(norm, 4 * width), crop_px=0)

        self.body = nn.Sequential(
            *stage(ReflectConv(3, width, 9)),
            *stage(ReflectConv(width, 2 * width, 3, stride=2)),
            *stage(ReflectConv(2 * width, 4 * width, 3, stride=2)),
            *(residual() for _ in range(BLOCKS)),
            *stage(UpsampleConv(4 * width, 2 * width)),
            *stage(UpsampleConv(2 * width, width)),
            OutputConv(width, 3, 9, padding_mode="reflect"),
        )


class JohnsonPaper(_Johnson):
    """The paper's network: one reflection padding of 40 px, unpadded residual blocks, transposed convolutions.

    Each residual block loses 2 px a side at a quarter of the size; five of them take back the 40 px. 1,679,235
    parameters at width 32. Initialization as in Torch7: convolution weights and biases U(+-1/sqrt(fan_in)), fan_in =
    input channels times kernel area (torch takes the output channels for a transposed convolution), norm scale
    U(0, 1), shift 0.

    Args:
        width: channels at full resolution (32; the half-width networks of jcjohnson/fast-neural-style have 16).
        norm: `instance` or `batch` (the paper's).
        head: `tanh`, `paper`, `lua` or `linear`; see the table of the base class.

    Source: Johnson et al. 2016, supplementary material; jcjohnson/fast-neural-style (architecture string, padding);
        initialization pystiche/papers johnson_alahi_li_2016/_modules.py and InstanceNormalization.lua.
    """

    minimum_px = 41
    margin_px = 2 * STRIDE * BLOCKS

    def __init__(self, width: int = 32, norm: str = "instance", head: str = "tanh") -> None:
        super().__init__(width, norm, head)

        def stage(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
            return [convolution, make_norm(norm, convolution.out_channels), nn.ReLU(inplace=True)]

        def residual() -> nn.Module:
            last = nn.Conv2d(4 * width, 4 * width, 3)
            return Residual(*stage(nn.Conv2d(4 * width, 4 * width, 3)), last, make_norm(norm, 4 * width), crop_px=2)

        def enlarge(inputs: int, outputs: int) -> nn.ConvTranspose2d:
            return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)

        self.body = nn.Sequential(
            *stage(nn.Conv2d(3, width, 9, padding=4)),
            *stage(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)),
            *stage(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)),
            *(residual() for _ in range(BLOCKS)),
            *stage(enlarge(4 * width, 2 * width)),
            *stage(enlarge(2 * width, width)),
            OutputConv(width, 3, 9, padding_mode="constant"),
        )
        self.apply(_initialize_as_torch7)


@torch.no_grad()
def _initialize_as_torch7(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        bound = 1.0 / math.sqrt(layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1])
        layer.weight.uniform_(-bound, bound)
        if layer.bias is not None:
            layer.bias.uniform_(-bound, bound)
    elif isinstance(layer, InstanceNorm | nn.BatchNorm2d):
        layer.weight.uniform_(0.0, 1.0)
