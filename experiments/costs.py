"""What two ways to do the same cost: processor seconds in pairs, so that what else runs falls on both, and memory."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

PAIRS = 15
_RESAMPLES = 10_000


def ratios(ways: Mapping[str, Callable[[], Any]], pairs: int = PAIRS) -> dict[str, Any]:
    """Measure the second way against the first, on one thread of this process; which comes first alternates.

    Args:
        ways: two functions by name, that each pair calls once; each is called once before, which does not count.
        pairs: how many.

    Returns:
        `median` of the ratios, second over first, with `low` and `high` of its 95 % interval by bootstrap, and `pairs`,
        the seconds of each.
    """
    torch.set_num_threads(1)
    base, other = ways
    for way in ways.values():
        way()
    rows = [
        {name: _seconds(ways[name]) for name in ((base, other) if pair % 2 == 0 else (other, base))}
        for pair in range(pairs)
    ]
    found = [row[other] / row[base] for row in rows]
    resampled = np.median(np.random.default_rng(0).choice(found, (_RESAMPLES, pairs)), axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return {"median": statistics.median(found), "low": float(low), "high": float(high), "pairs": rows}


def peak_bytes(module: str, way: str, *words: str) -> int:
    """Return the peak memory of a fresh process, `python -m <module> --alone <way> <words>`, which `alone` ends."""
    command = [sys.executable, "-m", module, "--alone", way, *words]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def alone(run: Callable[[], Any], times: int = 1) -> None:
    """Run something on one thread, and print the peak memory of this process."""
    torch.set_num_threads(1)
    for _ in range(times):
        run()
    sys.stdout.write(str(_own_peak_bytes()))


def tell(found: Mapping[str, Any], output: Path | None) -> None:
    """Print what was measured as JSON, and write it into a file where one is named."""
    text = f"{json.dumps(found, indent=1)}\n"
    if output:
        output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def _own_peak_bytes() -> int:
    """Return the peak memory of this process; Linux counts the parent's into `ru_maxrss`, but not into this."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _seconds(way: Callable[[], Any]) -> float:
    start = time.process_time()
    way()
    return time.process_time() - start
