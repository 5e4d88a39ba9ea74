"""Gram matrices of feature maps and the distances between them, under the five scalings found in the literature.

With N channels and M = H*W positions, `gram_matrix` returns G = F F^T / M, so images of different sizes compare. The
sources differ by further factors of N only; `GRAM_NORMS` names them, and `convert_gram_loss` converts between them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stylebench.functional.precision import at_least_float32, float32_island

GRAM_NORMS = ("gatys", "johnson_paper", "cchw", "hw_mean", "relative")

_LEAST_ENERGY = 1e-12  # below this squared norm a Gram matrix is no unit to measure others in


def gram_matrix(features: Tensor) -> Tensor:
    """Compute the channel correlations of a feature map, averaged over its H*W positions.

    A channels_last map is read in place, and its gradient is channels_last too.

    Args:
        features: (B, C, H, W) activations, any real range, any floating type.

    Returns:
        (B, C, C) symmetric positive semi-definite matrices, at least float32 whatever the input.

    Raises:
        ValueError: if `features` is not four-dimensional.

    Source: Gatys, Ecker & Bethge 2015, eq. 2, with the 1/M of their eq. 3 moved here.
    """
    if features.ndim != 4:
        raise ValueError(f"gram_matrix expects (B, C, H, W), got shape {tuple(features.shape)}; add or drop axes")
    with float32_island(features):
        flat = at_least_float32(features).flatten(2)  # (B, C, H*W); a view for both memory formats
        # After the lift to float32 no sum over positions overflows, so the division can wait for the small matrix.
        gram: Tensor = _SelfProduct.apply(flat)
        return gram / flat.shape[2]  # (B, C, C)


class _SelfProduct(torch.autograd.Function):
    """X X^T with the gradient (D + D^T) X: one product where autograd, blind to the symmetry, takes two and a sum."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor) -> Tensor:
        ctx.save_for_backward(flat)
        return flat @ flat.mT  # (B, C, C)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        flat: Tensor = ctx.saved_tensors[0]
        with float32_island(flat):
            symmetric = gradient + gradient.mT  # (B, C, C)
            if flat.stride(1) == 1 and flat.stride(2) != 1:  # channels_last in, channels_last out
                return (flat.mT @ symmetric).mT  # (B, C, H*W)
            return symmetric @ flat  # (B, C, H*W)


def gram_loss(gram: Tensor, target: Tensor, norm: str) -> Tensor:
    """Measure the distance of Gram matrices from a target, one value per sample.

    With dG = gram - target and N channels: `gatys` ||dG||^2 / (4 N^2); `johnson_paper` and `hw_mean` (also magenta and
    pystiche) ||dG||^2 / N^2; `cchw` (the fast-neural-style family, with G / N and a mean) ||dG||^2 / N^4; `relative`
    ||dG||^2 / ||target||^2, the style's own energy as unit, which no rescaling of the encoder's layer changes. Norms
    are Frobenius norms. The target of `relative` should have passed `check_gram_energy` once.

    Args:
        gram: (B, N, N) from `gram_matrix`.
        target: (1 or B, N, N) from `gram_matrix`.
        norm: one of `GRAM_NORMS`.

    Returns:
        (B,) distances >= 0, at least float32.

    Raises:
        ValueError: on an unknown norm, or shapes that do not match.

    Example:
        >>> gram_loss(torch.zeros(1, 2, 2), torch.ones(1, 2, 2), "hw_mean")
        tensor([1.])

    Source: Gatys et al. 2016, eq. 4; Johnson et al. 2016, section 3.2; `relative` is ours.
    """
    if norm not in GRAM_NORMS:
        raise ValueError(f"expected a Gram norm of {', '.join(GRAM_NORMS)}; got {norm!r}")
    if gram.shape[1:] != target.shape[1:] or target.shape[0] not in (1, gram.shape[0]):
        raise ValueError(
            f"gram_loss expects a target of shape {tuple(gram.shape)}, or of one matrix for all samples, got "
            f"{tuple(target.shape)}; compute both at the same layer of the same encoder"
        )
    with float32_island(gram):
        gram, target = at_least_float32(gram), at_least_float32(target)
        squared = (gram - target).square().sum((1, 2))  # (B,)
        if norm == "relative":
            return squared / target.square().sum((1, 2))  # (B,)
        return squared * _factor(norm, gram.shape[1])


def _factor(norm: str, channels: int) -> float:
    """Return what multiplies ||dG||^2 in the norms that depend on the channel count alone."""
    factors = {
        "gatys": 1 / (4 * channels**2),
        "johnson_paper": 1 / channels**2,
        "cchw": 1 / channels**4,
        "hw_mean": 1 / channels**2,
    }
    if norm not in factors:
        raise ValueError(
            f"expected a norm with a fixed ratio to the others ({', '.join(factors)}), got {norm!r}; `relative` "
            "divides by the style's own energy, so compute it from the Gram matrices"
        )
    return factors[norm]


def convert_gram_loss(value: float, channels: int, source: str, target: str) -> float:
    """Convert a layer's Gram loss between the norms with a fixed ratio: all but `relative`.

    Args:
        value: the loss, or one over its weight.
        channels: N of the layer.
        source: the norm that `value` is in.
        target: the norm to convert to.

    Returns:
        The same distance in the other norm.

    Raises:
        ValueError: on an unknown norm or `relative`.
    """
    return value * _factor(target, channels) / _factor(source, channels)


def check_gram_energy(grams: Mapping[str, Tensor]) -> None:
    """Refuse layers whose Gram matrix is too small to be the unit of the `relative` norm; call it once, not in a step.

    Args:
        grams: (B, C, C) target matrices by layer.

    Raises:
        ValueError: naming the layers with a squared Frobenius norm below 1e-12 (or not a number).
    """
    energies = {layer: at_least_float32(gram).square().sum((-2, -1)).min().item() for layer, gram in grams.items()}
    dead = [f"{layer} ({energy:.3g})" for layer, energy in energies.items() if not energy >= _LEAST_ENERGY]
    if dead:
        raise ValueError(
            f"the style's Gram matrix must have a squared norm of at least {_LEAST_ENERGY:g} to measure in, found "
            f"less at {', '.join(dead)}; leave the layer out of the style layers, or use another style image or norm"
        )
