"""What an optimization is given: content and styles at every size of its ladder, and the picture to start with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylebench.checks import check_optional_whole
from stylebench.functional.geometry import resized

INITS = ("content", "style", "noise")


@dataclass(frozen=True)
class Pictures:
    """What an optimization is given.

    Attributes:
        content: (1, 3, H, W) in [0, 1], None for a texture, which has none.
        styles: (1, 3, h, w) each, in [0, 1].
        shares: the weight of every style, with sum 1.
        size: (H, W) of the result.
    """

    content: Tensor | None
    styles: Sequence[Tensor]
    shares: Sequence[float]
    size: Sequence[int]

    def at(self, size: Sequence[int]) -> "Pictures":
        """Return the pictures for a result of another size; styles shrink by as much as its longer side."""
        factor = max(size) / max(self.size)
        scaled = [[max(1, round(side * factor)) for side in style.shape[-2:]] for style in self.styles]
        return Pictures(
            None if self.content is None else resized(self.content, size),
            [resized(style, own) for style, own in zip(self.styles, scaled, strict=True)],
            self.shares,
            size,
        )

    def start(self, init: str, seed: int) -> Tensor:
        """Return the picture to start with; (1, 3, H, W)."""
        if init == "content" and self.content is not None:
            return self.content
        return resized(self.styles[0], self.size) if init == "style" else noise(self.size, self.styles[0], seed)

    def references(self) -> dict[str, Tensor]:
        """Return the picture at which each term's gradient is its unit; see `Objective.calibrated`."""
        away = noise(self.size, self.styles[0], 0) if self.content is None else self.content
        return {"style": away, "content": resized(self.styles[0], self.size)}


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

    Source: crowsonkb/style-transfer-pytorch, style_transfer.py.

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


def noise(size: Sequence[int], like: Tensor, seed: int) -> Tensor:
    """Draw a picture of white noise, U(0, 1), on the CPU, so that all devices have the same; (1, 3, *size)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, *size, generator=generator).to(like.device, like.dtype)
