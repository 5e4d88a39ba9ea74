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

from stylebench.checks import Size, check_size, check_whole, nearest_multiples, sides
from stylebench.functional.precision import float32_island
from stylebench.nn.layers import InstanceNorm, PooledConv, UpsampleConv

SLOPE = 0.2
_UNIT = math.sqrt(0.5)  # keeps the variance of a sum of two
_OFFICIAL_PIXELS = 2**14
_SMALLEST_PX, _BOTTLENECK_PX, _TRUNK_PX = 32, 16, 4


def official_width(size_px: Size) -> int:
    """Return the published code's channels at full resolution, 64 at 256 px: fewer the larger the images."""
    return max(1, _OFFICIAL_PIXELS // min(sides(size_px)))


def halvings_to(least_px: int, size_px: Size) -> int:
    """Return how often images are halved until their shorter side is so long.

    Args:
        least_px: a power of two.
        size_px: side of square images, or height and width.

    Raises:
        ValueError: if the shorter side is no power of two or less than 32, or the longer one cannot be halved as often.
    """
    height, width = sides(check_size("size_px", size_px))
    short, long = min(height, width), max(height, width)
    if short < _SMALLEST_PX or short & (short - 1):
        below = max(_SMALLEST_PX, 1 << (short.bit_length() - 1))
        raise ValueError(
            f"size_px must be a power of two, at least {_SMALLEST_PX}, since the networks halve images down to "
            f"{_TRUNK_PX} px, got {short}; use {below} or {2 * below}"
        )
    stride = short // _TRUNK_PX
    if long % stride:
        raise ValueError(
            f"the longer side of size_px must be a multiple of {stride}, got {long}; use "
            f"{nearest_multiples(long, stride)} px"
        )
    return (short // least_px).bit_length() - 1


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


def generator_halvings(size_px: Size) -> int:
    """Return how often the generator halves images, down to 16 px."""
    return halvings_to(_BOTTLENECK_PX, size_px)


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
    """What style encoder and discriminator share: images to a vector, by halvings to 4 px and a convolution over all.

    Args:
        size_px: side of square images, a power of two, or height and width.
        width: channels at full resolution.
        max_width: most channels.

    Attributes:
        features: F, length of the vector.
        sides: height and width of the images.
    """

    def __init__(self, size_px: Size, width: int, max_width: int) -> None:
        halvings = halvings_to(_TRUNK_PX, size_px)
        height_and_width = sides(check_size("size_px", size_px))
        widths = channel_widths(halvings, width, max_width)
        last = (height_and_width[0] >> halvings, height_and_width[1] >> halvings)  # 4 x 4 where images are square
        super().__init__(
            nn.Conv2d(3, widths[0], 3, 1, 1),
            *(ResidualBlock(a, b, norm=False, halve=True) for a, b in itertools.pairwise(widths)),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(widths[-1], widths[-1], last),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
        )
        self.sides, self.features = height_and_width, widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, *sides) in [-1, 1] to (B, F).

        Raises:
            ValueError: if the images have another size.
        """
        if tuple(images.shape[-2:]) != self.sides:
            wanted, found = (" x ".join(map(str, size)) for size in (self.sides, images.shape[-2:]))
            raise ValueError(f"expected images of {wanted} px, got {found}")
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
