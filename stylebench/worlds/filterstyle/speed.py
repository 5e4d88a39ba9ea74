"""How fast photographs are filtered."""

from functools import lru_cache, partial

from torch import Tensor

from stylebench.functional.dead_leaves import dead_leaves
from stylebench.worlds.filterstyle.rendering import apply_style
from stylebench.worlds.filterstyle.styles import NAMED_STYLES
from stylebench.worlds.speed import rate_over_cores

_PICTURES = 8


def benchmark(size_px: int, seconds: float) -> float:
    """Measure the filters' speed on dead-leaves pictures, each filter equally often, with its default style.

    Args:
        size_px: height and width of the pictures, >= 16.
        seconds: how long to measure, > 0; starting the processes comes on top.

    Returns:
        Pictures a second, over all cores that this process may use; one process with one thread a core.

    Raises:
        ValueError: if the time is not positive.
    """
    return rate_over_cores(partial(_filter, size_px=size_px), seconds)


def _filter(worker: int, batch: int, size_px: int) -> int:
    """Draw each picture in another filter's style, other ones in the next batch."""
    pictures = _pictures(worker, size_px)
    styles = list(NAMED_STYLES.values())
    turned = [styles[(batch + place) % len(styles)] for place in range(len(pictures))]
    apply_style(pictures, turned, range(batch, batch + len(pictures)))
    return len(pictures)


@lru_cache(maxsize=1)
def _pictures(worker: int, size_px: int) -> Tensor:
    return dead_leaves(_PICTURES, size_px, worker)
