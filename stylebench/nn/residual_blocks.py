"""Residual blocks that normalize first, as StarGAN v2 builds its networks from them.

Choi, Uh, Yoo, Ha, "StarGAN v2: Diverse Image Synthesis for Multiple Domains", CVPR 2020, appendix; the published code
for what the paper leaves out (clovaai/stargan-v2, core/model.py).

What stands here computes the same by fewer operations: a 3x3 convolution before a mean of 2x2, or behind a doubling by
nearest neighbor, is one convolution on the small map (`PooledConv`, `UpsampleConv`), and a 1x1 convolution of a skip
runs on the smaller of its two sizes, as it commutes with both.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.checks import check_whole
from stylebench.functional.precision import float32_island
from stylebench.nn.layers import InstanceNorm, PooledConv, UpsampleConv

SLOPE = 0.2
_UNIT = math.sqrt(0.5)  # keeps the variance of a sum of two
_OFFICIAL_PIXELS = 2**14
_SMALLEST_PX, _BOTTLENECK_PX, _TRUNK_PX = 32, 16, 4


def official_width(size_px: int) -> int:
    """Return the published code's channels at full resolution, 64 at 256 px: fewer the larger the images."""
    return max(1, _OFFICIAL_PIXELS // size_px)


def check_power_of_two(size_px: int) -> int:
    """Return the side of the images.

    Raises:
        ValueError: if it is no power of two, or less than 32.
    """
    check_whole("size_px", size_px, _SMALLEST_PX)
    if size_px & (size_px - 1):
        below = 1 << (size_px.bit_length() - 1)
        raise ValueError(
            f"size_px must be a power of two, since the networks halve images down to 4 px, got {size_px}; use "
            f"{below} or {2 * below}"
        )
    return size_px


def channel_widths(halvings: int, width: int, max_width: int) -> list[int]:
    """Return the channels before and after each halving, (halvings + 1) numbers: doubled, up to a most.

    Raises:
        ValueError: if `width` exceeds `max_width`.
    """
    check_whole("width", width)
    check_whole("max_width", max_width)
    if width > max_width:
        raise ValueError(f"width={width} exceeds max_width={max_width}; raise max_width, or lower width")
    return [min(width * 2**place, max_width) for place in range(halvings + 1)]


def generator_halvings(size_px: int) -> int:
    """Return how often the generator halves images, down to 16 px."""
    return int(math.log2(check_power_of_two(size_px) // _BOTTLENECK_PX))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each behind an activation, beside a skip; the sum is scaled to keep its variance.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm: whether an instance norm stands before each activation.
        halve: whether the map is halved, by means of 2x2, behind the first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool, halve: bool) -> None:
        super().__init__()
        self.halves = halve
        self.norm1 = InstanceNorm(in_channels) if norm else nn.Identity()
        self.norm2 = InstanceNorm(in_channels) if norm else nn.Identity()
        self.conv1 = PooledConv(in_channels, in_channels) if halve else nn.Conv2d(in_channels, in_channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(in_channels, out_channels, 3, 1, 1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, H, W), or half the sides."""
        branch: Tensor = self.conv1(F.leaky_relu(self.norm1(maps), SLOPE))
        branch = self.conv2(F.leaky_relu(self.norm2(branch), SLOPE))
        skip = F.avg_pool2d(maps, 2) if self.halves else maps
        if self.skip is not None:
            skip = self.skip(skip)
        return (branch + skip) * _UNIT


class StyleNorm(nn.Module):
    """Instance norm whose scale and shift are affine functions of a style code: (1 + gamma) x + beta.

    Args:
        channels: C.
        style_dim: length S of a code.

    Source: Huang and Belongie 2017 (AdaIN), with learned statistics as in StarGAN v2.
    """

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.norm, self.affine = InstanceNorm(channels, affine=False), nn.Linear(style_dim, 2 * channels)

    def forward(self, maps: Tensor, styles: Tensor) -> Tensor:
        """Map (B, C, H, W), by (B, S) codes."""
        with float32_island(maps):
            gamma, beta = self.affine(styles.to(self.affine.weight.dtype))[:, :, None, None].chunk(2, 1)  # (B, C, 1, 1)
            normed = self.norm(maps)
            return torch.addcmul(beta.to(normed.dtype), normed, 1 + gamma.to(normed.dtype))


class StyledBlock(nn.Module):
    """Two 3x3 convolutions, each behind a style's norm and an activation, beside a skip where there is one.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        style_dim: length S of a style code.
        double: whether the map is doubled, by nearest neighbor, before the first convolution.
        skip: whether the input is added; without it nothing is scaled either.
    """

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, *, double: bool, skip: bool) -> None:
        super().__init__()
        self.doubles, self.adds_input = double, skip
        self.norm1, self.norm2 = StyleNorm(in_channels, style_dim), StyleNorm(out_channels, style_dim)
        self.conv1 = (
            UpsampleConv(in_channels, out_channels, extend="zeros")
            if double
            else nn.Conv2d(in_channels, out_channels, 3, 1, 1)
        )
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None

    def forward(self, maps: Tensor, styles: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, H, W), or twice the sides, by (B, S) codes."""
        branch: Tensor = self.conv1(F.leaky_relu(self.norm1(maps, styles), SLOPE))
        branch = self.conv2(F.leaky_relu(self.norm2(branch, styles), SLOPE))
        if not self.adds_input:
            return branch
        skip = maps if self.skip is None else self.skip(maps)
        if self.doubles:
            skip = F.interpolate(skip, scale_factor=2)
        return (branch + skip) * _UNIT


class Trunk(nn.Sequential):
    """What style encoder and discriminator share: images to a vector, by halvings to 4 px and a 4x4 convolution.

    Args:
        size_px: side of the square images, a power of two.
        width: channels at full resolution.
        max_width: most channels.

    Attributes:
        features: F, length of the vector.
    """

    def __init__(self, size_px: int, width: int, max_width: int) -> None:
        halvings = int(math.log2(check_power_of_two(size_px) // _TRUNK_PX))
        widths = channel_widths(halvings, width, max_width)
        super().__init__(
            nn.Conv2d(3, widths[0], 3, 1, 1),
            *(ResidualBlock(a, b, norm=False, halve=True) for a, b in itertools.pairwise(widths)),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(widths[-1], widths[-1], _TRUNK_PX),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
        )
        self.size_px, self.features = size_px, widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, size, size) in [-1, 1] to (B, F).

        Raises:
            ValueError: if the images have another size.
        """
        if images.shape[-2:] != (self.size_px, self.size_px):
            raise ValueError(
                f"expected images of {self.size_px} x {self.size_px} px, got {images.shape[-2]} x {images.shape[-1]}"
            )
        return super().forward(images)  # type: ignore[no-any-return, no-untyped-call]


@torch.no_grad()
def initialize_he(layer: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers from N(0, 2 / inputs); shifts are 0. For `network.apply`.

    Source: He et al. 2015, "Delving Deep into Rectifiers", eq. 10.
    """
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight)
        if layer.bias is not None:
            layer.bias.zero_()
