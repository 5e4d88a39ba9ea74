"""Layers that several networks share: instance norm, padded and upsampling convolutions, residuals, size handling."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from stylebench.checks import check_choice
from stylebench.functional.precision import at_least_float32, float32_island

NORMS = ("instance", "batch")


class _InstanceNormFunction(torch.autograd.Function):
    """Instance norm with a hand-written backward that keeps the memory layout and saves only its input.

    torch's own kernels either return to the contiguous layout (`F.instance_norm`; `F.group_norm` on CUDA) or have a
    backward that is many times slower on a channels_last map (`F.group_norm` on the CPU).
    """

    @staticmethod
    def forward(ctx: FunctionCtx, maps: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        wide = at_least_float32(maps)
        mean = wide.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        centered = wide - mean
        # The second moment of the centered map: the difference of raw moments loses all digits where |mean| >> std.
        inverse_std = torch.rsqrt(centered.square().mean((2, 3), keepdim=True) + eps)
        ctx.save_for_backward(maps, weight, mean, inverse_std)
        cast(Any, ctx).eps = eps
        scale = weight.view(1, -1, 1, 1) * inverse_std
        return centered.mul_(scale).add_(bias.view(1, -1, 1, 1)).to(maps.dtype)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        maps, weight, mean, inverse_std = cast(Any, ctx).saved_tensors
        if torch.is_grad_enabled():  # create_graph=True; the saved statistics are constants: differentiate the formula
            again = _plain_instance_norm(maps, weight, cast(Any, ctx).eps)
            wanted = [tensor for tensor in (maps, weight) if tensor.requires_grad]
            found = iter(torch.autograd.grad(again, wanted, grad, create_graph=True))
            through = [next(found) if tensor.requires_grad else None for tensor in (maps, weight)]
            return *through, grad.sum((0, 2, 3)).to(weight.dtype), None
        wide, grad_wide = maps.to(mean.dtype), grad.to(mean.dtype)
        product = grad_wide * wide
        grad_sum = grad_wide.sum((2, 3), keepdim=True)  # (B, C, 1, 1)
        grad_scale = (product.sum((2, 3), keepdim=True) - mean * grad_sum) * inverse_std
        entries = maps.shape[2] * maps.shape[3]
        scale = weight.view(1, -1, 1, 1) * inverse_std
        slope = -scale * inverse_std * grad_scale / entries
        offset = -slope * mean - scale * grad_sum / entries
        grad_maps = torch.addcmul(offset, wide, slope, out=product).addcmul_(grad_wide, scale).to(maps.dtype)
        return grad_maps, grad_scale.sum((0, 2, 3)).to(weight.dtype), grad_sum.sum((0, 2, 3)).to(weight.dtype), None


def _plain_instance_norm(maps: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalize and scale by torch operations that autograd can differentiate any number of times; no bias."""
    wide = at_least_float32(maps)
    centered = wide - wide.mean((2, 3), keepdim=True)
    scale = weight.view(1, -1, 1, 1) * torch.rsqrt(centered.square().mean((2, 3), keepdim=True) + eps)
    return (centered * scale).to(maps.dtype)


class InstanceNorm(nn.Module):
    """Normalize each channel of each sample to mean 0 and variance 1, then scale and shift it.

    The same computation in training and in use: no running statistics. Biased variance. The memory layout
    (contiguous or channels_last) is kept. Statistics and arithmetic are at least float32 whatever the input and
    autocast; the result has the input's type.

    Args:
        channels: C of the (B, C, H, W) maps, any real range.
        eps: added to the variance.
        affine: whether scale and shift are learned; else they stay 1 and 0, and are in no checkpoint.

    Source: Ulyanov et al. 2017, "Improved Texture Networks"; InstanceNormalization.lua of DmitryUlyanov/texture_nets
        for the biased variance and eps.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.channels, self.eps, self.affine = channels, eps, affine
        if affine:
            self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        else:
            self.register_buffer("weight", torch.ones(channels), persistent=False)
            self.register_buffer("bias", torch.zeros(channels), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalized (B, C, H, W) maps."""
        with float32_island(maps):
            if maps.device.type == "cpu" and maps.is_contiguous():  # the fastest kernel for this layout
                return F.group_norm(maps, self.channels, self.weight, self.bias, self.eps)
            return cast(Tensor, _InstanceNormFunction.apply(maps, self.weight, self.bias, self.eps))

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"{self.channels}, eps={self.eps}, affine={self.affine}"


