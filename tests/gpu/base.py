"""What the checks of `gpu_check` share: where they run, how one is run and recorded, and how tensors are compared."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
Figures = dict[str, Any]


class SkipCheck(Exception):  # noqa: N818 (a result, not an error)
    """The check does not apply here; the message says why."""


class TimeUp(Exception):  # noqa: N818
    """The time of the whole script is used up."""


@dataclass(frozen=True)
class Setting:
    """Where and how large the checks run.

    Attributes:
        device: the device to check against the CPU.
        quick: tiny sizes, to try the checks themselves out.
        folder: for runs; each check makes its own sub-folders.
    """

    device: torch.device
    quick: bool
    folder: Path

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def trainer(self) -> str:
        return "trainer=gpu" if self.cuda else "trainer=cpu"

    def pick(self, full: Any, quick: Any) -> Any:
        return quick if self.quick else full

    def need_cuda(self, what: str) -> None:
        if not self.cuda:
            raise SkipCheck(f"{what}: CUDA only")

    def synchronize(self) -> None:
        if self.cuda:
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Outcome:
    """What a check found. `band` says in words what the figures must satisfy, and why."""

    passed: bool
    band: str
    figures: Figures


@dataclass(frozen=True)
class Check:
    """A check, the least time in seconds that must be left to begin it, and whether it is too slow for `--quick`."""

    name: str
    run: Callable[[Setting], Outcome]
    needs_seconds: float = 10
    slow: bool = False


@dataclass
class Result:
    """A row of the report: `passed`, `failed` (out of its band), `error` (an exception) or `skipped`."""

    name: str
    status: str
    seconds: float = 0.0
    band: str = ""
    message: str = ""
    figures: Figures = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return self.status in ("passed", "skipped")


def run_check(check: Check, setting: Setting, seconds_left: float) -> Result:
    """Run one check within the time that is left; whatever it raises is recorded, and the next one can go on."""
    if seconds_left < check.needs_seconds:
        note = f"time budget: {max(seconds_left, 0):.0f} s left, {check.needs_seconds:.0f} s needed"
        return Result(check.name, "skipped", message=note)
    if check.slow and setting.quick:
        return Result(check.name, "skipped", message="compiles for a minute: not with --quick")
    begin = time.perf_counter()
    try:
        with time_limit(seconds_left):
            outcome = check.run(setting)
        result = Result(check.name, "passed" if outcome.passed else "failed", band=outcome.band)
        result.figures = plain(outcome.figures)
    except SkipCheck as reason:
        result = Result(check.name, "skipped", message=str(reason))
    except TimeUp:
        result = Result(check.name, "skipped", message=f"time budget: did not end within {seconds_left:.0f} s")
    except (Exception, SystemExit) as error:
        result = Result(check.name, "error", message=f"{type(error).__name__}: {error}"[:2000])
    result.seconds = round(time.perf_counter() - begin, 2)
    return result


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeUp` in the block after that many seconds; an alarm that was set before is set again."""

    def stop(number: int, frame: Any) -> None:
        raise TimeUp

    handler = signal.signal(signal.SIGALRM, stop)
    before, begin = signal.setitimer(signal.ITIMER_REAL, seconds), time.perf_counter()
    try:
        yield
    finally:
        left = max(before[0] - (time.perf_counter() - begin), 0.001) if before[0] else 0.0
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, left, before[1])


def plain(value: Any) -> Any:
    """Return figures as JSON knows them: rounded to 6 digits, non-finite numbers as words."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value


def gap(found: Tensor, expected: Tensor) -> float:
    """Return |found - expected| / |expected| (Euclidean norms); infinite for another shape or values not finite."""
    if found.shape != expected.shape:
        return math.inf
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    ratio = float((found - expected).norm() / expected.norm().clamp_min(1e-300))
    return ratio if math.isfinite(ratio) else math.inf


def within(figures: dict[str, float], band: float) -> bool:
    """Tell whether there are figures and each is a number of at most `band`."""
    return bool(figures) and all(value <= band for value in figures.values())


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Compute float32 products in float32: TensorFloat-32 keeps 10 of its 23 bits."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = False
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def start(command: list[str], log: Path, **environment: str) -> subprocess.Popen[str]:
    """Start this Python with arguments, as a group of its own; what it prints goes into `log`."""
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )


def end(process: "subprocess.Popen[str]") -> None:
    """End a process that `start` gave and all that it started, if they still run."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finish(command: list[str], log: Path, **environment: str) -> None:
    """Run this Python to its end; RuntimeError with the last lines it printed if it fails."""
    process = start(command, log, **environment)
    try:
        code = process.wait()
    finally:
        end(process)
    if code != 0:
        raise RuntimeError(f"exit code {code} of {' '.join(command[:4])} ...: {log.read_text()[-1500:]}")
