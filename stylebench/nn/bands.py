"""A stack of layers on a big picture, band by band of rows, equal to the result of the whole.

Full-resolution maps of many channels are what fills the memory: 32 channels of 24 million pixels take 3 GB. Here each
layer computes rows on demand from the rows of its input that it sees. Padding happens at the picture's own border only,
and instance norm uses the statistics of the whole map, so that there are no seams and no approximations. A map that is
small enough is kept whole before a layer reads it; a larger one is computed again wherever it is read.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.functional.precision import at_least_float32, float32_island
from stylebench.nn.layers import InstanceNorm, OutputConv, ReflectConv, Residual, UpsampleConv

BAND_ROWS = 64
KEEP_BYTES = 7 * 2**28  # 1.75 GiB
BAND_THRESHOLD_PX = 4_000_000  # smaller pictures fit in one pass, which is faster
LONGEST_REPEAT = 2  # convolutions one after another; the time doubles with each


@runtime_checkable
class RunsInBands(Protocol):
    """A network that can work through a picture band by band."""

    def in_bands(self, images: Tensor) -> Tensor:
        """Return what calling the network in evaluation mode returns, up to rounding, without gradients."""
        ...


def is_big(images: Tensor, threshold_px: float = BAND_THRESHOLD_PX) -> bool:
    """Tell whether (B, C, H, W) images have more pixels each than are computed in one pass."""
    return images.shape[-2] * images.shape[-1] > threshold_px


def run_network(network: nn.Module, images: Tensor, threshold_px: float = BAND_THRESHOLD_PX) -> Tensor:
    """Run a network on (B, C, H, W) images, in bands where they are big and the network can; equal up to rounding."""
    if is_big(images, threshold_px) and isinstance(network, RunsInBands):
        return network.in_bands(images)
    output: Tensor = network(images)
    return output


class PerPixel(nn.Module):
    """A function of each pixel alone, as a layer.

    Args:
        function: maps (B, C, h, W) to the same shape and does not change its argument.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, maps: Tensor) -> Tensor:
        """Return the function of the maps."""
        return self.function(maps)


@torch.no_grad()
def run_in_bands(
    layers: nn.Sequential, maps: Tensor, band_rows: int = BAND_ROWS, keep_bytes: int = KEEP_BYTES
) -> Tensor:
    """Compute `layers(maps)` in evaluation mode and without gradients, up to rounding, in bands of rows.

    Knows the layers of `stylebench.nn.layers`, `PerPixel`, and of torch: `Conv2d` with zero padding, `ConvTranspose2d`,
    `BatchNorm2d`, `ReLU`, `LeakyReLU`, `ReflectionPad2d`, `Upsample` to the nearest neighbor, `Sequential`.

    Args:
        layers: the stack; subclasses of these layers are unknown, as they may compute something else.
        maps: (B, C, H, W) images or features, any real range.
        band_rows: rows of each layer's result that are computed at a time.
        keep_bytes: results of convolutions up to this size are kept until the next layers have read them; larger ones
            are computed for each band again, and once more for the statistics of an instance norm. No more than
            `LONGEST_REPEAT` layers in a row: what the next one makes is kept, whatever its size.

    Returns:
        (B, C', H', W'), a new tensor.

    Raises:
        TypeError: if a layer is unknown.
        ValueError: if `maps` is not four-dimensional, a number is out of range, or a layer cannot work in bands with
            its settings (batch norm in training mode; padding other than zeros).
    """
    if maps.ndim != 4:
        raise ValueError(f"expected maps of shape (B, C, H, W), got {tuple(maps.shape)}")
    if band_rows < 1 or keep_bytes < 0:
        raise ValueError(f"expected band_rows >= 1 and keep_bytes >= 0, got {band_rows} and {keep_bytes}")
    return _whole(_stack(layers, _Kept(maps), _Plan(band_rows, keep_bytes, maps.element_size())), band_rows)


class _Plan(NamedTuple):
    band_rows: int
    keep_bytes: int
    entry_bytes: int


