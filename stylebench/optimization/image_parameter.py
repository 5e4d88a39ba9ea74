"""A picture as the variable of an optimizer: its bounds, what L-BFGS keeps, and what a larger picture takes over.

Sources: Gatys et al. 2016, section 2.3 (L-BFGS on pixels); the moments of Adam that are carried over to a larger
picture, crowsonkb/style-transfer-pytorch style_transfer.py.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from stylebench.checks import check_choice

BOUNDS = ("auto", "none", "clamp", "sigmoid")
Minimizer = Callable[..., torch.optim.Optimizer]

_EDGE = 1e-3  # how near to the ends of its interval a sigmoid may start
_MARGIN = 0.03  # by which that interval is wider than the pixels': at its very ends nothing would move any more
_HISTORY_PIXELS = 512**2  # up to which L-BFGS keeps all of its history
_LEAST_HISTORY = 5
LONGEST_SEARCH = 26  # evaluations of a line search of torch's L-BFGS at most, with the point that it starts from


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


class ImageParameter:
    """The pixels of one picture as the variable of an optimizer; can be carried over to a larger picture.

    Args:
        settings: how.
        image: (1, 3, H, W), where to start.

    Attributes:
        variable: (1, 3, H, W), what is optimized: the pixels, or what they are a sigmoid of.
        optimizer: of the variable alone.
        searches: whether the optimizer searches lines, and may be stopped in the middle of a search.
    """

    def __init__(self, settings: Settings, image: Tensor) -> None:
        self.settings = settings
        self.variable = self._variable(image)
        self.optimizer = _built(settings.minimizer, self.variable)
        self.searches = isinstance(self.optimizer, torch.optim.LBFGS)

    @property
    def image(self) -> Tensor:
        """The picture as it is now, within its bounds; (1, 3, H, W)."""
        return self._pixels().clamp(self.settings.low, self.settings.high)

    def bounded_pixels(self) -> Tensor:
        """Bring the variable back where `clamp` holds it, and return the pixels to evaluate; (1, 3, H, W)."""
        if self.settings.chosen == "clamp":
            self.variable.data.clamp_(self.settings.low, self.settings.high)
        return self._pixels()

    def take_gradient(self, gradient: Tensor) -> None:
        """Give the optimizer's variable its gradient, from that of the pixels; (1, 3, H, W)."""
        # L-BFGS flattens the gradient by a view, which needs it contiguous.
        self.variable.grad = self._through(gradient).contiguous()

    def enlarged(self, size: Sequence[int]) -> "ImageParameter":
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


def searches_lines(minimizer: Minimizer) -> bool:
    """Tell whether an optimizer compares values of different evaluations: L-BFGS does."""
    return isinstance(minimizer, partial) and minimizer.func is torch.optim.LBFGS


class BestPoint:
    """The best of the last points: where a line search ends in the middle, it might not have kept it."""

    def __init__(self) -> None:
        self.total, self.point = math.inf, torch.empty(0)

    def offer(self, total: Tensor, point: Tensor) -> None:
        """Keep a point if its total is the least so far."""
        if float(total) < self.total:
            self.total, self.point = float(total), point.detach().clone()

    def give(self, variable: Tensor) -> None:
        """Write the kept point into a variable; without one it stays."""
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
