"""The resize protocols of published feature metrics: the same images under two of them have distances of their own."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.checks import check_choice


def resize_clean(images: Tensor, size_px: int) -> Tensor:
    """Resize as clean-fid: bicubic with antialiasing, in float, clipped, not rounded.

    Args:
        images: (B, 3, H, W) float32 in [0, 255].
        size_px: side of the result.

    Returns:
        (B, 3, size_px, size_px) float32 in [0, 255].

    Source: Parmar, Zhang & Zhu 2022, section 3; GaParmar/clean-fid resize.py.
    """
    size = (size_px, size_px)
    return F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 255)


def resize_legacy_torch(images: Tensor, size_px: int) -> Tensor:
    """Resize as pytorch-fid: bilinear without antialiasing; arguments and result as `resize_clean`.

    Source: mseitzer/pytorch-fid inception.py.
    """
    return F.interpolate(images, (size_px, size_px), mode="bilinear", antialias=False, align_corners=False)


def resize_antialiased(images: Tensor, size_px: int) -> Tensor:
    """Resize as torchmetrics does from 1.8 on: bilinear with antialiasing; arguments and result as `resize_clean`.

    Source: Lightning-AI/torchmetrics image/fid.py.
    """
    return F.interpolate(images, (size_px, size_px), mode="bilinear", antialias=True, align_corners=False)


def resize_legacy_tf(images: Tensor, size_px: int) -> Tensor:
    """Resize as TensorFlow 1 and torch-fidelity: bilinear without antialiasing; arguments and result as `resize_clean`.

    Sample i of the result lies at i * H / size_px of the source, not between pixel centers, and the last row repeats.

    Source: tensorflow/tensorflow core/kernels/image_resizer_state.h, `align_corners` and `half_pixel_centers` false.
    """
    for dim in (3, 2):  # columns first, as the source does
        images = _interpolate(images, dim, size_px)
    return images


def _interpolate(images: Tensor, dim: int, size_px: int) -> Tensor:
    side = images.shape[dim]
    # The scale is rounded to float32 before it is multiplied, as in the source: double would pick other pixels.
    scale = torch.tensor(side / size_px, dtype=torch.float32, device=images.device)
    at = torch.arange(size_px, dtype=torch.float32, device=images.device) * scale
    low = at.long().clamp(max=side - 1)
    high = (low + 1).clamp(max=side - 1)
    share = (at - low).view(-1, 1) if dim == 2 else at - low
    first, second = images.index_select(dim, low), images.index_select(dim, high)
    return first + (second - first) * share


PROTOCOLS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "clean": resize_clean,
    "legacy_torch": resize_legacy_torch,
    "legacy_tf": resize_legacy_tf,
    "tm19": resize_antialiased,
}


def protocol(name: str) -> Callable[[Tensor, int], Tensor]:
    """Return a resize protocol: (B, 3, H, W) float32 in [0, 255] and a side to (B, 3, side, side).

    Raises:
        ValueError: if there is none of that name.
    """
    check_choice("resize", name, PROTOCOLS)
    return PROTOCOLS[name]
