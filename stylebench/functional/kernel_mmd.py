"""Squared maximum mean discrepancies between two samples of features as losses of style, per image, with gradients.

A style loss compares the features at the positions of two images as if they were samples of two distributions; the
Gram matrix is the case of the kernel (x.y)^2. For measuring, between sets of images, see `kernel_distance.py`.
"""

from torch import Tensor

from stylebench.functional.precision import at_least_float32, float32_island


def gaussian_kernel(squared_distances: Tensor, variance: float | Tensor) -> Tensor:
    """Return exp(-d^2 / (2 variance)) of squared distances."""
    return (-squared_distances / (2 * variance)).exp()


def mmd_linear(features: Tensor, style: Tensor) -> Tensor:
    """Compute the squared MMD under the kernel x.y: the squared distance of the mean features.

    Args:
        features: (B, C, M) features at M positions, any real range.
        style: (1 or B, C, M') features at M' positions.

    Returns:
        (B,) values >= 0, at least float32, not divided by C.

    Raises:
        ValueError: if shapes do not fit.

    Source: Li et al. 2017.
    """
    _check_samples("mmd_linear", features, style)
    return (at_least_float32(features).mean(2) - at_least_float32(style).mean(2)).square().sum(1)  # (B,)


def mmd_polynomial(features: Tensor, style: Tensor, offset: float = 0.0, degree: int = 2) -> Tensor:
    """Compute the biased squared MMD under the kernel (x.y + offset)^degree, from all pairs of positions.

    With offset 0 and degree 2 it is the squared Frobenius norm of the difference of the Gram matrices, 4 C^2 times the
    loss of Gatys et al. It takes M^2 memory: for whole maps, `optimization.style_losses.PolynomialMMD` has the closed
    form.

    Args:
        features: (B, C, M) features at M positions, any real range.
        style: (1 or B, C, M') features at M' positions.
        offset: c, >= 0.
        degree: d, >= 1.

    Returns:
        (B,) values >= 0 up to rounding, at least float32.

    Raises:
        ValueError: if shapes do not fit, or the kernel is not positive definite.

    Example:
        >>> mmd_polynomial(torch.ones(1, 1, 2), torch.zeros(1, 1, 3), offset=1.0)  # 4 + 1 - 2
        tensor([3.])

    Source: Li et al. 2017, "Demystifying Neural Style Transfer".
    """
    _check_samples("mmd_polynomial", features, style)
    if not offset >= 0 or degree < 1:
        raise ValueError(f"expected an offset >= 0 and a degree >= 1, got {offset} and {degree}")
    with float32_island(features):
        features, style = at_least_float32(features), at_least_float32(style)
        pairs = ((features, features), (style, style), (features, style))
        # (1 or B, M, M') each, and of them the mean
        own, other, cross = (((a.mT @ b + offset) ** degree).mean((1, 2)) for a, b in pairs)
        return own + other - 2 * cross  # (B,)


def mmd_gaussian(features: Tensor, style: Tensor, variance: float | Tensor | None = None) -> Tensor:
    """Estimate the squared MMD under a Gaussian kernel from pairs of positions, without bias, in linear time.

    The mean over pairs of k(x, x') + k(s, s') - k(x, s') - k(x', s). For positions drawn with replacement its
    expectation is the squared MMD of the two whole maps. Single values may be negative, and stay so.

    Args:
        features: (B, C, 2P) features at random positions, any real range; x are the first P, x' the last.
        style: (1 or B, C, 2P), likewise s and s'.
        variance: of the kernel: a number, or (B,); None for `pair_variance`.

    Returns:
        (B,) values in [-2, 2], at least float32.

    Raises:
        ValueError: if shapes do not fit, or the number of positions is odd.

    Source: Li et al. 2017; Gretton et al. 2012, "A Kernel Two-Sample Test", the linear-time statistic.
    """
    distances = _pair_distances(features, style)
    if variance is None:
        variance = _mean_distance(distances)
    if isinstance(variance, Tensor) and variance.ndim:
        variance = variance.unsqueeze(1)  # (B, 1)
    own, other, *crossed = (gaussian_kernel(distance, variance) for distance in distances)
    return (own + other - crossed[0] - crossed[1]).mean(1)  # (B,)


def pair_variance(features: Tensor, style: Tensor) -> Tensor:
    """Return the variance that `mmd_gaussian` takes by default: the mean squared distance of the pairs it compares.

    Args:
        features: (B, C, 2P).
        style: (1 or B, C, 2P).

    Returns:
        (B,) values > 0 without a gradient; 1 where all distances are 0.

    Raises:
        ValueError: as `mmd_gaussian`.

    Source: Li et al. 2017. Their code, lyttonhao/Neural-Style-MMD, mmd_loss.py, sets twice the variance to this
        distance: a narrower kernel.
    """
    return _mean_distance(_pair_distances(features, style))


def _mean_distance(distances: tuple[Tensor, ...]) -> Tensor:
    found = sum(distance.detach().mean(1) for distance in distances) / len(distances)
    assert isinstance(found, Tensor)
    return found.where(found > 0, found.new_ones(()))


def _pair_distances(features: Tensor, style: Tensor) -> tuple[Tensor, ...]:
    """Return the squared distances of x and x', s and s', x and s', x' and s; (1 or B, P) each."""
    _check_samples("mmd_gaussian", features, style)
    if features.shape[2] != style.shape[2] or features.shape[2] % 2:
        raise ValueError(
            f"mmd_gaussian expects one even number of positions of both, got {features.shape[2]} and {style.shape[2]}; "
            "draw as many of each"
        )
    first, second = at_least_float32(features).chunk(2, 2)  # (B, C, P)
    style_first, style_second = at_least_float32(style).chunk(2, 2)
    pairs = ((first, second), (style_first, style_second), (first, style_second), (second, style_first))
    return tuple((a - b).square().sum(1) for a, b in pairs)


def _check_samples(name: str, features: Tensor, style: Tensor) -> None:
    if (
        features.ndim != 3
        or style.ndim != 3
        or features.shape[1] != style.shape[1]
        or style.shape[0] not in (1, features.shape[0])
    ):
        raise ValueError(
            f"{name} expects features (B, C, M) and a style (1 or B, C, M'), got {tuple(features.shape)} and "
            f"{tuple(style.shape)}; take both from the same layer of the same encoder, positions flattened"
        )
