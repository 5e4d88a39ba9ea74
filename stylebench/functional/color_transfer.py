"""Color control of style transfer: a style picture in the content's colors, or a result with the content's chroma."""

import torch
from torch import Tensor

from stylebench.functional.color import luma

_JITTER = 1e-5  # of a covariance of unit variances: what makes one without full rank invertible
_LEAST_STD = 1e-4  # below a 39th of a level of 255 a channel has no contrast, only rounding


def coral(images: Tensor, reference: Tensor) -> Tensor:
    """Give images the color statistics of a reference: mean, standard deviation and correlation of the channels.

    Channels are standardized, whitened by their own correlation, colored by the reference's, and given its deviation
    and mean. A channel without contrast takes the reference's mean. Unlike in the reference code, covariances are
    divided by n - 1: there, the contrast of the result is multiplied by the root of the ratio of pixel counts.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        reference: (1 or B, 3, h, w) RGB in [0, 1], of any size.

    Returns:
        (B, 3, H, W) RGB of the images' type, not clamped; computed in float64.

    Raises:
        ValueError: if a shape does not fit.

    Source: Sun, Feng & Saenko 2016, "Return of Frustratingly Easy Domain Adaptation", as Gatys et al.
        2016, "Preserving Color in Neural Artistic Style Transfer", use it; xunhuang1995/AdaIN-style, lib/utils.lua.
    """
    return _aligned(images, reference, divided=True, jitter=_JITTER)


def coral_legacy(images: Tensor, reference: Tensor) -> Tensor:
    """Do what the reference codes do, for parity with them alone: products of pixels, not divided by their number.

    The contrast of the result is off by sqrt(h*w / (H*W)). Arguments, result and errors are those of `coral`.

    Source: naoto0804/pytorch-AdaIN, function.py; xunhuang1995/AdaIN-style, lib/utils.lua.
    """
    return _aligned(images, reference, divided=False, jitter=1.0)


def luminance_only(stylized: Tensor, content: Tensor) -> Tensor:
    """Combine the luminance of a stylized image with the chroma of its content.

    Y is that of ITU-R BT.601. Every linear space with this Y and two color differences (YUV, YIQ, YCbCr) gives the
    same: to exchange Y alone adds its change to red, green and blue.

    Args:
        stylized: (B, 3, H, W) RGB in [0, 1].
        content: (B, 3, H, W) RGB in [0, 1].

    Returns:
        (B, 3, H, W) RGB, not clamped: a bright pixel of saturated color may leave [0, 1].

    Raises:
        ValueError: if the shapes differ.

    Source: Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer", without its matching of luminance
        histograms.
    """
    if stylized.ndim != 4 or stylized.shape[1] != 3 or stylized.shape != content.shape:
        raise ValueError(
            f"luminance_only expects two batches of RGB pictures of one size, got {tuple(stylized.shape)} and "
            f"{tuple(content.shape)}; resize one to the other first"
        )
    return content + (luma(stylized) - luma(content))


def _aligned(images: Tensor, reference: Tensor, divided: bool, jitter: float) -> Tensor:
    _check(images, reference)
    own, _, own_covariance = _moments(images)
    _, mean, covariance = _moments(reference)
    count, wanted_count = (part.shape[2] * part.shape[3] - 1 for part in (images, reference))
    root = _root(_correlation(own_covariance) * (1 if divided else count), jitter)
    wanted = _root(_correlation(covariance) * (1 if divided else wanted_count), jitter)
    # Both are symmetric, so A B^-1 is the transposed solution of B X = A.
    colored: Tensor = torch.linalg.solve(root, wanted.expand_as(root)).mT  # (B, 3, 3)
    transform = _deviations(covariance).unsqueeze(2) * colored / _divisors(own_covariance).unsqueeze(1)
    return (transform @ own + mean).reshape(images.shape).to(images.dtype)


def _check(images: Tensor, reference: Tensor) -> None:
    for pictures in (images, reference):
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"coral expects (B, 3, H, W) RGB pictures, got shape {tuple(pictures.shape)}")
    if len(reference) not in (1, len(images)):
        raise ValueError(
            f"expected one reference, or one for each image, got {len(reference)} for {len(images)} images"
        )


def _moments(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the centered pixels (B, 3, H*W), their mean (B, 3, 1) and covariance (B, 3, 3), in float64."""
    flat = images.flatten(2).double()  # (B, 3, H*W)
    mean = flat.mean(2, keepdim=True)
    centered = flat - mean
    return centered, mean, centered @ centered.mT / max(flat.shape[2] - 1, 1)


def _deviations(covariance: Tensor) -> Tensor:
    return covariance.diagonal(dim1=1, dim2=2).sqrt()  # (B, 3)


def _divisors(covariance: Tensor) -> Tensor:
    """Return what standardizes the channels, (B, 3)."""
    return _deviations(covariance).clamp(min=_LEAST_STD)


def _correlation(covariance: Tensor) -> Tensor:
    divisors = _divisors(covariance)
    return covariance / (divisors.unsqueeze(2) * divisors.unsqueeze(1))  # (B, 3, 3)


def _root(matrices: Tensor, jitter: float) -> Tensor:
    """Return the symmetric roots of (B, 3, 3) symmetric positive semi-definite matrices plus jitter * I."""
    identity = torch.eye(3, dtype=matrices.dtype, device=matrices.device)
    values, vectors = torch.linalg.eigh(matrices + jitter * identity)
    root: Tensor = (vectors * values.sqrt().unsqueeze(1)) @ vectors.mT
    return root
