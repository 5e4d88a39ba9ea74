"""Content distance: how far a feature map is from that of the content image."""

import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.precision import at_least_float32, float32_island


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """Compute the squared difference of two feature maps, averaged over C*H*W, one value per sample.

    Gatys et al. 2016 (eq. 1) take half the sum: C*H*W / 2 times this value.

    Args:
        features: (B, C, H, W) activations, any real range.
        target: (1 or B, C, H, W) activations to compare with.

    Returns:
        (B,) mean squared errors, at least float32.

    Raises:
        ValueError: if the shapes do not match.

    Example:
        >>> content_loss(torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 3.0]]]]))
        tensor([5.])

    Source: Johnson et al. 2016, section 3.2, eq. 2.
    """
    if features.ndim != 4 or features.shape[1:] != target.shape[1:] or target.shape[0] not in (1, features.shape[0]):
        raise ValueError(
            f"content_loss expects two (B, C, H, W) maps of one size, got {tuple(features.shape)} and "
            f"{tuple(target.shape)}; compute both at the same layer from images of the same size"
        )
    with float32_island(features):
        features, target = at_least_float32(features), at_least_float32(target).expand_as(features)
        # The sum's gradient is a view, so that going back costs one pass over the map; that of `mean` is a copy more.
        return F.mse_loss(features, target, reduction="none").sum((1, 2, 3)) / features[0].numel()  # (B,)
