"""A picture's main colors replaced by those of a given palette."""

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.color import Color, lab_to_rgb, rgb_to_lab

_SAMPLES = 32  # the picture is reduced to so many pixels a side to find its main colors
_STEPS = 10
# Night blue, teal, terracotta, ochre, sand, cream.
SUNSET: tuple[Color, ...] = (
    (0.09, 0.08, 0.22),
    (0.10, 0.33, 0.42),
    (0.72, 0.25, 0.22),
    (0.93, 0.52, 0.25),
    (0.96, 0.77, 0.45),
    (0.99, 0.95, 0.82),
)


def main_colors(lab: Tensor, count: int) -> Tensor:
    """Find a picture's main colors by k-means, from dark to bright.

    Starts from the mean colors of equal shares of the pixels, ordered by brightness, so nothing is drawn at random.

    Args:
        lab: (B, 3, H, W) Lab colors.
        count: K, how many.

    Returns:
        (B, K, 3) Lab colors, sorted by L.

    Source: Lloyd 1982, "Least squares quantization in PCM"; as used for palettes by Chang et al. 2015.
    """
    small = F.adaptive_avg_pool2d(lab, _SAMPLES).flatten(2)  # (B, 3, N)
    order = small[:, :1].argsort(dim=2, stable=True)
    ranked = small.gather(2, order.expand_as(small))
    centers = torch.stack([part.mean(2) for part in ranked.tensor_split(count, dim=2)], 2)  # (B, 3, K)
    for _ in range(_STEPS):
        distance = (small[:, :, None] - centers[..., None]).square_().sum(1)  # (B, K, N)
        member = distance == distance.amin(1, keepdim=True)  # on a tie, of both
        size = member.sum(2)[:, None]  # (B, 1, K)
        total = torch.where(member[:, None], small[:, :, None], 0.0).sum(3)  # (B, 3, K)
        centers = torch.where(size > 0, total / size.clamp(min=1), centers)  # a center without pixels stays
    order = centers[:, :1].argsort(dim=2, stable=True)
    return centers.gather(2, order.expand_as(centers)).mT


def palette_map(
    images: Tensor, strength: float = 1.0, *, palette: tuple[Color, ...] = SUNSET, softness: float = 100.0
) -> Tensor:
    """Recolor: each of the picture's main colors moves to the palette's color of the same rank of brightness.

    A pixel moves by the mean of the main colors' moves, weighted by softmax(-squared Lab distance / softness).

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        strength: in [0, 1.5]; multiplies the moves.
        palette: RGB colors in [0, 1]; as many main colors are found.
        softness: tau, in squared Lab units; the larger, the more neighboring colors move together.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: Reinhard et al. 2001, "Color transfer between images"; palettes as in Chang et al. 2015, "Palette-based
    photo recoloring".
    """
    lab = rgb_to_lab(images)
    sources = main_colors(lab, len(palette))  # (B, K, 3)
    swatches = torch.tensor(palette, dtype=images.dtype, device=images.device)
    targets = rgb_to_lab(swatches.T[None, :, :, None])[0, :, :, 0].T  # (K, 3)
    targets = targets[targets[:, 0].argsort(dim=0, stable=True)]
    logits = torch.stack([-(lab - color[..., None, None]).square().sum(1) for color in sources.unbind(1)], 1)
    weights = torch.softmax(logits / softness, 1)  # (B, K, H, W)
    moves = targets - sources  # (B, K, 3)
    shift = sum((weights[:, k, None] * moves[:, k, :, None, None] for k in range(len(palette))), torch.zeros_like(lab))
    return lab_to_rgb(lab + strength * shift)
