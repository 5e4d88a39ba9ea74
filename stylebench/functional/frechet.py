"""The Frechet distance between Gaussians, in two forms whose spectra are real by construction, and its floor.

The trace of (S1 S2)^(1/2) is never taken from the spectrum of a product that is not symmetric: with full covariances it
comes from a symmetric matrix, with fewer samples than dimensions from singular values of the centered samples.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_LEAST = -1e-6  # of the traces: a distance below is no rounding
_CROSSOVER = 4  # a set this many times larger than the other is reduced by QR first
_FLOOR_DRAWS = 3
_BLOCK = 1024  # rows of a pairwise sum


class Moments(NamedTuple):
    """Mean (d,) and covariance (d, d) of a feature distribution."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor) -> Moments:
    """Return mean and unbiased covariance of (N, d) features, in float64.

    Raises:
        ValueError: for fewer than two samples, or another shape.
    """
    _check_features(features)
    centered, mean = _centered(features)
    return Moments(mean, centered.mT @ centered / (len(features) - 1))


def moments_without(features: Tensor, blocks: Sequence[Tensor]) -> Iterator[Moments]:
    """Yield mean and unbiased covariance of a sample without each of several blocks, as a jackknife needs them.

    The products are summed once: taking a block out costs no more than its own.

    Args:
        features: (N, d), any real range.
        blocks: places of each block's samples, (n,) whole numbers; two samples at least lie outside each.

    Raises:
        ValueError: for fewer than two samples, or another shape.
    """
    _check_features(features)
    centered, mean = _centered(features)
    scatter, count = centered.mT @ centered, len(features)
    for block in blocks:
        inside, rest = centered[block], count - len(block)
        shift = -inside.sum(0) / rest
        left = scatter - inside.mT @ inside - rest * torch.outer(shift, shift)
        yield Moments(mean + shift, (left + left.mT) / (2 * (rest - 1)))


def frechet_distance(mean_1: Tensor, cov_1: Tensor, mean_2: Tensor, cov_2: Tensor) -> float:
    """Return |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), the squared Frechet distance of two Gaussians.

    With S1 = F F^T, from Cholesky or, where S1 has no full rank, its eigenvectors, the trace of the root is the sum of
    roots of the eigenvalues of F^T S2 F.

    Args:
        mean_1: (d,) any real range.
        cov_1: (d, d) symmetric positive semi-definite.
        mean_2: (d,).
        cov_2: (d, d).

    Returns:
        The distance, >= 0, computed in float64; rounding below 0 becomes 0.

    Raises:
        ValueError: if shapes do not fit, values are not finite, or a covariance is not positive semi-definite.

    Example:
        >>> one, two = torch.ones(1), torch.ones(1, 1)
        >>> frechet_distance(0 * one, two, 3 * one, 4 * two)
        10.0

    Source: Dowson & Landau 1982; Heusel et al. 2017, eq. 6.
    """
    d = mean_1.numel()
    if mean_1.shape != (d,) or mean_2.shape != (d,) or cov_1.shape != (d, d) or cov_2.shape != (d, d):
        raise ValueError(
            "frechet_distance expects means (d,) and covariances (d, d) of one d, got "
            f"{[tuple(part.shape) for part in (mean_1, cov_1, mean_2, cov_2)]}; use one extractor for both sets"
        )
    mean_1, cov_1, mean_2, cov_2 = (part.double() for part in (mean_1, cov_1, mean_2, cov_2))
    if not all(bool(part.isfinite().all()) for part in (mean_1, cov_1, mean_2, cov_2)):
        raise ValueError("frechet_distance got values that are not finite; look at the features for NaN or infinity")
    factor = _root_factor(cov_1)
    inner = factor.mT @ cov_2 @ factor
    root = torch.linalg.eigvalsh((inner + inner.mT) / 2).clamp(min=0).sqrt().sum()
    return _combined((mean_1 - mean_2).square().sum(), cov_1.trace() + cov_2.trace(), root)


