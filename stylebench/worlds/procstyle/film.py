"""A film-like response: from exposure, which has no bounds, to what a display can show.

Colors that are mixed, lit and extrapolated leave the range of a display. Cutting them off would make stronger and
strongest look alike; this curve bends toward black and white instead, so that order is kept.
"""

from torch import Tensor


def respond(exposure: Tensor) -> Tensor:
    """Map exposures to display values: slope 1 in the middle, ever flatter toward 0 and 1.

    Args:
        exposure: any shape, any real values; 0.5 is middle gray.

    Returns:
        The same shape, in (0, 1): 1/2 + u / (2 (1 + u^4)^(1/4)) with u = 2 exposure - 1, by correctly rounded
        operations only.
    """
    part = exposure * 2 - 1
    square = part * part
    return part / (square * square + 1).sqrt().sqrt() * 0.5 + 0.5


def expose(display: float) -> float:
    """Return the exposure that `respond` shows as a display value.

    Args:
        display: in (0, 1).

    Returns:
        The exposure; below 0 near black and above 1 near white.

    Raises:
        ValueError: if the value can't be shown.
    """
    if not 0 < display < 1:
        raise ValueError(f"expose expects a display value between 0 and 1, got {display}; choose one within")
    part = 2 * display - 1
    return float(part / (1 - part**4) ** 0.25) / 2 + 0.5
