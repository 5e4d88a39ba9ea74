"""How a filter's strength, 0 to 1.5, turns into a blend amount, at most 1, and an excess above it."""

from torch import Tensor


def split_strength(strength: float) -> tuple[float, float]:
    """Split a strength into the blend amount, its part up to 1, and the excess factor, its part from 1 on."""
    return min(strength, 1.0), max(strength, 1.0)


def blend(images: Tensor, filtered: Tensor, amount: float) -> Tensor:
    """Mix two pictures: `images` at amount 0 (to the last bit), `filtered` at 1, and on along the line beyond 1.

    Prints and drawings take their whole strength as the amount: what exceeds 1 leads further away from the photograph,
    so that every measure of the style goes on rising. Were it spent on bigger dots or denser strokes instead, means of
    areas, which a print on white paper raises, would fall back toward the photograph's (halftone, 16 photographs of
    128 px: the projection of palettes would read 0.2 at strength 1.25 and -0.6 at 1.5).

    Args:
        images: (B, 3, H, W) in [0, 1].
        filtered: a shape that broadcasts with it, in [0, 1].
        amount: >= 0.

    Returns:
        The mixture; beyond 1 not confined to [0, 1].
    """
    return images + amount * (filtered - images)


def length_scale(images: Tensor) -> float:
    """Return pixels per unit of the filters' lengths, which are given for pictures of 256 px on the short side."""
    return min(images.shape[-2:]) / 256
