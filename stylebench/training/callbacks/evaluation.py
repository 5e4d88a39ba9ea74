"""Evaluation while training: the metrics of the config on fixed images, and signs of silent failure, at every epoch."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytorch_lightning as pl

from stylebench.data.plan import Plan
from stylebench.methods.base import Method
from stylebench.metrics.cache import ReferenceCache
from stylebench.metrics.evaluator import Evaluator
from stylebench.metrics.measuring import (
    Translate,
    asking,
    fair_to_untouched,
    measure_method,
    tell_missing,
    untouched,
)
from stylebench.metrics.records import Value, to_record
from stylebench.run_folder import BATCHES, UNTOUCHED, dashboard, mean_dashboard
from stylebench.training.callbacks.ema import EMA
from stylebench.training.callbacks.run_record import RunRecord

log = logging.getLogger(__name__)


class Evaluation(pl.Callback):
    """Evaluate the weights that validation sees, on all processes together, and write values to loggers and run folder.

    Networks and metrics live in this object, outside the method: no checkpoint, optimizer or average holds them.

    Of several plans, the mean over all goes to the loggers, and the values of each into a set of its own. The last
    evaluation measures the untouched contents, too, for the record: what a method must do better than.

    Args:
        evaluator: what to measure.
        plans: what to measure it on.
        cache: of the reference's features.
        record: the run's record.
        size: images at a time.
        last: batches of the run, after which the last evaluation comes.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        plans: Sequence[Plan],
        cache: ReferenceCache,
        record: RunRecord,
        size: int,
        last: int,
    ) -> None:
        self.evaluator = evaluator
        self.plans = plans
        self.cache = cache
        self.record = record
        self.size = size
        self.last = last

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what cannot be measured because weights are missing."""
        if trainer.is_global_zero:
            tell_missing(self.evaluator)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate."""
        method = cast(Method, pl_module)
        method.check_weights_finite()
        start = time.perf_counter()
        measured = self._measure(method, trainer.global_rank, trainer.world_size)
        seconds = time.perf_counter() - start
        averaged = any(isinstance(callback, EMA) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        weights = "ema" if averaged else "raw"
        found = []
        for plan, (values, rows) in zip(self.plans, measured, strict=True):
            facts = {"weights": weights, "split": plan.split, "batches": method.batches_done}
            found.append(to_record(values, **facts))
            if trainer.is_global_zero:
                name = "-".join(filter(None, (plan.split, weights, plan.name)))
                seeded = [{**row, "seed": self.record.record.get("seed")} for row in rows]
                self.record.run.write_evaluation(name, found[-1], seeded, facts)
        self.record.record["evaluation_seconds"] = round(seconds, 3)
        means = mean_dashboard([dashboard(each, "val") for each in found])
        if method.batches_done >= self.last and any(picture.name == "content" for picture in method.model.inputs):
            self.record.record[UNTOUCHED] = self._of_untouched(method, trainer.global_rank, trainer.world_size)
        shown: dict[str, Any] = {**means, BATCHES: method.batches_done}
        for logger in trainer.loggers:
            logger.log_metrics(shown, step=method.batches_done)

    def timed(self, method: Method) -> float:
        """Return how many seconds an evaluation takes on one process, once the reference's features are there."""
        method.eval()
        self._measure(method, 0, 1)
        start = time.perf_counter()
        self._measure(method, 0, 1)
        return time.perf_counter() - start

    def _measure(self, method: Method, rank: int, processes: int) -> list[tuple[list[Value], list[dict[str, Any]]]]:
        """Return the values and the table of images of each plan."""
        return [
            (
                self._values(self.evaluator, plan, asking(method.translated), method, rank, processes),
                self.evaluator.table(),
            )
            for plan in self.plans
        ]

    def _of_untouched(self, method: Method, rank: int, processes: int) -> dict[str, dict[str, Any]]:
        """Return what untouched contents score, by dashboard key: the value, and which direction is better."""
        evaluator = fair_to_untouched(self.evaluator)
        if not evaluator.metrics:
            return {}
        found = [
            to_record(self._values(evaluator, replace(plan, alternatives=()), untouched, method, rank, processes))
            for plan in self.plans
        ]
        means = mean_dashboard([dashboard(each, "val") for each in found])
        larger = {f"val/{entry['alias']}": entry.get("larger_is_better") for entry in found[0].values()}
        return {key: {"value": value, "larger_is_better": larger[key]} for key, value in means.items()}

    def _values(
        self, evaluator: Evaluator, plan: Plan, translate: Translate, method: Method, rank: int, processes: int
    ) -> list[Value]:
        """Return the values of a plan."""
        return measure_method(
            evaluator,
            plan,
            translate,
            cache=self.cache,
            size=self.size,
            device=method.device,
            rank=rank,
            processes=processes,
        )
