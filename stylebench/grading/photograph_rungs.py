"""Rungs of ladders in FilterStyle, where the photograph can be changed before it is filtered."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.data.world import SOURCE
from stylebench.functional.color_match import match_color_statistics
from stylebench.functional.pixels import quantize
from stylebench.grading.rungs import Stage, directions, generator_of
from stylebench.worlds.filterstyle import apply_style, parse_style

_KNOTS = 5  # of the random displacement, along a side
_CELLS = 4  # a foreign patch is a cell of a grid of so many a side


class PhotographStage(Stage):
    """Renders ladders in FilterStyle: photographs have no objects, so that places of all that is seen change."""

    missing: ClassVar[dict[str, str]] = {
        "L8": "the texture of a filter cannot be set apart from the rest of it",
        "L13": "the texture of a filter cannot be taken out of a region",
    }

    def jittered(self, ids: Sequence[str], style: str, amount: float, draw: int) -> Tensor:
        """See `Stage`; photographs are bent smoothly."""
        knots = torch.stack(
            [torch.from_numpy(generator_of("jitter", id_).standard_normal((2, _KNOTS, _KNOTS))) for id_ in ids]
        ).float()
        side = self.world.size_px
        field = F.interpolate(knots, (side, side), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
        return self._filtered(self._sampled(ids, 2 * amount * field), style, ids, draw)  # a side is 2 long there

    def exchanged(self, ids: Sequence[str], style: str, amount: float, draw: int) -> Tensor:
        """See `Stage`; cells of the neighbor's photograph are added."""
        pictures = self.world.render(ids, SOURCE).clone()
        others = pictures.roll(-1, 0)
        step = self.world.size_px // _CELLS
        for row, id_ in enumerate(ids):
            for cell in generator_of("cells", id_).permutation(_CELLS**2)[: int(amount)]:
                top, left = int(cell) // _CELLS * step, int(cell) % _CELLS * step
                place = (row, slice(None), slice(top, top + step), slice(left, left + step))
                pictures[place] = others[place]
        return self._filtered(pictures, style, ids, draw)

    def shifted(self, ids: Sequence[str], style: str, amount: float, draw: int) -> Tensor:
        """See `Stage`; the photograph is shifted behind its frame, its border continued."""
        step = directions(ids)[:, None, None] * (2 * amount * self.unit_px / self.world.size_px)
        return self._filtered(self._sampled(ids, step.expand(-1, self.world.size_px, self.world.size_px, -1)), style,
                              ids, draw)  # fmt: skip

    def recolored(self, ids: Sequence[str], style: str, other: str, amount: float, draw: int) -> Tensor:
        """See `Stage`; a filter's colors follow the photograph, so channel statistics are mixed instead."""
        exact = self.world.render(ids, style, draw=draw) / 255
        foreign = match_color_statistics(exact, self.world.render([*ids[1:], *ids[:1]], other) / 255)
        return quantize((1 - amount) * exact + amount * foreign)

    def _sampled(self, ids: Sequence[str], offset: Tensor) -> Tensor:
        """Return photographs seen at places that are (B, S, S, 2) off."""
        pictures = self.world.render(ids, SOURCE)
        if not offset.any():
            return pictures
        identity = torch.eye(2, 3).expand(len(ids), -1, -1)
        grid = F.affine_grid(identity, list(pictures.shape), align_corners=False) - offset
        return quantize(F.grid_sample(pictures / 255, grid, padding_mode="border", align_corners=False).clamp(0, 1))

    def _filtered(self, pictures: Tensor, style: str, ids: Sequence[str], draw: int) -> Tensor:
        made, strength = parse_style(style)
        return apply_style(pictures, made, self.world.nuisance(ids, [style] * len(ids), "truth", draw), strength)
