"""Pixel art: large square pixels in few colors, mixed by an ordered pattern."""

import torch
from torch import Tensor

from stylebench.functional.hash_noise import hash_uniform
from stylebench.worlds.filters.strength import blend, length_scale, split_strength

BAYER = ((0, 8, 2, 10), (12, 4, 14, 6), (3, 11, 1, 9), (15, 7, 13, 5))
_PARTS = 256  # block borders lie at multiples of 1 / 256 px, which keeps every sum an integer, alike on all devices


def pixel_art(
    images: Tensor,
    strength: float = 1.0,
    *,
    seeds: Tensor,
    block: float = 4.0,
    colors: int = 16,
    dither: float = 0.06,
) -> Tensor:
    """Reduce to blocks of a small palette of the picture's own.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        strength: in [0, 1.5]; blends up to 1, beyond it the blocks grow and colors get fewer.
        seeds: (B,) int64, of the grid's and the pattern's offset.
        block: side of a block, for 256 px; never under a pixel.
        colors: size of the palette, >= 2.
        dither: amplitude of the pattern, in [0, 1].

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: Bayer 1973, "An optimum method for two-level rendition of continuous-tone pictures"; Heckbert 1982 for the
    palette; the task is that of Gerstner et al. 2012, "Pixelated image abstraction".
    """
    amount, excess = split_strength(strength)
    side = max(1.0, round(block * excess * length_scale(images) * _PARTS) / _PARTS)
    offsets = (hash_uniform(seeds, 1, 2)[:, 0] * side).floor()  # (B, 2), whole pixels
    rows, columns = (_blocks(length, side, offsets[:, axis]) for axis, length in enumerate(images.shape[-2:]))
    blocks = _average(images, rows, columns)  # (B, 3, h, w), whole levels
    palette = median_cut(blocks.flatten(2), max(2, round(colors / excess)))  # (B, 3, K)
    dithered = (blocks + 255 * dither * _pattern(seeds, *blocks.shape[2:])).round()
    chosen = nearest_color(dithered.flatten(2), palette).view_as(blocks)  # (B, 3, h, w)
    spread = _spread(_spread(chosen, rows.argmax(1), 2), columns.argmax(1), 3)
    return blend(images, spread / 255, amount)


def median_cut(colors: Tensor, count: int) -> Tensor:
    """Choose palettes: the box of colors with the most to gain is cut at its median, until there are enough boxes.

    The next box is the one of the longest side, weighted by the square root of its number of colors; the cut goes
    across that side.

    Args:
        colors: (B, 3, N) whole numbers in [0, 255], N < 65536.
        count: K >= 1, colors of a palette.

    Returns:
        (B, 3, K) whole numbers: mean colors of the boxes, rounded. Where a picture has fewer colors, the first of its
        palette is repeated.

    Source: Heckbert 1982, "Color image quantization for frame buffer display".
    """
    batch, _, number = colors.shape
    box = torch.zeros(batch, number, dtype=torch.int64, device=colors.device)
    sides, sizes = colors.new_zeros(batch, 3, count), colors.new_zeros(batch, count)
    sides[..., 0], sizes[:, 0] = colors.amax(2) - colors.amin(2), number
    for made in range(1, count):
        longest, axis = sides.max(1)  # (B, K)
        best = (longest * sizes.sqrt()).argmax(1, keepdim=True)  # (B, 1)
        values = colors.gather(1, axis.gather(1, best)[:, None].expand(-1, -1, number))[:, 0]  # (B, N)
        chosen = box == best
        upper = chosen & (values >= _cut(values, chosen)) & (longest.gather(1, best) > 0)
        box.masked_fill_(upper, made)
        for place, members in ((best, chosen & ~upper), (torch.full_like(best, made), upper)):
            top = torch.where(members[:, None], colors, -1.0).amax(2, keepdim=True)  # (B, 3, 1)
            bottom = torch.where(members[:, None], colors, 256.0).amin(2, keepdim=True)
            sides.scatter_(2, place[:, None].expand(-1, 3, -1), (top - bottom).clamp(min=0))
            sizes.scatter_(1, place, members.sum(1, keepdim=True).to(sizes.dtype))
    # Whole numbers below 2^24, so the sums are exact, in any order.
    total = torch.zeros_like(sides).scatter_add_(2, box[:, None].expand(-1, 3, -1), colors)  # (B, 3, K)
    palette = (total / sizes.clamp(min=1)[:, None]).round()
    return torch.where(sizes[:, None] > 0, palette, palette[..., :1])


