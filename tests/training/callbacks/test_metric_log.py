"""Logged numbers: when, what, and how an evaluation's batches are weighted."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stylebench.methods.base import Method
from stylebench.methods.terms import NonFiniteLossError
from stylebench.training.callbacks.metric_log import MetricLog


class Sink:
    """A logger that remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.rows.append((step, values))


def stage(rates: tuple[float, ...] = (0.5,)) -> tuple[Any, Method, Sink]:
    sink = Sink()
    optimizers = [torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=rate) for rate in rates]
    return SimpleNamespace(world_size=1, loggers=[sink], optimizers=optimizers), Method(), sink


def finish_batch(log: MetricLog, trainer: Any, method: Method, number: int, loss: float) -> None:
    method.batches_before = number - 1
    method.log_and_sum({"style": torch.tensor(loss)}, {"style": 2.0})
    method.batches_before = number
    log.on_train_batch_end(trainer, method)


def test_batch_one_and_every_nth_are_logged() -> None:
    trainer, method, sink = stage()
    log = MetricLog(4)
    for number in range(1, 10):
        finish_batch(log, trainer, method, number, float(number))
    assert [step for step, _ in sink.rows] == [1, 4, 8]
    assert sink.rows[1][1] == {
        "train/loss/style": 4.0, "train/weighted/style": 8.0, "train/loss/total": 8.0, "train/lr/optimizer": 0.5,
        "train/batches": 4,
    }  # fmt: skip
    assert log.shown["train/loss/total"] == 16.0


def test_several_optimizers_have_numbered_rates() -> None:
    trainer, method, sink = stage((0.5, 0.25))
    finish_batch(MetricLog(1), trainer, method, 1, 1.0)
    assert {k: v for k, v in sink.rows[0][1].items() if "/lr/" in k} == {
        "train/lr/optimizer_0": 0.5, "train/lr/optimizer_1": 0.25,
    }  # fmt: skip


def test_a_nan_between_two_logs_stops_the_run_at_the_next() -> None:
    trainer, method, sink = stage()
    log = MetricLog(4)
    for number, loss in ((1, 1.0), (2, float("nan")), (3, 1.0)):
        finish_batch(log, trainer, method, number, loss)
    with pytest.raises(NonFiniteLossError, match="'style' at batch 2"):
        finish_batch(log, trainer, method, 4, 1.0)
    assert [step for step, _ in sink.rows] == [1]


def evaluate(log: MetricLog, trainer: Any, method: Method, batches: list[tuple[int, float]]) -> None:
    log.on_validation_start(trainer, method)
    for images, loss in batches:
        method.log_and_sum({"style": torch.tensor(loss)}, {"style": 2.0}, stage="val")
        batch: tuple[Tensor, None] = (torch.zeros(images, 3, 1, 1), None)
        log.on_validation_batch_end(trainer, method, None, batch)
    log.on_validation_epoch_end(trainer, method)


def test_an_evaluation_is_the_mean_over_images_not_batches() -> None:
    trainer, method, sink = stage()
    method.batches_before = 30
    evaluate(MetricLog(10), trainer, method, [(4, 1.0), (4, 2.0), (1, 30.0)])
    mean = (4 * 1 + 4 * 2 + 1 * 30) / 9
    step, values = sink.rows[0]
    assert step == 30
    assert values["val/loss/style"] == pytest.approx(mean)
    assert values["val/loss/total"] == pytest.approx(2 * mean)


def test_evaluations_do_not_leak_into_each_other() -> None:
    trainer, method, sink = stage()
    log = MetricLog(10)
    evaluate(log, trainer, method, [(2, 100.0)])
    evaluate(log, trainer, method, [(2, 1.0)])
    assert [values["val/loss/style"] for _, values in sink.rows] == [100.0, 1.0]


def test_an_evaluation_without_images_logs_nothing() -> None:
    trainer, method, sink = stage()
    evaluate(MetricLog(10), trainer, method, [])
    assert sink.rows == []


def test_processes_without_images_and_uneven_ones_are_weighted(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, method, sink = stage()
    trainer.world_size = 3
    log = MetricLog(10)

    def gather(parts: list[Any], mine: Any) -> None:
        parts[:] = [mine, (1, {"val/loss/style": 5.0}), (0, {})]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    evaluate(log, trainer, method, [(3, 1.0)])
    assert sink.rows[0][1]["val/loss/style"] == pytest.approx((3 * 1 + 5) / 4)


@pytest.mark.parametrize("every", [0, -3])
def test_a_distance_below_one_is_refused(every: int) -> None:
    with pytest.raises(ValueError, match=r"logger\.every_n_batches must be a whole number of at least 1"):
        MetricLog(every)
