"""Finding things that stand a little off, and putting them back."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_GAIN = 0.03  # share of variance that a shift must explain beyond no shift: noise alone moves a maximum
_RIDGE = 1e-4  # relative; templates may be alike


def find_shifts(images: Tensor, templates: Tensor, objects: Tensor, reach_px: int = 4, halo_px: int = 2) -> Tensor:
    """Find for each object the shift at which templates explain it and its surroundings best.

    The contrast of a mask against a ring around it, the plainer score, is led astray by cast shadows, shading and
    textures: on renders of objects in their places it moved 1 to 66 % of them, this one 0 to 3 % (64 px, 14 styles).

    Args:
        images: (B, C, H, W).
        templates: (B, K, C, H, W), pictures with everything in its place; an image may be any mixture of them.
        objects: (B, N, H, W) bool, where the objects are in the templates.
        reach_px: largest shift along either axis.
        halo_px: how far around a mask an object's surroundings reach.

    Returns:
        (B, N, 2) int64 shifts, down and to the right, 0 for empty masks.

    Source: experiments/worlds/README.md, with matching in place of contrast.
    """
    batch, channels = images.shape[:2]
    if not objects.shape[1]:
        return torch.zeros(batch, 0, 2, dtype=torch.int64)
    count, known, side = objects.shape[1], templates.shape[1], 2 * reach_px + 1
    windows = _windows(objects.to(images.dtype), halo_px)
    sizes = windows.sum((2, 3)).clamp(min=1)  # (B, N)
    means = torch.einsum("bnp,bkcp->bnkc", windows.flatten(2), templates.flatten(3)) / sizes[..., None, None]
    centered = (templates[:, None] - means[..., None, None]) * windows[:, :, None, None]  # (B, N, K, C, H, W)
    # One group for each channel of an image: every kernel slides over its own plane only.
    shared = windows[:, None].expand(-1, channels, -1, -1, -1)
    kernels = torch.cat([centered.permute(0, 3, 1, 2, 4, 5).flatten(2, 3), shared], 2)  # (B, C, N K + N, H, W)
    padded = F.pad(images, (reach_px,) * 4, mode="replicate")
    sums = F.conv2d(padded.flatten(0, 1)[None], kernels.flatten(0, 2)[:, None], groups=batch * channels)
    sums = sums[0].view(batch, channels, count * (known + 1), side * side)
    products = sums[:, :, : count * known].sum(1).view(batch, count, known, -1)  # (B, N, K, S)
    squares = F.conv2d(padded.square().sum(1)[None], windows.flatten(0, 1)[:, None], groups=batch)
    squares = squares[0].view(batch, count, -1)
    total = squares - sums[:, :, count * known :].square().sum(1) / sizes[..., None]
    explained = _explained(centered.flatten(3), products) / total.clamp(min=1e-6)  # (B, N, S)
    best, place = explained.max(2)
    middle = side * side // 2
    place = torch.where(best > explained[:, :, middle] + _GAIN, place, middle)
    shifts = torch.stack([place // side, place % side], 2) - reach_px
    return shifts * objects.flatten(2).any(2)[..., None]


def _windows(masks: Tensor, halo_px: int) -> Tensor:
    """Return (B, N, H, W) masks with their surroundings, less other objects: these may have moved another way."""
    others = masks.sum(1, keepdim=True) - masks
    return _grown(masks, halo_px) * (others == 0)


def _explained(templates: Tensor, products: Tensor) -> Tensor:
    """Return the sum of squares that least squares on templates (B, N, K, P) explain, by products (B, N, K, S)."""
    gram = templates @ templates.mT
    scale = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    ridge = torch.eye(gram.shape[-1], dtype=gram.dtype) * (_RIDGE * scale + 1e-6)
    solution: Tensor = torch.linalg.solve(gram + ridge, products)
    return (solution * products).sum(2)


class Placed(NamedTuple):
    """Images with their objects back in place.

    Attributes:
        images: (B, C, H, W).
        seams: (B, H, W) bool, surroundings that moved along with an object: what they show doesn't join what is around.
        torn: (B, H, W) bool, surroundings of objects that moved apart: what is hidden there, and where outlines run,
            has changed.
    """

    images: Tensor
    seams: Tensor
    torn: Tensor


def put_back(images: Tensor, objects: Tensor, shifts: Tensor, halo_px: int = 4) -> Placed:
    """Move objects, with what surrounds them closely, back to where their masks are.

    Args:
        images: (B, C, H, W).
        objects: (B, N, H, W) bool, disjoint, later ones in front: what surrounds them hides what is behind.
        shifts: (B, N, 2) int64, down and to the right, how far each has moved.
        halo_px: how far around a mask its surroundings move along.

    Returns:
        The images, in which each pixel of a mask or its halo shows what stands at its shifted place.
    """
    if not shifts.any():
        nowhere = torch.zeros_like(images[:, 0], dtype=torch.bool)
        return Placed(images, nowhere, nowhere)
    near = _grown(objects.to(images.dtype), halo_px) > 0  # (B, N, H, W)
    order = torch.arange(1, objects.shape[1] + 1)[:, None, None]
    number = (near * order).amax(1) - 1  # (B, H, W): the front object near by, or -1
    # Shift number 0 is none: where there is no object near by.
    moves = F.pad(shifts, (0, 0, 1, 0)).gather(1, number.flatten(1)[..., None].expand(-1, -1, 2) + 1)
    height, width = images.shape[-2:]
    rows = (torch.arange(height).repeat_interleave(width) + moves[..., 0]).clamp(0, height - 1)
    columns = (torch.arange(width).repeat(height) + moves[..., 1]).clamp(0, width - 1)
    places = (rows * width + columns)[:, None].expand(-1, images.shape[1], -1)
    placed = images.flatten(2).gather(2, places).view_as(images)
    moved = moves.any(-1).view_as(number)
    inside = objects.gather(1, number.clamp(min=0)[:, None])[:, 0]
    front = moves.mT.view(len(images), 1, 2, height, width)  # (B, 1, 2, H, W)
    apart = (front != shifts[..., None, None]).any(2)  # (B, N, H, W): has moved another way than the object in front
    return Placed(placed, moved & ~inside, (near & apart).any(1))


def _grown(masks: Tensor, by_px: int) -> Tensor:
    """Dilate (B, N, H, W) masks by a square."""
    return F.max_pool2d(masks, 2 * by_px + 1, stride=1, padding=by_px)