def nearest_color(colors: Tensor, palette: Tensor) -> Tensor:
    """Replace colors by the nearest of a palette, the first on a tie.

    Args:
        colors: (B, 3, N) whole numbers.
        palette: (B, 3, K) whole numbers.

    Returns:
        (B, 3, N) colors of the palette.
    """
    distance = (colors[:, :, None] - palette[..., None]).square_().sum(1)  # (B, K, N)
    return palette.gather(2, distance.argmin(1)[:, None].expand_as(colors))


def _cut(values: Tensor, chosen: Tensor) -> Tensor:
    """Return (B, 1) the least value of the upper part when the chosen of (B, N) values are cut at their median.

    Both parts have members wherever two values differ.
    """
    places = torch.where(chosen, values, 256.0).long()
    counts = torch.zeros(len(values), 257, device=values.device).scatter_add_(1, places, torch.ones_like(values))
    below = counts[:, :256].cumsum(1)  # (B, 256) chosen values up to each level
    size = below[:, -1:]
    median = (below <= (size / 2).floor()).sum(1, keepdim=True)
    at_top = below.gather(1, median.clamp(max=255)) >= size  # none above the median: it belongs to the upper part
    return torch.where(at_top, median, median + 1)


def _pattern(seeds: Tensor, height: int, width: int) -> Tensor:
    """Return (B, 1, height, width) thresholds in (-1/2, 1/2), Bayer's matrix repeated from a place of each seed."""
    start = (hash_uniform(seeds, 1, 2, stream=1)[:, 0] * 4).long()  # (B, 2)
    rows = (torch.arange(height, device=seeds.device) + start[:, :1]) % 4  # (B, height)
    columns = (torch.arange(width, device=seeds.device) + start[:, 1:]) % 4
    thresholds = (torch.tensor(BAYER, device=seeds.device) + 0.5) / 16 - 0.5
    return thresholds[rows[:, :, None], columns[:, None]][:, None]


def _blocks(length: int, side: float, offsets: Tensor) -> Tensor:
    """Return (B, blocks, length) shares, in parts of a pixel, that each block has of each pixel along one axis."""
    count = int((length + side) / side) + 1
    start = torch.arange(count, device=offsets.device, dtype=torch.float64)[:, None] * side - offsets[:, None, None]
    pixel = torch.arange(length, device=offsets.device, dtype=torch.float64)
    share = torch.minimum(start + side, pixel + 1) - torch.maximum(start, pixel)
    share = (share.clamp(min=0) * _PARTS).round()
    # A block past the end repeats the last pixel, so that it brings no color of its own into the palette.
    share[..., -1].masked_fill_(share.sum(2) == 0, 1)
    return share


def _average(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Average over blocks, in whole levels."""
    levels = (images * 255).round().double()
    total = rows[:, None] @ levels @ columns[:, None].mT  # (B, 3, h, w)
    area = (rows.sum(2)[:, :, None] * columns.sum(2)[:, None])[:, None]
    return (total / area).round().to(images.dtype)


def _spread(blocks: Tensor, places: Tensor, dim: int) -> Tensor:
    """Repeat blocks along one dimension: pixel i takes block `places[:, i]`, (B, length)."""
    index = places[:, None, :, None] if dim == 2 else places[:, None, None]
    shape = list(blocks.shape)
    shape[dim] = places.shape[1]
    return blocks.gather(dim, index.expand(shape))
