"""Draw photographs in FilterStyle's styles, each picture by itself alone, on any device."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from stylebench.functional.pixels import round_levels
from stylebench.functional.precision import float32_island
from stylebench.worlds.filterstyle.styles import PHOTO, Style, filter_function

VERSION = 1  # of the pictures: goes up whenever one of them changes by more than a level
STRONGEST = 1.5
SMALLEST_PX = 16


def apply_style(
    images: Tensor,
    style: Style | Sequence[Style],
    nuisance: Sequence[int],
    strength: float | Sequence[float] = 1.0,
) -> Tensor:
    """Draw photographs in a style.

    A picture depends on its own photograph, style, nuisance number and strength only, not on the others of the batch:
    to the last bit on the CPU, within a level elsewhere.

    Args:
        images: (B, 3, H, W) RGB, uint8 or float32 in [0, 1], on any device; H and W >= 16.
        style: one for all, or one an image.
        nuisance: an integer an image, seed of what may vary within the style (paper, phase, offset); ignored by styles
            without nuisance.
        strength: in [0, 1.5], one for all or one an image: 0 is the photograph, 1 the style, more exaggerates it.

    Returns:
        (B, 3, H, W) uint8 on the device of `images`.

    Raises:
        ValueError: if shapes, counts or strengths are not as stated.
        TypeError: if the images are neither uint8 nor float32.

    Source: experiments/worlds/README.md; the filters' docstrings cite theirs.
    """
    styles = [style] * len(images) if isinstance(style, Style) else list(style)
    strengths = [float(strength)] * len(images) if isinstance(strength, int | float) else list(strength)
    _check_images(images)
    _check_counts(len(images), style=styles, nuisance=nuisance, strength=strengths)
    for value in strengths:
        if not 0 <= value <= STRONGEST:
            raise ValueError(f"expected a strength in [0, {STRONGEST}], got {value}")
    pictures = images / 255 if images.dtype == torch.uint8 else images
    seeds = torch.tensor(list(nuisance), dtype=torch.int64, device=images.device)
    result = torch.empty_like(images, dtype=torch.uint8)
    for (one_style, value), places in _chunks(styles, strengths, images.device):
        drawn = _draw(pictures[places], one_style, seeds[places], value)
        result[places] = round_levels(drawn * 255)
    return result


def _draw(pictures: Tensor, style: Style, seeds: Tensor, strength: float) -> Tensor:
    """Draw pictures of one style and strength; float32 in about [0, 1]."""
    if style == PHOTO or strength == 0:
        return pictures
    noise = {"seeds": seeds} if style.has_nuisance else {}
    with torch.no_grad(), float32_island(pictures):
        return filter_function(style)(pictures, strength, **noise, **style.parameters)


def _chunks(
    styles: list[Style], strengths: list[float], device: torch.device
) -> list[tuple[tuple[Style, float], list[int]]]:
    """Group images of equal style and strength; on the CPU each image stays alone.

    Vectorized loops and reductions round differently at the ends of a batch, so there only a picture drawn alone is the
    same whatever stands beside it. That costs nothing from 128 px on (mean over the filters, one thread, batch of 8
    against alone: 5.2 and 5.7 ms a picture at 128 px, 22.0 and 18.4 ms at 256 px; 1.6 and 3.2 ms at 64 px).
    """
    pairs = list(zip(styles, strengths, strict=True))
    if device.type == "cpu":
        return [(pair, [place]) for place, pair in enumerate(pairs)]
    groups: dict[tuple[Style, float], list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        groups[pair].append(place)
    return list(groups.items())


def _check_images(images: Tensor) -> None:
    """Raise if these are not images to draw."""
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < SMALLEST_PX:
        raise ValueError(
            f"expected images of shape (B, 3, H, W) with H and W >= {SMALLEST_PX}, got {tuple(images.shape)}"
        )
    if images.dtype not in (torch.uint8, torch.float32):
        raise TypeError(f"expected uint8 images, or float32 in [0, 1], got {images.dtype}; convert them")


def _check_counts(count: int, **values: Sequence[object]) -> None:
    """Raise if something doesn't come once an image."""
    for name, value in values.items():
        if len(value) != count:
            raise ValueError(f"expected one {name} for each of {count} images, got {len(value)}")
