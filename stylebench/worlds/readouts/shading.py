"""How brightness follows light."""

import torch
from torch import Tensor

from stylebench.worlds.readouts.regions import region_means, spread

_RIDGE = 1e-5  # light has variances around 1e-2
_DARK = 0.1  # brightness below which a region's own no longer divides: slopes there would be noise


def shading_slopes(luminance: Tensor, forms: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Regress relative brightness on forms of light, with one mean for each region and common slopes.

    Brightness is taken relative to the region's mean, so that slopes don't depend on how light the material is.

    Args:
        luminance: (B, H, W) in [0, 1].
        forms: (B, K, H, W) forms of light, such as n.l and its stepped version.
        regions: (B, R, H, W) bool, disjoint.

    Returns:
        (B, K) slopes, and (B, K, K) covariances of the forms within regions: slopes s explain a variance s^T C s.

    Source: experiments/worlds/README.md.
    """
    means, sizes = region_means(luminance[:, None], regions)  # (B, R, 1)
    relative = luminance[:, None] / (spread(means, regions) + _DARK)
    planes = torch.cat([forms, relative], 1)  # (B, K + 1, H, W)
    means, _ = region_means(planes, regions)
    centered = (planes * regions.any(1, keepdim=True) - spread(means, regions)).flatten(2)
    total = sizes.sum(1).clamp(min=1)[:, None, None]
    covariance = centered @ centered.mT / total  # (B, K + 1, K + 1)
    forms_only = covariance[:, :-1, :-1]
    ridge = _RIDGE * torch.eye(forms.shape[1], dtype=luminance.dtype)
    return torch.linalg.solve(forms_only + ridge, covariance[:, :-1, -1:])[..., 0], forms_only
