"""How fast scenes are drawn and rendered."""

import multiprocessing
import os
import time
from multiprocessing.connection import Connection

import torch

from stylebench.data.procstyle.drawing import draw_scenes
from stylebench.data.procstyle.named import NAMED_STYLES, PHOTO
from stylebench.data.procstyle.prior import prior_style
from stylebench.data.procstyle.render import render

_BATCH = 32


def benchmark(size_px: int, seconds: float) -> float:
    """Measure how many images a second this machine renders.

    Scenes are new ones, drawn and rendered in batches of one style, as a domain asks for them: by turns `photo`, the
    named styles and styles of the prior. Each core has one process with one thread.

    Args:
        size_px: height and width of the images, >= 16.
        seconds: how long to measure, > 0; starting the processes comes on top.

    Returns:
        Images a second, over all cores that this process may use.

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
        pipe.recv()  # ready: imports and first batch done
    for pipe in ours:
        pipe.send(None)
    rates = [float(pipe.recv()) for pipe in ours]
    for process in processes:
        process.join()
    return sum(rates)


def _work(pipe: Connection, number: int, size_px: int, seconds: float) -> None:
    """Render in one process when told to, and send back its rate."""
    torch.set_num_threads(1)
    _render(number, 0, size_px)
    pipe.send(None)
    pipe.recv()
    start, batches = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        batches += 1
        _render(number, batches, size_px)
    pipe.send(batches * _BATCH / (time.perf_counter() - start))


def _render(worker: int, batch: int, size_px: int) -> None:
    """Draw a batch of new scenes and render it in one style."""
    first = batch * _BATCH
    keys = [f"speed-{worker}-{first + i}" for i in range(_BATCH)]
    styles = [PHOTO, *NAMED_STYLES.values(), *(prior_style(worker * 1000 + batch + i, "prior") for i in range(9))]
    render(draw_scenes(keys), styles[batch % len(styles)], range(first, first + _BATCH), size_px)
