"""Processes that start at once: forked from one that has imported, composed and drawn what a tiny training needs."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_only

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.helpers.preloaded"])
SECONDS = 240


def forked(
    function: Callable[..., None], *arguments: Any, output: Path | None = None, **environment: str
) -> BaseProcess:
    """Start a function of a module of tests in a process of its own, with one thread.

    Args:
        function: what runs there.
        arguments: its arguments.
        output: file that takes what the process prints; None prints where the tests do.
        environment: variables that it finds beside those of this process.
    """
    process = _FORKS.Process(target=_run, args=(function, arguments, output, {**os.environ, **environment}))
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """Wait for a process, and stop one that takes too long; return its exit code, negative for a signal's."""
    process.join(SECONDS)
    process.kill()
    process.join()
    return process.exitcode


def command(arguments: Sequence[str]) -> None:
    """Be the command line."""
    from stylebench.cli.main import main

    sys.argv = ["stylebench", *arguments]
    main()


def both_ended(processes: Sequence[BaseProcess]) -> list[int | None]:
    """Wait for processes that run together, and return their exit codes."""
    return [ended(process) for process in processes]


def run_in_two(function: Callable[..., None], *arguments: Any, check: bool = True, **environment: str) -> None:
    """Run a function in two processes; see `run_in_several`."""
    run_in_several(2, function, *arguments, check=check, **environment)


def run_in_several(
    count: int, function: Callable[..., None], *arguments: Any, check: bool = True, **environment: str
) -> None:
    """Run a function in processes that find each other as those of torchrun do.

    Raises:
        AssertionError: if one fails, and that is to be checked.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    together = {
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "GROUP_RANK": "0", "GROUP_WORLD_SIZE": "1",
        "ROLE_RANK": "0", "ROLE_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": "none",
    }  # fmt: skip
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    processes = [forked(function, *arguments, **together, **environment, **rank) for rank in ranks]
    codes = both_ended(processes)
    assert codes == [0] * count or not check, f"the processes ended with {codes}"


def _run(function: Callable[..., None], arguments: Sequence[Any], output: Path | None, environment: Any) -> None:
    os.environ.clear()
    os.environ.update(environment)
    rank_zero_only.rank = int(environment.get("RANK", 0))  # Lightning reads it once, when it is imported
    torch.set_num_threads(1)
    if output is not None:
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    function(*arguments)
