"""Measure the memory of a large evaluation above what its process held with the extractor loaded.

    python -m experiments.metrics.memory [--extractor compact compact_judge] [--images 10000] [--size 64] [--batch 16]

Each extractor has a process of its own, in which that many images and as many reference images go through the
evaluator: Frechet distance, kernel distance, precision, recall, density and coverage, and the Gram style distance to a
picture. Images are random crops of soft random fields, cut when their batch comes. Linux with glibc only: once the
extractor stands, freed memory goes back to the system, and the peak (VmHWM of /proc/self/status) is reset by
/proc/self/clear_refs; where that is not allowed the peak since the start counts, which is no lower. One JSON line an
extractor.
"""

import argparse
import ctypes
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.pixels import quantize
from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.evaluator import Evaluator, Metric
from stylebench.metrics.extractors import EncoderFeatures
from stylebench.metrics.feature_pairs import GramDistance
from stylebench.metrics.sets import FrechetDistance, KernelDistance, Manifold
from stylebench.nn.encoders import CompactEncoder, Encoder, JudgeEncoder

logger = logging.getLogger(__name__)

LIMIT_MIB = 1536.0
PICTURES = 64  # pictures that images are cut from
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
ENCODERS: dict[str, Callable[[], Encoder]] = {
    "compact": lambda: CompactEncoder(
        "shipped", ["relu2_2"], ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"], "relu4_1"
    ),
    "compact_judge": lambda: JudgeEncoder("shipped", ["mix2"], ["stem", "mix1", "mix3", "mix5", "mix6"], "mix5"),
}


def status_mib(field: str, text: str) -> float:
    """Return a field of /proc/<process>/status in MiB.

    Raises:
        ValueError: if it is not there.
    """
    for line in text.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024  # the unit is kB
    raise ValueError(f"expected {field} in /proc/self/status; run on Linux")


def reset_peak() -> bool:
    """Let the peak start again from what is held now; return whether that was allowed."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def release_freed() -> None:
    """Hand freed memory back to the system, so that what comes next cannot hide in it."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def soft_fields(count: int, size: int, seed: int) -> Tensor:
    """Draw (count, 3, size, size) uint8 pictures: smooth random colors with grain."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    smooth = F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)
    grain = torch.rand(count, 3, size, size, generator=generator)
    return quantize(0.8 * smooth + 0.2 * grain)


def crops(pictures: Tensor, count: int, size: int, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (B, 3, size, size) uint8 random crops and their (B,) numbers."""
    generator = torch.Generator().manual_seed(seed)
    for numbers in torch.split(torch.arange(count), batch):
        places = torch.randint(0, pictures.shape[-1] - size + 1, (len(numbers), 2), generator=generator).tolist()
        cut = [
            pictures[number % len(pictures), :, top : top + size, left : left + size]
            for number, (top, left) in zip(numbers.tolist(), places, strict=True)
        ]
        yield torch.stack(cut), numbers


def evaluate(name: str, count: int, size: int, batch: int) -> dict[str, object]:
    """Evaluate in this process; return peaks in MiB above what it held before the first image, and the values."""
    pictures = soft_fields(PICTURES, 2 * size, 0)
    extractor = EncoderFeatures(ENCODERS[name]())
    metrics: dict[str, Metric] = {
        "fd": FrechetDistance(name), "kd": KernelDistance(name), "prdc": Manifold(name), "style": GramDistance(name),
    }  # fmt: skip
    evaluator = Evaluator({name: extractor}, metrics, expected=count)
    release_freed()
    reset = reset_peak()
    held = status_mib("VmRSS", _STATUS.read_text())
    start = time.perf_counter()
    reference = evaluator.reference_features(name, crops(pictures, count, size, batch, 1))
    style = pictures[:1, :, :size, :size]
    for images, numbers in crops(pictures, count, size, batch, 2):
        evaluator.update(EvaluationBatch(images, numbers, style=style))
    passes, gathered = time.perf_counter() - start, status_mib("VmHWM", _STATUS.read_text()) - held
    values = evaluator.compute({name: reference})
    peak = status_mib("VmHWM", _STATUS.read_text()) - held
    return {
        "extractor": name, "images": count, "size_px": size, "batch": batch, "width": extractor.width,
        "held_mib": held, "peak_features_mib": gathered, "peak_mib": peak, "within_limit": peak < LIMIT_MIB,
        "peak_was_reset": reset, "seconds_features": passes, "seconds_metrics": time.perf_counter() - start - passes,
        "values": {value.alias: value.value for value in values if value.shown == "dashboard"},
        "torch": torch.__version__, "threads": torch.get_num_threads(),
    }  # fmt: skip


def main() -> int:
    """Run what the command line asks for; return 1 if a peak is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extractor", choices=sorted(ENCODERS), nargs="+", default=sorted(ENCODERS))
    parser.add_argument("--images", type=int, default=10_000, help="images of each set")
    parser.add_argument("--size", type=int, default=64, help="side of the images in px")
    parser.add_argument("--batch", type=int, default=16, help="images at a time")
    parser.add_argument("--here", action="store_true", help="one extractor, in this process")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.here:
        found = evaluate(arguments.extractor[0], arguments.images, arguments.size, arguments.batch)
        logger.info(json.dumps(found))
        return 0 if found["within_limit"] else 1
    failed = 0
    for name in arguments.extractor:
        command = [sys.executable, "-m", "experiments.metrics.memory", "--here", "--extractor", name]
        command += [f"--{key}={getattr(arguments, key)}" for key in ("images", "size", "batch")]
        failed += subprocess.run(command, check=False).returncode != 0
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
