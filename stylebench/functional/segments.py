"""How well known regions can still be told apart in a picture, by color alone."""

import torch
from torch import Tensor


def region_iou(images: Tensor, regions: Tensor) -> Tensor:
    """Assign each pixel to the region whose mean color in this picture is nearest, and compare with the true regions.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        regions: (B, R, H, W) bool, disjoint; empty ones are left out.

    Returns:
        (B,) mean intersection over union of the regions, in [0, 1]: 1 where every region has a color of its own, 1/R^2
        for a picture of one color and R regions of one size.

    Raises:
        ValueError: if the shapes do not fit, or an image has no region.
    """
    if (
        images.ndim != 4
        or regions.ndim != 4
        or images.shape[0] != regions.shape[0]
        or (images.shape[2:] != regions.shape[2:])
    ):
        raise ValueError(
            f"region_iou expects (B, 3, H, W) images and (B, R, H, W) regions, got {tuple(images.shape)} and "
            f"{tuple(regions.shape)}"
        )
    masks = regions.to(images.dtype).flatten(2)  # (B, R, H*W)
    area = masks.sum(2)  # (B, R)
    if not bool((area > 0).any(1).all()):
        raise ValueError("region_iou expects at least one region with pixels in every image")
    pixels = images.flatten(2)  # (B, 3, H*W)
    means = masks @ pixels.mT / area.clamp_min(1)[..., None]  # (B, R, 3)
    distance = torch.cdist(pixels.mT, means)  # (B, H*W, R)
    distance = distance.masked_fill((area == 0)[:, None], torch.inf)
    found = torch.nn.functional.one_hot(distance.argmin(2), regions.shape[1]).mT.to(images.dtype)  # (B, R, H*W)
    common = (found * masks).sum(2)
    union = found.sum(2) + area - common
    present = (area > 0).to(images.dtype)
    return (common / union.clamp_min(1) * present).sum(1) / present.sum(1)
