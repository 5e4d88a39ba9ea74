"""Is CUDA right, and how fast: `make gpu-check`. Needs no data and no weights, takes under 10 minutes on 1-8 GPUs.

Prints a table and writes one JSON that stands alone: the machine, and for each check its figures, the band they must
lie in, and whether they do. One check's failure does not stop the others. Exit code 1 if any failed. Without a GPU the
checks themselves can be tried out: `python tests/gpu_check.py --device cpu --quick`.
"""

import argparse
import contextlib
import importlib
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # when run as a script

from stylebench.commands.train import quieten
from stylebench.files import write_json
from stylebench.shipped import options
from stylebench.training.callbacks.run_record import machine, source_commit, versions
from tests.gpu import equality, runs, speed, style_family, translation
from tests.gpu.base import Check, Result, Setting, run_check

HALVES = ("trainer.precision=bf16-mixed", "compile=true", "channels_last=true")
# Files of checks that a method brings with it.
OF_METHODS = [
    module
    for name in sorted(options("model"))
    if importlib.util.find_spec(f"tests.gpu.{name}")
    for module in [importlib.import_module(f"tests.gpu.{name}")]
]
CHECKS = [
    Check("equal: functional", equality.functional),
    Check("equal: layers", equality.layers),
    Check("equal: encoders", equality.encoders),
    Check("equal: networks", equality.networks),
    Check("equal: style losses and tiles", style_family.objective),
    Check("equal: adain and gatys", style_family.translators),
    Check("equal: players of translation", translation.steps),
    Check("equal: translators", translation.translators),
    *(check for module in OF_METHODS for check in module.CHECKS),
    Check("equal: data finish", equality.data_finish),
    Check("equal: training step", equality.training_step),
    Check("run: fp32", runs.learns, 20),
    Check("run: fp32 again", runs.variant("fp32-again"), 20),
    Check("run: bf16-mixed", runs.variant("bf16", "trainer.precision=bf16-mixed"), 20),
    Check(
        "run: 16-mixed",
        runs.variant("fp16", "trainer.precision=16-mixed", band=runs.FLOAT16_BAND, cuda_only=True),
        20,
    ),
    Check("run: channels_last", runs.variant("channels-last", "channels_last=true"), 20),
    Check("run: no host syncs", runs.host_syncs),
    Check("checkpoint on the CPU", runs.checkpoint_on_cpu, 20),
    Check("resume", runs.resume, 50),
    Check("ddp", runs.ddp_equality, 60),
    Check("speed: instance norm", speed.norms, 15),
    Check("speed: layer layouts", speed.layer_layouts, 15),
    Check("speed: against pytorch/examples", speed.baseline, 30),
    Check("speed: batch 4, fp32", speed.throughput(4), 25),
    Check("speed: batch 4, bf16", speed.throughput(4, HALVES[0]), 25),
    Check("speed: batch 16, fp32", speed.throughput(16), 40),
    Check("speed: batch 16, bf16", speed.throughput(16, HALVES[0]), 40),
    Check("run: compile", runs.variant("compile", "compile=true"), 90, slow=True),
    Check("run: bf16, compile, channels_last", runs.variant("all", *HALVES), 90),
    Check("speed: batch 4, bf16, compile, channels_last", speed.throughput(4, *HALVES), 90, slow=True),
    Check("speed: batch 16, bf16, compile, channels_last", speed.throughput(16, *HALVES), 90, slow=True),
]


def facts(device: torch.device) -> dict[str, Any]:
    """Return what the figures depend on: hardware, versions, switches of torch."""
    found: dict[str, Any] = {"machine": machine(), "versions": versions(), "commit": source_commit()}
    found["affinity"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if device.type != "cuda":
        return found
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found["gpus"] = [
        {"name": gpu.name, "memory_gib": round(gpu.total_memory / 2**30, 1), "capability": f"{gpu.major}.{gpu.minor}"}
        for gpu in gpus
    ]
    found |= {"driver": driver_version(), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]
    found["tf32"] = {
        "convolutions": torch.backends.cudnn.allow_tf32,
        "products": torch.backends.cuda.matmul.allow_tf32,
    }
    return found


def driver_version() -> str | None:
    """Return the NVIDIA driver's version, None where `nvidia-smi` cannot tell."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        printed = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return printed.splitlines()[0].strip() if printed.strip() else None


def line(result: Result) -> str:
    """Return a row of the table, with the first few figures or the reason."""
    numbers = {key: value for key, value in result.figures.items() if not isinstance(value, dict | list)}
    shown = result.message or ", ".join(f"{key} {value}" for key, value in list(numbers.items())[:4])
    shown = " ".join(shown.split())
    return f"{result.status:<8}{result.name:<48}{result.seconds:>7.1f} s  {shown[:150]}"


def report(results: list[Result], complete: bool, **about: Any) -> dict[str, Any]:
    """Return what the JSON holds."""
    counts = {status: 0 for status in ("passed", "failed", "error", "skipped")}
    for result in results:
        counts[result.status] += 1
    passed = complete and all(result.good for result in results)
    return {**about, "complete": complete, "passed": passed, "counts": counts, "checks": [asdict(r) for r in results]}


def run_all(checks: list[Check], setting: Setting, seconds: float, output: Path) -> list[Result]:
    """Run the checks in order within a time budget; the JSON is written after each, in case the next one crashes."""
    begin = time.perf_counter()
    about = {"device": setting.device.type, "quick": setting.quick, "facts": facts(setting.device)}
    results: list[Result] = []
    for check in checks:
        results.append(run_check(check, setting, seconds - (time.perf_counter() - begin)))
        say(line(results[-1]))
        spent = round(time.perf_counter() - begin, 1)
        write_json(output, report(results, len(results) == len(checks), seconds=spent, **about))
    return results


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave warnings and Lightning's advice out of the table, and everything as it was afterwards."""
    loggers = [logging.getLogger(name) for name in ("stylebench", "pytorch_lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        quieten()
        loggers[0].setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", message=".*number of training batches.*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def main(arguments: list[str] | None = None) -> int:
    """Run the checks that are asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: try the checks themselves out")
    parser.add_argument("--output", type=Path, default=Path("outputs/gpu-check.json"))
    parser.add_argument("--minutes", type=float, default=9.5, help="heavy checks are skipped when these are used up")
    parser.add_argument("--only", nargs="+", default=[""], help="run the checks whose names hold one of these words")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here; --device cpu --quick tries the checks out on the CPU")
    checks = [check for check in CHECKS if any(word in check.name for word in options.only)]
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        setting = Setting(torch.device(options.device), options.quick, Path(folder))
        with (setting.folder / "progress").open("w") as bars, contextlib.redirect_stderr(bars), quiet():
            results = run_all(checks, setting, options.minutes * 60, options.output)
    bad = [result for result in results if not result.good]
    for result in bad:
        say(f"\n{result.name} ({result.status})\n  {result.message or result.figures}\n  band: {result.band}")
    say(f"\n{len(results) - len(bad)} of {len(results)} checks fine or skipped; figures in {options.output}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
