"""Measure how much all cores of this machine get done, as the workers of a data loader would."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch

from stylebench.machine import core_count

Work = Callable[[int, int], int]


def rate_over_cores(work: Work, seconds: float) -> float:
    """Let one process a core, with one thread each, do the same kind of work for a while.

    Args:
        work: does piece number b of worker w, `work(w, b)`, and returns how many things that were; a function of a
            module, or a `partial` of one, since it is sent to new processes.
        seconds: how long to measure, > 0; starting the processes and a first piece of work come on top.

    Returns:
        Things a second, over all cores that this process may use.

    Raises:
        ValueError: if the time is not positive.
    """
    if seconds <= 0:
        raise ValueError(f"a benchmark expects seconds > 0, got {seconds}; give it some time")
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(core_count())]
    processes = [
        context.Process(target=_run, args=(theirs, work, number, seconds), daemon=True)
        for number, (_, theirs) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    ours = [pipe for pipe, _ in pipes]
    for pipe in ours:
        pipe.recv()  # ready: imports and a first piece of work done
    for pipe in ours:
        pipe.send(None)
    rates = [float(pipe.recv()) for pipe in ours]
    for process in processes:
        process.join()
    return sum(rates)


def _run(pipe: Connection, work: Work, number: int, seconds: float) -> None:
    """Work in one process when told to, and send back its rate."""
    torch.set_num_threads(1)
    work(number, 0)
    pipe.send(None)
    pipe.recv()
    start, pieces, done = time.perf_counter(), 0, 0
    while time.perf_counter() - start < seconds:
        pieces += 1
        done += work(number, pieces)
    pipe.send(done / (time.perf_counter() - start))
