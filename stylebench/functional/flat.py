"""Images of one color, on which instance norm has no derivative worth following."""

import torch
from torch import Tensor


def detach_flat(outputs: Tensor, inputs: Tensor) -> Tensor:
    """Let no gradient pass through the outputs that a network made of images of a single color.

    On a constant map instance norm divides by sqrt(eps) (0.003) alone. Its derivative, 316 a layer, multiplies over the
    fifteen layers of a style network to infinity, and one blank photograph ends a training of thousands of batches. As
    little as one pixel that differs keeps the product finite, so nothing else is held back.

    Args:
        outputs: (B, 3, H, W), what the network made of `inputs`.
        inputs: (B, 3, H, W) images, any range.

    Returns:
        `outputs`, the same values; samples whose input is constant in every channel are detached.
    """
    flat = (inputs.amax((2, 3)) == inputs.amin((2, 3))).all(1)  # (B,)
    return torch.where(flat.view(-1, 1, 1, 1), outputs.detach(), outputs)