class _Map(ABC):
    """A map whose rows can be asked for.

    Attributes:
        shape: (B, C, H, W).
        repeats: the convolutions, one after another, that asking twice costs; 0 if it costs next to nothing.
    """

    shape: tuple[int, int, int, int]
    repeats: int

    @abstractmethod
    def rows(self, first: int, last: int) -> Tensor:
        """Return (B, C, last - first, W); not to be changed in place."""


class _Kept(_Map):
    """A map that is in memory."""

    def __init__(self, maps: Tensor) -> None:
        batch, channels, height, width = maps.shape
        self.maps, self.shape, self.repeats = maps, (batch, channels, height, width), 0

    def rows(self, first: int, last: int) -> Tensor:
        return self.maps[:, :, first:last]


class _Changed(_Map):
    """A function of each pixel of a map."""

    def __init__(self, source: _Map, function: Callable[[Tensor], Tensor]) -> None:
        self.source, self.function = source, function
        self.shape, self.repeats = source.shape, source.repeats

    def rows(self, first: int, last: int) -> Tensor:
        return self.function(self.source.rows(first, last))


class _Mirrored(_Map):
    """A map extended by reflection."""

    def __init__(self, source: _Map, padding: tuple[int, int, int, int]) -> None:
        batch, channels, height, width = source.shape
        left, right, above, below = padding
        if max(left, right) >= width or max(above, below) >= height or min(padding) < 0:
            raise ValueError(f"a map of {height} x {width} cannot be extended by reflection by {padding}; enlarge it")
        self.source, self.columns, self.above = source, (left, right, 0, 0), above
        self.shape = (batch, channels, above + height + below, left + width + right)
        self.repeats = source.repeats

    def rows(self, first: int, last: int) -> Tensor:
        end = self.source.shape[2] - 1
        wanted = [end - abs(end - abs(row - self.above)) for row in range(first, last)]
        top, bottom = min(wanted), max(wanted) + 1
        rows = self.source.rows(top, bottom)
        if wanted != list(range(top, bottom)):  # at the border
            rows = rows[:, :, [row - top for row in wanted]]
        return F.pad(rows, self.columns, mode="reflect") if any(self.columns) else rows


class _Windowed(_Map):
    """What a layer makes of a window of rows that moves over a map.

    The layer is given a few rows more than needed and pads them as it does a whole map; what it makes of padding that
    is not at the map's border is cut off.

    Args:
        source: what the layer reads.
        layer: the layer.
        shape: of its result.
        window: rows first .. last - 1 of the result to the rows top .. bottom - 1 of the source that they need, and
            the row of the result that the layer's result for these begins with.
        costly: whether the layer is a convolution.
    """

    def __init__(
        self,
        source: _Map,
        layer: nn.Module,
        shape: tuple[int, int, int, int],
        window: Callable[[int, int], tuple[int, int, int]],
        costly: bool = True,
    ) -> None:
        self.source, self.layer, self.shape, self.window = source, layer, shape, window
        self.repeats = source.repeats + costly

    def rows(self, first: int, last: int) -> Tensor:
        top, bottom, start = self.window(first, last)
        result: Tensor = self.layer(self.source.rows(top, bottom))
        return result[:, :, first - start : last - start]


class _Sum(_Map):
    """A residual layer's branch plus its cropped skip."""

    def __init__(self, skip: _Map, branch: _Map, crop_px: int) -> None:
        self.skip, self.branch, self.crop_px, self.shape = skip, branch, crop_px, branch.shape
        self.repeats = max(skip.repeats, branch.repeats) + 1  # not 0: one map in memory instead of two

    def rows(self, first: int, last: int) -> Tensor:
        crop, width = self.crop_px, self.shape[3]
        skip = self.skip.rows(first + crop, last + crop)[..., crop : crop + width]  # (B, C, last - first, W)
        return self.branch.rows(first, last) + skip


def _whole(source: _Map, band_rows: int) -> Tensor:
    """Compute all rows of a map, into one new tensor."""
    height = source.shape[2]
    whole: Tensor | None = None
    for first in range(0, height, band_rows):
        last = min(first + band_rows, height)
        rows = source.rows(first, last)
        if whole is None:
            whole = rows.new_empty((*rows.shape[:2], height, rows.shape[3]))
        whole[:, :, first:last] = rows
    return cast(Tensor, whole)


