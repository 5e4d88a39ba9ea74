"""The residual generator of unpaired translation: images in [-1, 1] to images in [-1, 1] of the same size.

Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017,
appendix 7.2: `c7s1-64, d128, d256, R256 x blocks, u128, u64, c7s1-3`, after Johnson et al. 2016.

Deviations: any image size (extended by reflection to what the halvings divide, cropped after);
convolutions before a norm have no bias unless asked for, as the norm takes any bias away.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.checks import check_choice, check_whole
from stylebench.nn.bands import BAND_ROWS, KEEP_BYTES, PerPixel, run_in_bands
from stylebench.nn.layers import (
    InstanceNorm,
    OutputConv,
    ReflectConv,
    Residual,
    UpsampleConv,
    initialize_normal,
    pad_to_multiple,
)

UPSAMPLING = ("deconv", "nearest_conv", "bilinear_conv", "blurpool")
IN_BANDS = ("deconv", "nearest_conv")
NORMS = ("instance", "none")
_MOST_HALVINGS = 2
MINIMUM_PX = 8  # the residual blocks mirror one pixel of the smallest map, which must have two


class BlurPool(nn.Module):
    """Halve a map: a fixed binomial filter 1 2 1, extended by reflection, then every second pixel.

    Source: Zhang 2019, "Making Convolutional Networks Shift-Invariant Again".
    """

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(line, line).expand(channels, 1, 3, 3).clone(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, ceil(H / 2), ceil(W / 2))."""
        padded = F.pad(maps, (1, 1, 1, 1), mode="reflect")  # (B, C, H + 2, W + 2)
        return F.conv2d(padded, self.kernel, stride=2, groups=self.channels)


