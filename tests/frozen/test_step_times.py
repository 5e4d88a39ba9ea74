"""The measurement of steps against the frozen commit."""

import os
import threading
import time
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch.optim import optimizer

from tests.frozen import renamed, step_times, trees, worker


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


def test_processes_step_in_turn() -> None:
    """The one that waits notes its first step without handing over; from then on no two run at once."""
    pipes = [os.pipe(), os.pipe()]
    trace: list[str] = []

    def step(name: str, own: int, other: int, waits: bool) -> None:
        turns = worker.Turns(own, other, waits)
        for number in range(4):
            trace.append(f"{name}{number}")
            turns.hand_over()
        os.close(other)  # as a process does that ends

    threads = [
        threading.Thread(target=step, args=("a", pipes[0][0], pipes[1][1], False)),
        threading.Thread(target=step, args=("b", pipes[1][0], pipes[0][1], True)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [name for name in trace if name not in ("a0", "b0")] == ["b1", "a1", "b2", "a2", "b3", "a3"]
    for end in (pipes[0][0], pipes[1][0]):
        os.close(end)


@pytest.mark.slow
def test_commands_are_measured_in_processes_of_their_own(tmp_path: Path) -> None:
    words = [*step_times.COMMANDS["fast_transfer"], "budget.batches=12"]  # the last of two is taken
    words = renamed.translate_command(words, "fast_transfer")
    tree = trees.current_tree(tmp_path / "tree")
    found = step_times.steps_of(
        {"one": tree, "other": tree}, tmp_path / "work", "fast_transfer", {"one": words, "other": words}
    )
    for figures in found.values():
        assert figures["steps"] == 12 - 1 - step_times.WARM_UP
        assert 0 < figures["seconds"] < 60
        assert 1e8 < figures["peak_bytes"] < 1e11
