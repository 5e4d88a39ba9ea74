"""Mean and standard deviation of each channel of a feature map: the statistics that AdaIN exchanges and compares."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from stylebench.checks import check_choice
from stylebench.functional.precision import at_least_float32, float32_island

MOMENT_REDUCTIONS = ("mean", "sum")


class ChannelStatistics(NamedTuple):
    """Mean (B, C) and standard deviation (B, C) of each channel over its positions."""

    mean: Tensor
    std: Tensor


def channel_statistics(features: Tensor, mask: Tensor | None = None, eps: float = 1e-5) -> ChannelStatistics:
    """Compute the mean and the standard deviation of each channel, over all positions or those of a region.

    The variance is biased, and taken of the centered map; eps stands under the root, so that the gradient of a constant
    map is finite.

    Args:
        features: (B, C, H, W) activations, any real range, any floating type.
        mask: (1 or B, H, W) bool or 0/1, 1 inside the region; None for all positions.
        eps: added to the variance, >= 0.

    Returns:
        The statistics, at least float32 whatever the input.

    Raises:
        ValueError: if a shape does not fit, or a mask is empty or holds other values than 0 and 1.

    Source: Huang & Belongie 2017, eqs. 5 and 6; xunhuang1995/AdaIN-style for the biased variance (naoto0804/
        pytorch-AdaIN, function.py, takes the unbiased one), and both for a constant under the root.
    """
    if features.ndim != 4:
        raise ValueError(
            f"channel_statistics expects (B, C, H, W), got shape {tuple(features.shape)}; add or drop axes"
        )
    with float32_island(features):
        flat = at_least_float32(features).flatten(2)  # (B, C, H*W)
        if mask is None:
            mean, variance = _Moments.apply(flat)
        else:
            mean, variance = _moments_inside(flat, _region(mask, features).flatten(1).unsqueeze(1))
        return ChannelStatistics(mean, (variance + eps).sqrt())


def adaptive_instance_norm(content: Tensor, style: ChannelStatistics, mask: Tensor | None = None) -> Tensor:
    """Give each channel of a feature map the mean and standard deviation of a style.

    A constant channel takes the style's mean. With a mask the content's own statistics are those of the region, and
    positions outside of it are returned as they are, so that calls for disjoint regions compose.

    Args:
        content: (B, C, H, W) activations, any real range.
        style: statistics of the same layer, (1 or B, C).
        mask: (1 or B, H, W) bool or 0/1, 1 inside the region; None for all positions.

    Returns:
        (B, C, H, W) of the content's type, computed in at least float32.

    Raises:
        ValueError: if a shape does not fit, or as `channel_statistics`.

    Source: Huang & Belongie 2017, eq. 8; its section 7.2 for regions.
    """
    own = channel_statistics(content, mask)
    _check_statistics("adaptive_instance_norm", own, style)
    wide = at_least_float32(content)
    scale = (style.std / own.std)[..., None, None]  # (B, C, 1, 1)
    result = torch.addcmul(style.mean[..., None, None], wide - own.mean[..., None, None], scale)  # (B, C, H, W)
    if mask is not None:
        result = torch.where(mask.unsqueeze(1) != 0, result, wide)
    return result.to(content.dtype)


def moment_loss(statistics: ChannelStatistics, target: ChannelStatistics, reduction: str) -> Tensor:
    """Measure how far channel statistics are from a target: squared differences of the means, plus of the deviations.

    The sum is C times the mean, so it weighs a layer with more channels more: a weight of 0.1 on the sum is one of
    0.1 * C on the mean.

    Args:
        statistics: (B, C).
        target: (1 or B, C).
        reduction: over channels, `mean` (naoto0804/pytorch-AdaIN) or `sum` (xunhuang1995/AdaIN-style).

    Returns:
        (B,) values >= 0.

    Raises:
        ValueError: on an unknown reduction, or shapes that do not match.

    Example:
        >>> zeros, ones = torch.zeros(1, 3), torch.ones(1, 3)
        >>> moment_loss(ChannelStatistics(zeros, zeros), ChannelStatistics(ones, 2 * ones), "mean")
        tensor([5.])

    Source: Huang & Belongie 2017, section 6.2, with squares in place of its norms, as in both codes.
    """
    check_choice("reduction", reduction, MOMENT_REDUCTIONS)
    _check_statistics("moment_loss", statistics, target)
    squares = (statistics.mean - target.mean).square() + (statistics.std - target.std).square()  # (B, C)
    return squares.mean(1) if reduction == "mean" else squares.sum(1)  # (B,)


class _Moments(torch.autograd.Function):
    """Mean and biased variance over the last axis, with a gradient of one pass over the map."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor) -> tuple[Tensor, Tensor]:
        mean = flat.mean(2)  # (B, C)
        # Of the centered map: the difference of raw moments loses all digits where |mean| >> std.
        centered = flat - mean.unsqueeze(2)
        ctx.save_for_backward(flat, mean)
        return mean, centered.square_().mean(2)  # (B, C) each

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        flat, mean = ctx.saved_tensors
        by_mean, by_variance = gradients
        count = flat.shape[2]
        slope = 2 / count * by_variance  # (B, C)
        offset = by_mean / count - slope * mean
        return torch.addcmul(offset.unsqueeze(2), flat, slope.unsqueeze(2))  # (B, C, H*W)


def _moments_inside(flat: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance, (B, C), of (B, C, M) values where (1 or B, 1, M) is true."""
    count = inside.sum(2)  # (1 or B, 1)
    mean = torch.where(inside, flat, 0.0).sum(2) / count
    centered = torch.where(inside, flat - mean.unsqueeze(2), 0.0)  # (B, C, M)
    return mean, centered.square().sum(2) / count


def _region(mask: Tensor, features: Tensor) -> Tensor:
    """Return a checked mask as bool."""
    size = features.shape[2:]
    if mask.ndim != 3 or mask.shape[1:] != size or mask.shape[0] not in (1, features.shape[0]):
        raise ValueError(
            f"expected a mask of shape {(features.shape[0], *size)}, or (1, H, W) for all samples, got "
            f"{tuple(mask.shape)}; resize it to the features (nearest)"
        )
    inside = mask != 0
    if not bool((inside == mask).all()):
        raise ValueError("a mask holds 0 (outside) and 1 (inside) only, found other values; threshold it first")
    if not bool(inside.flatten(1).any(1).all()):
        raise ValueError(
            "a region is empty at the size of the feature map, and has no statistics; enlarge it, or leave it out"
        )
    return inside


def _check_statistics(name: str, own: ChannelStatistics, target: ChannelStatistics) -> None:
    batch, channels = own.mean.shape
    for part in target:
        if part.ndim != 2 or part.shape[1] != channels or part.shape[0] not in (1, batch):
            raise ValueError(
                f"{name} expects target statistics of shape {(batch, channels)}, or of one sample for all, got "
                f"{tuple(part.shape)}; compute both at the same layer of the same encoder"
            )
