"""The FID network: Inception v3 as TensorFlow released it on 2015-12-05, the one that an FID is defined by.

torchvision's Inception v3 (`torchvision_inception.py`) is another training of nearly the same graph. Here average pools
leave the padding out, the last block pools by maximum, and the head has 1008 classes, which no metric reads.

Source: Szegedy et al. 2016, figures 5 to 7 and 10; names and shapes of tensors are those of the published conversion.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylebench.checks import check_choice
from stylebench.files import DamagedFileError, cache_dir, read_pickle
from stylebench.metrics.extractors.base import Extractor
from stylebench.metrics.extractors.levels import resized_levels
from stylebench.metrics.resizing import protocol
from stylebench.metrics.weights import MissingWeightsError, find_weights
from stylebench.nn.encoders.weights import Source, fetch, random_seed, random_state, state_digest

SOURCE = Source(
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
PREPARE = "get it once with: stylebench prepare encoder=inception (96 MB), or set weights to the path of a copy"
TAPS = (64, 192, 768, 2048)  # named by their numbers of features, as published
SIZE_PX = 299
_WHAT = "weights of the FID Inception network"
_CLASSES = 1008
_BATCH_NORM_EPS = 1e-3
_WIDE, _TALL = (1, 7), (7, 1)


class Conv(nn.Module):
    """A convolution without bias, batch normalization with given statistics, and ReLU; odd kernels keep the size.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: side of the kernel, or height and width.
        stride: of the convolution.
        padded: whether the border is padded with zeros, so that a stride of 1 keeps the size.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int] = 1, stride: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if padded else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=_BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, h, w) rectified activations."""
        return F.relu_(self.bn(self.conv(x)))


class Block(nn.Module):
    """Branches side by side on one input; subclasses list them in the order of their channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches' channels one behind the other."""
        return torch.cat(list(self.branches(x)), 1)

    def branches(self, x: Tensor) -> Iterator[Tensor]:
        """Compute one branch after the other."""
        raise NotImplementedError

    def chain(self, name: str, x: Tensor, last: int) -> Tensor:
        """Run the convolutions `<name>_1` to `<name>_<last>`."""
        for number in range(1, last + 1):
            x = getattr(self, f"{name}_{number}")(x)
        return x


class BlockA(Block):
    """35 x 35 positions: 1x1, 5x5, two 3x3, and an average. Source: figure 5 (with a 5x5 branch, as released)."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(inputs, 64)
        self.branch5x5_1 = Conv(inputs, 48)
        self.branch5x5_2 = Conv(48, 64, 5)
        self.branch3x3dbl_1 = Conv(inputs, 64)
        self.branch3x3dbl_2 = Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3)
        self.branch_pool = Conv(inputs, pooled)

    def branches(self, x: Tensor) -> Iterator[Tensor]:
        """Compute one branch after the other."""
        yield self.branch1x1(x)
        yield self.chain("branch5x5", x, 2)
        yield self.chain("branch3x3dbl", x, 3)
        yield self.branch_pool(_average(x))


class BlockB(Block):
    """35 x 35 to 17 x 17 positions. Source: figure 10."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(inputs, 384, 3, stride=2, padded=False)
        self.branch3x3dbl_1 = Conv(inputs, 64)
        self.branch3x3dbl_2 = Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2, padded=False)

    def branches(self, x: Tensor) -> Iterator[Tensor]:
        """Compute one branch after the other."""
        yield self.branch3x3(x)
        yield self.chain("branch3x3dbl", x, 3)
        yield F.max_pool2d(x, 3, stride=2)


