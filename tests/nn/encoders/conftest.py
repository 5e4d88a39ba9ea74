"""Encoders with random weights, and pictures, small enough for a test."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from stylebench.functional.dead_leaves import dead_leaves
from stylebench.nn.encoders import SqueezeNetEncoder, VGGEncoder

LAYERS: dict[type, dict[str, Any]] = {
    SqueezeNetEncoder: {"content_layers": ["pool4"], "style_layers": ["conv1", "fire2"], "adain_layer": "fire6"},
    VGGEncoder: {"content_layers": ["relu2_2"], "style_layers": ["relu1_2", "relu2_2"], "adain_layer": "relu4_1"},
}


def make_vgg(depth: int = 16, weights: str = "random", normalize: bool = False, **options: Any) -> VGGEncoder:
    return VGGEncoder(depth, weights, normalize, **{**LAYERS[VGGEncoder], **options})


def make_squeezenet(weights: str = "random", normalize: bool = False, **options: Any) -> SqueezeNetEncoder:
    return SqueezeNetEncoder(weights, normalize, **{**LAYERS[SqueezeNetEncoder], **options})


@pytest.fixture(scope="session")
def vgg16() -> VGGEncoder:
    return make_vgg()


@pytest.fixture(scope="session")
def squeezenet() -> SqueezeNetEncoder:
    return make_squeezenet()


@pytest.fixture
def vgg() -> Callable[..., VGGEncoder]:
    return make_vgg


@pytest.fixture
def squeeze() -> Callable[..., SqueezeNetEncoder]:
    return make_squeezenet


@pytest.fixture(scope="session")
def pictures() -> torch.Tensor:
    """Make four pictures of 64 px, uint8."""
    return dead_leaves(4, 64, seed=1)


@pytest.fixture(scope="session")
def images(pictures: torch.Tensor) -> torch.Tensor:
    """Make two images of 64 x 64 in [0, 1]."""
    return pictures[:2].float() / 255
