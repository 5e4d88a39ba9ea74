"""Mean and variance of each channel over a whole set of images, gathered batch by batch, exactly.

The variance of a set is not the mean of its batches' variances: the part between batches is missing from that, up to
all of what tells classes apart where batches are sorted by class. Here the sums of squared deviations are merged with
that part (Chan, Golub & LeVeque 1979), so that a set has one result however it is cut into batches.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from stylebench.functional.precision import at_least_float32, float32_island

_AT_A_TIME = 2**18  # entries whose deviations are held at once: they stay in the processor's cache


class MeanAndVariance(NamedTuple):
    """Mean (C,) and variance (C,) of each channel."""

    mean: Tensor
    variance: Tensor


@dataclass(frozen=True)
class Moments:
    """What a set of features has in each channel.

    Attributes:
        count: entries of a channel: images times positions.
        mean: (C,) float64.
        squares: (C,) float64, sums of squared deviations from the mean.
    """

    count: int
    mean: Tensor
    squares: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, features: Tensor) -> "Moments":
        """Gather a batch.

        Each image's deviations are taken from its own mean in at least float32, and images are merged in float64: large
        means cost no digits, and an image adds the same to the result whatever stands beside it.

        Args:
            features: (N, C) or (N, C, ...) of any floating type, finite.

        Raises:
            ValueError: if there is no channel axis, or a channel is empty.
        """
        if features.ndim < 2 or features.numel() == 0:
            raise ValueError(
                f"expected features of shape (N, C) or (N, C, ...), not empty, got {tuple(features.shape)}"
            )
        positions = math.prod(features.shape[2:])
        means, within = _wide(features.detach().flatten(1)), torch.zeros(())  # an entry alone lies at its mean
        if positions > 1:
            planes = features.detach().flatten(2)  # (N, C, P)
            few = max(1, _AT_A_TIME // planes[0].numel()) if planes.device.type == "cpu" else len(planes)
            parts = [_of_planes(planes[start : start + few]) for start in range(0, len(planes), few)]
            means, within = (torch.cat(part) for part in zip(*parts, strict=True))
        mean = means.mean(0)  # (C,)
        squares = within.sum(0) + positions * (means - mean).square().sum(0)
        return cls(len(features) * positions, mean, squares)

    def merged(self, other: "Moments") -> "Moments":
        """Return the moments of both sets together.

        Raises:
            ValueError: if the numbers of channels differ.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"sets of {len(self.mean)} and {len(other.mean)} channels cannot be merged")
        count = self.count + other.count
        if count == 0:
            return self
        difference = other.mean - self.mean
        mean = self.mean + difference * (other.count / count)
        squares = self.squares + other.squares + difference.square() * (self.count / count * other.count)
        return Moments(count, mean, squares)

    def statistics(self, unbiased: bool = False) -> MeanAndVariance:
        """Return mean and variance, float64.

        Args:
            unbiased: divide by one entry less, as torch's running variance does; batch norm normalizes by the biased
                one.

        Raises:
            ValueError: if there are too few entries: 1, or 2 for the unbiased variance.
        """
        least = 2 if unbiased else 1
        if self.count < least:
            raise ValueError(f"a variance needs at least {least} entries a channel, found {self.count}")
        return MeanAndVariance(self.mean, self.squares / (self.count - int(unbiased)))


def merge_all(parts: Iterable[Moments]) -> Moments:
    """Return the moments of several sets together, merged in their order.

    Raises:
        ValueError: if there is none, or the numbers of channels differ.
    """
    found = list(parts)
    if not found:
        raise ValueError("expected moments of at least one set, found none")
    return reduce(Moments.merged, found)


def blend(share: float | Tensor, first: MeanAndVariance, second: MeanAndVariance) -> MeanAndVariance:
    """Return a share of the first mean and variance plus the rest of the second, each by itself.

    This is no mixture's variance: what lies between the two means is missing, see `mixture`.

    Args:
        share: of the first, in [0, 1]; a number or a tensor that broadcasts to (C,).
        first: (C,) each.
        second: (C,) each.

    Source: Schneider et al. 2020, "Improving robustness against common corruptions by covariate shift adaptation".
    """
    mean, variance = (share * one + (1 - share) * other for one, other in zip(first, second, strict=True))
    return MeanAndVariance(mean, variance)


def mixture(alpha: float | Tensor, first: MeanAndVariance, second: MeanAndVariance) -> MeanAndVariance:
    """Return mean and variance of a mixture: a share `alpha` of the first distribution, the rest of the second.

    The variance is that about the mixture's own mean, so it holds what lies between the two means:
    alpha v1 + (1 - alpha) v2 + alpha (1 - alpha) (m1 - m2)^2.

    Args:
        alpha: share of the first, in [0, 1]; a number or a tensor that broadcasts to (C,).
        first: (C,) each.
        second: (C,) each.

    Source: Carlucci et al. 2017, AutoDIAL, section 3; dial_layer.cpp of ducksoup/autodial.
    """
    between = (first.mean - second.mean).square() * (alpha * (1 - alpha))
    mean, within = blend(alpha, first, second)
    return MeanAndVariance(mean, within + between)


def domain_distance(first: MeanAndVariance, second: MeanAndVariance, eps: float = 1e-5) -> float:
    """Return how far the features of two domains lie apart at a layer.

    The symmetric Kullback-Leibler divergence of Gaussians with these moments, KL(1||2) + KL(2||1), mean over channels:
    0.5 (v1/v2 + v2/v1 - 2 + (m1 - m2)^2 (1/v1 + 1/v2)).

    Args:
        first: (C,) each.
        second: (C,) each.
        eps: the least variance, > 0; batch norm's, as it sees no smaller one either.

    Returns:
        A value >= 0; 0 for equal moments.

    Raises:
        ValueError: if the numbers of channels differ.

    Source: Li et al. 2016, AdaBN, for the divergence as the measure of the shift.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(f"layers of {len(first.mean)} and {len(second.mean)} channels cannot be compared")
    one, two = (_wide(each.variance).clamp_min(eps) for each in (first, second))
    shift = (_wide(first.mean) - _wide(second.mean)).square()
    return float((0.5 * (one / two + two / one - 2 + shift * (1 / one + 1 / two))).mean())


def _of_planes(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and sum of squared deviations of (N, C, P) over the last axis, (N, C) float64 each."""
    with float32_island(planes):
        wide = at_least_float32(planes)
        rough = wide.mean(2)  # rounded to float32, which where |mean| >> std is much of a deviation
        centered = wide - rough.unsqueeze(2)
        rest, squares = _wide(centered.mean(2)), _wide(centered.square_().sum(2))
    return _wide(rough) + rest, squares - planes.shape[2] * rest.square()


def _wide(values: Tensor) -> Tensor:
    """Return float64 on the same device, or on the CPU where a device has none."""
    return (values.cpu() if values.device.type == "mps" else values).to(torch.float64)