def make_norm(norm: str, channels: int) -> nn.Module:
    """Return the normalization layer called `norm` for `channels` channels.

    Raises:
        ValueError: if `norm` is not one of `NORMS`.
    """
    return InstanceNorm(channels) if check_choice("norm", norm, NORMS) == "instance" else nn.BatchNorm2d(channels)


class ReflectConv(nn.Conv2d):
    """Convolve a map that is extended by its mirror image, so that the size is that of the input over `stride`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        size_px: side of the odd kernel.
        stride: step of the kernel.
        bias: whether a number is added to each channel; before a norm without effect.
    """

    def __init__(
        self, in_channels: int, out_channels: int, size_px: int, stride: int = 1, *, bias: bool = True
    ) -> None:
        super().__init__(in_channels, out_channels, size_px, stride, bias=bias)
        self.margin_px = size_px // 2

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        padded = F.pad(maps, (self.margin_px,) * 4, mode="reflect")  # (B, C, H + 2 margin, W + 2 margin)
        return F.conv2d(padded, self.weight, self.bias, self.stride)


class UpsampleConv(nn.Conv2d):
    """Enlarge twofold by nearest neighbor, extend, convolve 3x3: computed on the small map, exactly.

    After nearest upsampling two neighbors of a 3x3 window are copies of one pixel, so the window sees at most 2x2
    distinct pixels and the nine weights fold into four for each of the four output phases. That is a transposed
    convolution of stride 2 whose 4x4 kernel is the 3x3 kernel convolved with a 2x2 box. At the border, reflecting the
    large map about its first pixel u[0] gives u[-1] = u[1] = u[0], its twin, which is replicating the small map's edge;
    zeros around the large map are zeros around the small one. 4 multiplications for each output pixel and channel pair
    instead of 9, and no map of four times the size to keep for the backward pass. Parameters and their gradients are
    those of the 3x3 convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        bias: whether a number is added to each channel.
        extend: what lies around the large map: `reflect` or `zeros`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True, extend: str = "reflect") -> None:
        super().__init__(in_channels, out_channels, 3, bias=bias)
        self.extend = check_choice("extend", extend, ("reflect", "zeros"))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, 2H, 2W)."""
        kernel = _with_box(self.weight.flip(2, 3)).transpose(0, 1)  # (C, O, 4, 4)
        if self.extend == "zeros":
            return F.conv_transpose2d(maps, kernel, self.bias, stride=2, padding=1)
        padded = _repeat_edges(maps)  # (B, C, H + 2, W + 2)
        return F.conv_transpose2d(padded, kernel, self.bias, stride=2, padding=3)


class PooledConv(nn.Conv2d):
    """Convolve 3x3 with zeros around, and take the mean of each 2x2: one convolution of stride 2, exactly.

    Its 4x4 kernel is the 3x3 kernel convolved with a 2x2 box of quarters: 16 multiplications for each output pixel and
    channel pair instead of 36. Parameters and their gradients are those of the 3x3 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, bias=bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) of even sides to (B, out_channels, H / 2, W / 2)."""
        return F.conv2d(maps, _with_box(self.weight) / 4, self.bias, stride=2, padding=1)


def _with_box(weight: Tensor) -> Tensor:
    """Convolve (O, C, 3, 3) kernels with a 2x2 box of ones: (O, C, 4, 4)."""
    spread = F.pad(weight, (1, 1, 1, 1))  # (O, C, 5, 5)
    rows = spread[:, :, 1:] + spread[:, :, :-1]  # (O, C, 4, 5)
    return rows[..., 1:] + rows[..., :-1]


