"""Whole training runs on the device: precisions and switches, several devices, stopping and resuming, reading back."""

import csv
import json
import signal
import statistics
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

import stylebench
from stylebench.cli.config import compose
from stylebench.commands.train import train
from stylebench.files import read_pickle
from stylebench.training.callbacks.metric_log import MetricLog
from tests.gpu.base import ROOT, Figures, Outcome, Setting, SkipCheck, end, finish, gap, start

# With random encoder weights and the usual rate of 1e-3, a float32 run of another memory layout, or of first weights
# that differ by 1e-6, ends up to 19 % from itself: comparing says nothing. At 1e-4 it stays within 2.6 % (means over 25
# and 50 batches of 3 such runs on a CPU: 64 px, 200 batches).
CALM_RATE, CALMER_RATE = "model.optimizers.generator.lr=1e-4", "model.optimizers.generator.lr=1e-5"
HALF_BAND, FLOAT16_BAND, FIRST_BAND = 0.05, 0.10, 0.01
GRADIENT_BAND, REPEAT_BAND, LATER_BAND = 5e-3, 0.01, 0.05


def small_run(setting: Setting, *more: str) -> list[str]:
    """Return the overrides of a short run without data or weights; later ones win."""
    batches = setting.pick(100, 8)
    return [
        "dataset=procedural",
        f"dataset.store.count={setting.pick(48, 12)}",
        f"dataset.store.size_px={setting.pick(160, 48)}",
        f"dataset.size_px={setting.pick(128, 32)}",
        "encoder=squeezenet",
        "encoder.weights=random",
        "encoder.normalize=false",
        f"model.generator.width={setting.pick(32, 4)}",
        f"model.style_size_px={setting.pick(160, 48)}",
        "budget.validation_images=2",
        "samples=2",
        f"budget.batches={batches}",
        f"budget.evaluate_every={batches}",
        "logger.every_n_batches=1",
        setting.trainer,
        "trainer.precision=32-true",
        CALM_RATE,
        *more,
    ]


def rows(folder: Path) -> list[dict[str, str]]:
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def losses(folder: Path) -> dict[int, float]:
    """Return the logged training losses by batch."""
    return {int(r["train/batches"]): float(r["train/loss/total"]) for r in rows(folder) if r.get("train/loss/total")}


def record(folder: Path) -> Figures:
    return dict(json.loads((folder / "record.json").read_text()))


