"""Render scenes in styles: layers of fills and strokes, then glow, vignette, blocks and levels.

Every image is a function of its scene, its style and one nuisance integer. All arithmetic on pixels is elementwise and
correctly rounded, sums of blocks are sums of integers, and nothing is drawn from a random generator, so that an image
doesn't depend on the rest of its batch, nor, where the device rounds as IEEE 754 asks, on the device.

Source: experiments/worlds/README.md; the renderer is ours.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stylebench.functional.pixels import round_levels
from stylebench.worlds.procstyle.fills import Painter, draw_nuisance, luma
from stylebench.worlds.procstyle.film import respond
from stylebench.worlds.procstyle.scenes import Scenes
from stylebench.worlds.procstyle.styles import Style
from stylebench.worlds.procstyle.surfaces import (
    Points,
    Surface,
    look,
    outline_distances,
    pixel_grid,
    top_layer,
)
from stylebench.worlds.procstyle.table import StyleTable, features
from stylebench.worlds.procstyle.texture import gradient_noise, line_coverage

_CHUNK_PIXELS = {"cpu": 16 * 64 * 64, "cuda": 512 * 64 * 64}  # planes of a chunk stay in a core's cache
_LEAST_PX = 16
_CLEAR = 1 / 512  # least transparency at which a layer behind is drawn
_SHADOW_REACH, _SHADOW_SOFT = 0.05, 0.035  # length of a shadow along the light, and its soft border, in sides
_WOBBLES, _TREMBLE = 9.0, 3.0  # trembles of a stroke in a picture's side; their largest size in deviations
_DRY_LINE = 0.8  # how far a dry medium's gaps interrupt strokes
_UNITS = 4095  # integer steps of a color in block means


def render(
    scenes: Scenes,
    styles: Style | Sequence[Style],
    nuisance: Sequence[int],
    size_px: int,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Render scenes.

    Args:
        scenes: B scenes, on any device.
        styles: one style for all or one for each scene.
        nuisance: B integers; each decides phases, noise fields and tremble of one image.
        size_px: height and width, >= 16.
        device: where to render.

    Returns:
        (B, 3, size_px, size_px) uint8 RGB on `device`; the same bits in any company.

    Raises:
        ValueError: if the numbers of scenes, styles and nuisance integers differ, or the size is too small.
    """
    every = [styles] * len(scenes) if isinstance(styles, Style) else list(styles)
    if not len(scenes) == len(every) == len(nuisance):
        raise ValueError(
            f"render expects as many styles and nuisance integers as scenes, got {len(scenes)} scenes, {len(every)} "
            f"styles and {len(nuisance)} integers; give one of each for every scene"
        )
    if size_px < _LEAST_PX:
        raise ValueError(f"render expects size_px >= {_LEAST_PX}, got {size_px}; choose a larger size")
    device = torch.device(device)
    step = max(1, _CHUNK_PIXELS["cpu" if device.type == "cpu" else "cuda"] // size_px**2)
    images = torch.empty(len(scenes), 3, size_px, size_px, dtype=torch.uint8, device=device)
    order = sorted(range(len(scenes)), key=lambda i: features(every[i]))  # what no image of a chunk uses is free
    for start in range(0, len(scenes), step):
        part = order[start : start + step]
        chosen = scenes.select(torch.tensor(part, device=scenes.device)).to(device)
        picture = _Chunk(chosen, [every[i] for i in part], [nuisance[i] for i in part], size_px, device).picture()
        images[torch.tensor(part, device=device)] = picture
    return images


class _Chunk:
    """A few images that are rendered together."""

    def __init__(
        self, scenes: Scenes, styles: list[Style], nuisance: list[int], size_px: int, device: torch.device
    ) -> None:
        self.scenes = scenes
        self.size_px = size_px
        self.table = StyleTable(styles, device)
        self.nuisance = draw_nuisance(nuisance, device)
        self.painter = Painter(scenes, self.table, self.nuisance, size_px)
        points = self._warped(pixel_grid(size_px, device))
        self.distances = outline_distances(scenes, points)  # (B, 7, S + 2, S + 2)
        self.shadows = self._shadow_distances(points)
        grid = torch.arange((size_px + 2) ** 2, device=device).view(size_px + 2, -1)
        self.pixels = grid[1:-1, 1:-1].flatten()[None]  # (1, S * S)

    def _warped(self, points: Points) -> Points:
        """Bend the plane where styles ask for it."""
        if self.table.rows("geometry.warp") is None:
            return points
        x, y = points
        frequency, amplitude = (self.table[f"geometry.{name}"][:, :, None] for name in ("frequency", "warp"))
        u, v = (x * frequency).expand(-1, *y.shape[1:2], -1), y * frequency + x * 0
        seed = self.nuisance.seed[:, :, None]
        return x + amplitude * gradient_noise(u, v, seed + 1), y + amplitude * gradient_noise(u, v, seed + 2)

    def _shadow_distances(self, points: Points) -> Tensor | None:
        """Return distances seen from a step toward the light, where any style casts shadows."""
        if self.table.rows("shading.shadow") is None:
            return None
        x, y = points
        step = self.scenes.light * _SHADOW_REACH
        return outline_distances(self.scenes, (x + step[:, 0, None, None], y + step[:, 1, None, None]))

    def picture(self) -> Tensor:
        """Return (B, 3, S, S) uint8."""
        color, front = self._layers()
        color = self._glow(color, front)
        color = color.view(len(color), 3, self.size_px, self.size_px)
        color = self._vignette(color)
        color = _coarsen(respond(color), self.table, self.size_px)
        return round_levels(color * 255)

    def _layers(self) -> tuple[Tensor, Tensor]:
        """Composite layers from front to back; return colors (B, 3, P) and the front layer (B, P)."""
        reach = self._reach()
        flat = self.distances[:, :, 1:-1, 1:-1].flatten(2)  # (B, 7, P)
        front = top_layer(flat, reach)
        color, alpha = self._layer(front, self.pixels)
        layer, clear = front, 1 - alpha
        place = torch.arange(flat.shape[2], device=flat.device).expand_as(front)
        while True:
            picture, column, slot = _listed((clear > _CLEAR) & (layer > 0))
            if not len(picture):
                return color, front
            # The pixels that need another layer, few and as many for each image as the most that one needs.
            columns = layer.new_zeros(len(layer), int(slot.max()) + 1)
            columns[picture, slot] = column
            needed = torch.zeros_like(columns, dtype=torch.bool)
            needed[picture, slot] = True
            place, clear = place.gather(1, columns), clear.gather(1, columns) * needed
            near = flat.gather(2, place[:, None].expand(-1, flat.shape[1], -1))
            layer = top_layer(near, reach, layer.gather(1, columns))
            behind, alpha = self._layer(layer, self.pixels[0][place])
            target = place[picture, slot]
            color[picture, :, target] = color[picture, :, target] + (behind * clear[:, None])[picture, :, slot]
            clear = clear * (1 - alpha)

    def _reach(self) -> Tensor:
        """Return how far outside its contour a layer is seen, (B, 1): half a pixel, or the stroke's outer border."""
        table = self.table
        width = table["stroke.width"]
        outer = width * (0.5 * (table["stroke.placement"] + 1 + table["stroke.softness"]))
        outer = outer + table["stroke.wobble"] * _TREMBLE
        drawn = (table["stroke.amount"] > 0).to(outer.dtype)
        return (outer * drawn).clamp(min=0) + 0.5 / self.size_px

    def _layer(self, layer: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Draw one layer at a list of pixels.

        Args:
            layer: (B, M) which layer.
            pixels: (B, M) or (1, M) positions in the bordered grid.

        Returns:
            (B, 3, M) colors times opacity, and (B, M) opacity.
        """
        surface = look(self.scenes, self.distances, layer, pixels)
        fill = self.painter.fill(surface, self._shadow(surface, pixels))
        solid = (0.5 - surface.distance * self.size_px).clamp(0, 1)
        if self.table.rows("stroke.amount") is None:
            return fill.color * solid[:, None], solid
        line = self._line(surface)
        if fill.bare is not None:
            line = line * (1 - _DRY_LINE * fill.bare)
        pen = self.table["stroke.color"][:, :, None]
        pen = pen + self.table["stroke.tint"][:, :, None] * (fill.material - pen)
        solid_below = solid * (1 - line)
        return fill.color * solid_below[:, None] + pen * line[:, None], solid_below + line

    def _line(self, surface: Surface) -> Tensor:
        """Return the opacity of the stroke, (B, M)."""
        table = self.table
        width = table["stroke.width"]
        distance = surface.distance - width * (0.5 * table["stroke.placement"])
        if table.rows("stroke.wobble") is not None:
            x, y = self.painter.local(surface)
            tremble = gradient_noise(x * _WOBBLES, y * _WOBBLES, self.nuisance.seed + 3)
            distance = distance + table["stroke.wobble"] * tremble.clamp(-_TREMBLE, _TREMBLE)
        footprint = (width * table["stroke.softness"]).clamp(min=1 / self.size_px)
        line = line_coverage(distance, width * 0.5, footprint)
        return line * table["stroke.amount.weight"] * (surface.layer > 0)

    def _shadow(self, surface: Surface, pixels: Tensor) -> Tensor | None:
        """Return the share of light that objects in front block, (B, M)."""
        if self.shadows is None:
            return None
        flat = self.shadows.flatten(2)
        nearest = torch.full_like(surface.light, _SHADOW_SOFT)
        for layer in range(1, flat.shape[1]):
            distance = flat[:, layer].gather(1, pixels.expand_as(surface.layer))
            nearest = torch.where(surface.layer < layer, torch.minimum(nearest, distance), nearest)
        part = (0.5 - nearest * (0.5 / _SHADOW_SOFT)).clamp(0, 1)
        return part * part * (3 - 2 * part)

    def _glow(self, color: Tensor, front: Tensor) -> Tensor:
        """Add the light of contours: of the object that is seen, and of all in front of it."""
        table = self.table
        if table.rows("stroke.glow") is None:
            return color
        flat = self.distances[:, :, 1:-1, 1:-1].flatten(2)
        nearest, source = torch.full_like(flat[:, 0], 4.0), torch.zeros_like(front)
        for layer in range(1, flat.shape[1]):
            distance = torch.where(front <= layer, flat[:, layer].abs(), 4.0)
            source = torch.where(distance < nearest, layer, source)
            nearest = torch.minimum(nearest, distance)
        pen = table["stroke.color"][:, :, None]
        pen = pen + table["stroke.tint"][:, :, None] * (self.painter.material(source) - pen)
        ratio = nearest / table["stroke.glow_width"]
        light = table["stroke.glow"] / (1 + ratio * ratio)
        return color + pen * light[:, None] * (1 - color).clamp(min=0)

    def _vignette(self, color: Tensor) -> Tensor:
        """Darken the corners of (B, 3, S, S) colors."""
        if self.table.rows("shading.vignette") is None:
            return color
        places = (torch.arange(self.size_px, device=color.device, dtype=torch.float32) + 0.5) * (1 / self.size_px) - 0.5
        square = places * places
        radius = (square[:, None] + square) * 2  # 1 in the corners
        return color * (1 - self.table["shading.vignette"][:, :, None, None] * radius)


def _listed(mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """List the true places of a (B, M) mask: their row, their column, and their number within the row."""
    row, column = mask.nonzero(as_tuple=True)
    slot = mask.to(torch.int64).cumsum(1)[row, column] - 1
    return row, column, slot


def _coarsen(color: Tensor, table: StyleTable, size_px: int) -> Tensor:
    """Mix (B, 3, S, S) colors in [0, 1] with their version in blocks and levels."""
    rows = table.rows("quantization.amount")
    if rows is None:
        return color
    blocks = np.maximum(np.rint(table.host("quantization.block")[:, 0] * size_px), 1).astype(np.int64)
    blocks[table.host("quantization.amount")[:, 0] <= 0] = 0
    coarse = color.clone()
    for block in np.unique(blocks[blocks > 0]):
        same = torch.from_numpy(np.flatnonzero(blocks == block)).to(color.device)
        coarse[same] = _block_means(color[same], int(block))
    steps = table["quantization.levels"][:, :, None, None] - 1
    # Levels of luminance: stepping the channels one by one would tint every border.
    brightness = luma(coarse)
    coarse = (coarse + ((brightness * steps).round() / steps - brightness)).clamp(0, 1)
    weight = table["quantization.amount.weight"][:, :, None, None]
    return color + weight * (coarse - color)


def _block_means(color: Tensor, block: int) -> Tensor:
    """Replace colors by the mean of their block, summed as integers: exact, whatever the order."""
    if block == 1:
        return color
    size_px = color.shape[-1]
    rest = -size_px % block
    units = (color * _UNITS).round().to(torch.int32)
    units = torch.nn.functional.pad(units, (0, rest, 0, rest))
    cells = (size_px + rest) // block
    sums = units.view(*color.shape[:2], cells, block, cells, block).sum((3, 5))  # (B, 3, cells, cells)
    lengths = torch.full((cells,), block, device=color.device)
    lengths[-1] = block - rest
    means = sums.to(torch.float32) / (lengths[:, None] * lengths * _UNITS).to(torch.float32)
    return means.repeat_interleave(block, 2).repeat_interleave(block, 3)[:, :, :size_px, :size_px]
