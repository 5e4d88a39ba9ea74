"""Feature vectors from feature maps: what is left of a map when places are forgotten."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def mean_and_spread(maps: Mapping[str, Tensor], taps: Sequence[str]) -> Tensor:
    """Compute the mean and the standard deviation over positions of each channel, map by map.

    Args:
        maps: (B, C, h, w) float32 by tap.
        taps: the maps to take, in the order of the result.

    Returns:
        (B, 2 * sum of C) float32: means, then standard deviations (divided by h * w), of one tap after the other's; the
        gradient of a constant channel's deviation is 0.

    Source: Huang & Belongie 2017, eqs. 5 and 6, without their epsilon.
    """
    pooled: list[Tensor] = []
    for tap in taps:
        spread, mean = torch.std_mean(maps[tap].flatten(2), dim=2, correction=0)  # (B, C) each, in one stable pass
        pooled += [mean, spread]
    return torch.cat(pooled, 1)


def log_mean_and_spread(maps: Mapping[str, Tensor], taps: Sequence[str]) -> Tensor:
    """Compute log(1 + x) of what `mean_and_spread` gives, for rectified maps: negative means count as 0.

    Activations have heavy tails; without the logarithm a few rare channels would be most of every distance.
    """
    return mean_and_spread(maps, taps).clamp(min=0).log1p()
