"""Contact sheets: what a domain looks like, at a glance."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stylebench.data.domain import Domain, Pixels
from stylebench.data.splits import unit_hash
from stylebench.functional.pixels import round_levels

_THUMB_PX = 128
_LABEL_PX = 150
_GAP_PX = 4
_TEXT_PX = 14


def contact_sheet(domains: Mapping[str, Domain], columns: int) -> Pixels:
    """Lay out some images of each domain, a row for each, with its name.

    Args:
        domains: what to show, by role.
        columns: images a row, at most.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    rows = {}
    for role, domain in domains.items():
        order = sorted(range(len(domain)), key=lambda index: unit_hash(domain.ids[index]))[:columns]
        label = role if role == domain.name else f"{role}\n{domain.name}"
        rows[label] = [_thumb(image) for image in domain.views(order)]
    return labeled_rows(rows)


def labeled_rows(rows: Mapping[str, Sequence[Pixels]], header: Sequence[str] = ()) -> Pixels:
    """Lay out rows of images with a label in front of each.

    Args:
        rows: (H, W, 3) uint8 images, all of one size, by label; a label may have several lines.
        header: labels over the columns.

    Returns:
        (H', W', 3) uint8 RGB on white.
    """
    height, width = next(iter(rows.values()))[0].shape[:2]
    columns = max(len(images) for images in rows.values())
    top = 2 * _TEXT_PX if header else 0
    sheet = Image.new(
        "RGB",
        (_LABEL_PX + columns * (width + _GAP_PX), top + len(rows) * (height + _GAP_PX)),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_TEXT_PX)
    for column, text in enumerate(header):
        draw.text((_LABEL_PX + column * (width + _GAP_PX), _TEXT_PX // 2), text, fill="black", font=font)
    for number, (label, images) in enumerate(rows.items()):
        y = top + number * (height + _GAP_PX)
        draw.text((_GAP_PX, y + height // 2 - _TEXT_PX), label, fill="black", font=font)
        for column, image in enumerate(images):
            sheet.paste(Image.fromarray(image), (_LABEL_PX + column * (width + _GAP_PX), y))
    return np.asarray(sheet)


def _thumb(image: Pixels) -> Pixels:
    """Cut the central square and bring it to the size of a thumbnail; small pictures are enlarged without smoothing."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = torch.from_numpy(image[top : top + side, left : left + side].copy()).permute(2, 0, 1)
    return _resized(square[None].float(), side)[0].permute(1, 2, 0).numpy()


def _resized(square: Tensor, side: int) -> Tensor:
    if side < _THUMB_PX:
        sized = F.interpolate(square, size=(_THUMB_PX, _THUMB_PX), mode="nearest")
    else:
        sized = F.interpolate(square, size=(_THUMB_PX, _THUMB_PX), mode="bilinear", antialias=True)
    return round_levels(sized)
