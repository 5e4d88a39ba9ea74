"""The measurement of steps against the frozen commit."""

import time
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch.optim import optimizer

from tests.frozen import step_times, trees, worker


def test_the_interval_of_a_median() -> None:
    assert step_times.median_with_interval([1.0, 1.0, 1.0]) == {"median": 1.0, "low": 1.0, "high": 1.0}
    found = step_times.median_with_interval([0.9, 1.0, 1.2])
    assert found["median"] == 1.0
    # The median of a resample is 0.9 where two or three of its values are: in 7 of 27 cases; the same for 1.2.
    assert (found["low"], found["high"]) == (0.9, 1.2)
    assert step_times.median_with_interval([1.0] * 14 + [9.0])["high"] == 1.0


def test_every_optimizer_notes_its_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer, "_global_optimizer_post_hooks", OrderedDict())
    moments = worker.note_steps()
    optimizers = [torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1) for _ in range(2)]
    before = time.process_time()
    for _ in range(3):
        optimizers[1].step()
    optimizers[0].step()
    assert [len(times) for times in moments.values()] == [3, 1]
    assert before <= moments[id(optimizers[1])][0] <= moments[id(optimizers[1])][2] <= time.process_time()


@pytest.mark.slow
def test_a_command_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    words = [*step_times.COMMANDS["fast_transfer"], "budget.batches=12"]  # the last of two is taken
    found = step_times.steps_of(trees.current_tree(tmp_path / "tree"), tmp_path / "work", "fast_transfer", words)
    assert found["steps"] == 12 - 1 - step_times.WARM_UP
    assert 0 < found["seconds"] < 60
    assert 1e8 < found["peak_bytes"] < 1e11