class BlurUpsample(nn.Module):
    """Double a map: zeros between the pixels, then a fixed binomial filter 1 3 3 1, extended by copies of the edge.

    Source: Zhang 2019, as `BlurPool`.
    """

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4  # each output pixel sees a sum of 1
        self.register_buffer("kernel", torch.outer(line, line).expand(channels, 1, 4, 4).clone(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 2H, 2W)."""
        padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")  # (B, C, H + 2, W + 2)
        return F.conv_transpose2d(padded, self.kernel, stride=2, padding=3, groups=self.channels)


class ResNetGenerator(nn.Module):
    """Two halvings, residual blocks at a quarter of the size, two doublings; for tiny images fewer of them.

    11,378,179 parameters with 9 blocks and biases, 7,837,699 with 6, at width 64; 11,372,931 and 7,833,987 without.

    Args:
        blocks: residual blocks; 6 for 128 px, 9 from 256 px on.
        width: channels at full resolution.
        upsample: how maps are doubled: `deconv` (transposed 3x3 convolution, the paper's), `nearest_conv`,
            `bilinear_conv` (resize, then 3x3 convolution) or `blurpool` (fixed blur filters, for halving too).
        biases: whether convolutions before a norm have biases, as the published checkpoints do.
        halvings: 2 is the paper's; 0 or 1 for images of 64 px or less, whose parts a quarter of the size does not show.
        norm: `instance` (the paper's), or `none`: instance norm takes the mean of every channel away, with it most of
            what says which absolute color a thing has, and a small network learns colors far sooner without. Weights
            then come from N(0, 2 / fan-in), those that end a residual block divided by the root of the number of
            blocks, and every convolution has biases.

    Raises:
        ValueError: if a number is out of its range, or the upsampling or the norm is unknown.

    Attributes:
        multiple: images are extended to a multiple of this many pixels, 2^halvings.

    Source: appendix 7.2; junyanz/pytorch-CycleGAN-and-pix2pix, models/networks.py (residual blocks without ReLU after
        the sum, instance norm without scale, N(0, 0.02)); taesungp/contrastive-unpaired-translation, the same file
        (`blurpool`).
    """

    def __init__(
        self,
        blocks: int = 9,
        width: int = 64,
        upsample: str = "deconv",
        biases: bool = False,
        halvings: int = 2,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        check_choice("upsample", upsample, UPSAMPLING)
        check_whole("blocks", blocks)
        check_whole("width", width)
        check_choice("halvings", halvings, range(_MOST_HALVINGS + 1))
        check_choice("norm", norm, NORMS)
        self.upsample, self.norm = upsample, norm
        self.biases = biases or norm == "none"
        self.multiple = 2**halvings
        widths = [width * 2**level for level in range(halvings + 1)]
        wide = widths[-1]
        self.body = nn.Sequential(
            *self._stage(ReflectConv(3, width, 7, bias=self.biases)),
            *(layer for channels in widths[:-1] for layer in self._halve(channels)),
            *(
                Residual(
                    *self._stage(ReflectConv(wide, wide, 3, bias=self.biases)),
                    *self._stage(ReflectConv(wide, wide, 3, bias=self.biases), active=False),
                    crop_px=0,
                )
                for _ in range(blocks)
            ),
            *(layer for channels in reversed(widths[1:]) for layer in self._double(channels)),
            OutputConv(width, 3, 7, padding_mode="reflect"),
        )
        self.apply(initialize_normal if norm == "instance" else _initialize_rectified)
        if norm == "none":
            for block in self.body:
                if isinstance(block, Residual):  # or the maps would grow with every block
                    last = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)][-1]
                    last.weight.data.div_(blocks**0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Translate images.

        Args:
            images: (B, 3, H, W) in [-1, 1], sides of at least 8 px.

        Returns:
            (B, 3, H, W) in (-1, 1), of the input's type under autocast too.

        Raises:
            ValueError: if a side is too short.
        """
        height, width = self._check(images)
        maps: Tensor = self.body(pad_to_multiple(images, self.multiple))
        return maps.to(images.dtype).tanh()[..., :height, :width]

    @torch.no_grad()
    def in_bands(self, images: Tensor, band_rows: int = BAND_ROWS, keep_bytes: int = KEEP_BYTES) -> Tensor:
        """Translate big images without gradients: as `forward`, up to rounding, in a fraction of the memory.

        `bilinear_conv` and `blurpool` have filters without a band version and need the memory of `forward`.
        """
        height, width = self._check(images)
        if self.upsample not in IN_BANDS:
            return self(images)  # type: ignore[no-any-return]
        layers = nn.Sequential(
            nn.ReflectionPad2d((0, -width % self.multiple, 0, -height % self.multiple)), self.body, PerPixel(torch.tanh)
        )
        return run_in_bands(layers, images, band_rows, keep_bytes)[..., :height, :width]

    def _check(self, images: Tensor) -> tuple[int, int]:
        height, width = images.shape[-2:]
        if min(height, width) < MINIMUM_PX:
            raise ValueError(
                f"the generator needs images of at least {MINIMUM_PX} x {MINIMUM_PX} px, got {height} x {width}; "
                "enlarge the image"
            )
        return height, width

    def _stage(self, convolution: nn.Module, active: bool = True) -> list[nn.Module]:
        layers = [convolution]
        if self.norm == "instance":
            layers.append(InstanceNorm(int(convolution.out_channels), affine=False))  # type: ignore[arg-type]
        return [*layers, nn.ReLU(inplace=True)] if active else layers

    def _halve(self, channels: int) -> list[nn.Module]:
        if self.upsample == "blurpool":
            convolution = nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=self.biases)
            return [*self._stage(convolution), BlurPool(2 * channels)]
        return self._stage(nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=self.biases))

    def _double(self, channels: int) -> list[nn.Module]:
        inputs, outputs, bias = channels, channels // 2, self.biases
        if self.upsample == "deconv":
            return self._stage(nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=bias))
        if self.upsample == "nearest_conv":
            return self._stage(UpsampleConv(inputs, outputs, bias=bias))
        if self.upsample == "bilinear_conv":
            resize = nn.Upsample(scale_factor=2, mode="bilinear")
            return [resize, *self._stage(ReflectConv(inputs, outputs, 3, bias=bias))]
        return [BlurUpsample(inputs), *self._stage(nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias))]


@torch.no_grad()
def _initialize_rectified(layer: nn.Module) -> None:
    """Draw a convolution's weights so that ReLUs keep the size of what passes, without a norm; biases are 0."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            layer.bias.zero_()
