"""Variety within a style: how far looks of one content lie apart, component by component."""

import torch
from torch import Tensor

from stylebench.worlds.strength.components import LEAST_COLOR, LEAST_STROKE, LEAST_TEXTURE
from stylebench.worlds.strength.measurement import Ground, Measurement, measure

# Components in which members of a family differ, and the deviation below which a domain counts as having one look.
LEAST = {"palette": LEAST_COLOR, "texture": LEAST_TEXTURE**2, "stroke": LEAST_STROKE}


def deviations(looks: Tensor, ground: Ground) -> dict[str, Tensor]:
    """Return how far looks of each content lie apart: the root mean square deviation of its read-outs.

    Args:
        looks: (B, K, 3, S, S) in [0, 1], K >= 2 looks of each of B contents.
        ground: of these contents.

    Returns:
        (B,) by component: of the colors of regions, in display values; of the texture's autocorrelation, which has the
        unit of a squared amplitude; of the colors along outlines. Of unbiased variances.
    """
    measured = [measure(looks[:, k], ground) for k in range(looks.shape[1])]
    seen = 3 * (measured[0].sizes > 0).sum(-1).clamp(min=1)  # (B,) numbers that a palette has here

    def variance(name: str) -> Tensor:
        read = torch.stack([_read_out(one, name) for one in measured])  # (K, B, D)
        total = read.var(0).sum(-1)
        return total / (seen if name == "palette" else read.shape[-1])

    return {name: variance(name).sqrt() for name in LEAST}


def relative_variety(looks: Tensor, truth: Tensor, ground: Ground) -> dict[str, Tensor]:
    """Return how far looks lie apart in parts of what looks of the domain do.

    Args:
        looks: (B, K, 3, S, S) uint8, K >= 2 looks of each of B contents.
        truth: (B, T, 3, S, S) uint8, T >= 2 right answers for each content.
        ground: of these contents.

    Returns:
        (B,) ratios of deviations by component: 1 as in the domain, 0 where all looks are one; NaN where the right
        answers show no difference that can be seen.
    """
    own, domain = deviations(looks / 255, ground), deviations(truth / 255, ground)
    return {name: own[name] / domain[name].where(domain[name] >= least, torch.nan) for name, least in LEAST.items()}


def _read_out(measurement: Measurement, component: str) -> Tensor:
    """Return what a component is read from, (B, D)."""
    parts = {"palette": measurement.colors, "texture": measurement.correlation, "stroke": measurement.profile}
    return parts[component].flatten(1)
