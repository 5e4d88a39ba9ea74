"""LPIPS and DISTS: torchmetrics' networks, built once, with weights that are found and checked like an encoder's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import dists as dists_module
from torchmetrics.functional.image import lpips as lpips_module
from torchvision import models

from stylebench.checks import check_choice
from stylebench.files import read_pickle
from stylebench.metrics.batch import Views
from stylebench.metrics.pairs import PairMetric, nearest
from stylebench.metrics.weights import find_weights
from stylebench.nn.encoders.weights import (
    Source,
    load_state,
    random_seed,
    random_state,
    state_digest,
    torchvision_source,
)

_FEATURES = "features."


class Backbone(NamedTuple):
    """A torchvision network behind a perceptual distance.

    Attributes:
        source: its ImageNet weights.
        build: makes it without weights.
    """

    source: Source
    build: Callable[..., nn.Module]


BACKBONES = {
    "alex": Backbone(torchvision_source(models.AlexNet_Weights.IMAGENET1K_V1), models.alexnet),
    "vgg": Backbone(torchvision_source(models.VGG16_Weights.IMAGENET1K_V1), models.vgg16),
}


class PerceptualDistance(PairMetric):
    """A learned distance between two pictures of one size.

    It carries a published name only with the published weights: `lpips`, `dists`; else it is `pd`, `td`.

    Args:
        backbone: key of `BACKBONES`.
        weights: `auto` (torch hub's cache, no download), `imagenet` (the same, or a download), a path, or
            `random[-<seed>]`.
        against: see `PairMetric`.

    Raises:
        MissingWeightsError: if the weights are not here.
    """

    word: ClassVar[str]
    own_word: ClassVar[str]
    smallest_px = 32

    def __init__(self, backbone: str, weights: str, against: str) -> None:
        check_choice("backbone", backbone, BACKBONES)
        with torch.random.fork_rng(devices=[]):  # the constructors of others draw: training must not notice
            state, self.digest, canonical = _backbone_state(backbone, weights)
            self.network = self.build(backbone, state).eval().requires_grad_(False)
        self.stem = self.word if canonical else self.own_word
        super().__init__(against)
        self.name = f"{backbone}-{self.digest[:8]}"

    @property
    def tag(self) -> str:
        """The network."""
        return self.name

    def build(self, backbone: str, state: Mapping[str, Tensor]) -> nn.Module:
        """Return the network with the backbone's convolutions filled in."""
        raise NotImplementedError

    def embed(self, images: Tensor) -> Sequence[Tensor]:
        """Return what distances are taken between, for (B, 3, H, W) uint8 images."""
        raise NotImplementedError

    def distance(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return (B,) distances between embedded pictures."""
        raise NotImplementedError

    @torch.no_grad()
    def rows(self, views: Views) -> dict[str, Tensor]:
        """Return distances, to the nearest of several targets."""
        self.network.to(views.batch.image.device)
        image = self.embed(views.batch.image)
        return nearest(views, self.against, lambda others: self.distance(image, self.embed(others)))

    def describe(self) -> dict[str, Any]:
        """Name the network."""
        return {**super().describe(), "network": self.name, "digest": self.digest}


class LPIPS(PerceptualDistance):
    """Learned perceptual image patch similarity, version 0.1, at the pictures' own size.

    Args:
        backbone: `alex` to score, `vgg` for comparison with losses.
        weights: of the backbone, see `PerceptualDistance`; the linear heads come with torchmetrics.
        against: `content`, `target` or `style`.

    Source: Zhang et al. 2018; richzhang/PerceptualSimilarity.
    """

    word, own_word, usual = "lpips", "pd", "content"

    def __init__(self, backbone: str = "alex", weights: str = "auto", against: str = "content") -> None:
        super().__init__(backbone, weights, against)

    def build(self, backbone: str, state: Mapping[str, Tensor]) -> nn.Module:
        """Put the backbone's convolutions into torchmetrics' slices, which keep their numbers."""
        network = lpips_module._LPIPS(pretrained=True, net=backbone, pnet_rand=True)  # type: ignore[arg-type]
        _fill(network.net, state)
        return network

    def embed(self, images: Tensor) -> Sequence[Tensor]:
        """Return activations of unit length in every position."""
        network: Any = self.network
        maps = network.net(network.scaling_layer(images.float() / 127.5 - 1))
        return [lpips_module._normalize_tensor(layer) for layer in maps]

    def distance(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return the weighted squared differences, averaged over positions and summed over layers."""
        heads: Any = self.network.lins
        return torch.stack(
            [head((a - b) ** 2).flatten(1).mean(1) for head, a, b in zip(heads, first, second, strict=True)]
        ).sum(0)


class DISTS(PerceptualDistance):
    """Deep image structure and texture similarity: forgives textures that are resampled.

    Args:
        weights: of VGG-16, see `PerceptualDistance`; its own factors come with torchmetrics.
        against: `content`, `target` or `style`.

    Source: Ding et al. 2020; pictures of about 256 px by its convention, here at their own size.
    """

    word, own_word = "dists", "td"

    def __init__(self, weights: str = "auto", against: str = "target") -> None:
        super().__init__("vgg", weights, against)

    def build(self, backbone: str, state: Mapping[str, Tensor]) -> nn.Module:
        """Build torchmetrics' network without its own download."""
        network = _DISTSNetwork()
        _fill(network, state)
        return network

    def embed(self, images: Tensor) -> Sequence[Tensor]:
        """Return the picture and its activations."""
        network: Any = self.network
        return list(network.forward_once(images.float() / 255))

    def distance(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return 1 - weighted similarity of means and of structure (Ding et al. 2020, eq. 6 to 8)."""
        network: Any = self.network
        factors = network.alpha.sum() + network.beta.sum()
        total = first[0].new_zeros(len(first[0]), dtype=torch.float64)
        weights = (torch.split(part / factors, network.chns, dim=1) for part in (network.alpha, network.beta))
        for a, b, alpha, beta in zip(first, second, *weights, strict=True):
            a, b = a.double(), b.double()  # differences of squares lose digits
            mean_a, mean_b = a.mean((2, 3), keepdim=True), b.mean((2, 3), keepdim=True)
            means = (2 * mean_a * mean_b + 1e-6) / (mean_a**2 + mean_b**2 + 1e-6)
            variances = a.var((2, 3), unbiased=False, keepdim=True) + b.var((2, 3), unbiased=False, keepdim=True)
            covariance = (a * b).mean((2, 3), keepdim=True) - mean_a * mean_b
            structure = (2 * covariance + 1e-6) / (variances + 1e-6)
            total = total + (alpha * means + beta * structure).flatten(1).sum(1)
        return 1 - total


class _DISTSNetwork(dists_module.DISTSNetwork):
    """torchmetrics' DISTS without the constructor that downloads: the same stages over an empty VGG-16."""

    _STAGES = ((0, 4), (4, 9), (9, 16), (16, 23), (23, 30))
    _POOLED = (0, 64, 128, 256, 512)  # channels of the pooling that begins a stage

    def __init__(self) -> None:
        nn.Module.__init__(self)
        layers: Any = models.vgg16(weights=None).features
        for number, ((start, end), pooled) in enumerate(zip(self._STAGES, self._POOLED, strict=True), start=1):
            stage = nn.Sequential()
            for place in range(start, end):
                pool = place == start and pooled > 0
                stage.add_module(str(place), dists_module.L2pooling(channels=pooled) if pool else layers[place])
            self.add_module(f"stage{number}", stage)
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))
        self.chns = [3, 64, 128, 256, 512, 512]
        for name, values in read_pickle(dists_module._PATH_WEIGHT_DISTS).items():
            self.register_parameter(name, nn.Parameter(values, requires_grad=False))


def _backbone_state(backbone: str, weights: str) -> tuple[dict[str, Tensor], str, bool]:
    """Return a backbone's convolutions by torchvision's names, their digest, and whether they are as published."""
    network = BACKBONES[backbone]
    features = network.build(weights=None).get_submodule("features")
    shapes = {f"{_FEATURES}{name}": tuple(value.shape) for name, value in features.state_dict().items()}
    seed = random_seed(weights)
    if seed is not None:
        state = random_state(shapes, seed)
        return state, state_digest(state), False
    file = find_weights(weights, network.source, f"weights of {network.build.__name__}")
    published = file.digest.startswith(network.source.digest)
    return load_state(file.path, shapes, network.build.__name__), file.digest, published


def _fill(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy `features.<n>.*` of a torchvision network into stages whose layers kept their numbers."""
    for name, parameter in network.named_parameters():
        stage, _, place = name.partition(".")
        if stage.startswith(("slice", "stage")):
            parameter.data.copy_(state[_FEATURES + place])
