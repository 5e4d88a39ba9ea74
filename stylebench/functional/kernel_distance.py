"""Maximum mean discrepancies on features: the unbiased polynomial one of KID, and the Gaussian one of CMMD.

Values are squared MMDs, in float64; unbiased ones may be negative, and stay so.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stylebench.functional.kernel_mmd import gaussian_kernel

CMMD_SIGMA = 10.0  # Jayasumana et al. 2024, section 4
CMMD_SCALE = 1000.0
_BLOCK = 1024  # rows of a kernel matrix that are in memory at once
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
    return float(_polynomial_mmds(first, second, *(x.new_ones(len(x), 1) for x in (first, second))))


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
    counts = len(first), len(second)
    generator = np.random.Generator(np.random.PCG64(seed))
    size = min(subset_size, *counts)
    drawn = 0 if size == max(counts) else subsets
    groups = [[np.arange(n) for n in counts]]
    groups += [[generator.choice(n, size, replace=False) for n in counts] for _ in range(drawn)]
    if min(counts) >= _FEWEST * blocks:
        split = [np.array_split(generator.permutation(n), blocks) for n in counts]
        groups += [[part[block] for part in split] for block in range(blocks)]
    members = (_members([group[side] for group in groups], x) for side, x in enumerate((first, second)))
    full, *rest = _polynomial_mmds(first, second, *members).tolist()
    values = rest[:drawn] or [full]
    return KernelDistance(float(np.mean(values)), float(np.std(values)), full, tuple(rest[drawn:]))


def _members(groups: Sequence[np.ndarray[Any, Any]], samples: Tensor) -> Tensor:
    """Return (N, G), 1 where a sample belongs to a group."""
    table = np.zeros((len(samples), len(groups)))
    for column, rows in enumerate(groups):
        table[rows, column] = 1
    return torch.from_numpy(table).to(samples.device)


def _polynomial_mmds(first: Tensor, second: Tensor, members_1: Tensor, members_2: Tensor) -> Tensor:
    """Return unbiased squared MMDs of G groups, (G,), each kernel value computed once for all of them."""
    d = first.shape[1]
    sizes_1, sizes_2 = members_1.sum(0), members_2.sum(0)
    within = []
    for x, members, sizes in ((first, members_1, sizes_1), (second, members_2, sizes_2)):
        diagonal = members.mT @ _polynomial(x.square().sum(1), d)
        within.append((_sums_within(x, members) - diagonal) / (sizes * (sizes - 1)))
    cross = first.new_zeros(len(sizes_1))
    for rows, inside in zip(torch.split(first, _BLOCK), torch.split(members_1, _BLOCK), strict=True):
        cross += (inside * (_polynomial(rows @ second.mT, d) @ members_2)).sum(0)
    return within[0] + within[1] - 2 * cross / (sizes_1 * sizes_2)


def _sums_within(samples: Tensor, members: Tensor) -> Tensor:
    """Return the kernel's sum over all pairs in each group, (G,), from the half above the diagonal blocks."""
    total = members.new_zeros(members.shape[1])
    for start in range(0, len(samples), _BLOCK):
        end = start + _BLOCK
        rows, inside = samples[start:end], members[start:end]
        weights = torch.cat([inside, 2 * members[end:]])  # a pair of blocks stands for its mirror image too
        total += (inside * (_polynomial(rows @ samples[start:].mT, samples.shape[1]) @ weights)).sum(0)
    return total


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


def _polynomial(products: Tensor, d: int) -> Tensor:
    """Return (products / d + 1)^3; overwrites the products."""
    base = products.div_(d).add_(1)
    return base.square().mul_(base)  # a power of 3 through pow is several times slower


def _gaussian_mean(first: Tensor, second: Tensor, sigma: float) -> float:
    squares = second.square().sum(1)
    total = 0.0
    for part in torch.split(first, _BLOCK):
        distances = (part.square().sum(1)[:, None] + squares - 2 * part @ second.mT).clamp(min=0)
        total += float(gaussian_kernel(distances, sigma**2).sum())
    return total / (len(first) * len(second))


def _checked(features_1: Tensor, features_2: Tensor) -> tuple[Tensor, Tensor]:
    if features_1.ndim != 2 or features_2.ndim != 2 or features_1.shape[1] != features_2.shape[1]:
        raise ValueError(
            f"expected (N, d) features of one width, got {tuple(features_1.shape)} and {tuple(features_2.shape)}; use "
            "one extractor for both sets"
        )
    if min(len(features_1), len(features_2)) < _FEWEST:
        raise ValueError(
            f"expected at least two images per set, got {len(features_1)} and {len(features_2)}; evaluate more images"
        )
    return features_1.double(), features_2.double()