def _keep(source: _Map, plan: _Plan) -> _Map:
    """Return the map kept whole, if it costs something to compute and is small enough, or costs too much."""
    small = math.prod(source.shape) * plan.entry_bytes <= plan.keep_bytes
    if source.repeats > LONGEST_REPEAT or (small and source.repeats > 0):
        return _Kept(_whole(source, plan.band_rows))
    return source


def _stack(layers: nn.Module, source: _Map, plan: _Plan) -> _Map:
    """Put layers on a map. Only the last map is referred to, so that those before it are freed once it is kept."""
    for layer in _flat(layers):
        if type(layer) in _PER_PIXEL:
            source = _Changed(source, _PER_PIXEL[type(layer)](layer))
            continue
        source = _keep(source, plan)
        if isinstance(layer, Residual):
            source = _Sum(source, _stack(layer.layers, source, plan), layer.crop_px)
        elif type(layer) is InstanceNorm:
            source = _Changed(source, _instance_norm(layer, source, plan.band_rows))
        elif type(layer) in _WINDOWED:
            source = _WINDOWED[type(layer)](layer, source)
        else:
            known = sorted({kind.__name__ for kind in (*_PER_PIXEL, *_WINDOWED, InstanceNorm, Residual)})
            raise TypeError(
                f"{type(layer).__name__} cannot be computed in bands of rows; known layers: {', '.join(known)}; "
                "build the network from these, or call it as a whole"
            )
    return source


def _flat(layers: nn.Module) -> Iterator[nn.Module]:
    if isinstance(layers, nn.Sequential):
        for layer in layers:
            yield from _flat(layer)
    else:
        yield layers


def _instance_norm(layer: InstanceNorm, source: _Map, band_rows: int) -> Callable[[Tensor], Tensor]:
    """Return the normalization of rows with the mean and variance of a whole map.

    The moments of the bands are merged about their common mean: sums of squares would lose all digits where the mean is
    far from zero.

    Source: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
    """
    entries, mean, squares = 0, torch.zeros(()).double(), torch.zeros(()).double()
    for first in range(0, source.shape[2], band_rows):
        rows = source.rows(first, min(first + band_rows, source.shape[2]))
        with float32_island(rows):
            rows = at_least_float32(rows)
            count, center = rows.shape[2] * rows.shape[3], rows.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
            spread = (rows - center).square_().sum((2, 3), keepdim=True)  # (B, C, 1, 1)
        away = center.double().cpu() - mean
        squares = squares + spread.double().cpu() + away.square() * (entries * count / (entries + count))
        entries += count
        mean = mean + away * (count / entries)
    scale = layer.weight.double().cpu().view(1, -1, 1, 1) * torch.rsqrt(squares / entries + layer.eps)
    return partial(_normalize, mean=mean, scale=scale, shift=layer.bias.view(1, -1, 1, 1))


