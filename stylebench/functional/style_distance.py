"""Distances of style that do not grow with the style's own energy, for measuring; losses are in `gram.py`."""

import torch
from torch import Tensor


def relative_distance(first: Tensor, second: Tensor) -> Tensor:
    """Compute ||a - b||^2 / (||a||^2 + ||b||^2) of each pair, in float64; 0 where both are zero.

    It lies in [0, 2], and in [0, 1] where the inner product of a and b cannot be negative, as with features that
    passed a ReLU, or with Gram matrices, which are positive semi-definite. No common factor of a and b changes it.
    Features scaled by a have Gram matrices at (1 - a^2)^2 / (1 + a^4); ones without a common channel, at 1.

    Args:
        first: (1 or B, ...) any real range.
        second: (1 or B, ...), otherwise of the same shape.

    Returns:
        (B,) float64.

    Raises:
        ValueError: if the shapes do not match.

    Source: ours, after Cheng et al. 2021, who trace failed styles to a loss that grows with the style's own energy.
    """
    if first.shape[1:] != second.shape[1:] or not (first.shape[0] == second.shape[0] or 1 in (len(first), len(second))):
        raise ValueError(
            f"expected two batches of one shape, or one of them with a single member, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}; take both from the same layer of the same network"
        )
    first, second = first.double().flatten(1), second.double().flatten(1)  # (B, D)
    energy = first.square().sum(1) + second.square().sum(1)  # (B,)
    distance = (first - second).square().sum(1)  # (B,)
    return distance / torch.where(energy == 0, 1.0, energy)  # NaN stays NaN


def channel_moments(features: Tensor) -> Tensor:
    """Compute the mean and the standard deviation of each channel, the latter divided by H*W.

    Args:
        features: (B, C, H, W) activations.

    Returns:
        (B, 2, C) float64: means, then standard deviations.

    Raises:
        ValueError: if `features` is not four-dimensional.

    Source: Huang & Belongie 2017, eqs. 5 and 6, without their epsilon.
    """
    if features.ndim != 4:
        raise ValueError(f"channel_moments expects (B, C, H, W), got shape {tuple(features.shape)}; add or drop axes")
    flat = features.double().flatten(2)  # (B, C, H*W)
    return torch.stack((flat.mean(2), flat.std(2, correction=0)), 1)