def frechet_distance_of_features(features_1: Tensor, features_2: Tensor) -> float:
    """Return the Frechet distance between Gaussians fitted to two sets, by whichever form is cheaper.

    With A and B the centered samples over sqrt(n - 1), tr((S1 S2)^(1/2)) is the sum of the singular values of A B^T, an
    n1 x n2 matrix: exact, and fast where one set has fewer samples than dimensions. A much larger other set enters by
    the triangular factor of its QR decomposition, which has the same products.

    Args:
        features_1: (N1, d), N1 >= 2.
        features_2: (N2, d), N2 >= 2.

    Returns:
        The distance, >= 0, computed in float64.

    Raises:
        ValueError: if shapes do not fit or a set has fewer than two samples.
    """
    _check_features(features_1)
    _check_features(features_2)
    n_1, n_2, d = len(features_1), len(features_2), features_1.shape[1]
    if features_2.shape[1] != d:
        raise ValueError(
            f"expected features of one width, got {d} and {features_2.shape[1]}; use one extractor for both sets"
        )
    if min(n_1, n_2) >= d:
        return frechet_distance(*moments(features_1), *moments(features_2))
    centered_1, mean_1 = _centered(features_1)
    centered_2, mean_2 = _centered(features_2)
    traces = _energy(centered_1) / (n_1 - 1) + _energy(centered_2) / (n_2 - 1)
    product = _reduced(centered_1, n_2) @ _reduced(centered_2, n_1).mT
    root = torch.linalg.svdvals(product).sum() / ((n_1 - 1) * (n_2 - 1)) ** 0.5
    return _combined((mean_1 - mean_2).square().sum(), traces, root)


def frechet_floor(eigenvalues: Tensor, n_1: int, n_2: int) -> float:
    """Return the distance that two samples of one Gaussian show on average: what a perfect model scores.

    (1/n1 + 1/n2) (sum_i l_i + 1/2 sum_ij l_i l_j (1 + [i=j]) / (l_i + l_j)), a second-order expansion: within 3 % for
    samples larger than the dimension, too large below (use `simulated_floor` there).

    Args:
        eigenvalues: (d,) of the covariance, >= 0.
        n_1: samples of one set.
        n_2: samples of the other.

    Returns:
        The expected distance.

    Raises:
        ValueError: for fewer than two samples.
    """
    _check_counts(n_1, n_2)
    values = eigenvalues.double().clamp(min=0)
    values = values[values > 0]
    pairs = sum(
        (part[:, None] * values / (part[:, None] + values)).sum() for part in torch.split(values, _BLOCK)
    )  # i = j counts once more: l_i l_i / (2 l_i) = l_i / 2
    total = values.sum() + (pairs + values.sum() / 2) / 2
    return float((1 / n_1 + 1 / n_2) * total)


def simulated_floor(eigenvalues: Tensor, n_1: int, n_2: int, draws: int = _FLOOR_DRAWS, seed: int = 0) -> float:
    """Return the floor of `frechet_floor` by drawing pairs of samples; right also for fewer samples than dimensions.

    Args:
        eigenvalues: (d,) of the covariance, >= 0.
        n_1: samples of one set.
        n_2: samples of the other.
        draws: pairs to average over.
        seed: of the draws.

    Returns:
        The mean distance.

    Raises:
        ValueError: for fewer than two samples.
    """
    _check_counts(n_1, n_2)
    values = eigenvalues.double().clamp(min=0).cpu()
    # Where there are fewer samples than dimensions some are 0 but for rounding; how many come out above it differs from
    # machine to machine, and with their number all draws.
    rounding = len(values) * torch.finfo(torch.float64).eps
    scale = values[values > values.amax() * rounding].sqrt()
    if not len(scale):
        return 0.0
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for _ in range(draws):
        sets = [torch.randn(n, len(scale), generator=generator, dtype=torch.float64) * scale for n in (n_1, n_2)]
        total += frechet_distance_of_features(*sets)
    return total / draws


def _root_factor(covariance: Tensor) -> Tensor:
    """Return F with F F^T = covariance, (d, d); Cholesky takes a tenth of the time that eigenvectors take."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if not bool(failed):
        triangle: Tensor = factor
        return triangle
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt()
    return root


def _energy(centered: Tensor) -> Tensor:
    """Return the sum of squares, without a temporary of the size of the features."""
    flat = centered.flatten()
    return flat @ flat


def _reduced(centered: Tensor, other: int) -> Tensor:
    """Return a factor with the same Gram matrix over dimensions; smaller, where the set is much larger than both."""
    n, d = centered.shape
    if n > d and n > _CROSSOVER * other:
        triangle: Tensor = torch.linalg.qr(centered, mode="r").R
        return triangle
    return centered


def _centered(features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.double()
    mean = features.mean(0)
    return features - mean, mean


def _combined(shift: Tensor, traces: Tensor, root: Tensor) -> float:
    squared = float(shift + traces - 2 * root)
    if squared < _LEAST * float(traces) or squared != squared:
        raise ValueError(
            f"the Frechet distance came out as {squared:g} with traces of {float(traces):g}; a covariance is not "
            "positive semi-definite: accumulate it in float64, shifted"
        )
    return max(squared, 0.0)


def _check_features(features: Tensor) -> None:
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(
            f"expected (N, d) features of at least two images, got shape {tuple(features.shape)}; evaluate more images"
        )


def _check_counts(n_1: int, n_2: int) -> None:
    if min(n_1, n_2) < 2:
        raise ValueError(f"a floor needs at least two images per set, got {n_1} and {n_2}; evaluate more images")
