"""Measure processor seconds a step and peak memory of the current code against commit 77a0089.

    python tests/frozen/step_times.py --output times.json      # 15 pairs of fresh processes of each method

A pair is a fresh process of each side, one thread each, which step in turn: other programs and the machine's moods last
longer than a step and slow both down; which side comes first alternates. A process runs one command and notes its
processor time whenever an optimizer has made a step, so what the frame does between two steps counts. For cyclegan a
step is that of its first optimizer, once a batch; for gatys it is one evaluation of the objective (with Adam, which
steps at each). Prints, and writes as JSON, the median over pairs of current / 77a0089, with a 95 % interval by
bootstrap.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # when run as a script

import numpy as np

from tests.frozen import cases, renamed, trees

PAIRS, RESAMPLES = 15, 10_000
PAIR = 2
WARM_UP = 5  # steps that are not counted
BATCHES = 40
Figures = dict[str, float]
TRAINING = [
    "dataset=folders", "dataset.num_workers=0", "dataset.size_px=64", "dataset.on_small=upscale", "metrics=none",
    f"budget.batches={BATCHES}", f"budget.evaluate_every={BATCHES}", "budget.validation_images=1", "samples=1",
    "run=run",
]  # fmt: skip
COMMANDS = {
    "fast_transfer": [
        "train", "model=fast_transfer", "model.network.width=16", "model.style_size_px=64",
        "dataset.content=data/content", f"dataset.style={cases.STYLE}", *TRAINING,
    ],
    "cyclegan": [
        "train", "model=cyclegan", "model.translator.generator_ab.width=16", "model.translator.generator_ab.blocks=2",
        "model.discriminator_a.width=16", "dataset.a=data/content", "dataset.b=data/target", *TRAINING,
    ],
    "gatys": [
        "stylize", "model=gatys", "model/minimizer=adam", "model.translator.evaluations=120", "size_px=128",
        f"input={cases.PICTURE}", f"style={cases.STYLE}", "output=picture.png",
    ],
}  # fmt: skip


def steps_of(
    sides: Mapping[str, Path], folder: Path, method: str, words: Mapping[str, list[str]]
) -> dict[str, Figures]:
    """Run a command in a fresh process of each side, step by step in turn.

    Args:
        sides: the laid out packages by name; the first one has the first turn.
        folder: for their work.
        method: what is run.
        words: the command of each side.

    Returns:
        By side: its median processor seconds a step, and its peak memory in bytes.

    Raises:
        RuntimeError: if a command fails.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pipes = [os.pipe() for _ in sides]
    processes = {}
    for place, (side, tree) in enumerate(sides.items()):
        work = folder / side
        cases.draw_data(work / "data")
        turns = {"own": pipes[place][0], "other": pipes[1 - place][1], "waits": place} if len(sides) == PAIR else None
        job = trees.Job(method, work, [words[side]])
        processes[side] = trees.Process(tree, work, [job], work / "noted.json", turns)
    for end in (end for pipe in pipes for end in pipe):
        os.close(end)
    return {side: _figures(process, folder / side) for side, process in processes.items()}


def _figures(process: trees.Process, work: Path) -> Figures:
    if failed := process.ended():
        raise RuntimeError(f"the {process.name} code failed: {failed}; {(work / 'log.txt').read_text()[-3000:]}")
    noted = json.loads((work / "noted.json").read_text(encoding="utf-8"))
    steps = np.diff(noted["moments"][0])[WARM_UP:]
    return {"seconds": float(np.median(steps)), "steps": len(steps), "peak_bytes": noted["peak_bytes"]}


def median_with_interval(ratios: list[float]) -> dict[str, float]:
    """Return the median and the 2.5 and 97.5 percentiles of the medians of resamples."""
    drawn = np.random.default_rng(0).choice(ratios, size=(RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return {"median": statistics.median(ratios), "low": float(low), "high": float(high)}


def compare(folder: Path, methods: list[str], pairs: int) -> dict[str, Any]:
    """Run all pairs; return for each method the ratios current / frozen, their medians, and every measurement."""
    sides = {"frozen": trees.frozen_tree(folder / "frozen"), "current": trees.current_tree(folder / "current")}
    found: dict[str, Any] = {}
    for method in methods:
        words = {"frozen": COMMANDS[method], "current": renamed.translate_command(COMMANDS[method], method)}
        rows: list[dict[str, Figures]] = []
        for pair in range(pairs):
            order = list(sides)[:: 1 if pair % 2 == 0 else -1]
            rows.append(steps_of({side: sides[side] for side in order}, folder / "work", method, words))
        ratios = {key: [row["current"][key] / row["frozen"][key] for row in rows] for key in ("seconds", "peak_bytes")}
        found[method] = {key: median_with_interval(each) for key, each in ratios.items()} | {"pairs": rows}
    return found


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="method", help=f"of {', '.join(COMMANDS)}; all if none is named")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"pairs of processes of each method; {PAIRS}")
    parser.add_argument("--output", type=Path, help="JSON file for all measurements")
    arguments = parser.parse_args()
    methods = arguments.methods or list(COMMANDS)
    if arguments.pairs < 1 or set(methods) - set(COMMANDS):
        parser.error(f"pairs must be at least 1 and methods of {', '.join(COMMANDS)}")
    with tempfile.TemporaryDirectory() as temporary:
        found = compare(Path(temporary), methods, arguments.pairs)
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1), encoding="utf-8")
    sys.stdout.write("current / 77a0089, median over pairs and 95 % interval\n")
    for method, each in found.items():
        told = [f"{label} {each[key]['median']:.3f} ({each[key]['low']:.3f} .. {each[key]['high']:.3f})"
                for key, label in (("seconds", "processor seconds a step"), ("peak_bytes", "peak memory"))]  # fmt: skip
        sys.stdout.write(f"{method:<16} {'   '.join(told)}\n")


if __name__ == "__main__":
    main()
