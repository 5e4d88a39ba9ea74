"""The GPU checks themselves: what they call right and wrong, and that the whole script runs where there is no GPU."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests import gpu_check
from tests.gpu.base import Check, Figures, Outcome, Result, Setting, SkipCheck, gap, plain, run_check, within
from tests.gpu.equality import compared
from tests.gpu.runs import compare_losses, judge_resume

SCRIPT = Path(gpu_check.__file__)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(torch.device("cpu"), True, tmp_path)


def good(setting: Setting) -> Outcome:
    return Outcome(True, "at most 1", {"figure": 0.5})


def bad(setting: Setting) -> Outcome:
    return Outcome(False, "at most 1", {"figure": math.inf})


def broken(setting: Setting) -> Outcome:
    raise RuntimeError("CUDA error: out of luck")


def absent(setting: Setting) -> Outcome:
    raise SkipCheck("one device")


def endless(setting: Setting) -> Outcome:
    time.sleep(20)
    return good(setting)


def test_a_check_passes_fails_breaks_or_is_skipped(setting: Setting) -> None:
    results = [run_check(Check("it", check), setting, 60) for check in (good, bad, broken, absent)]
    assert [result.status for result in results] == ["passed", "failed", "error", "skipped"]
    assert [result.good for result in results] == [True, False, False, True]
    assert results[0].figures == {"figure": 0.5}
    assert "out of luck" in results[2].message
    assert results[3].message == "one device"


def test_a_heavy_check_is_not_begun_when_time_is_short(setting: Setting) -> None:
    result = run_check(Check("it", good, needs_seconds=30), setting, 29)
    assert result.status == "skipped"
    assert "time budget" in result.message


def test_a_check_that_outlasts_the_time_is_stopped_and_other_alarms_live_on(setting: Setting) -> None:
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0
    result = run_check(Check("it", endless, needs_seconds=0), setting, 0.05)
    assert result.status == "skipped"
    assert result.seconds < 5
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0) == before


def test_one_failure_stops_neither_the_others_nor_the_json(
    setting: Setting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "folder" / "found.json"
    checks = [Check("first", broken), Check("second", bad), Check("third", good)]
    gpu_check.run_all(checks, setting, 60, output)
    found = json.loads(output.read_text())
    assert found["counts"] == {"passed": 1, "failed": 1, "error": 1, "skipped": 0}
    assert (found["complete"], found["passed"]) == (True, False)
    assert found["checks"][1]["figures"] == {"figure": "inf"}
    assert found["facts"]["versions"]["torch"]
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(("status", "code"), [("passed", 0), ("skipped", 0), ("failed", 1), ("error", 1)])
def test_exit_code_tells_whether_any_check_failed(
    status: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_check, "run_all", lambda *args: [Result("fine", "passed"), Result("it", status)])
    assert gpu_check.main(["--device", "cpu", "--output", str(tmp_path / "found.json")]) == code


def test_a_report_that_was_cut_off_has_not_passed() -> None:
    assert gpu_check.report([Result("it", "passed")], complete=False)["passed"] is False


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_script_says_how_to_try_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu_check.main([])
    assert "--device cpu --quick" in capsys.readouterr().err


def test_gap_is_relative_and_never_good_for_nan_or_another_shape() -> None:
    assert gap(torch.tensor([3.3]), torch.tensor([3.0])) == pytest.approx(0.1)
    assert gap(torch.tensor([math.nan]), torch.tensor([3.0])) == math.inf
    assert gap(torch.tensor([3.0, 3.0]), torch.tensor([3.0])) == math.inf
    assert not within({"a": math.inf}, 1)
    assert not within({"a": math.nan}, 1)
    assert not within({}, 1)


def test_figures_become_json() -> None:
    assert plain({"a": (1.23456789, math.nan), 2: True}) == {"a": [1.23457, "nan"], "2": True}


@pytest.mark.parametrize(("error", "passed"), [(0.0, True), (1e-6, False), (2e-2, False)])
def test_compared_holds_each_type_to_its_own_band(error: float, passed: bool, setting: Setting) -> None:
    calls = []

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, torch.Tensor]:
        calls.append(layout)
        off = error if len(calls) % 3 == 0 else 0.0  # reference, contiguous, channels_last
        return {"value": torch.ones(4, dtype=dtype) + off, "gradient": torch.ones(4, dtype=dtype)}

    outcome = compared(setting, compute)
    assert outcome.passed is passed
    assert outcome.figures["cases"]["float32 contiguous values"]["gap"] == 0
    assert (outcome.figures["float64_values"] > 1e-10) is not passed


def falling(factor: float = 1.0, batches: int = 20) -> dict[int, float]:
    return {batch: factor * 10 / batch for batch in range(1, batches + 1)}


@pytest.mark.parametrize(("factor", "passed"), [(1.0, True), (1.04, True), (1.06, False), (0.9, False)])
def test_losses_are_held_to_the_band(factor: float, passed: bool) -> None:
    found, figures = compare_losses({**falling(factor), 1: 10.05}, falling(), 0.05)
    assert found is passed
    assert figures["deviation"] == pytest.approx(abs(factor - 1))


def test_the_first_loss_is_held_to_one_percent() -> None:
    assert not compare_losses({**falling(), 1: 10.2}, falling(), 0.05)[0]


def test_losses_of_other_batches_or_not_finite_do_not_pass() -> None:
    assert not compare_losses(falling(batches=19), falling(), 0.05)[0]
    assert not compare_losses({}, {}, 0.05)[0]
    assert not compare_losses({**falling(), 20: math.nan}, falling(), 0.05)[0]


RESUMED: Figures = {
    "whole": falling(),
    "resumed": falling(),
    "before_kill": falling(batches=8),
    "again": falling(batches=12),
    "begun": [0, 5, 12],
    "codes": (-9, 143),
    "every": 5,
}


@pytest.mark.parametrize(
    ("change", "passed"),
    [
        ({}, True),
        ({"begun": [0, 0, 12]}, False),  # began again
        ({"begun": [0, 4, 12]}, False),  # not at a checkpoint
        ({"begun": [0, 5]}, False),
        ({"codes": (-9, 0)}, False),
        ({"again": falling(1.02, batches=12)}, False),  # other batches than the first time
        ({"resumed": falling(batches=19)}, False),
        ({"resumed": falling(1.2)}, False),
    ],
)
def test_a_resumed_run_is_judged(change: Figures, passed: bool) -> None:
    assert judge_resume(**{**RESUMED, **change}).passed is passed


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_script_runs_on_the_cpu(tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--quick", "--minutes", "18", "--output", str(output)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert (found["complete"], found["passed"], found["quick"]) == (True, True, True)
    status = {check["name"]: check["status"] for check in found["checks"]}
    assert list(status) == [check.name for check in gpu_check.CHECKS]
    skipped = {name for name, how in status.items() if how == "skipped"}
    assert skipped == {"run: 16-mixed", "run: no host syncs"} | {c.name for c in gpu_check.CHECKS if c.slow}
    assert f"{len(status)} of {len(status)} checks fine or skipped" in done.stdout