class BlockC(Block):
    """17 x 17 positions: 7x7 convolutions in two steps each. Source: figure 6."""

    def __init__(self, inputs: int, narrow: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(inputs, 192)
        self.branch7x7_1 = Conv(inputs, narrow)
        self.branch7x7_2 = Conv(narrow, narrow, _WIDE)
        self.branch7x7_3 = Conv(narrow, 192, _TALL)
        self.branch7x7dbl_1 = Conv(inputs, narrow)
        self.branch7x7dbl_2 = Conv(narrow, narrow, _TALL)
        self.branch7x7dbl_3 = Conv(narrow, narrow, _WIDE)
        self.branch7x7dbl_4 = Conv(narrow, narrow, _TALL)
        self.branch7x7dbl_5 = Conv(narrow, 192, _WIDE)
        self.branch_pool = Conv(inputs, 192)

    def branches(self, x: Tensor) -> Iterator[Tensor]:
        """Compute one branch after the other."""
        yield self.branch1x1(x)
        yield self.chain("branch7x7", x, 3)
        yield self.chain("branch7x7dbl", x, 5)
        yield self.branch_pool(_average(x))


class BlockD(Block):
    """17 x 17 to 8 x 8 positions."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Conv(inputs, 192)
        self.branch3x3_2 = Conv(192, 320, 3, stride=2, padded=False)
        self.branch7x7x3_1 = Conv(inputs, 192)
        self.branch7x7x3_2 = Conv(192, 192, _WIDE)
        self.branch7x7x3_3 = Conv(192, 192, _TALL)
        self.branch7x7x3_4 = Conv(192, 192, 3, stride=2, padded=False)

    def branches(self, x: Tensor) -> Iterator[Tensor]:
        """Compute one branch after the other."""
        yield self.chain("branch3x3", x, 2)
        yield self.chain("branch7x7x3", x, 4)
        yield F.max_pool2d(x, 3, stride=2)


class BlockE(Block):
    """8 x 8 positions: 3x3 convolutions that end in a 1x3 beside a 3x1. Source: figure 7.

    Args:
        inputs: channels in.
        max_pooled: whether the pool takes the maximum: in the released graph's last block, and only there.
    """

    def __init__(self, inputs: int, max_pooled: bool) -> None:
        super().__init__()
        self.max_pooled = max_pooled
        self.branch1x1 = Conv(inputs, 320)
        self.branch3x3_1 = Conv(inputs, 384)
        self.branch3x3_2a = Conv(384, 384, (1, 3))
        self.branch3x3_2b = Conv(384, 384, (3, 1))
        self.branch3x3dbl_1 = Conv(inputs, 448)
        self.branch3x3dbl_2 = Conv(448, 384, 3)
        self.branch3x3dbl_3a = Conv(384, 384, (1, 3))
        self.branch3x3dbl_3b = Conv(384, 384, (3, 1))
        self.branch_pool = Conv(inputs, 192)

    def branches(self, x: Tensor) -> Iterator[Tensor]:
        """Compute one branch after the other."""
        yield self.branch1x1(x)
        single = self.branch3x3_1(x)
        yield self.branch3x3_2a(single)
        yield self.branch3x3_2b(single)
        double = self.chain("branch3x3dbl", x, 2)
        yield self.branch3x3dbl_3a(double)
        yield self.branch3x3dbl_3b(double)
        yield self.branch_pool(F.max_pool2d(x, 3, stride=1, padding=1) if self.max_pooled else _average(x))


def _average(x: Tensor) -> Tensor:
    """Average 3 x 3 neighbors; at the border only those that exist, as TensorFlow does and torchvision does not."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class TFInception(nn.Module):
    """The network, layer by layer; its tensors have the names and shapes of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2, padded=False)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, padded=False)
        self.Mixed_5b = BlockA(192, pooled=32)
        self.Mixed_5c = BlockA(256, pooled=64)
        self.Mixed_5d = BlockA(288, pooled=64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, narrow=128)
        self.Mixed_6c = BlockC(768, narrow=160)
        self.Mixed_6d = BlockC(768, narrow=160)
        self.Mixed_6e = BlockC(768, narrow=192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, max_pooled=False)
        self.Mixed_7c = BlockE(2048, max_pooled=True)
        self.fc = nn.Linear(2048, _CLASSES)  # unused: without it the published file would not fit

    def forward(self, x: Tensor, tap: int = TAPS[-1]) -> Tensor:
        """Compute the features of a tap, averaged over positions, and nothing behind it.

        Args:
            x: (B, 3, 299, 299) in [-1, 1).
            tap: one of `TAPS`.

        Returns:
            (B, tap).
        """
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (B, 64, 147, 147)
        x = F.max_pool2d(x, 3, stride=2)  # (B, 64, 73, 73)
        if tap == 64:
            return x.mean((2, 3))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # (B, 192, 71, 71)
        x = F.max_pool2d(x, 3, stride=2)  # (B, 192, 35, 35)
        if tap == 192:
            return x.mean((2, 3))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # (B, 288, 35, 35)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))  # (B, 768, 17, 17)
        if tap == 768:
            return x.mean((2, 3))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (B, 2048, 8, 8)
        return x.mean((2, 3))


class Inception(Extractor):
    """The FID network as an extractor. Only its 2048 features with the published weights earn the names FID and KID.

    Args:
        weights: `auto` (the package's cache, which `stylebench prepare encoder=inception` fills, or torch hub's), the
            path of a file, or `random` (or `random-<seed>`), for tests.
        resize: a protocol of `metrics.resizing.PROTOCOLS`.
        tap: one of `TAPS`.

    Raises:
        MissingWeightsError: if the file is not here.
        DamagedFileError: if it does not fit the network.
        ValueError: on an unknown tap or protocol.

    Source: Heusel et al. 2017, section 3 (the features); toshas/torch-fidelity (the converted file).
    """

    size_px = SIZE_PX

    def __init__(self, weights: str = "auto", resize: str = "clean", tap: int = 2048) -> None:
        super().__init__()
        check_choice("tap", tap, TAPS)
        protocol(resize)
        self.resize, self.tap, self.width = resize, tap, tap
        with torch.random.fork_rng(devices=[]):  # a run's random numbers stay the same with and without a metric
            self.network = TFInception()
        seed = random_seed(weights)
        if seed is None:
            file = find_weights(weights, SOURCE, _WHAT, PREPARE)
            load_network(self.network, file.path)
            self.digest, self.origin = file.digest, "natural"
        else:
            self.digest, self.origin = randomize(self.network, seed), "random"
        self.canonical = ("fid", "kid") if self.digest == SOURCE.digest and tap == TAPS[-1] else ()
        part = "" if tap == TAPS[-1] else f"_{tap}"
        self.alias, self.name = f"inception{part}", f"inception{part}-{self.digest[:8]}"
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, width) float32 features; see `Extractor`."""
        levels = resized_levels(images, self.resize, SIZE_PX)  # (B, 3, 299, 299)
        return self.network((levels - 128) / 128, self.tap)  # type: ignore[no-any-return]


def fetch_inception() -> Path:
    """Return the published file of the FID network, downloaded into the package's cache unless a cache has it.

    Raises:
        RuntimeError: if the download fails, or brings another file.
        DamagedFileError: if a cache holds another file under its name.
    """
    try:
        return find_weights("auto", SOURCE, _WHAT, PREPARE).path
    except MissingWeightsError:
        fetch(SOURCE, cache_dir() / "weights" / SOURCE.file_name)
    return find_weights("auto", SOURCE, _WHAT, PREPARE).path


def has_inception() -> bool:
    """Tell whether the published weights are on this machine, whole, where `weights=auto` finds them."""
    try:
        find_weights("auto", SOURCE, _WHAT, PREPARE)
    except (MissingWeightsError, DamagedFileError):
        return False
    return True


def load_network(network: nn.Module, path: Path) -> None:
    """Fill a network from a file, tensor for tensor.

    Raises:
        DamagedFileError: if the file cannot be read, or does not fit.
    """
    state = read_pickle(path)
    if not isinstance(state, Mapping):
        raise DamagedFileError(f"{path} should hold tensors by name, found {type(state).__name__}; get it again")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise DamagedFileError(f"{path} does not fit this network: {reason}; use the published file") from error
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        raise DamagedFileError(f"{path} should hold finite numbers, found others; get it again")


def randomize(network: nn.Module, seed: int) -> str:
    """Draw He-scaled convolutions, which keep the size of activations through the depth; return the weights' digest."""
    convolutions = {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    drawn = random_state({name: tuple(part.weight.shape) for name, part in convolutions.items()}, seed)
    with torch.no_grad():
        for name, part in convolutions.items():
            part.weight.copy_(drawn[name])
    return state_digest(drawn)
