"""Pictures with what a classifier took them for, for sample grids."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

STRIP_PX = 14
LEAST_SIDE_PX = 96  # smaller pictures are enlarged, so that a word fits below
RIGHT, WRONG, UNKNOWN = (200, 235, 200), (245, 200, 200), (225, 225, 225)


def labeled_pictures(images: Tensor, found: Sequence[str], truth: Sequence[str | None]) -> Tensor:
    """Put a strip below each picture: what it was taken for, and where that is wrong, what it shows.

    The strip is green where the two agree, red where they differ, and gray where nothing is known.

    Args:
        images: (B, 3, H, W) in [0, 1].
        found: B names of classes.
        truth: B names, or None where the label is not known.

    Returns:
        (B, 3, H', W) in [0, 1], on the images' device; small pictures are enlarged by whole factors.
    """
    factor = -(-LEAST_SIDE_PX // images.shape[-1])
    pictures = F.interpolate(images, scale_factor=factor, mode="nearest") if factor > 1 else images
    strips = [_strip(pictures.shape[-1], *words) for words in zip(found, truth, strict=True)]
    return torch.cat([pictures, torch.stack(strips).to(pictures)], 2)


def _strip(width: int, found: str, truth: str | None) -> Tensor:
    color = UNKNOWN if truth is None else RIGHT if found == truth else WRONG
    strip = Image.new("RGB", (width, STRIP_PX), color)
    text = found if truth in (None, found) else f"{found} ({truth})"
    ImageDraw.Draw(strip).text((3, 1), text, fill=(0, 0, 0), font=ImageFont.load_default(10))
    return torch.from_numpy(np.asarray(strip).copy()).permute(2, 0, 1).float() / 255
