"""Cartoons: brightness in few soft steps, and dark outlines."""

import torch
from torch import Tensor

from stylebench.functional.color import luma
from stylebench.worlds.filters.smoothing import bilateral_blur, difference_of_gaussians
from stylebench.worlds.filters.strength import blend, length_scale, split_strength


def soft_quantize(values: Tensor, levels: float, slope: float) -> Tensor:
    """Round to the nearest of equidistant steps, with soft transitions between them.

    Args:
        values: any shape, in [0, 1].
        levels: how many steps the range holds, > 0; a step is 1 / levels.
        slope: steepness of the transitions; a transition takes about 2 / slope of a step.

    Returns:
        The same shape. Constant but for transitions, which lie at multiples of a step.

    Source: Winnemoeller, Olsen & Gooch 2006, "Real-time video abstraction", the distance measured in steps: for
    brightness in [0, 1] the bare formula would jump between steps instead of joining them.
    """
    steps = values * levels
    nearest = torch.round(steps)
    return (nearest + 0.5 * torch.tanh(slope * (steps - nearest))) / levels


def outlines(brightness: Tensor, sigma_px: float, threshold: float) -> Tensor:
    """Find dark lines along edges: how far a difference of Gaussians is above its threshold.

    Args:
        brightness: (B, 1, H, W) in [0, 1].
        sigma_px: narrow Gaussian in pixels, > 0.
        threshold: difference of the two blurs from which on there is a line, in units of brightness.

    Returns:
        (B, 1, H, W) in [0, 1]; the dark side of an edge.

    Source: Winnemoeller, Olsen & Gooch 2006.
    """
    narrow, wide = difference_of_gaussians(brightness, sigma_px, 1.6)
    return torch.tanh(((wide - narrow) / threshold - 1).clamp(min=0))


def posterize_edges(
    images: Tensor,
    strength: float = 1.0,
    *,
    levels: float = 8.0,
    slope: float = 10.0,
    smoothing: float = 3.0,
    edge_sigma: float = 1.2,
    edge_threshold: float = 0.012,
    edge_amount: float = 1.0,
    vividness: float = 0.25,
) -> Tensor:
    """Draw as a cartoon: smoothed areas, brightness in steps, dark outlines.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        strength: in [0, 1.5]; blends smoothing, steps and chroma up to 1, makes steps harder and chroma stronger
            beyond; multiplies the outlines.
        levels: steps of brightness.
        slope: steepness of the transitions between steps.
        smoothing: Gaussian of the bilateral filter, for 256 px.
        edge_sigma: narrow Gaussian of the outlines, for 256 px.
        edge_threshold: of `outlines`.
        edge_amount: darkness of the outlines, in [0, 1].
        vividness: gain of chroma; 0 keeps it.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: Winnemoeller, Olsen & Gooch 2006, "Real-time video abstraction".
    """
    amount, excess = split_strength(strength)
    scale = length_scale(images)
    smooth = bilateral_blur(images, smoothing * scale, 0.08, passes=2)
    brightness = luma(smooth)
    steps = soft_quantize(brightness, levels, slope * excess)
    edge = outlines(brightness, edge_sigma * scale, edge_threshold)
    drawn = steps + (1 + vividness * excess) * (smooth - brightness)
    return blend(images, drawn, amount).clamp(0, 1) * (1 - (strength * edge_amount * edge).clamp(max=1))
