"""An encoder while it is trained: its convolutions with batch norm, the heads of the tasks, and the way back."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from experiments.compact.pictures import TRAITS
from experiments.compact.textures import FAMILIES
from stylebench.nn.encoders.base import Encoder
from stylebench.nn.encoders.compact import CompactEncoder
from stylebench.nn.encoders.judge import JudgeEncoder
from stylebench.nn.encoders.stages import FrozenConv
from stylebench.worlds.procstyle import SHAPES

_EMBEDDING = 64
_LEAST_VARIANCE = 1e-4


class Taps(NamedTuple):
    """Where the tasks read an encoder.

    Attributes:
        style: taps whose means and deviations describe a style.
        masks: taps that masks are read from.
        content: tap that content is compared at.
        objects: tap that objects are read from.
    """

    style: tuple[str, ...]
    masks: tuple[str, ...]
    content: str
    objects: str


TAPS = {
    "compact": Taps(
        ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"), ("relu3_2", "relu4_2"), "relu4_2", "relu5_1"
    ),
    "compact_judge": Taps(("stem", "mix1", "mix3", "mix5", "mix7"), ("mix3", "mix5"), "mix5", "mix7"),
}


def blank(name: str, weights: str = "random", pooling: str = "max") -> Encoder:
    """Return an encoder of an architecture, its layers set to those that the tasks read.

    Args:
        name: key of `TAPS`.
        weights: as the encoder takes them.
        pooling: of a compact encoder.

    Returns:
        The frozen encoder.

    Raises:
        ValueError: for a pooling that the architecture does not have.
    """
    taps = TAPS[name]
    if name == "compact":
        return CompactEncoder(weights, [taps.content], taps.style, taps.content, pooling=pooling)
    if pooling != "max":
        raise ValueError(
            f"{name} has pooling of its own, always average; --pooling avg and --design all_avg are for compact alone"
        )
    return JudgeEncoder(weights, [taps.content], taps.style, taps.content)


class _TrainedConv(nn.Module):
    """A convolution with batch norm in the place of a frozen convolution."""

    def __init__(self, frozen: FrozenConv) -> None:
        super().__init__()
        outputs, inputs = frozen.weight.shape[:2]
        self.conv = nn.Conv2d(
            inputs, outputs, frozen.kernel, frozen.stride, frozen.padding, frozen.dilation, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalize (B, inputs, H, W)."""
        normalized: Tensor = self.norm(self.conv(x))
        return normalized

    @torch.no_grad()
    def fold_into(self, frozen: FrozenConv) -> None:
        """Write the one convolution that computes the same in eval mode."""
        norm = self.norm
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        scale = norm.weight / (variance + norm.eps).sqrt()
        frozen.weight.copy_(self.conv.weight * scale[:, None, None, None])
        frozen.bias.copy_(norm.bias - mean * scale)


class Trainee(nn.Module):
    """An encoder's layers as trained ones, and a head for each task.

    Args:
        encoder: whose architecture is trained; its weights are not used.
        taps: where the tasks read it.
    """

    def __init__(self, encoder: Encoder, taps: Taps) -> None:
        super().__init__()
        self.taps = taps
        self.body = copy.deepcopy(encoder)
        for parent, name, frozen in _frozen(self.body):
            setattr(parent, name, _TrainedConv(frozen))
        described = 2 * sum(encoder.channels[tap] for tap in taps.style)
        self.scale = nn.BatchNorm1d(described)
        self.style = nn.Linear(described, _EMBEDDING)
        self.views = nn.Sequential(nn.Linear(described, 256), nn.ReLU(), nn.Linear(256, _EMBEDDING))
        self.traits = nn.Linear(described, len(TRAITS))
        self.family = nn.Linear(described, len(FAMILIES) + 1)
        self.masks = nn.ModuleList(nn.Conv2d(encoder.channels[tap], len(SHAPES) + 1, 1) for tap in taps.masks)
        self.content = nn.Conv2d(encoder.channels[taps.content], _EMBEDDING, 1)
        self.main = nn.Linear(2 * encoder.channels[taps.objects], len(SHAPES))
        self.shapes = nn.Linear(2 * encoder.channels[taps.objects], len(SHAPES))
        nn.Module.train(self.body, True)  # encoders stay in eval mode by themselves

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the maps at all taps of the tasks, of (B, 3, H, W) in [0, 1]."""
        wanted = dict.fromkeys((*self.taps.style, *self.taps.masks, self.taps.content, self.taps.objects))
        maps: dict[str, Tensor] = self.body(images, tuple(wanted))
        return maps

    def describe(self, maps: dict[str, Tensor]) -> Tensor:
        """Return (B, D) normalized means and deviations over positions, of all style taps."""
        described: Tensor = self.scale(statistics([maps[tap] for tap in self.taps.style]))
        return described

    def into(self, encoder: Encoder) -> None:
        """Write the trained layers into a frozen encoder of the same architecture."""
        for (_, _, frozen), (_, _, trained) in zip(_frozen(encoder), _trained(self.body), strict=True):
            trained.fold_into(frozen)


def statistics(maps: list[Tensor]) -> Tensor:
    """Return means and standard deviations over positions of (B, C, H, W) maps, side by side, (B, 2 sum C)."""
    parts = []
    for features in maps:
        mean = features.mean((2, 3))
        variance = (features.square().mean((2, 3)) - mean.square()).clamp(min=0)
        parts += [mean, (variance + _LEAST_VARIANCE).sqrt()]
    return torch.cat(parts, 1)


def _frozen(encoder: nn.Module) -> list[tuple[nn.Module, str, FrozenConv]]:
    return [
        (parent, name, child)
        for parent in list(encoder.modules())
        for name, child in list(parent.named_children())
        if isinstance(child, FrozenConv)
    ]


def _trained(body: nn.Module) -> list[tuple[nn.Module, str, _TrainedConv]]:
    return [
        (parent, name, child)
        for parent in body.modules()
        for name, child in parent.named_children()
        if isinstance(child, _TrainedConv)
    ]
