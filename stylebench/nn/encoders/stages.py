"""The building blocks of encoders: convolutions that own no parameters, and the stages that a tap can follow."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDINGS = ("zeros", "reflect", "replicate", "circular")  # what lies beyond the border
POOLINGS = ("max", "avg")


class FrozenConv(nn.Module):
    """A convolution whose weights are non-persistent buffers: moved and cast with the module, never trained or saved.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: side of the square kernel, pixels.
        stride: pixels.
        padding: pixels on each side.
        dilation: pixels between two taps of the kernel.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.dilation = kernel, stride, padding, dilation
        self.padding_mode = "zeros"
        self.register_buffer("weight", torch.zeros(outputs, inputs, kernel, kernel), persistent=False)
        self.register_buffer("bias", torch.zeros(outputs), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, inputs, H, W) into (B, outputs, H', W')."""
        if self.padding and self.padding_mode != "zeros":
            x = F.pad(x, (self.padding,) * 4, mode=self.padding_mode)  # (B, inputs, H+2p, W+2p)
            return F.conv2d(x, self.weight, self.bias, self.stride, dilation=self.dilation)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)

    @property
    def reach(self) -> int:
        """How many input pixels beside its center an output sees."""
        return self.dilation * (self.kernel // 2)

    @property
    def aligned(self) -> bool:
        """Whether output i is centered on input i * stride, and nothing is fetched from the far side."""
        return self.padding == self.dilation * ((self.kernel - 1) // 2) and self.padding_mode != "circular"

    def size_out(self, size: int) -> int:
        """Return the output's side for an input's side, 0 where the input is too small."""
        if self.padding_mode == "reflect" and size <= self.padding:
            return 0  # a mirror needs something to mirror
        if self.padding_mode == "circular" and size < self.padding:
            return 0
        span = self.dilation * (self.kernel - 1) + 1
        return max((size + 2 * self.padding - span) // self.stride + 1, 0)


class Stage(nn.Module):
    """A step of an encoder that a tap may follow.

    Attributes:
        channels: of its output.
        stride: how many input pixels one output step spans, relative to the stage's own input.
    """

    channels: int
    stride: int = 1

    @property
    def reach(self) -> int:
        """How many pixels of its input beside an output's own place are seen."""
        return max((conv.reach for conv in self.convs().values()), default=0)

    @property
    def aligned(self) -> bool:
        """Whether output i belongs to input i * stride, so that tiles that start at multiples line up."""
        return all(conv.aligned for conv in self.convs().values())

    def convs(self) -> dict[str, FrozenConv]:
        """Return the stage's convolutions by their names in torchvision's state dict."""
        return {}

    def size_out(self, size: int) -> int:
        """Return the output's side for an input's side, 0 where the input is too small."""
        return size

    def run(self, x: Tensor, overwrite: bool) -> Tensor:
        """Compute the stage; `overwrite` allows it to destroy its input."""
        raise NotImplementedError

    def forward(self, x: Tensor, overwrite: bool = False) -> Tensor:
        """Compute the stage on (B, C, H, W)."""
        return self.run(x, overwrite)


class Conv(Stage):
    """A convolution, layer `index` of torchvision's features, with its ReLU where `relu` says so."""

    def __init__(self, index: int, conv: FrozenConv, relu: bool) -> None:
        super().__init__()
        self.index, self.conv, self.relu = index, conv, relu
        self.channels, self.stride = conv.weight.shape[0], conv.stride

    def convs(self) -> dict[str, FrozenConv]:
        """Return the one convolution."""
        return {f"features.{self.index}": self.conv}

    def size_out(self, size: int) -> int:
        """Return the convolution's."""
        return self.conv.size_out(size)

    def run(self, x: Tensor, overwrite: bool) -> Tensor:
        """Convolve; the fresh output may be rectified in place whatever `overwrite` says of the input."""
        x = self.conv(x)
        return F.relu_(x) if self.relu else x


class Relu(Stage):
    """A ReLU, in place unless its input is a tap."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def run(self, x: Tensor, overwrite: bool) -> Tensor:
        """Rectify; autograd allows it in place, since no convolution needs its own output to go back."""
        return F.relu_(x) if overwrite else F.relu(x)


class Pool(Stage):
    """Max or average pooling."""

    def __init__(self, channels: int, kernel: int, padding: int = 0, ceil_mode: bool = False) -> None:
        super().__init__()
        self.channels, self.stride = channels, 2
        self.kernel, self.padding, self.ceil_mode = kernel, padding, ceil_mode
        self.pooling = "max"

    @property
    def reach(self) -> int:
        """Window and padding."""
        return self.kernel - 1 - self.padding

    @property
    def aligned(self) -> bool:
        """Whether windows start at multiples of the stride, or are centered there."""
        return self.padding == (self.kernel - 1) // 2 and not self.ceil_mode

    def size_out(self, size: int) -> int:
        """Return the output's side, 0 where the window does not fit."""
        span = size + 2 * self.padding - self.kernel
        return max((span + (1 if self.ceil_mode else 0)) // 2 + 1, 0)

    def run(self, x: Tensor, overwrite: bool) -> Tensor:
        """Pool (B, C, H, W) to half the size."""
        if self.pooling == "avg":
            return F.avg_pool2d(x, self.kernel, 2, self.padding, self.ceil_mode)
        return F.max_pool2d(x, self.kernel, 2, self.padding, ceil_mode=self.ceil_mode)


class Fire(Stage):
    """SqueezeNet's module, layer `index` of torchvision's features.

    A 1x1 convolution squeezes the input into few channels; a 1x1 and a 3x3 one expand them, side by side.

    Source: Iandola et al. 2016, section 3.2.
    """

    def __init__(self, index: int, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.index = index
        self.squeeze = FrozenConv(inputs, squeezed, 1)
        self.expand1x1 = FrozenConv(squeezed, expanded, 1)
        self.expand3x3 = FrozenConv(squeezed, expanded, 3, padding=1)
        self.channels = 2 * expanded

    def convs(self) -> dict[str, FrozenConv]:
        """Return the three convolutions."""
        parts = {"squeeze": self.squeeze, "expand1x1": self.expand1x1, "expand3x3": self.expand3x3}
        return {f"features.{self.index}.{name}": conv for name, conv in parts.items()}

    def run(self, x: Tensor, overwrite: bool) -> Tensor:
        """Squeeze and expand; rectifying after the concatenation keeps one map for the way back instead of three."""
        squeezed = F.relu_(self.squeeze(x))
        return F.relu_(torch.cat((self.expand1x1(squeezed), self.expand3x3(squeezed)), 1))  # (B, 2*expanded, H, W)
