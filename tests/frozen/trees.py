"""Source trees of the frozen commit and of the checkout, and processes that run either of them."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

COMMIT = "77a0089"
ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")


class Job(NamedTuple):
    """Commands that belong together: the first that fails ends them.

    Attributes:
        name: what its failure is reported under.
        folder: where they run.
        commands: the words of each after `stylebench`.
        copy: a folder that is copied first, and where to.
        remove: files that are deleted then.
    """

    name: str
    folder: Path
    commands: list[list[str]]
    copy: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


def frozen_tree(folder: Path) -> Path:
    """Lay the package of the frozen commit out in `folder`, as its wheel has it, and return the folder.

    Raises:
        RuntimeError: if the checkout's history lacks the commit.
    """
    sources = folder.with_name(f"{folder.name}-sources")
    try:
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", COMMIT], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"expected commit {COMMIT} in the git history of {ROOT}, found none; a shallow clone gets it by: "
            "git fetch --unshallow"
        ) from error
    with tarfile.open(fileobj=BytesIO(archive)) as file:
        file.extractall(sources, filter="data")
    _lay_out(sources, folder)
    shutil.rmtree(sources)
    return folder


def current_tree(folder: Path) -> Path:
    """Lay the package of the checkout out in `folder` as it is, uncommitted changes included; return the folder."""
    _lay_out(ROOT, folder)
    return folder


def _lay_out(sources: Path, folder: Path) -> None:
    """Copy each package to where its dotted name has it: pyproject.toml maps some to other folders."""
    settings = tomllib.loads((sources / "pyproject.toml").read_text(encoding="utf-8"))
    packages = settings["tool"]["setuptools"]["package-dir"]
    for name in sorted(packages):
        shutil.copytree(
            sources / packages[name], folder.joinpath(*name.split(".")), ignore=shutil.ignore_patterns("__pycache__")
        )


class Process:
    """A process of one thread that runs jobs one after the other with the package of a tree.

    Args:
        tree: the laid out package.
        folder: gets the process's cache and, as `log.txt`, what it prints.
        jobs: what to run.
        noted: a file that gets the processor time after every step of each optimizer, and the peak memory.
        turns: arguments of `worker.Turns`, its pipes open here; None for a process that waits for nobody.
    """

    def __init__(
        self,
        tree: Path,
        folder: Path,
        jobs: list[Job],
        noted: Path | None = None,
        turns: dict[str, int] | None = None,
    ) -> None:
        self.name, self.log, self.failed = tree.name, folder / "log.txt", folder / "failed.json"
        work = folder / "work.json"
        folder.mkdir(parents=True, exist_ok=True)
        plain = [{**job._asdict(), "folder": str(job.folder)} for job in jobs]
        facts = {"tree": str(tree), "jobs": plain, "failed": str(self.failed), "noted": noted and str(noted)}
        work.write_text(json.dumps({**facts, "turns": turns}), encoding="utf-8")
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(WORKER), str(work)], cwd=folder, env=_environment(tree, folder), stdout=out,
                stderr=out, pass_fds=[turns["own"], turns["other"]] if turns else [],
            )  # fmt: skip

    def ended(self) -> dict[str, str]:
        """Wait for it; return why jobs failed, by their names.

        Raises:
            RuntimeError: if the process itself failed; the message has the end of the log.
        """
        if code := self.process.wait():
            end = self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
            raise RuntimeError(f"the process of {self.name} ended with code {code}; the end of {self.log}:\n{end}")
        return dict(json.loads(self.failed.read_text(encoding="utf-8")))


def run_jobs(tree: Path, folder: Path, jobs: list[Job]) -> dict[str, str]:
    """Run jobs in a `Process`, wait for it, and return why jobs failed, by their names."""
    return Process(tree, folder, jobs).ended()


def _environment(tree: Path, folder: Path) -> dict[str, str]:
    """Return the environment of a process that runs a tree's package on one thread, with a cache of its own."""
    return {
        **os.environ,
        "PYTHONPATH": str(tree),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "STYLEBENCH_CACHE": str(folder / "cache"),
        "HYDRA_FULL_ERROR": "1",
    }
