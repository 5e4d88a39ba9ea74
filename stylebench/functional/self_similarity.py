"""Content by self-similarity: which places of an image look alike, whatever they look like."""

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 1024  # of the similarities, at a time
_ENTRIES = 1 << 23  # similarities in memory at a time: 64 MiB


def self_similarity_divergence(features: Tensor, target: Tensor) -> Tensor:
    """Compute CFSD by rows: how far the self-similarity of feature maps is from the target's.

    With f_i the features at position i divided by C, row i of a map's self-similarity is softmax_j(f_i . f_j). The
    distance is the mean over rows of KL(target row || row). The published code sums over rows, so that its values are
    H*W times ours and grow with the image.

    Args:
        features: (B, C, H, W) activations of the images.
        target: (1 or B, C, H, W) activations of their contents.

    Returns:
        (B,) float64 >= 0, in nats.

    Raises:
        ValueError: if the shapes do not match.

    Source: Chung et al. 2024 (StyleID), section 5.1; jiwoogit/StyleID, `evaluation/image_metrics.py`, for direction
    and scaling.
    """
    if features.ndim != 4 or features.shape[1:] != target.shape[1:] or len(target) not in (1, len(features)):
        raise ValueError(
            f"expected two (B, C, H, W) maps of one size, got {tuple(features.shape)} and {tuple(target.shape)}; "
            "compute both at the same layer from images of the same size"
        )
    channels = features.shape[1]
    features = features.double().flatten(2).mT / channels  # (B, H*W, C)
    target = (target.double().flatten(2).mT / channels).expand_as(features)  # (B, H*W, C)
    positions = features.shape[1]
    # The whole (H*W)^2 matrix of a large map would not fit: rows are independent, so they go by in groups.
    rows = max(1, min(_ROWS, _ENTRIES // (len(features) * positions)))
    total = features.new_zeros(len(features))  # (B,)
    for start in range(0, positions, rows):
        place = slice(start, start + rows)
        wanted, found = _log_rows(target, place), _log_rows(features, place)  # (B, rows, H*W) each
        total += F.kl_div(found, wanted, reduction="none", log_target=True).sum((1, 2))
    return (total / positions).clamp(min=0)  # rounding may leave -1e-17 for equal maps


def _log_rows(flat: Tensor, place: slice) -> Tensor:
    """Return rows of the logarithm of the self-similarity, (B, rows, H*W)."""
    return torch.log_softmax(flat[:, place] @ flat.mT, dim=2)