def last_half(values: dict[int, float]) -> float:
    """Return the mean loss of the second half of the batches: single batches scatter, their mean does little."""
    ordered = [values[batch] for batch in sorted(values)]
    return statistics.fmean(ordered[len(ordered) // 2 :])


def trained(setting: Setting, name: str, *overrides: str) -> Path:
    folder = setting.folder / name
    torch.compiler.reset()
    train(compose("train", small_run(setting, *overrides)), folder, [])
    return folder


@cache
def reference(setting: Setting) -> Path:
    return trained(setting, "fp32")


def compare_losses(found: dict[int, float], expected: dict[int, float], band: float) -> tuple[bool, Figures]:
    """Hold the first loss to 1 % and the second half's mean to `band` around the reference's, batch for batch."""
    same_batches = found.keys() == expected.keys() and bool(expected)
    if not same_batches:
        return False, {"batches": len(found), "batches_expected": len(expected)}
    mean, wanted = last_half(found), last_half(expected)
    away, first = abs(mean / wanted - 1), min(expected)
    first_away = abs(found[first] / expected[first] - 1)
    figures = {
        "first_deviation": first_away,
        "deviation": away,
        "last_half": mean,
        "last_half_expected": wanted,
        "worst_single_batch": max(abs(found[k] / expected[k] - 1) for k in expected),
    }
    return away <= band and first_away <= FIRST_BAND, figures


def variant(name: str, *overrides: str, band: float = HALF_BAND, cuda_only: bool = False) -> Callable[..., Outcome]:
    """Return a check that a run with other switches has the losses of the float32 run."""

    def check(setting: Setting) -> Outcome:
        if cuda_only:
            setting.need_cuda(name)
        expected = reference(setting)
        folder = trained(setting, name, *overrides)
        passed, figures = compare_losses(losses(folder), losses(expected), band)
        for label, path in (("", folder), ("fp32_", expected)):
            facts = record(path)
            figures[f"{label}images_per_second"] = facts["images_per_second"]
            figures[f"{label}peak_gib"] = facts["peak_memory_bytes"] / 2**30
        reason = (
            "Rounding is 2^-9 relative in bfloat16 and moves the first loss by 0.2-0.4 %; later the trajectories part "
            "like those of two float32 runs, whose means differ by up to 2.6 % on a CPU"
            if band == HALF_BAND
            else "wider than bfloat16's: the loss scaler skips some of the first updates, which puts the run behind"
        )
        return Outcome(
            passed, f"first loss within 1 %, mean of the last half within {band:.0%} of float32's. {reason}", figures
        )

    return check


def learns(setting: Setting) -> Outcome:
    """The float32 run that the others are compared with: its loss falls, so that comparing says something."""
    values = losses(folder := reference(setting))
    fallen = last_half(values) / values[1]
    figures = {"first_loss": values[1], "last_half": last_half(values), "fallen_to": fallen}
    figures |= {"images_per_second": record(folder)["images_per_second"]}
    return Outcome(fallen < setting.pick(0.9, 1.0), "mean loss of the last half below 90 % of the first", figures)


def host_syncs(setting: Setting) -> Outcome:
    """Count how often the frame waits for the device in batches without a log, by CUDA's own warnings."""
    setting.need_cuda("synchronization warnings")
    first, last, found = 5, 9, list[str]()
    log: Any = MetricLog
    before = log.on_train_batch_start, log.on_train_batch_end

    def switch_on(self: MetricLog, trainer: pl.Trainer, method: Any, *args: Any) -> None:
        if method.batches_done == first:
            torch.cuda.set_sync_debug_mode("warn")

    def switch_off(self: MetricLog, trainer: pl.Trainer, method: Any, *args: Any) -> None:
        before[1](self, trainer, method, *args)
        if method.batches_done == last:
            torch.cuda.set_sync_debug_mode("default")

    log.on_train_batch_start, log.on_train_batch_end = switch_on, switch_off
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trained(setting, "syncs", "logger.every_n_batches=1000", "budget.batches=12", "budget.evaluate_every=12")
        found = [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
        log.on_train_batch_start, log.on_train_batch_end = before
    figures = {"batches": last - first, "waits": len(found), "where": sorted(set(found))}
    return Outcome(not found, "no wait for the device in a batch that is not logged", figures)


def ddp_equality(setting: Setting) -> Outcome:
    """Train on one process and on all devices with the same global batch, and compare what each saw."""
    count = torch.cuda.device_count() if setting.cuda else 2
    if count < 2:
        raise SkipCheck("one device")
    strategy = ["trainer=ddp" if setting.cuda else "trainer=ddp_cpu", "trainer.precision=32-true"]
    short = ["dataset.store.count=160", f"dataset.batch_size={2 * count}", f"budget.validation_images={count + 1}"]
    short += ["budget.batches=4", "budget.evaluate_every=2"]
    many = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    one, all_of = setting.folder / "ddp-one", setting.folder / "ddp-all"
    for folder, launcher, trainer in ((one, [], []), (all_of, many, [*strategy, f"trainer.devices={count}"])):
        folder.mkdir()
        worker = [str(ROOT / "tests" / "ddp_worker.py"), str(folder), *small_run(setting, *short, *trainer)]
        finish([*launcher, *worker], folder / "log", NVIDIA_TF32_OVERRIDE="0", OMP_NUM_THREADS="1")
    alone = read_pickle(one / "grad-0.pt")
    grads = [read_pickle(all_of / f"grad-{rank}.pt") for rank in range(count)]
    ends = [read_pickle(all_of / f"end-{rank}.pt") for rank in range(count)]
    flat = [torch.cat([part[name].flatten() for name in alone]) for part in (alone, *grads)]
    alike = [all(torch.equal(ends[0][name], other[name]) for name in ends[0]) for other in ends[1:]]
    logged = [row["train/batches"] for row in rows(all_of / "run")]
    figures: Figures = {
        "processes": count,
        "gradient_gap": max(gap(other, flat[0]) for other in flat[1:]),
        "replicas_equal_at_the_end": all(alike),
        "logged_batches": logged,
        "record_devices": record(all_of / "run")["devices"]["count"],
    }
    passed = figures["gradient_gap"] <= GRADIENT_BAND and all(alike) and logged == ["1", "2", "3", "4"]
    band = f"gradient within {GRADIENT_BAND:g} of one process's (float32 on CUDA; a wrong average is off by 1), "
    return Outcome(passed, band + "replicas equal bit by bit, each batch logged once", figures)


def resume(setting: Setting) -> Outcome:
    """Kill a run with SIGKILL, go on, stop it with SIGTERM, go on to the end; compare with an uninterrupted run."""
    batches, every = setting.pick((400, 20), (60, 5))
    overrides = [f"budget.batches={batches}", f"budget.evaluate_every={batches}", f"checkpoint.every_n_batches={every}"]
    overrides += [CALMER_RATE]  # a repeat that differs is then due to other batches, not to trajectories that part
    overrides += [f"dataset.size_px={setting.pick(64, 32)}", f"model.generator.width={setting.pick(16, 4)}"]
    whole = trained(setting, "uninterrupted", *overrides)
    folder = setting.folder / "resumed"
    folder.mkdir()
    command = ["-m", "stylebench", "train", *small_run(setting, *overrides), f"run={folder}"]
    killed = interrupt(command, folder, 2 * every + every // 2, signal.SIGKILL)
    before_kill = losses(folder)
    stopped = interrupt(command, folder, 5 * every, signal.SIGTERM, older=max(before_kill))
    again = losses(folder)
    train(compose("train", small_run(setting, *overrides, "resume=must")), folder, [])
    begun = [session["from_batch"] for session in record(folder)["sessions"]]
    return judge_resume(losses(whole), losses(folder), before_kill, again, begun, (killed, stopped), every)


def judge_resume(
    whole: dict[int, float],
    resumed: dict[int, float],
    before_kill: dict[int, float],
    again: dict[int, float],
    begun: list[int],
    codes: tuple[int, int],
    every: int,
) -> Outcome:
    """Judge a run that was killed, continued, stopped and continued; arguments are losses by batch."""
    repeated = [batch for batch in before_kill if len(begun) > 1 and batch > begun[1]]
    at_repeat = max((abs(again[k] / before_kill[k] - 1) for k in repeated if k in again), default=0.0)
    later_good, figures = compare_losses(resumed, whole, LATER_BAND)
    right_place = len(begun) == 3 and begun[0] == 0 and begun[1] % every == 0 and 0 < begun[1] <= begun[2]
    figures |= {
        "sessions_begun_at": begun,
        "exit_codes": list(codes),
        "batches_trained_twice": len(repeated),
        "largest_difference_when_repeated": at_repeat,
    }
    exits = codes == (-signal.SIGKILL, 128 + signal.SIGTERM)
    passed = right_place and exits and at_repeat <= REPEAT_BAND and later_good
    band = (
        "sessions begin at a checkpoint after the kill and at the stop's own batch after SIGTERM (exit code 143), "
        f"losses of repeated batches within {REPEAT_BAND:.0%}, the last half's mean within {LATER_BAND:.0%} of an "
        "uninterrupted run's, every batch logged once: some CUDA kernels add in varying order, so not bit by bit"
    )
    return Outcome(passed, band, figures)


def interrupt(command: list[str], folder: Path, at_batch: int, number: signal.Signals, older: int = 0) -> int:
    """Start a run, send a signal once it has logged `at_batch` (and more than `older`), return the exit code."""
    process = start(command, folder / f"{number.name}.log")
    known = (folder / "metrics.csv").stat().st_mtime_ns if (folder / "metrics.csv").exists() else 0
    try:
        while process.poll() is None:
            time.sleep(0.01)
            path = folder / "metrics.csv"
            if not path.exists() or path.stat().st_mtime_ns == known:
                continue
            reached = [int(row["train/batches"]) for row in rows(folder) if (row["train/batches"] or "").isdigit()]
            if reached and reached[-1] >= max(at_batch, older + 1):
                process.send_signal(number)
                return process.wait()
    finally:
        end(process)
    printed = (folder / f"{number.name}.log").read_text()[-1500:]
    raise RuntimeError(f"the run ended before batch {at_batch} could be seen: {printed}")


def checkpoint_on_cpu(setting: Setting) -> Outcome:
    """Read a run of the device in a process that sees no device, and translate with it."""
    folder, result = reference(setting), setting.folder / "translated.pt"
    images = torch.rand(1, 3, 61, 50, generator=torch.Generator().manual_seed(0))
    torch.save(images, setting.folder / "images.pt")
    code = (
        "import sys, torch, stylebench\n"
        "from pathlib import Path\n"
        "from stylebench.files import read_pickle\n"
        "assert not torch.cuda.is_available()\n"
        "model = stylebench.load(sys.argv[1], device='cpu')\n"
        "torch.save(model.translate(read_pickle(Path(sys.argv[2]))), sys.argv[3])\n"
    )
    arguments = [str(folder), str(setting.folder / "images.pt"), str(result)]
    finish(["-c", code, *arguments], setting.folder / "translated.log", CUDA_VISIBLE_DEVICES="")
    elsewhere = read_pickle(result)
    here = stylebench.load(folder, device="cpu")
    there = stylebench.load(folder, device=setting.device)
    figures: Figures = {
        "devices": sorted({parameter.device.type for parameter in here.parameters()}),
        "gap_without_a_device": gap(elsewhere, here.translate(images)),
        "gap_on_the_device": gap(there.translate(images), elsewhere),
    }
    passed = figures["devices"] == ["cpu"] and figures["gap_without_a_device"] <= 1e-5
    passed = passed and figures["gap_on_the_device"] <= 1e-2
    return Outcome(passed, "the CPU's output 1e-5 alike; the device's 1e-2 (TensorFloat-32 convolutions)", figures)
