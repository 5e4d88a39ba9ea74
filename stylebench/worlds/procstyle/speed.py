"""How fast scenes are drawn and rendered."""

from functools import partial

from stylebench.worlds.procstyle.drawing import draw_scenes
from stylebench.worlds.procstyle.named import NAMED_STYLES, PHOTO
from stylebench.worlds.procstyle.prior import prior_style
from stylebench.worlds.procstyle.render import render
from stylebench.worlds.speed import rate_over_cores

_BATCH = 32
_PRIOR = 9  # styles of the prior beside photo and the eight named ones


def benchmark(size_px: int, seconds: float) -> float:
    """Measure rendering speed: new scenes, drawn and rendered, a batch in each of photo, the named and prior styles.

    Args:
        size_px: height and width of the images, >= 16.
        seconds: how long to measure, > 0; starting the processes comes on top.

    Returns:
        Images a second, over all cores that this process may use; one process with one thread a core.

    Raises:
        ValueError: if the time is not positive.
    """
    return rate_over_cores(partial(_render, size_px=size_px), seconds)


def _render(worker: int, batch: int, size_px: int) -> int:
    """Draw a batch of new scenes and render it in one style."""
    first = batch * _BATCH
    keys = [f"speed-{worker}-{first + i}" for i in range(_BATCH)]
    prior = [prior_style(worker * 1000 + batch + i, "prior") for i in range(_PRIOR)]
    styles = [PHOTO, *NAMED_STYLES.values(), *prior]
    render(draw_scenes(keys), styles[batch % len(styles)], range(first, first + _BATCH), size_px)
    return _BATCH
