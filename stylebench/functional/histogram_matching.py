"""Histogram matching: the distribution of each color channel becomes another image's."""

import torch
from torch import Tensor


def match_histograms(images: Tensor, reference: Tensor) -> Tensor:
    """Give each channel the distribution of values of a reference, keeping the order of its own.

    The pixel of rank r among n gets the reference's quantile (r + 1/2) / n; equal values share the mean of their ranks,
    so that a flat area stays flat.

    Args:
        images: (B, C, H, W), any real range.
        reference: (1 or B, C, h, w) of any size.

    Returns:
        (B, C, H, W), within the reference's range.

    Raises:
        ValueError: if the shapes do not fit.

    Source: the post-processing step of leongatys/DeepTextures DeepImageSynthesis/Misc.py, here without bins.
    """
    if images.ndim != 4 or reference.ndim != 4 or images.shape[1] != reference.shape[1]:
        raise ValueError(
            f"match_histograms expects (B, C, H, W) images and references of equal C, got {tuple(images.shape)} and "
            f"{tuple(reference.shape)}"
        )
    if len(reference) not in (1, len(images)):
        raise ValueError(f"expected one reference, or one an image, got {len(reference)} for {len(images)} images")
    flat = images.flatten(2)  # (B, C, H*W)
    sorted_reference = reference.flatten(2).sort(2).values.expand(len(images), -1, -1)  # (B, C, h*w)
    matched = [
        torch.stack([_matched(channel, wanted) for channel, wanted in zip(one, other, strict=True)])
        for one, other in zip(flat, sorted_reference, strict=True)
    ]
    return torch.stack(matched).view_as(images)  # (B, C, H, W)


def _matched(values: Tensor, wanted: Tensor) -> Tensor:
    """Map (n,) values to quantiles of (m,) sorted ones."""
    _, group, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    quantiles = (ends - counts.double() / 2) / len(values)  # of each distinct value, at the middle of its ranks
    place = (quantiles * len(wanted) - 0.5).clamp(0, len(wanted) - 1)
    low = place.floor().long()
    high = (low + 1).clamp(max=len(wanted) - 1)
    found = torch.lerp(wanted[low], wanted[high], (place - low).to(wanted.dtype))
    return found[group].to(values.dtype)
