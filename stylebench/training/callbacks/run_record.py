"""The run record: `record.json` says what ran, on what, with which data and weights, and what came out."""

import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch

import stylebench
from stylebench.files import write_json
from stylebench.machine import thread_settings
from stylebench.methods.base import Method
from stylebench.run_folder import (
    HEARTBEAT_SECONDS,
    OPTIMIZATION,
    RECORD,
    RECORD_FORMAT,
    RUNNING,
    TRAINING,
    RunFolder,
    now,
)
from stylebench.training.callbacks.flop_counter import FlopCounter

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy", "pillow")


class RunRecord(pl.Callback):
    """Keep `record.json` true: at the start, at every checkpoint and at the end, whatever the end.

    Args:
        folder: the run folder.
        facts: plain values known before training (name, seed, fingerprint, overrides, data, encoder).
        batch_size: images of a batch over all devices.
        previous: the record that a resumed run continues, else None.
        count_flops: count the floating-point operations of the first batches, as many as `method.turn_batches`; the
            record has their mean (not with compiled networks, which the counter cannot look into).
    """

    def __init__(
        self,
        folder: Path,
        facts: dict[str, Any],
        *,
        batch_size: int,
        previous: dict[str, Any] | None = None,
        count_flops: bool = True,
    ) -> None:
        self.run = RunFolder(folder)
        self.batch_size = batch_size
        self.count_flops = count_flops
        before = previous or {}
        self.record: dict[str, Any] = {
            "format": RECORD_FORMAT,
            "kind": TRAINING,
            "status": RUNNING,
            "heartbeat_seconds": HEARTBEAT_SECONDS,
            **facts,
            "started": before.get("started", now()),
            "updated": now(),
            "commit": source_commit(),
            "versions": versions(),
            "machine": machine(),
            "batches": before.get("batches", 0),
            "train_seconds": before.get("train_seconds", 0.0),
            "images_per_second": before.get("images_per_second"),
            "flops_per_batch": before.get("flops_per_batch"),
            "parameters": before.get("parameters"),
            "peak_memory_bytes": before.get("peak_memory_bytes", 0),
            "sessions": [*before.get("sessions", []), {"started": now(), "from_batch": before.get("batches", 0)}],
            "final": before.get("final", {}),
            "wandb_id": before.get("wandb_id"),
            "health_failures": before.get("health_failures", {}),
        }
        if "metrics" in before:  # evaluations of a run that an earlier version began
            self.record["metrics"] = before["metrics"]
        self._train_seconds_before = float(self.record["train_seconds"])
        self._counter: FlopCounter | None = None
        self._counted: list[int] = []
        self._elapsed = 0.0
        self._clock: float | None = None
        self._timed_batches = 0
        self._written = time.monotonic()
        self._waits = False

    def wait(self) -> None:
        """Write nothing until `begin`: a record of earlier sessions stays as it is."""
        self._waits = True

    def begin(self) -> None:
        """Write the record, and from now on every change."""
        self._waits = False
        self.write()

    def write(self, **changes: Any) -> None:
        """Update entries, and write the file unless it waits."""
        self.record.update(changes, updated=now())
        if not self._waits:
            write_json(self.run.path / RECORD, self.record)
            self._written = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note sizes and where this session starts."""
        method = cast(Method, pl_module)
        if method.device.type == "cuda":  # an earlier job of the same process (a sweep) left its own peak
            torch.cuda.reset_peak_memory_stats(method.device)
        self.record["sessions"][-1]["from_batch"] = method.batches_done
        trained = {id(p): p for opt in trainer.optimizers for group in opt.param_groups for p in group["params"]}
        self.record["parameters"] = sum(p.numel() for p in trained.values())
        self.record["kind"] = TRAINING if trained else OPTIMIZATION
        self.record["devices"] = {"count": trainer.world_size, "kind": device_name(method.device)}
        self.record["precision"] = str(trainer.precision)
        self._write_on_zero(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Start the clock after the first batches of a session, and count operations in the first of the run."""
        if self.count_flops and self.record["flops_per_batch"] is None:
            self._counter = FlopCounter()
            self._counter.__enter__()  # type: ignore[no-untyped-call]
        elif self._clock is None:
            self._clock = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Count the batch, and show now and then that the run is alive."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._counted.append(self._counter.total)
            self._counter = None
            if len(self._counted) == cast(Method, pl_module).turn_batches:
                self.record["flops_per_batch"] = sum(self._counted) * trainer.world_size // len(self._counted)
        elif self._clock is not None:
            self._timed_batches += 1
        if trainer.is_global_zero and time.monotonic() - self._written >= HEARTBEAT_SECONDS:
            self.write()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock: an evaluation is no training."""
        self._stop_clock(pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write the record with every checkpoint, so that a killed run still tells how far it came."""
        self._stop_clock(pl_module)
        self._measure(trainer)
        self._write_on_zero(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the last measurements."""
        self._stop_clock(pl_module)
        self._measure(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the counting mode if the first batch failed."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._counter = None

    def _stop_clock(self, method: pl.LightningModule) -> None:
        if self._clock is not None:
            if method.device.type == "cuda":
                torch.cuda.synchronize(method.device)
            self._elapsed += time.perf_counter() - self._clock
            self._clock = None

    def _measure(self, trainer: pl.Trainer) -> None:
        method = cast(Method, trainer.lightning_module)
        self.record["batches"] = method.batches_done
        self.record["train_seconds"] = round(self._train_seconds_before + self._elapsed, 3)
        if self._timed_batches and self._elapsed:
            self.record["images_per_second"] = round(self._timed_batches * self.batch_size / self._elapsed, 3)
        self.record["peak_memory_bytes"] = max(self.record["peak_memory_bytes"], peak_memory(method.device))

    def _write_on_zero(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            self.write()


def peak_memory(device: torch.device) -> int:
    """Return the most bytes in use so far: allocated on a CUDA device, resident of the process on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def device_name(device: torch.device) -> str:
    """Return the model of a CUDA device, else the device's type."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def versions() -> dict[str, str]:
    """Return the versions of Python, stylebench and what it computes with."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "stylebench": stylebench.__version__, **found}


def machine() -> dict[str, Any]:
    """Return what kind of machine this is, without its name."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "thread_settings": thread_settings(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
    }


def source_commit() -> str | None:
    """Return the commit of the checkout that this package runs from (with `+` if it has changes), None elsewhere."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git here: the record then names no commit
        return None
    return commit + ("+" if changed else "")
