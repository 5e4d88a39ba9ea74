"""Random views of pictures: crops, flips, colors, blur and noise, all on batches of tensors."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.pixels import LUMA

_LUMA = torch.tensor(LUMA)


def crops(images: Tensor, size_px: int, scale: tuple[float, float], turns: bool, generator: torch.Generator) -> Tensor:
    """Cut a square out of each picture and resample it, with mirroring and, if asked for, turning.

    Args:
        images: (B, 3, H, H) in [0, 1].
        size_px: side of the results.
        scale: smallest and largest side of the square, in sides of the picture.
        turns: also turn by any angle (corners are mirrored), else mirror only.
        generator: of the random choices.

    Returns:
        (B, 3, size_px, size_px), sampled twice as fine and averaged, so that little is aliased.
    """
    count = len(images)
    side = torch.exp(_uniform(count, math.log(scale[0]), math.log(scale[1]), generator))
    angle = _uniform(count, -math.pi, math.pi, generator) if turns else torch.zeros(count)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    room = 1 - side
    across, down = (_uniform(count, -1, 1, generator) * room for _ in range(2))
    cosine, sine = torch.cos(angle) * side, torch.sin(angle) * side
    rows = (torch.stack([cosine * mirror, -sine, across], 1), torch.stack([sine * mirror, cosine, down], 1))
    grid = F.affine_grid(torch.stack(rows, 1), [count, images.shape[1], 2 * size_px, 2 * size_px], align_corners=False)
    sampled = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(sampled, 2)


def recolor(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change light and colors of each picture: contrast, exposure, saturation, hue, channels, negative, gray.

    Args:
        images: (B, 3, H, W) in [0, 1].
        strength: share of the pictures that are changed; the others stay.
        generator: of the random choices.

    Returns:
        Pictures of the same shape in [0, 1].
    """
    count = len(images)

    def chance(share: float) -> Tensor:
        return (torch.rand(count, generator=generator) < share).view(-1, 1, 1)

    identity = torch.eye(3).expand(count, 3, 3)
    gray = _LUMA.expand(3, 3).expand(count, 3, 3)
    saturation = _uniform(count, 0, 1.8, generator).view(-1, 1, 1)
    matrix = gray + saturation * (identity - gray)
    matrix = _hue(_uniform(count, -math.pi, math.pi, generator)) @ matrix
    order = torch.stack([torch.randperm(3, generator=generator) for _ in range(count)])
    matrix = torch.where(chance(0.3), identity.gather(1, order[:, :, None].expand(-1, -1, 3)) @ matrix, matrix)
    matrix = torch.where(chance(0.2), gray, matrix)
    matrix = matrix * _uniform(count, 0.5, 1.4, generator).view(-1, 1, 1)
    matrix = matrix * torch.where(chance(0.1), -1.0, 1.0)
    level = images.mean((2, 3))
    shifted = _uniform(count, -0.15, 0.15, generator).view(-1, 1, 1, 1) + level.mean(1).view(-1, 1, 1, 1)
    changed = torch.einsum("bij,bjhw->bihw", matrix, images - level[:, :, None, None]) + shifted
    changed = changed + torch.einsum("bij,bj->bi", matrix, level - level.mean(1, keepdim=True))[:, :, None, None]
    kept = torch.where(chance(strength)[..., None], changed, images)
    return kept.clamp(0, 1)


def degrade(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Blur some pictures and add noise to some.

    Args:
        images: (B, 3, H, W) in [0, 1].
        share: of pictures that are blurred, and, independently, that get noise.
        generator: of the random choices.

    Returns:
        Pictures of the same shape in [0, 1].
    """
    count = len(images)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = _uniform(count, 0, 1, generator) * (torch.rand(count, generator=generator) < share)
    images = images + amount.view(-1, 1, 1, 1) * (blurred - images)
    deviation = _uniform(count, 0, 0.06, generator) * (torch.rand(count, generator=generator) < share)
    noise = torch.randn(images.shape, generator=generator)
    return (images + deviation.view(-1, 1, 1, 1) * noise).clamp(0, 1)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _hue(angle: Tensor) -> Tensor:
    """Return (B, 3, 3) turns of the colors around gray."""
    axis = torch.full((3,), 1 / math.sqrt(3))
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cosine, sine = torch.cos(angle).view(-1, 1, 1), torch.sin(angle).view(-1, 1, 1)
    return cosine * torch.eye(3) + sine * cross + (1 - cosine) * torch.outer(axis, axis)
