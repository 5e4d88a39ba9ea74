"""What is drawn along outlines: the mean color at each distance from them."""

import torch.nn.functional as F
from torch import Tensor


def outline_profile(residuals: Tensor, outline: Tensor, seen: Tensor, reach: int = 4) -> Tensor:
    """Average residual colors over all pixels at the same signed distance from an outline.

    Args:
        residuals: (B, C, H, W) colors, less their region's own.
        outline: (B, H, W) signed distances, in steps of the profile; a bin reaches half a step to either side.
        seen: (B, H, W) bool, pixels that count.
        reach: largest distance, in steps.

    Returns:
        (B, 2 reach + 1, C) means from distance -reach to reach; 0 where there is no pixel.

    Source: experiments/worlds/README.md.
    """
    bins = 2 * reach + 1
    number = (outline.round() + reach).clamp(-1, bins).long()  # -1 and bins: out of reach
    number = number.masked_fill(~seen, bins)
    member = F.one_hot(number.flatten(1) + 1, bins + 2)[..., 1:-1].to(residuals.dtype)  # (B, P, bins)
    return member.mT @ residuals.flatten(2).mT / member.sum(1).clamp(min=1)[..., None]
