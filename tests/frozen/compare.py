"""Compare the current code with commit 77a0089: the same runs by both, and the old runs read by the current code.

    python tests/frozen/compare.py                      # all methods
    python tests/frozen/compare.py adain cyclegan       # some
    python tests/frozen/compare.py --old /tmp/old       # keeps what the old code made, for the next time

Each method trains 20 batches at tiny widths from the same seed in a process of each side, on one thread, and is then
evaluated, exported and applied. Weights, averages, states of optimizers and of random numbers, every column and value,
health figures, sample grids and results must be equal bit for bit. Then the current code reads the folder that the old
code wrote: it evaluates it, applies run and export, and goes on from the checkpoint in the middle, as the old code did.
Names that have changed stand in `renamed.py`. Prints a line for each method; ends with 1 if anything differs.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # when run as a script

import numpy
import torch

from stylebench.shipped import options
from tests.frozen import cases, findings, renamed, trees
from tests.frozen.trees import Job

SHOWN = 12  # differences of a method that are printed
STAMP = "stamp.json"


def writing(method: str, folder: Path) -> Job:
    """Return what both sides run of a method, in the frozen commit's names."""
    untrained = [cases.untrained_command(method, f"pictures/{method}-untrained.png")]
    return Job(
        method,
        folder,
        [
            cases.train_command(method, compared=True),
            *(untrained if cases.CASES[method].untrained else []),
            cases.export_command(method),
            *reading(method, folder).commands,
        ],
    )


def reading(method: str, folder: Path) -> Job:
    """Return what both sides do with the old run and export of a method."""
    commands = [
        cases.evaluate_command(method, f"values/{method}.json"),
        cases.stylize_command(method, f"runs/{method}", f"pictures/{method}.png"),
        cases.stylize_command(method, f"exports/{method}", f"pictures/{method}-export.png"),
    ]
    return Job(f"{method}, old run", folder, commands)


def resuming(method: str, folder: Path) -> Job:
    """Return the second half of a copy of the old run, from the checkpoint in the middle."""
    last = f"resumed/{method}/checkpoints/batch-{cases.BATCHES:09d}.ckpt"
    copy = (f"runs/{method}", f"resumed/{method}")
    return Job(f"{method}, old run resumed", folder, [cases.resume_command(method)], copy, (last,))


def found_by_writing(folder: Path, method: str, *, frozen: bool) -> findings.Findings:
    """Return what training and use left in a folder, in present names."""
    names = method if frozen else ""
    found = findings.run_findings(folder / "runs" / method, names)
    found |= findings.value_findings(folder / "values" / f"{method}.json", names)
    pictures = (folder / "pictures").glob(f"{method}*.png")
    return found | {f"picture {file.name}": findings.read_picture(file) for file in pictures}


def found_by_reading(folder: Path, method: str, *, frozen: bool) -> findings.Findings:
    """Return what use of the old run and its second half left in a folder, in present names."""
    names = method if frozen else ""
    found = findings.run_findings(folder / "resumed" / method, names)
    found |= findings.value_findings(folder / "values" / f"{method}.json", names)
    pictures = [folder / "pictures" / f"{method}{end}.png" for end in ("", "-export")]
    return found | {f"picture {file.name}": findings.read_picture(file) for file in pictures}


def make_old(folder: Path, methods: list[str]) -> Path:
    """Run the frozen commit on the methods that `folder` lacks; return the folder of its runs.

    Raises:
        RuntimeError: if the old code fails.
        FileExistsError: if the folder holds something else.
    """
    stamp, work = folder / STAMP, folder / "work"
    made_with = {"commit": trees.COMMIT, "commands": _digest(), "torch": torch.__version__, "numpy": numpy.__version__}
    before = json.loads(stamp.read_text(encoding="utf-8")) if stamp.is_file() else {}
    if not before and folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(
            f"{folder} is not empty and holds no finished runs of {trees.COMMIT}: empty it, or name another"
        )
    if before.get("made_with") != made_with:
        shutil.rmtree(folder, ignore_errors=True)
        before = {"methods": []}
        trees.frozen_tree(folder / "tree")
        cases.draw_data(work / "data")
    missing = [method for method in methods if method not in before["methods"]]
    if missing:
        stamp.unlink(missing_ok=True)  # a process that is stopped leaves a folder that is refused
        jobs = [make(method, work) for method in missing for make in (writing, resuming)]
        if failed := trees.run_jobs(folder / "tree", folder, jobs):
            raise RuntimeError(f"the code of {trees.COMMIT} failed: {failed}; see {folder / 'log.txt'}")
    stamp.write_text(json.dumps({"made_with": made_with, "methods": [*before["methods"], *missing]}), encoding="utf-8")
    return work


