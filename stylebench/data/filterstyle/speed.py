"""How fast photographs are filtered."""

import multiprocessing
import os
import time
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from stylebench.data.filterstyle.rendering import apply_style
from stylebench.data.filterstyle.styles import NAMED_STYLES
from stylebench.functional.dead_leaves import dead_leaves

_PICTURES = 8


def benchmark(size_px: int, seconds: float) -> float:
    """Measure the filters' speed on dead-leaves pictures, each filter equally often, with its default style.

    One process with one thread for each core, as the workers of a data loader are.

    Args:
        size_px: height and width of the pictures, >= 16.
        seconds: how long to measure, > 0; starting the processes comes on top.

    Returns:
        Pictures a second, over all cores that this process may use.

    Raises:
        ValueError: if the time is not positive.
    """
    if seconds <= 0:
        raise ValueError(f"benchmark expects seconds > 0, got {seconds}; give it some time")
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(workers)]
    processes = [
        context.Process(target=_work, args=(theirs, number, size_px, seconds), daemon=True)
        for number, (_, theirs) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    ours = [pipe for pipe, _ in pipes]
    for pipe in ours:
        pipe.recv()  # ready: imports and first pictures done
    for pipe in ours:
        pipe.send(None)
    rates = [float(pipe.recv()) for pipe in ours]
    for process in processes:
        process.join()
    return sum(rates)


def _work(pipe: Connection, number: int, size_px: int, seconds: float) -> None:
    """Filter in one process when told to, and send back its rate."""
    torch.set_num_threads(1)
    pictures = dead_leaves(_PICTURES, size_px, number)
    _filter(pictures, 0)
    pipe.send(None)
    pipe.recv()
    start, batches = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        batches += 1
        _filter(pictures, batches)
    pipe.send(batches * len(pictures) / (time.perf_counter() - start))


def _filter(pictures: Tensor, batch: int) -> None:
    """Draw each picture in another filter's style, other ones in the next batch."""
    styles = list(NAMED_STYLES.values())
    turned = [styles[(batch + place) % len(styles)] for place in range(len(pictures))]
    apply_style(pictures, turned, range(batch, batch + len(pictures)))
