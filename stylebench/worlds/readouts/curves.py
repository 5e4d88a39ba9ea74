"""Turning what is measured into a strength: curves over known strengths, and their inverse."""

import torch
from torch import Tensor

_LEAST_SLOPE = 0.5  # of the mean curve's around: no content's own curve is flatter


def repeated_share(samples: Tensor) -> Tensor:
    """Estimate which share of the contents' deviations from the mean curve repeats between draws.

    Args:
        samples: (K, L, B) values of K >= 2 draws at L strengths for B >= 2 contents.

    Returns:
        (L,) shares in [0, 1]: 0 where contents differ by noise alone.

    Source: Efron & Morris 1973, "Stein's estimation rule and its competitors" (the shrinkage factor).
    """
    noise = samples.var(0).mean(1) / len(samples)
    return (1 - noise / samples.mean(0).var(1).clamp(min=1e-12)).clamp(0, 1)


def content_curves(samples: Tensor, mean: Tensor, trust: Tensor) -> Tensor:
    """Estimate each content's own curve: the mean curve and as much of its own deviation as is to be trusted.

    Args:
        samples: (K, L, B) values of K draws at L strengths for B contents.
        mean: (L,) the mean curve.
        trust: (L,) of `repeated_share`.

    Returns:
        (L, B), not necessarily rising.
    """
    return mean[:, None] + trust[:, None] * (samples.mean(0) - mean[:, None])


def rising(curves: Tensor, mean: Tensor) -> Tensor:
    """Make curves rise, nowhere at less than half the slope that the mean curve has around, by moving them up and down.

    Args:
        curves: (L, B), L >= 2.
        mean: (L,) a curve that rises over any three neighboring steps.

    Returns:
        (L, B) strictly rising.
    """
    steps = torch.nn.functional.avg_pool1d(mean.diff()[None], 3, 1, 1, count_include_pad=False)[0]  # (L - 1,)
    floor = _LEAST_SLOPE * torch.cat([steps.new_zeros(1), steps.cumsum(0)])[:, None]
    excess = curves - floor
    above = excess.cummax(0).values
    below = excess.flip(0).cummin(0).values.flip(0)
    return (above + below) / 2 + floor


def invert_curves(values: Tensor, curves: Tensor, strengths: Tensor) -> Tensor:
    """Find the strength at which a rising curve takes a value: linear between nodes, and beyond the ends.

    Args:
        values: (B,).
        curves: (L, B) values at the nodes, L >= 2, strictly rising.
        strengths: (L,) the nodes, rising.

    Returns:
        (B,) strengths.
    """
    piece = (values >= curves[1:-1]).sum(0, keepdim=True)  # (1, B): which of the L - 1 pieces
    low, high = (curves.gather(0, piece + end)[0] for end in (0, 1))
    start, end = strengths[piece[0]], strengths[piece[0] + 1]
    return start + (values - low) / (high - low) * (end - start)