def _normalize(rows: Tensor, mean: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    with float32_island(rows):
        wide = at_least_float32(rows)
        return wide.sub(mean.to(wide)).mul_(scale.to(wide)).add_(shift).to(rows.dtype)


def _batch_norm(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    norm = cast(nn.BatchNorm2d, layer)
    if norm.training or norm.running_mean is None:
        raise ValueError(
            "BatchNorm2d normalizes by the batch here, which bands cannot know; call eval() first, and keep running "
            "statistics"
        )
    return norm


def _convolution(layer: nn.Module, source: _Map) -> _Map:
    """Put a convolution on a map whose rows it extends by the same number above and below."""
    conv = cast(nn.Conv2d, layer)
    if isinstance(conv, ReflectConv | OutputConv):
        margins = [conv.margin_px] * 2
    elif conv.padding_mode == "zeros" and not isinstance(conv.padding, str):
        margins = list(conv.padding)
    else:
        raise ValueError(
            f"Conv2d in bands pads with a number of zeros, got padding={conv.padding!r} and "
            f"padding_mode={conv.padding_mode!r}; use ReflectConv, or padding=<number>"
        )
    sizes = [dilation * (size - 1) + 1 for size, dilation in zip(conv.kernel_size, conv.dilation, strict=True)]
    if margins[0] >= sizes[0]:
        raise ValueError(f"Conv2d in bands pads by less than its kernel's {sizes[0]} rows, got padding={conv.padding}")
    batch, _, *sides = source.shape
    height, width = (
        (side + 2 * margin - size) // stride + 1
        for side, margin, size, stride in zip(sides, margins, sizes, conv.stride, strict=True)
    )
    stride, margin, size = conv.stride[0], margins[0], sizes[0]

    def window(first: int, last: int) -> tuple[int, int, int]:
        top = max(0, (first * stride - margin) // stride * stride)  # where the steps of the whole map fall
        return top, min(sides[0], (last - 1) * stride - margin + size), top // stride

    return _Windowed(source, conv, (batch, conv.out_channels, height, width), window)


def _transposed_convolution(layer: nn.Module, source: _Map) -> _Map:
    conv = cast(nn.ConvTranspose2d, layer)
    batch, _, *sides = source.shape
    stride, padding, extra = conv.stride[0], int(conv.padding[0]), conv.output_padding[0]
    size = conv.dilation[0] * (conv.kernel_size[0] - 1) + 1
    height = (sides[0] - 1) * stride - 2 * padding + size + extra
    span = conv.dilation[1] * (conv.kernel_size[1] - 1) + 1
    width = (sides[1] - 1) * conv.stride[1] - 2 * int(conv.padding[1]) + span + conv.output_padding[1]

    def window(first: int, last: int) -> tuple[int, int, int]:
        # Row i of the source reaches the rows i stride - padding .. i stride - padding + size - 1 of the result. The
        # layer cuts `padding` rows from both ends of what it makes of the window, so that it may need rows beyond.
        top = max(0, min(-((size - 1 - first - padding) // stride), first // stride))
        reached = (last - 1 + padding) // stride + 1
        long_enough = -((size + extra - 2 * padding - last) // stride) + 1
        return top, min(sides[0], max(reached, long_enough)), top * stride

    return _Windowed(source, conv, (batch, conv.out_channels, height, width), window)


def _upsample_conv(layer: nn.Module, source: _Map) -> _Map:
    batch, _, height, width = source.shape

    def window(first: int, last: int) -> tuple[int, int, int]:
        top = max(0, (first - 1) // 2)
        return top, min(height, last // 2 + 1), 2 * top

    return _Windowed(source, layer, (batch, cast(UpsampleConv, layer).out_channels, 2 * height, 2 * width), window)


def _upsample(layer: nn.Module, source: _Map) -> _Map:
    upsample = cast(nn.Upsample, layer)
    factor = upsample.scale_factor
    if upsample.mode != "nearest" or not isinstance(factor, int | float) or factor < 1 or factor != int(factor):
        raise ValueError(
            f"Upsample in bands goes to the nearest neighbor by one whole factor, got {upsample}; use "
            "scale_factor=2, mode=nearest"
        )
    batch, channels, height, width = source.shape
    times = int(factor)

    def window(first: int, last: int) -> tuple[int, int, int]:
        return first // times, -(-last // times), first // times * times

    return _Windowed(source, layer, (batch, channels, times * height, times * width), window, costly=False)


def _mirrored(layer: nn.Module, source: _Map) -> _Map:
    left, right, above, below = cast(nn.ReflectionPad2d, layer).padding
    return _Mirrored(source, (left, right, above, below))


# Activations out of place: the rows that they read may be a view of a map that is kept.
_PER_PIXEL: dict[type[nn.Module], Callable[[nn.Module], Callable[[Tensor], Tensor]]] = {
    PerPixel: lambda layer: layer,
    nn.ReLU: lambda layer: torch.relu,
    nn.LeakyReLU: lambda layer: partial(F.leaky_relu, negative_slope=cast(nn.LeakyReLU, layer).negative_slope),
    nn.BatchNorm2d: _batch_norm,
}
_WINDOWED: dict[type[nn.Module], Callable[[nn.Module, _Map], _Map]] = {
    ReflectConv: _convolution,
    OutputConv: _convolution,
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _transposed_convolution,
    UpsampleConv: _upsample_conv,
    nn.Upsample: _upsample,
    nn.ReflectionPad2d: _mirrored,
}
