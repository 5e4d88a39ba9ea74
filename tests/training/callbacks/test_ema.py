"""The moving average: its arithmetic, its clock, and that evaluation gives the weights back."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from stylebench.methods.base import Method
from stylebench.training.callbacks.ema import EMA


class Followed(Method):
    ema_networks: ClassVar[tuple[str, ...]] = ("net",)

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
        self.other = nn.Linear(1, 1)

    def set(self, value: float) -> None:
        with torch.no_grad():
            self.net[0].weight.fill_(value)

    @property
    def value(self) -> float:
        return float(self.net[0].weight.detach())


def batch_end(ema: EMA, method: Method) -> None:
    ema.on_train_batch_end(None, method, None, None, 0)  # type: ignore[arg-type]


def started(decay: float) -> tuple[EMA, Followed]:
    method, ema = Followed(), EMA(decay)
    method.set(0.0)
    ema.on_fit_start(None, method)  # type: ignore[arg-type]
    return ema, method


def test_ema_ramps_up_as_documented() -> None:
    ema, method = started(0.999)
    method.set(1.0)
    batch_end(ema, method)  # t = 1: keeps (1 + 1) / (10 + 1) = 2/11 of 0, adds 9/11 of 1
    assert float(ema.networks["net"]["0.weight"]) == pytest.approx(9 / 11)
    batch_end(ema, method)  # t = 2: keeps 3/12 of 9/11: 1 - 3/12 * 2/11
    assert float(ema.networks["net"]["0.weight"]) == pytest.approx(1 - 3 / 12 * 2 / 11)


def test_ema_ends_at_the_decay() -> None:
    ema, method = started(0.5)
    method.set(1.0)
    ema.updates = 1000
    batch_end(ema, method)
    assert float(ema.networks["net"]["0.weight"]) == pytest.approx(0.5)


def test_ema_copies_buffers_and_leaves_counters_whole() -> None:
    ema, method = started(0.9)
    method.net[1].running_mean.fill_(7.0)
    method.net[1].num_batches_tracked.fill_(8)
    batch_end(ema, method)
    average = ema.networks["net"]
    assert float(average["1.running_mean"]) == 7.0
    assert int(average["1.num_batches_tracked"]) == 8


def test_ema_follows_the_named_networks_only() -> None:
    ema, _ = started(0.9)
    assert set(ema.networks) == {"net"}


def test_ema_swapped_restores_the_weights_after_an_exception() -> None:
    ema, method = started(0.9)
    method.set(1.0)
    storage = method.net[0].weight.data_ptr()
    inside = []

    def evaluate() -> None:
        with ema.swapped(method):
            inside.append(method.value)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        evaluate()
    assert inside == [0.0]
    assert method.value == 1.0
    assert method.net[0].weight.data_ptr() == storage


def test_ema_gives_the_weights_back_before_others_see_an_interrupted_evaluation() -> None:
    ema, method = started(0.9)
    method.set(1.0)
    ema.on_validation_start(None, method)  # type: ignore[arg-type]
    assert method.value == 0.0
    ema.on_exception(None, method, KeyboardInterrupt())  # type: ignore[arg-type]
    assert method.value == 1.0


def test_ema_state_survives_a_checkpoint() -> None:
    ema, method = started(0.9)
    method.set(1.0)
    batch_end(ema, method)
    checkpoint: dict[str, Any] = {}
    ema.on_save_checkpoint(None, method, checkpoint)  # type: ignore[arg-type]
    restored = EMA(0.9)
    restored.on_load_checkpoint(None, method, checkpoint)  # type: ignore[arg-type]
    restored.on_fit_start(None, method)  # type: ignore[arg-type]
    for one in (ema, restored):
        batch_end(one, method)
    left: dict[str, Tensor] = ema.networks["net"]
    assert all(torch.equal(left[key], restored.networks["net"][key]) for key in left)


def test_ema_refuses_a_checkpoint_without_averages() -> None:
    with pytest.raises(ValueError, match="ema=null"):
        EMA(0.9).on_load_checkpoint(None, None, {"stylebench": {"ema": None}})  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_ema_refuses_a_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\).*ema=null"):
        EMA(decay)
