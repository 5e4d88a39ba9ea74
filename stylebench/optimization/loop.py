"""Optimize the pixels of a picture: the loop, its counting, its bounds, and the ladder of sizes.

Sources: Gatys et al. 2016, section 2.3 (L-BFGS on pixels); the ladder of sizes, factor sqrt(2), with the moments of
Adam carried over, crowsonkb/style-transfer-pytorch style_transfer.py. An iteration is an evaluation of the objective
with its gradient, whatever the optimizer makes of it.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stylebench.checks import check_choice, check_optional_whole
from stylebench.optimization.matching import Evaluation

BOUNDS = ("auto", "none", "clamp", "sigmoid")
INITS = ("content", "style", "noise")
Minimizer = Callable[..., torch.optim.Optimizer]
Objective = Callable[[Tensor, int], Evaluation]

_EDGE = 1e-3  # how near to the ends of its interval a sigmoid may start
_MARGIN = 0.03  # by which that interval is wider than the pixels': at its very ends nothing would move any more
_HISTORY_PIXELS = 512**2  # up to which L-BFGS keeps all of its history
_LEAST_HISTORY = 5
_LINE_SEARCH = 26  # evaluations of a line search of torch's L-BFGS at most, with the point that it starts from


class Progress(NamedTuple):
    """Where an optimization stands.

    Attributes:
        evaluation: number of this evaluation, from 1.
        evaluations: how many there will be.
        image: (1, 3, H, W), the picture that was evaluated, within what the bounds allow; keep only a copy.
        total: scalar, the objective there.
        terms: its terms, unweighted.
    """

    evaluation: int
    evaluations: int
    image: Tensor
    total: Tensor
    terms: dict[str, Any]


Watch = Callable[[Progress], None]


@dataclass(frozen=True)
class Settings:
    """How pixels are optimized.

    Attributes:
        minimizer: builds the optimizer from a list of one tensor.
        bounds: `none` (pixels are free and clamped at the end), `clamp` (brought back before every evaluation; a line
            search stalls where many pixels are held), `sigmoid` (pixels are a sigmoid of what is optimized, up to 0.03
            beyond the interval, and clamped at the end), or `auto`: `sigmoid` for L-BFGS, `clamp` for others.
        low: smallest value of a pixel.
        high: largest value of a pixel.
    """

    minimizer: Minimizer
    bounds: str
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_choice("bounds", self.bounds, BOUNDS)

    @property
    def chosen(self) -> str:
        """The bounds that apply."""
        if self.bounds != "auto":
            return self.bounds
        return "sigmoid" if searches_lines(self.minimizer) else "clamp"


class PixelOptimizer:
    """Minimize an objective over the pixels of one picture; can be carried over to a larger one.

    Args:
        settings: how.
        image: (1, 3, H, W), where to start.
    """

    def __init__(self, settings: Settings, image: Tensor) -> None:
        self.settings = settings
        self.variable = self._variable(image)
        self.optimizer = _built(settings.minimizer, self.variable)

    @property
    def image(self) -> Tensor:
        """The picture as it is now, within its bounds; (1, 3, H, W)."""
        return self._pixels().clamp(self.settings.low, self.settings.high)

    def run(
        self, objective: Objective, evaluations: int, watch: Watch | None = None, done: int = 0, of: int = 0
    ) -> None:
        """Evaluate an objective a number of times and follow its gradient.

        Args:
            objective: takes a picture and the number of the evaluation.
            evaluations: how many.
            watch: sees every evaluation.
            done: evaluations before these, for `watch`.
            of: evaluations in all, for `watch`; 0 for these alone.
        """
        count, best = 0, _Best()
        searches = isinstance(self.optimizer, torch.optim.LBFGS)

        def closure() -> Tensor:
            nonlocal count
            if count == evaluations:
                raise _SpentError
            count += 1
            if self.settings.chosen == "clamp":
                self.variable.data.clamp_(self.settings.low, self.settings.high)
            pixels = self._pixels()
            found = objective(pixels, done + count)
            # L-BFGS flattens the gradient by a view, which needs it contiguous.
            self.variable.grad = self._through(found.gradient).contiguous()
            if searches and count > evaluations - _LINE_SEARCH:
                best.offer(found.total, self.variable)
            if watch is not None:
                watch(Progress(done + count, of or evaluations, pixels, found.total, found.terms))
            return found.total

        try:
            while count < evaluations:
                self.optimizer.step(closure)  # type: ignore[arg-type]
        except _SpentError:  # in the middle of a line search, at a point that it might not have kept
            best.give(self.variable)

    def enlarged(self, size: Sequence[int]) -> "PixelOptimizer":
        """Return the optimization of a picture of another size, with the moments of Adam resized like the picture.

        The history of L-BFGS means nothing at another size and is let go.
        """
        bigger = copy.copy(self)
        bigger.variable = _resized(self.variable.detach(), size).requires_grad_()
        bigger.optimizer = _built(self.settings.minimizer, bigger.variable)
        state = self.optimizer.state.get(self.variable, {})
        if "exp_avg" in state and "exp_avg_sq" in state:
            bigger.optimizer.state[bigger.variable] = {
                **state,
                "exp_avg": _resized(state["exp_avg"], size),
                "exp_avg_sq": _resized(state["exp_avg_sq"], size).clamp_(min=0),
            }
        return bigger

    def _variable(self, image: Tensor) -> Tensor:
        if self.settings.chosen != "sigmoid":
            return image.detach().clone().contiguous().requires_grad_()
        low, width = self._interval()
        share = ((image.detach() - low) / width).clamp(_EDGE, 1 - _EDGE)
        return share.logit().contiguous().requires_grad_()

    def _interval(self) -> tuple[float, float]:
        """Return the start and the width of what a sigmoid can reach."""
        width = self.settings.high - self.settings.low
        return self.settings.low - _MARGIN * width, (1 + 2 * _MARGIN) * width

    def _pixels(self) -> Tensor:
        values = self.variable.detach()
        if self.settings.chosen != "sigmoid":
            return values
        low, width = self._interval()
        return low + width * values.sigmoid()

    def _through(self, gradient: Tensor) -> Tensor:
        """Return the gradient by the variable from that by the pixels."""
        if self.settings.chosen != "sigmoid":
            return gradient
        share = self.variable.detach().sigmoid()
        return gradient * self._interval()[1] * share * (1 - share)


def ladder(height: int, width: int, smallest_px: int | None) -> list[tuple[int, int]]:
    """Return the sizes of a ladder: factors of sqrt(2) from about a longer side of `smallest_px` up to the picture's.

    Args:
        height: of the picture.
        width: of the picture.
        smallest_px: longer side to begin with; None for the picture's size alone.

    Returns:
        (height, width) from small to large; the last is the picture's.

    Raises:
        ValueError: if the side is not a positive number.

    Example:
        >>> ladder(512, 256, 256)
        [(256, 128), (362, 181), (512, 256)]
    """
    check_optional_whole("smallest_px", smallest_px)
    if smallest_px is None:
        return [(height, width)]
    steps = max(0, round(2 * math.log2(max(height, width) / smallest_px)))
    return [
        (max(1, round(height / 2 ** (step / 2))), max(1, round(width / 2 ** (step / 2))))
        for step in range(steps, -1, -1)
    ]


def searches_lines(minimizer: Minimizer) -> bool:
    """Tell whether an optimizer compares values of different evaluations: L-BFGS does."""
    return isinstance(minimizer, partial) and minimizer.func is torch.optim.LBFGS


class _SpentError(Exception):
    """The evaluations are used up."""


class _Best:
    """The best of the last points, in one vector."""

    def __init__(self) -> None:
        self.total, self.point = math.inf, torch.empty(0)

    def offer(self, total: Tensor, point: Tensor) -> None:
        if float(total) < self.total:
            self.total, self.point = float(total), point.detach().clone()

    def give(self, variable: Tensor) -> None:
        if self.point.numel():
            variable.data.copy_(self.point)


def _built(minimizer: Minimizer, variable: Tensor) -> torch.optim.Optimizer:
    """Build the optimizer; L-BFGS keeps less history of large pictures, as each step in it costs two of their size."""
    if searches_lines(minimizer):
        assert isinstance(minimizer, partial)
        pixels = variable.shape[-2] * variable.shape[-1]
        wanted = minimizer.keywords.get("history_size", 100)
        fits = max(_LEAST_HISTORY, wanted * _HISTORY_PIXELS // pixels)
        optimizer: torch.optim.Optimizer = minimizer([variable], history_size=min(wanted, fits))
        return optimizer
    return minimizer([variable])


def _resized(values: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(values, list(size), mode="bicubic", align_corners=False).contiguous()
