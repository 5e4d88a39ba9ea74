"""Colors: luma, CIE Lab, and one color per picture plane."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stylebench.functional.pixels import LUMA

Color = tuple[float, float, float]

# Rows of linear sRGB to XYZ (IEC 61966-2-1), each divided by its sum, the white point D65.
_TO_XYZ = (
    (0.4124564 / 0.950470, 0.3575761 / 0.950470, 0.1804375 / 0.950470),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.088830, 0.1191920 / 1.088830, 0.9503041 / 1.088830),
)
_FROM_XYZ = torch.linalg.inv(torch.tensor(_TO_XYZ, dtype=torch.float64)).tolist()
_KNEE = 6 / 29  # below its cube the cube root of Lab is replaced by a line


def luma(images: Tensor) -> Tensor:
    """Compute brightness as television does.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].

    Returns:
        (B, 1, H, W) in [0, 1].

    Source: ITU-R BT.601.
    """
    red, green, blue = images.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]


def rgb_to_lab(images: Tensor) -> Tensor:
    """Convert sRGB colors to CIE Lab.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].

    Returns:
        (B, 3, H, W): L in [0, 100], a and b within about +-110, for the white point D65.

    Source: CIE 15:2004; the transfer curve is IEC 61966-2-1.
    """
    bright = ((images + 0.055) / 1.055).clamp(min=1e-4).pow(2.4)
    linear = torch.where(images <= 0.04045, images / 12.92, bright)
    relative = _mix_channels(linear, _TO_XYZ)
    root = relative.clamp(min=1e-6).pow(1 / 3)
    x, y, z = torch.where(relative > _KNEE**3, root, relative / (3 * _KNEE**2) + 4 / 29).unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert CIE Lab colors to sRGB; what the screen can't show is clipped.

    Args:
        lab: (B, 3, H, W) as `rgb_to_lab` returns.

    Returns:
        (B, 3, H, W) RGB in [0, 1].

    Source: CIE 15:2004; the transfer curve is IEC 61966-2-1.
    """
    light, a, b = lab.unbind(1)
    y = (light + 16) / 116
    root = torch.stack((y + a / 500, y, y - b / 200), 1)
    relative = torch.where(root > _KNEE, root * root * root, 3 * _KNEE**2 * (root - 4 / 29))
    linear = _mix_channels(relative, _FROM_XYZ).clamp(0, 1)
    bright = linear.clamp(min=1e-4).pow(1 / 2.4) * 1.055 - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, bright).clamp(0, 1)


def color_plane(color: Sequence[float], like: Tensor) -> Tensor:
    """Turn one RGB color into a (1, 3, 1, 1) tensor on the device of `like`, to be broadcast over images."""
    return torch.tensor(tuple(color), dtype=like.dtype, device=like.device)[None, :, None, None]


def _mix_channels(images: Tensor, rows: Sequence[Sequence[float]]) -> Tensor:
    """Multiply every pixel's three channels by a 3 x 3 matrix; written out, as a product could run in reduced TF32."""
    first, second, third = images.unbind(1)
    return torch.stack([row[0] * first + row[1] * second + row[2] * third for row in rows], 1)
