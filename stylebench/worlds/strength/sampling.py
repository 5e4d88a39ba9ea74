"""Renders that a reader learns from: the source, the truth, and renders of known strength."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stylebench.data.world import SOURCE, TRUTH_DRAWS, World
from stylebench.worlds.strength.calibration import STRENGTHS
from stylebench.worlds.strength.measurement import Ground, Measurement, measure, stack

_SOURCE_DRAWS = 4
_RUNG_DRAWS = 2  # of each strength; its noise then halves in variance, and shows


class Renders(NamedTuple):
    """What renders of B contents show.

    Attributes:
        sources: (K, B, ...) measured on draws of the source.
        targets: (T, B, ...) measured on draws of the style.
        rungs: (K, L, B, ...) measured on draws of `STRENGTHS`, with nuisance of their own.
        templates: (B, 2, 3, S, S) mean pictures of source and style, in [0, 1].
    """

    sources: Measurement
    targets: Measurement
    rungs: Measurement
    templates: Tensor


def sample(world: World, style: str, ids: Sequence[str], ground: Ground) -> Renders:
    """Render contents and measure them.

    Args:
        world: what renders.
        style: the style.
        ids: B contents.
        ground: of these contents.

    Returns:
        Their renders.
    """
    sources, source = _truth(world, SOURCE, ids, ground, _SOURCE_DRAWS)
    targets, target = _truth(world, style, ids, ground, TRUTH_DRAWS)
    rungs = [
        stack([_rung(world, style, ids, ground, draw, strength) for strength in STRENGTHS])
        for draw in range(_RUNG_DRAWS)
    ]
    return Renders(sources, targets, stack(rungs), torch.stack([source, target], 1))


def _truth(world: World, style: str, ids: Sequence[str], ground: Ground, draws: int) -> tuple[Measurement, Tensor]:
    """Return (draws, B, ...) measurements of draws of the truth, and the mean picture (B, 3, S, S)."""
    measurements, total = [], torch.zeros(())
    for draw in range(draws):
        pictures = world.render(ids, style, draw=draw) / 255
        measurements.append(measure(pictures, ground))
        total = total + pictures
    return stack(measurements), total / draws


def _rung(world: World, style: str, ids: Sequence[str], ground: Ground, draw: int, strength: float) -> Measurement:
    """Measure renders of one strength; that of strength 0 is the source."""
    name, amount = (style, strength) if strength else (SOURCE, 1.0)
    return measure(world.render(ids, name, purpose="calibration", draw=draw, strength=amount) / 255, ground)
