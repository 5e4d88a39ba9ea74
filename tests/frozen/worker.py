"""Run `stylebench` command lines one after the other in this process; `trees.run_commands` starts it.

It knows nothing of the package but its command line, since it runs the frozen commit and the current code alike.
"""

import contextlib
import json
import os
import resource
import runpy
import shutil
import sys
import time
import traceback
from pathlib import Path


def run(words: list[str]) -> None:
    """Run one command as `python -m stylebench` would; a failure is raised."""
    sys.argv = ["stylebench", *words]
    start = time.process_time()
    try:
        runpy.run_module("stylebench", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"stylebench {' '.join(words)} ended with code {end.code}") from end
    sys.stderr.write(f"{time.process_time() - start:.1f} processor seconds: {' '.join(words)}\n")


def check_origin(tree: Path) -> None:
    """Check that every module of the package came from the tree, not from an installed copy.

    Raises:
        RuntimeError: naming a module that did not.
    """
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] == "stylebench" and file and not Path(file).resolve().is_relative_to(tree.resolve()):
            raise RuntimeError(f"{name} should come from {tree}, found {file}")


class Turns:
    """Two processes that step in turn, so that whatever slows the machine down slows both.

    Args:
        own: pipe that this process reads its turn from.
        other: pipe that hands the turn to the other process.
        waits: whether the other one has the first turn.
    """

    def __init__(self, own: int, other: int, waits: bool) -> None:
        self.own, self.other, self.waits = own, other, waits

    def hand_over(self) -> None:
        """Let the other process make a step, and wait until it has, or has ended."""
        if not self.waits:
            with contextlib.suppress(BrokenPipeError):  # it has ended
                os.write(self.other, b".")
        self.waits = False
        os.read(self.own, 1)


def note_steps(turns: Turns | None = None) -> dict[int, list[float]]:
    """Return a dictionary that gets, for each optimizer, the processor time of this process after each of its steps.

    Args:
        turns: taken after each step of the first optimizer.
    """
    from torch.optim import optimizer

    moments: dict[int, list[float]] = {}

    def note(stepped: optimizer.Optimizer, *arguments: object) -> None:
        moments.setdefault(id(stepped), []).append(time.process_time())
        if turns is not None and id(stepped) == next(iter(moments)):
            turns.hand_over()

    optimizer.register_optimizer_step_post_hook(note)
    return moments


def peak_bytes() -> int:
    """Return the most memory that this process had in use."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Run every job's commands in its folder; write what failed, by the jobs' names, and what was noted, as JSON."""
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    moments = note_steps(Turns(**work["turns"]) if work["turns"] else None) if work["noted"] else {}
    failed: dict[str, str] = {}
    for job in work["jobs"]:
        os.chdir(job["folder"])
        try:
            if job["copy"]:
                shutil.copytree(*job["copy"])
            for file in job["remove"]:
                Path(file).unlink()
            for words in job["commands"]:
                run(words)
        except Exception as error:  # whatever it is: the other jobs go on, and the failure is reported
            traceback.print_exc()
            failed[job["name"]] = f"{type(error).__name__}: {error}"
    check_origin(Path(work["tree"]))
    Path(work["failed"]).write_text(json.dumps(failed), encoding="utf-8")
    if work["noted"]:
        noted = {"moments": list(moments.values()), "peak_bytes": peak_bytes()}
        Path(work["noted"]).write_text(json.dumps(noted), encoding="utf-8")


if __name__ == "__main__":
    main()
