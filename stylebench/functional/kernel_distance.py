"""Maximum mean discrepancies on features: the unbiased polynomial one of KID, and the Gaussian one of CMMD.

Values are squared MMDs, in float64; unbiased ones may be negative, and stay so.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

CMMD_SIGMA = 10.0  # Jayasumana et al. 2024, section 4
CMMD_SCALE = 1000.0
_BLOCK = 2048  # rows of a kernel matrix that are in memory at once
_FEWEST = 2  # samples that an unbiased estimate needs


class KernelDistance(NamedTuple):
    """An unbiased squared MMD.

    Attributes:
        mean: over random subsets.
        subset_std: spread over the subsets; no standard error, as subsets overlap.
        full: the estimate from all samples.
        blocks: estimates from disjoint blocks of both sets, for an interval; empty where there are too few samples.
    """

    mean: float
    subset_std: float
    full: float
    blocks: tuple[float, ...]


def polynomial_mmd(features_1: Tensor, features_2: Tensor) -> float:
    """Return the unbiased squared MMD under the kernel (a.b / d + 1)^3, from all samples.

    Args:
        features_1: (N1, d), N1 >= 2.
        features_2: (N2, d), N2 >= 2.

    Returns:
        The estimate; its mean is 0 for two samples of one distribution.

    Raises:
        ValueError: if shapes do not fit or a set has fewer than two samples.

    Source: Binkowski et al. 2018, eq. 4 and section 3.
    """
    first, second = _checked(features_1, features_2)
    within = [_kernel_sum(x, x) - _polynomial(x.square().sum(1), x.shape[1]).sum() for x in (first, second)]
    n, m = len(first), len(second)
    cross = _kernel_sum(first, second)
    return float(within[0] / (n * (n - 1)) + within[1] / (m * (m - 1)) - 2 * cross / (n * m))


def kernel_distance(
    features_1: Tensor, features_2: Tensor, subsets: int = 100, subset_size: int = 1000, blocks: int = 10, seed: int = 0
) -> KernelDistance:
    """Return the kernel distance of two sets: over random subsets as published, from all samples, and by blocks.

    Where the subsets would be the whole sets, one estimate from all samples stands for them.

    Args:
        features_1: (N1, d), N1 >= 2.
        features_2: (N2, d), N2 >= 2.
        subsets: how many, >= 1.
        subset_size: samples in each, at most; the smaller set's size where that is less.
        blocks: disjoint blocks, >= 2.
        seed: of the subsets and blocks.

    Returns:
        The distance.

    Raises:
        ValueError: as `polynomial_mmd`, or if a count is out of its range.

    Source: Binkowski et al. 2018, section 4; the blocks are ours.
    """
    if subsets < 1 or subset_size < _FEWEST or blocks < _FEWEST:
        raise ValueError(
            f"expected subsets >= 1, subset_size >= 2 and blocks >= 2, got {subsets}, {subset_size} and {blocks}"
        )
    first, second = _checked(features_1, features_2)
    full = polynomial_mmd(first, second)
    generator = np.random.Generator(np.random.PCG64(seed))
    size = min(subset_size, len(first), len(second))
    if size == len(first) == len(second):
        values = [full]
    else:
        values = []
        for _ in range(subsets):
            rows = [torch.from_numpy(generator.choice(len(x), size, replace=False)) for x in (first, second)]
            values.append(polynomial_mmd(first[rows[0].to(first.device)], second[rows[1].to(second.device)]))
    return KernelDistance(
        float(np.mean(values)), float(np.std(values)), full, _block_values(first, second, blocks, generator)
    )


def _block_values(first: Tensor, second: Tensor, blocks: int, generator: np.random.Generator) -> tuple[float, ...]:
    if min(len(first), len(second)) < _FEWEST * blocks:
        return ()
    parts = [
        [x[torch.from_numpy(rows).to(x.device)] for rows in np.array_split(generator.permutation(len(x)), blocks)]
        for x in (first, second)
    ]
    return tuple(polynomial_mmd(a, b) for a, b in zip(*parts, strict=True))


def gaussian_mmd(features_1: Tensor, features_2: Tensor, sigma: float = CMMD_SIGMA, scale: float = CMMD_SCALE) -> float:
    """Return the biased squared MMD under the kernel exp(-|a - b|^2 / (2 sigma^2)), times a scale.

    Args:
        features_1: (N1, d), of unit length for CMMD.
        features_2: (N2, d).
        sigma: width of the kernel.
        scale: factor of the result.

    Returns:
        The value, >= 0 up to rounding.

    Raises:
        ValueError: if shapes do not fit or a set has fewer than two samples.

    Source: Jayasumana et al. 2024, eq. 3; sayakpaul/cmmd-pytorch distance.py (squared despite the name).
    """
    first, second = _checked(features_1, features_2)
    terms = [_gaussian_mean(a, b, sigma) for a, b in ((first, first), (second, second), (first, second))]
    return scale * (terms[0] + terms[1] - 2 * terms[2])


def gaussian_mmd_floor(
    features: Tensor, n_1: int, n_2: int, sigma: float = CMMD_SIGMA, scale: float = CMMD_SCALE
) -> float:
    """Return what `gaussian_mmd` shows on average between two samples of one distribution, from one sample of it.

    Args:
        features: (N, d) of the distribution.
        n_1: samples of one set.
        n_2: samples of the other.
        sigma: width of the kernel.
        scale: factor of the result.

    Returns:
        scale (1/n1 + 1/n2) (1 - E k).
    """
    first, _ = _checked(features, features)
    n = len(first)
    between = (_gaussian_mean(first, first, sigma) * n - 1) / (n - 1)  # without the diagonal
    return scale * (1 / n_1 + 1 / n_2) * (1 - between)


def _kernel_sum(first: Tensor, second: Tensor) -> Tensor:
    d = first.shape[1]
    return torch.stack([_polynomial(part @ second.mT, d).sum() for part in torch.split(first, _BLOCK)]).sum()


def _polynomial(products: Tensor, d: int) -> Tensor:
    base = products / d + 1
    return base * base * base  # a power of 3 through pow is several times slower


def _gaussian_mean(first: Tensor, second: Tensor, sigma: float) -> float:
    squares = second.square().sum(1)
    total = 0.0
    for part in torch.split(first, _BLOCK):
        distances = (part.square().sum(1)[:, None] + squares - 2 * part @ second.mT).clamp(min=0)
        total += float((-distances / (2 * sigma**2)).exp().sum())
    return total / (len(first) * len(second))


def _checked(features_1: Tensor, features_2: Tensor) -> tuple[Tensor, Tensor]:
    if features_1.ndim != 2 or features_2.ndim != 2 or features_1.shape[1] != features_2.shape[1]:
        raise ValueError(
            f"expected (N, d) features of one width, got {tuple(features_1.shape)} and {tuple(features_2.shape)}; use "
            "one extractor for both sets"
        )
    if min(len(features_1), len(features_2)) < _FEWEST:
        raise ValueError(
            f"expected at least two images a set, got {len(features_1)} and {len(features_2)}; evaluate more images"
        )
    return features_1.double(), features_2.double()
