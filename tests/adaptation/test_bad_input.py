"""What adaptation cannot be asked for is said with the setting and its value, before any work is lost."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stylebench.build import build
from stylebench.cli.config import compose
from stylebench.commands.train import train
from stylebench.data.images import write_png
from stylebench.inference.classifier import NetworkClassifier
from stylebench.nn.classifiers.base import ClassifierNetwork
from stylebench.nn.classifiers.digits import DigitNet
from stylebench.nn.normalization import NoBatchNormError


class Vectors(ClassifierNetwork):
    """A network with the norm that it is given."""

    def __init__(self, classes: int, norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.width = 4
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), norm())
        self.head = nn.Linear(4, classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(images).mean((2, 3))
        return found


def instance(classes: int) -> nn.Module:
    return Vectors(classes, lambda: nn.InstanceNorm2d(4))


def grouped(classes: int) -> nn.Module:
    return Vectors(classes, lambda: nn.GroupNorm(2, 4))


def untracked(classes: int) -> nn.Module:
    return Vectors(classes, lambda: nn.BatchNorm2d(4, track_running_stats=False))


def pictures(folder: Path, count: int, classes: Sequence[str]) -> Path:
    random = np.random.default_rng(len(str(folder)))
    for kind in classes:
        for number in range(count):
            write_png(random.integers(0, 256, (8, 8, 3), dtype=np.uint8), folder / kind / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, count, classes in (
        ("day", 6, ("cup", "hat")), ("dusk", 6, ("cup", "hat")), ("other", 6, ("cup", "shoe")), ("single", 1, ("",)),
    ):  # fmt: skip
        pictures(folder / name, count, classes)
    return folder


CASES: dict[str, tuple[list[str], str, type[Exception], str]] = {
    "the target is the source": ([], "day", ValueError, r"dataset\.source and dataset\.target are the same .*day"),
    "other classes": ([], "other", ValueError, r"hat only in .*day and shoe only in .*other.*dataset\.target"),
    "one target image": (["adaptation=adabn"], "single", ValueError, r"at least 2 training images .*single has 1"),
    "one image of one position": (
        ["dataset.batch_size=1", "dataset.size_px=4"], "dusk", ValueError, r"dataset\.batch_size=1: layer layers\.\d+",
    ),
    "one image of one position in a joint batch": (
        ["dataset.batch_size=1", "dataset.size_px=4", "adaptation=autodial"], "dusk", ValueError,
        r"dataset\.batch_size=1: layer layers\.\d+",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_training_refuses_before_it_begins(case: str, data: Path, tmp_path: Path) -> None:
    words, target, error, match = CASES[case]
    config = compose("train", [
        "model=classifier", f"dataset.source={data / 'day'}", f"dataset.target={data / target}", "dataset.size_px=8",
        f"dataset.store.cache={data / 'cache'}", "budget.batches=1", "metrics=none", *words,
    ])  # fmt: skip
    with pytest.raises(error, match=match):
        train(config, tmp_path / "run", [])
    assert not (tmp_path / "run" / "record.json").exists()


STRATEGIES = ("adabn", "autodial", "dsbn", "alpha_bn", "pred_bn", "tent")


def strategy(name: str) -> Any:
    words = ["model=classifier", "dataset.source=x", "dataset.target=y", f"adaptation={name}"]
    return build(compose("train", words)["model"]["inference"]["adaptation"], "adaptation")


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize(("network", "match"), [(instance, "InstanceNorm2d"), (grouped, "GroupNorm")])
def test_networks_without_batch_norm_name_the_norms_they_have(name: str, network: Any, match: str) -> None:
    with pytest.raises(NoBatchNormError, match=match):
        NetworkClassifier(network, strategy(name), ["cup", "hat"], 8)


@pytest.mark.parametrize("name", [*STRATEGIES, "none", "dann"])
def test_batch_norms_without_running_statistics(name: str) -> None:
    with pytest.raises(ValueError, match="track_running_stats=False"):
        NetworkClassifier(untracked, strategy(name), ["cup", "hat"], 8)


@pytest.mark.parametrize("name", ["none", "adabn", "autodial"])
def test_statistics_that_are_not_kept_name_those_that_are(name: str) -> None:
    model = NetworkClassifier(lambda classes: DigitNet(classes, 4), strategy(name), ["cup", "hat"], 8)
    known = "source, target" if name == "autodial" else "source"
    with pytest.raises(ValueError, match=rf"'dawn'; there are those of {known}, and running"):
        model.classify(torch.rand(2, 3, 8, 8), statistics="dawn")
