"""Fixtures that every test may use."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stylebench.machine import limit_spinning

limit_spinning()  # as the command does, before torch is imported

import torch  # noqa: E402

from tests.helpers.tiny import FAST_TRANSFER, TINY  # noqa: E402

SHARED_VARIABLE = "STYLEBENCH_SHARED"


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's cache and settings out of the tests, and share one cache among them."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "settings"))
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "stylebench-cache"))


@pytest.fixture(scope="session", autouse=True)
def _at_most_two_threads() -> None:
    torch.set_num_threads(min(2, os.cpu_count() or 1, int(os.environ.get("OMP_NUM_THREADS", "2"))))


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


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., dict[str, Any]]:
    """Return a function that composes the config of a run of seconds, with overrides."""

    def make(*overrides: str) -> dict[str, Any]:
        from stylebench.cli.config import compose

        other = any(override.startswith("model=") and override != "model=fast_transfer" for override in overrides)
        tiny = [override for override in TINY if not (other and override in FAST_TRANSFER)]
        return compose("train", [*tiny, *overrides])

    return make
