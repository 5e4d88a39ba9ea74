"""Feature maps of big pictures, tile by tile, equal to those of the whole.

A tile is read with a halo as wide as the network sees, and starts where the deepest stride allows it, so that its inner
positions are computed from exactly the pixels that they would see in the whole picture.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stylebench.checks import check_optional_whole
from stylebench.nn.encoders.base import Encoder


class Tile(NamedTuple):
    """A rectangle of a picture, in pixels, with its halo.

    Attributes:
        top: first row of the tile itself.
        bottom: behind its last row.
        left: first column.
        right: behind its last column.
        outer_top: first row of the halo; likewise the others.
        outer_bottom: behind the halo's last row.
        outer_left: first column of the halo.
        outer_right: behind the halo's last column.
        height: of the picture.
        width: of the picture.
    """

    top: int
    bottom: int
    left: int
    right: int
    outer_top: int
    outer_bottom: int
    outer_left: int
    outer_right: int
    height: int
    width: int

    def read(self, images: Tensor) -> Tensor:
        """Return the tile of (B, 3, H, W) images with its halo."""
        return images[..., self.outer_top : self.outer_bottom, self.outer_left : self.outer_right]

    def inner(self, features: Tensor, stride: int) -> Tensor:
        """Cut the halo from the (B, C, h, w) features of `read`'s result; the last tiles go on to the map's end."""
        first_row, first_column = (self.top - self.outer_top) // stride, (self.left - self.outer_left) // stride
        rows = None if self.bottom == self.height else first_row + (self.bottom - self.top) // stride
        columns = None if self.right == self.width else first_column + (self.right - self.left) // stride
        return features[..., first_row:rows, first_column:columns]


def cut_tiles(height: int, width: int, tile_px: int | None, encoder: Encoder, layers: Sequence[str]) -> list[Tile]:
    """Cut a picture into tiles whose features at some layers are those of the whole.

    Args:
        height: of the picture, in pixels.
        width: of the picture.
        tile_px: side of a tile without its halo, rounded up to a multiple of the deepest stride; None for one tile.
        encoder: whose features are wanted.
        layers: the taps.

    Returns:
        The tiles, row by row; one where the picture is no larger.

    Raises:
        ValueError: if the side is not a positive number, or the encoder's positions do not line up with tiles.
    """
    check_optional_whole("tile_px", tile_px)
    if tile_px is None or tile_px >= max(height, width):
        return [Tile(0, height, 0, width, 0, height, 0, width, height, width)]
    if not encoder.tileable:
        raise ValueError(
            f"{encoder.name} cannot be computed in tiles: its positions do not lie at multiples of its strides, or its "
            "padding wraps around; use an encoder with padding=same (SqueezeNet), zeros or reflect, or tile_px=null"
        )
    step = max(encoder.strides[layer] for layer in layers)
    side = -(-tile_px // step) * step
    halo = -(-max(encoder.reach_px(layer) for layer in layers) // step) * step
    rows, columns = list(_cuts(height, side, halo, step)), list(_cuts(width, side, halo, step))
    return [
        Tile(top, bottom, left, right, outer_top, outer_bottom, outer_left, outer_right, height, width)
        for top, bottom, outer_top, outer_bottom in rows
        for left, right, outer_left, outer_right in columns
    ]


def encode_in_tiles(
    encoder: Encoder, images: Tensor, layers: Sequence[str], tile_px: int | None = 512
) -> dict[str, Tensor]:
    """Compute features without gradients, tile by tile, with the memory of one tile beside the maps themselves.

    Args:
        encoder: the network.
        images: (B, 3, H, W) in [0, 1].
        layers: the taps.
        tile_px: side of a tile, None for the whole at once.

    Returns:
        (B, C, h, w) maps by layer, those of the whole picture.

    Raises:
        ValueError: as `cut_tiles`.
    """
    tiles = cut_tiles(images.shape[-2], images.shape[-1], tile_px, encoder, layers)
    with torch.no_grad():
        if len(tiles) == 1:
            return encoder(images, layers)  # type: ignore[no-any-return]
        found: dict[str, list[list[Tensor]]] = {layer: [] for layer in layers}
        for tile in tiles:
            maps = encoder(tile.read(images), layers)
            for layer in layers:
                if tile.left == 0:
                    found[layer].append([])
                found[layer][-1].append(tile.inner(maps[layer], encoder.strides[layer]).clone())
        return {layer: _joined(found.pop(layer)) for layer in layers}


def _joined(rows: list[list[Tensor]]) -> Tensor:
    """Join tiles, row by row, into one map; each row is let go when it has been joined."""
    return torch.cat([torch.cat(rows.pop(0), 3) for _ in range(len(rows))], 2)  # (B, C, h, w)


def _cuts(length: int, side: int, halo: int, step: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the first and last pixel of each cut, without and with the halo; a short rest joins the cut before it."""
    count = max(1, round(length / side))
    if count > 1 and length - (count - 1) * side < step:  # it would have no position
        count -= 1
    for number in range(count):
        first = number * side
        last = length if number == count - 1 else first + side
        yield first, last, max(0, first - halo), min(length, last + halo)