def _digest() -> str:
    """Return the digest of the pictures and of every command."""
    lines = [make(method, Path()).commands for method in cases.CASES for make in (writing, resuming)]
    drawn = [(name, hashlib.sha256(content).hexdigest()) for name, content in cases.pictures()]
    return hashlib.sha256(json.dumps([drawn, lines]).encode()).hexdigest()


def run_current(folder: Path, old: Path, methods: list[str]) -> dict[str, str]:
    """Run the current code: its own runs in `folder/own`, and on a copy of the old ones in `folder/read`.

    Returns:
        Why jobs failed, by their names.
    """
    own, read = folder / "own", folder / "read"
    cases.draw_data(own / "data")
    cases.draw_data(read / "data")
    jobs: list[Job] = []
    for method in methods:
        for part in ("runs", "exports"):
            shutil.copytree(old / part / method, read / part / method)
        jobs += [_translated(writing(method, own)), _translated(reading(method, read)), resuming(method, read)]
    return trees.run_jobs(trees.current_tree(folder / "tree"), folder, jobs)


def _translated(job: Job) -> Job:
    method = job.name.partition(",")[0]
    return job._replace(commands=[renamed.translate_command(words, method) for words in job.commands])


def compare(folder: Path, old: Path, methods: list[str]) -> dict[str, list[str]]:
    """Run the current code and return the differences of each method.

    Args:
        folder: an empty one, for the current code.
        old: the folder of `make_old`.
        methods: the methods' names.
    """
    failed = run_current(folder, old, methods)
    result = {}
    for method in methods:
        lines = [f"{name}: {reason}" for name, reason in failed.items() if name.partition(",")[0] == method]
        if method not in failed:
            new = found_by_writing(folder / "own", method, frozen=False)
            lines += findings.differences(found_by_writing(old, method, frozen=True), new)
        if not any(name.startswith(f"{method}, ") for name in failed):
            new = found_by_reading(folder / "read", method, frozen=False)
            expected = found_by_reading(old, method, frozen=True)
            lines += [f"old run: {line}" for line in findings.differences(expected, new)]
        result[method] = lines
    return result


def main() -> int:
    """Compare the methods that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "methods", nargs="*", metavar="method", help=f"of {', '.join(cases.CASES)}; all that are left if none is named"
    )
    parser.add_argument("--old", type=Path, help="folder that keeps what the old code made")
    parser.add_argument("--keep", type=Path, help="folder for what the current code makes; must not exist")
    arguments = parser.parse_args()
    methods = arguments.methods or [method for method in cases.CASES if method in options("model")]
    if unknown := sorted(set(methods) - set(cases.CASES)):
        parser.error(f"unknown method {', '.join(unknown)}; there are: {', '.join(cases.CASES)}")
    with tempfile.TemporaryDirectory() as temporary:
        old = make_old((arguments.old or Path(temporary) / "old").absolute(), methods)
        folder = (arguments.keep or Path(temporary) / "new").absolute()
        folder.mkdir(parents=True)
        result = compare(folder, old, methods)
    for method, lines in result.items():
        told = "equal" if not lines else f"{len(lines)} differences"
        sys.stdout.write("\n    ".join([f"{method:<20} {told}", *lines[:SHOWN]]) + "\n")
    return int(any(result.values()))


if __name__ == "__main__":
    raise SystemExit(main())
