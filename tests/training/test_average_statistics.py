"""An average of weights is scored with statistics of its own."""

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.adaptation.adabn import recalibrate
from stylebench.functional.moments import Moments
from stylebench.inference.base import Inference
from stylebench.methods.base import Method
from stylebench.nn.domain_norms import DomainNorm
from stylebench.nn.normalization import convert, running_statistics, using
from stylebench.training.average_statistics import IMAGES, take_average_statistics
from stylebench.training.callbacks.ema import EMA


def images(count: int, seed: int) -> Tensor:
    return seed + torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


class Model(Inference):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        )


class Steps(Method):
    ema_networks: ClassVar[tuple[str, ...]] = ("model",)
    model: Model  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    @torch.no_grad()
    def use(self, batch: Any, domain: str = "source") -> None:
        with self.model.at_work():
            self.model.network(batch[domain])


class Task:
    """Two streams of images; the first `IMAGES` of each count."""

    def __init__(self, count: int) -> None:
        self.all = {"source": images(count, 1), "target": images(count, 5)}

    def size(self, split: str) -> int:
        assert split == "train"
        return len(self.all["source"])

    def fixed(self, count: int, split: str, start: int) -> dict[str, Tensor]:
        return {name: each[start : start + count] for name, each in self.all.items()}


class Batch(tuple[Tensor, ...]):
    """Images first, as in every task's batch; by name, too."""

    def __new__(cls, raw: dict[str, Tensor]) -> "Batch":
        return super().__new__(cls, raw.values())

    def __getitem__(self, name: Any) -> Any:
        return super().__getitem__(["source", "target"].index(name) if isinstance(name, str) else name)


def trainer(count: int = 300) -> Any:
    return SimpleNamespace(
        global_rank=0,
        world_size=1,
        strategy=SimpleNamespace(batch_to_device=Batch),
        datamodule=SimpleNamespace(task=Task(count)),
    )


def step(method: Method, ema: EMA, seed: int) -> None:
    """Change weights and running averages as training does."""
    method.train()
    with torch.no_grad():
        method.model.network[0].weight.add_(0.3 * torch.randn_like(method.model.network[0].weight))  # type: ignore[union-attr, index]
        method.model.network(images(16, seed))  # type: ignore[operator]
    ema.on_train_batch_end(None, method, None, None, 0)  # type: ignore[arg-type]


def trained() -> tuple[Steps, EMA, Any]:
    method, ema, fit = Steps(), EMA(0.9), trainer()
    ema.on_fit_start(fit, method)
    for seed in range(4):
        step(method, ema, seed)
    return method, ema, fit


def test_an_average_is_scored_and_saved_with_its_own_statistics() -> None:
    method, ema, fit = trained()
    weights = {name: value.clone() for name, value in method.state_dict().items()}
    checkpoint: dict[str, Any] = {}
    ema.on_validation_start(fit, method)
    scored = {name: value.clone() for name, value in method.model.state_dict().items()}
    first = fit.datamodule.task.all["source"][:IMAGES]
    expected = recalibrate(method.model.network, list(first.split(32))).statistics
    ema.on_validation_end(fit, method)
    for name, statistics in expected.items():
        torch.testing.assert_close(
            scored[f"network.{name}.running_mean"].double(), statistics.mean, rtol=1e-5, atol=1e-6
        )
        torch.testing.assert_close(
            scored[f"network.{name}.running_var"].double(), statistics.variance, rtol=1e-5, atol=1e-6
        )
    for name, value in method.state_dict().items():
        assert torch.equal(value, weights[name])  # of training
    ema.on_save_checkpoint(fit, method, checkpoint)
    for name, value in checkpoint["stylebench"]["ema"]["networks"]["model"].items():
        assert torch.equal(value, scored[name])


def test_a_checkpoint_between_two_evaluations_has_them_too() -> None:
    (method, ema, fit), (other, scored, _) = trained(), trained()
    checkpoint: dict[str, Any] = {}
    ema.on_save_checkpoint(fit, method, checkpoint)
    scored.on_validation_start(fit, other)
    for name, value in checkpoint["stylebench"]["ema"]["networks"]["model"].items():
        assert torch.equal(value, other.model.state_dict()[name])
    scored.on_validation_end(fit, other)


def test_both_branches_of_a_converted_network_are_taken() -> None:
    class Branches(DomainNorm):
        def forward(self, maps: Tensor) -> Tensor:
            mean, variance = (part.to(maps.dtype) for part in self.statistics(self.branch))
            return F.batch_norm(maps, mean, variance, self.weight, self.bias, False, 0.0, self.eps)

    method, fit = Steps(), trainer(40)
    convert(method.model.network, Branches)
    changed = take_average_statistics(method.model, method, fit)
    assert len(changed) == 8
    layer = method.model.network[1]
    assert isinstance(layer, Branches)
    for domain, pictures in fit.datamodule.task.all.items():
        with torch.no_grad():
            expected = Moments.of(method.model.network[0](pictures)).statistics()
        torch.testing.assert_close(layer.statistics(domain).mean, expected.mean, rtol=1e-5, atol=1e-6)
    with using(method.model, "source"):
        assert running_statistics(layer).mean is layer.source_mean


@pytest.mark.parametrize("why", ["one image", "each image by itself", "no batch norm"])
def test_nothing_is_taken_where_nothing_can_be(why: str) -> None:
    method, fit = Steps(), trainer(1 if why == "one image" else 40)
    if why == "each image by itself":
        method.model.own_statistics = "image"
    if why == "no batch norm":
        method.model.network = nn.Sequential(nn.Conv2d(3, 4, 3))
    before = {name: value.clone() for name, value in method.state_dict().items()}
    assert take_average_statistics(method.model, method, fit) == []
    for name, value in method.state_dict().items():
        assert torch.equal(value, before[name])