def _repeat_edges(maps: Tensor) -> Tensor:
    """Extend (B, C, H, W) by one pixel on each side, a copy of its neighbor."""
    if not torch.compiler.is_compiling():
        return F.pad(maps, (1, 1, 1, 1), mode="replicate")
    # torch.compile has no right layout for the backward of replication padding on channels_last maps; a compiler fuses
    # the concatenations, which cost more than the padding when they run one by one.
    maps = torch.cat((maps[:, :, :1], maps, maps[:, :, -1:]), 2)  # (B, C, H + 2, W)
    return torch.cat((maps[..., :1], maps, maps[..., -1:]), 3)  # (B, C, H + 2, W + 2)


class OutputConv(nn.Conv2d):
    """Convolve many channels to a few (an image), keeping the size: on the CPU in two steps, exactly.

    CPU kernels compute 16 output channels at a time, so three waste most of the work. The sum over the k columns of the
    kernel is therefore taken last: a k x 1 convolution with 3k outputs, then the sum of k maps, each shifted by its
    column. The multiplications are the same, the rounding differs. The sum is at least float32.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, few.
        size_px: side of the odd kernel.
        padding_mode: `reflect` or `constant` (zeros).
        bias: whether a number is added to each channel.
    """

    def __init__(
        self, in_channels: int, out_channels: int, size_px: int, padding_mode: str = "reflect", *, bias: bool = True
    ) -> None:
        super().__init__(in_channels, out_channels, size_px, bias=bias)
        self.margin_px, self.extend = size_px // 2, padding_mode

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, H, W)."""
        padded = F.pad(maps, (self.margin_px,) * 4, mode=self.extend)  # (B, C, H + k - 1, W + k - 1)
        if maps.device.type != "cpu":
            return F.conv2d(padded, self.weight, self.bias)
        size, width = self.kernel_size[0], maps.shape[-1]
        columns = self.weight.permute(0, 3, 1, 2).flatten(0, 1).unsqueeze(-1)  # (O k, C, k, 1)
        parts = F.conv2d(padded, columns)  # (B, O k, H, W + k - 1)
        parts = parts.view(-1, self.out_channels, size, *parts.shape[2:])  # (B, O, k, H, W + k - 1)
        total: Tensor = parts[:, :, 0, :, :width]  # (B, O, H, W)
        if self.bias is not None:
            total = self.bias.view(1, -1, 1, 1) + total
        for column in range(1, size):
            total = total + parts[:, :, column, :, column : column + width]
        return total


class Residual(nn.Module):
    """Some layers beside a skip that is cropped to the size of their result; nothing follows the sum.

    Args:
        *layers: the branch; it ends in a normalization.
        crop_px: what the branch loses on each side.
    """

    def __init__(self, *layers: nn.Module, crop_px: int) -> None:
        super().__init__()
        self.layers, self.crop_px = nn.Sequential(*layers), crop_px

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H - 2 crop_px, W - 2 crop_px)."""
        crop = self.crop_px
        skip = maps[..., crop : maps.shape[-2] - crop, crop : maps.shape[-1] - crop]
        branch: Tensor = self.layers(maps)
        return branch.add_(skip)  # the norm's output, which no backward pass reads


@torch.no_grad()
def initialize_normal(layer: nn.Module, std: float = 0.02) -> None:
    """Draw a convolution's weights from N(0, std) and a norm's scales from N(1, std); shifts and biases are 0.

    For `network.apply`.

    Source: Radford et al. 2016, "DCGAN", sec. 4; Isola et al. 2017, appendix.
    """
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        layer.weight.normal_(0.0, std)
        if layer.bias is not None:
            layer.bias.zero_()
    elif isinstance(layer, nn.BatchNorm2d) or (isinstance(layer, InstanceNorm) and layer.affine):
        layer.weight.normal_(1.0, std)
        layer.bias.zero_()


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Extend (B, C, H, W) by reflection at the bottom and right so that `multiple` divides both sides.

    Sides that it divides already are left alone; images that need nothing are returned as they are.

    Raises:
        ValueError: if a side is too small to be mirrored that far.
    """
    height, width = images.shape[-2:]
    below, right = -height % multiple, -width % multiple
    if below == 0 and right == 0:
        return images
    if below >= height or right >= width:
        raise ValueError(f"an image of {height} x {width} px is too small to be extended to a multiple of {multiple}")
    return F.pad(images, (0, right, 0, below), mode="reflect")
