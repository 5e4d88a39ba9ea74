"""Total variation of images, as five well-known programs define it, so that their weights carry over."""

import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.precision import at_least_float32, float32_island

TV_CONVENTIONS = ("fast_neural_style", "neural_style_pt", "lengstrom", "crowsonkb", "magenta")


def total_variation(images: Tensor, convention: str) -> Tensor:
    """Measure how much neighboring pixels differ, one value per image.

    With dx, dy the differences of horizontal and vertical neighbors in [0, 1], and mean and sum over all of an image's
    differences and channels:

    - `fast_neural_style` (also neural-style and texture_nets in Lua): 1/2 sum((255 dx)^2 + (255 dy)^2), without the
      differences along the last row and column. Those programs add it to the gradient only; weight 1e-6 of a batch sum.
    - `neural_style_pt`: sum |255 dx| + sum |255 dy|; weight 1e-3.
    - `lengstrom`: mean (255 dx)^2 + mean (255 dy)^2; weight 2e2 of the batch mean.
    - `crowsonkb`: 2 * (mean dx^2 / 3 + mean dy^2 / 3 + (means over both diagonals) / 12), edges replicated; weight 2.
    - `magenta`: (mean dx^2 + mean dy^2) / 2; weight 1e4 of the batch mean.

    Args:
        images: (B, C, H, W) in [0, 1], H and W >= 2.
        convention: one of `TV_CONVENTIONS`.

    Returns:
        (B,) values >= 0, at least float32, in the convention's own pixel range.

    Raises:
        ValueError: on an unknown convention, or images without neighboring pixels.

    Source: fast_neural_style/TotalVariation.lua of jcjohnson/fast-neural-style, neural_style.py of
    ProGamerGov/neural-style-pt, src/optimize.py of lengstrom/fast-style-transfer, style_transfer.py of
    crowsonkb/style-transfer-pytorch (nine-point version), image_stylization/learning.py of magenta/magenta.
    """
    if convention not in TV_CONVENTIONS:
        raise ValueError(f"expected a total variation convention of {', '.join(TV_CONVENTIONS)}; got {convention!r}")
    if images.ndim != 4 or min(images.shape[2:]) < 2:
        raise ValueError(f"total_variation expects (B, C, H >= 2, W >= 2), got shape {tuple(images.shape)}")
    with float32_island(images):
        images = at_least_float32(images)
        if convention == "crowsonkb":
            return _nine_point(images)
        across = images[..., :, 1:] - images[..., :, :-1]  # (B, C, H, W-1)
        down = images[..., 1:, :] - images[..., :-1, :]  # (B, C, H-1, W)
        over = (1, 2, 3)
        if convention == "fast_neural_style":
            squares = across[..., :-1, :].square().sum(over) + down[..., :, :-1].square().sum(over)
            return 255**2 / 2 * squares
        if convention == "neural_style_pt":
            return 255 * (across.abs().sum(over) + down.abs().sum(over))
        means = across.square().mean(over) + down.square().mean(over)
        return means * (255**2 if convention == "lengstrom" else 0.5)


def _nine_point(images: Tensor) -> Tensor:
    """Compare every pixel with its eight neighbors; a diagonal counts a quarter of a side."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")  # (B, C, H+2, W+2)
    differences = (
        (padded[..., 1:-1, 2:] - images, 1 / 3),
        (padded[..., 2:, 1:-1] - images, 1 / 3),
        (padded[..., 1:, 1:] - padded[..., :-1, :-1], 1 / 12),
        (padded[..., 1:, :-1] - padded[..., :-1, 1:], 1 / 12),
    )
    return 2 * sum(
        (weight * difference.square().mean((1, 2, 3)) for difference, weight in differences), images.new_zeros(())
    )
