"""The squared Wasserstein-2 distance of Gaussians as a loss, with gradients that stay finite without full rank.

For measuring, between sets of images and without gradients, see `frechet.py`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from stylebench.functional.precision import at_least_float32, float32_island


class GaussianTarget(NamedTuple):
    """A Gaussian to measure the distance from.

    Attributes:
        mean: (B, C).
        covariance: (B, C, C).
        root: (B, C, C) float64, the symmetric root of the covariance.
    """

    mean: Tensor
    covariance: Tensor
    root: Tensor


def gaussian_target(mean: Tensor, covariance: Tensor) -> GaussianTarget:
    """Prepare a Gaussian as a target: the root of its covariance is taken once.

    Eigenvalues that the type of the covariance cannot tell from 0 become 0.

    Args:
        mean: (B, C) any real range.
        covariance: (B, C, C) symmetric positive semi-definite.

    Returns:
        The target, without gradients.

    Raises:
        ValueError: if shapes do not fit, or values are not finite.
    """
    _check_moments("gaussian_target", mean, covariance)
    mean, covariance = at_least_float32(mean.detach()), at_least_float32(covariance.detach())
    if not bool(mean.isfinite().all() and covariance.isfinite().all()):
        raise ValueError("gaussian_target got values that are not finite; look at the features for NaN or infinity")
    values, vectors = torch.linalg.eigh(_symmetric(covariance.double()))
    least = _rounding(values, covariance.dtype)
    roots = torch.where(values > least, values, 0.0).sqrt()
    return GaussianTarget(mean, covariance, (vectors * roots.unsqueeze(1)) @ vectors.mT)


def squared_wasserstein(mean: Tensor, covariance: Tensor, target: GaussianTarget) -> Tensor:
    """Compute |m - m'|^2 + tr(S + S' - 2 (R S R)^(1/2)) with R the root of S', one value per sample.

    The gradient is taken of the eigenvalues of R S R that are not 0 by rounding; along the others, where S has no
    extent and the root no derivative, it is that of the other terms. A direction that S lacks thus gets no push: an
    image with fewer positions than channels can have no more than its own.

    Args:
        mean: (B, C) any real range.
        covariance: (B, C, C) symmetric positive semi-definite.
        target: from `gaussian_target`, of 1 or B samples.

    Returns:
        (B,) values >= 0 up to rounding, at least float32; the root is computed in float64.

    Raises:
        ValueError: if shapes do not fit.

    Source: Dowson & Landau 1982, "The Frechet Distance between Multivariate Normal Distributions".
    """
    _check_moments("squared_wasserstein", mean, covariance)
    if target.mean.shape[1:] != mean.shape[1:] or target.mean.shape[0] not in (1, mean.shape[0]):
        raise ValueError(
            f"squared_wasserstein expects a target of shape {tuple(mean.shape)}, or of one sample for all, got "
            f"{tuple(target.mean.shape)}; compute both at the same layer of the same encoder"
        )
    with float32_island(mean):
        mean, covariance = at_least_float32(mean), at_least_float32(covariance)
        shift = (mean - target.mean).square().sum(1)  # (B,)
        traces = _trace(covariance) + _trace(target.covariance)
        values = torch.linalg.eigvalsh(_symmetric(target.root @ covariance.double() @ target.root))  # (B, C)
        seen = values > _rounding(values.detach(), values.dtype)
        # The root of what is masked must not be taken: at 0 its derivative is infinite, and 0 times it NaN.
        root = torch.where(seen, torch.where(seen, values, 1.0).sqrt(), 0.0).sum(1)
        return shift + (traces - 2 * root).to(shift.dtype)  # (B,)


def _rounding(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (B, 1): eigenvalues, (B, C) ascending, up to this one are 0 in the given type."""
    return values[:, -1:].clamp(min=0) * values.shape[1] * torch.finfo(dtype).eps


def _symmetric(matrices: Tensor) -> Tensor:
    return (matrices + matrices.mT) / 2


def _trace(matrices: Tensor) -> Tensor:
    return matrices.double().diagonal(dim1=-2, dim2=-1).sum(-1)


def _check_moments(name: str, mean: Tensor, covariance: Tensor) -> None:
    if mean.ndim != 2 or covariance.shape != (*mean.shape, mean.shape[1]):
        raise ValueError(
            f"{name} expects means (B, C) and covariances (B, C, C), got {tuple(mean.shape)} and "
            f"{tuple(covariance.shape)}"
        )
