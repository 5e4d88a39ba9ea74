"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest
import torch

SHARED_VARIABLE = "STYLEBENCH_SHARED"


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's cache out of the tests, and share one cache among them."""
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "stylebench-cache"))


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real images and weights, or skip where it is absent."""
    folder = os.environ.get(SHARED_VARIABLE)
    if not folder or not Path(folder).is_dir():
        pytest.skip(f"needs the real images and weights; set {SHARED_VARIABLE} to their folder")
    return Path(folder)


@pytest.fixture(scope="session")
def squeezenet_weights(shared: Path) -> Path:
    """Return the ImageNet-trained SqueezeNet 1.0 weights."""
    return shared / "weights" / "squeezenet1_0_imagenet.pth"
