"""The fine structure of paper, shared by the filters that draw on it."""

from torch import Tensor

from stylebench.functional.hash_noise import turbulence
from stylebench.worlds.filters.strength import length_scale


def paper_grain(seeds: Tensor, images: Tensor, period: float = 4.0, stream: int = 0) -> Tensor:
    """Draw grain for a batch of pictures.

    Args:
        seeds: (B,) int64.
        images: (B, 3, H, W), of which only size and device count.
        period: of the coarsest structure, for 256 px; never under 1.5 px, which only white noise could show.
        stream: as for `hash_uniform`.

    Returns:
        (B, 1, H, W) in [-1, 1], mean 0 over seeds.
    """
    height, width = images.shape[-2:]
    period_px = max(1.5, period * length_scale(images))
    return turbulence(seeds, height, width, period_px, octaves=2, gain=0.7, stream=stream)[:, None]
