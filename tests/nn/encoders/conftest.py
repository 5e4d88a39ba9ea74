"""Encoders with random weights, and pictures, small enough for a test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stylebench.functional.dead_leaves import dead_leaves
from stylebench.nn.encoders import CompactEncoder, Encoder, JudgeEncoder, SqueezeNetEncoder, VGGEncoder
from stylebench.nn.encoders.normalization import calibration_name
from stylebench.nn.encoders.weights import random_state
from tests.nn.encoders.weight_files import state_of, write_weights

LAYERS: dict[type, dict[str, Any]] = {
    SqueezeNetEncoder: {"content_layers": ["pool4"], "style_layers": ["conv1", "fire2"], "exchange_layer": "fire6"},
    VGGEncoder: {"content_layers": ["relu2_2"], "style_layers": ["relu1_2", "relu2_2"], "exchange_layer": "relu4_1"},
    CompactEncoder: {
        "content_layers": ["relu3_2"],
        "style_layers": ["relu1_1", "relu2_1"],
        "exchange_layer": "relu4_1",
    },
    JudgeEncoder: {"content_layers": ["mix5"], "style_layers": ["stem", "mix1", "mix3"], "exchange_layer": "mix5"},
}


def make_vgg(depth: int = 16, weights: str = "random", normalize: bool = False, **options: Any) -> VGGEncoder:
    return VGGEncoder(depth, weights, normalize, **{**LAYERS[VGGEncoder], **options})


def make_squeezenet(weights: str = "random", normalize: bool = False, **options: Any) -> SqueezeNetEncoder:
    return SqueezeNetEncoder(weights, normalize, **{**LAYERS[SqueezeNetEncoder], **options})


def make_compact(weights: str = "random", **options: Any) -> CompactEncoder:
    return CompactEncoder(weights, **{**LAYERS[CompactEncoder], **options})


def make_judge(weights: str = "random", **options: Any) -> JudgeEncoder:
    return JudgeEncoder(weights, **{**LAYERS[JudgeEncoder], **options})


def write_raw(made: Encoder, name: str, folder: Path) -> str:
    """Write random weights that claim to be normalized: measured means would blow up the almost dead channels."""
    shapes = {key: tuple(tensor.shape) for key, tensor in state_of(made).items()}
    claims = {"encoder": name, "calibration": calibration_name(None)}
    return str(write_weights(random_state(shapes), folder / "raw.safetensors", claims, torch.float32))


@pytest.fixture(scope="session")
def compact(pictures: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> CompactEncoder:
    """Make the encoder with the weights that `random` draws, not normalized."""
    return make_compact(write_raw(make_compact(calibration=pictures), "compact", tmp_path_factory.mktemp("compact")))


@pytest.fixture(scope="session")
def judge(pictures: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> JudgeEncoder:
    """Make the encoder with the weights that `random` draws, not normalized."""
    return make_judge(write_raw(make_judge(calibration=pictures), "compact_judge", tmp_path_factory.mktemp("judge")))


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
