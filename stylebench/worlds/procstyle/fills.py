"""Colors of surfaces: palette, light, and texture in the material's own coordinates."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stylebench.functional.hash_noise import hash_mix
from stylebench.functional.pixels import LUMA
from stylebench.worlds.procstyle.scenes import BACKGROUNDS, MATERIALS, OBJECTS, Scenes
from stylebench.worlds.procstyle.surfaces import Surface, cel_steps
from stylebench.worlds.procstyle.table import Rows, StyleTable
from stylebench.worlds.procstyle.texture import (
    Lattice,
    blots,
    brush_dabs,
    dry_gaps,
    gradient_noise,
    hatching,
    screen_dots,
    weave,
)

_HUE = (1.0, -0.3, -1.08)  # warm against cool, of no luminance
_PIVOT = 0.72  # n.l at which shading leaves a color as it is
_SLOPE = 1.3  # brightness that shading of amount 1 adds from n.l = 0 to 1
_SHADE = 0.62  # brightness that a full shadow takes
_BARE_SLOPE, _BARE_START = 2.5, 0.5  # gaps of a dry medium against the contrast of fill and paper
_PHASES = 8.0  # textures are shifted by up to this many picture sides
_STEP = 0x1E3779B1
_ALL = slice(None)

_AdditiveKinds = Callable[[Lattice, Tensor], Tensor]
_ADDITIVE: dict[str, _AdditiveKinds] = {
    "noise": lambda lattice, seed: gradient_noise(lattice.across * 1.6, lattice.along * 1.6, seed),
    "grain": lambda lattice, seed: gradient_noise(lattice.across * 1.6, lattice.along * 1.6, seed),
    "streaks": lambda lattice, seed: gradient_noise(lattice.across * 1.6, lattice.along * 0.14, seed),
    "weave": lambda lattice, seed: weave(lattice),
    "brush": brush_dabs,
    "wash": blots,
}
_SEEDS = {kind: (number + 1) * 7919 for number, kind in enumerate(("hatch", *_ADDITIVE, "mottle", "dry"))}


def luma(color: Tensor) -> Tensor:
    """Return the BT.601 luminance of (B, 3, ...) colors as (B, 1, ...)."""
    return color[:, :1] * LUMA[0] + color[:, 1:2] * LUMA[1] + color[:, 2:3] * LUMA[2]


class Nuisance(NamedTuple):
    """What one integer an image decides.

    Attributes:
        seed: (B, 1) int32, of noise fields.
        phase: (B, 7, 2) shift of each layer's texture in picture sides, in [0, 8).
    """

    seed: Tensor
    phase: Tensor


def draw_nuisance(numbers: list[int], device: torch.device) -> Nuisance:
    """Derive seeds and phases from one integer an image, by hashing."""
    whole = torch.tensor([number & 0x7FFFFFFFFFFFFFFF for number in numbers])
    keys = hash_mix(hash_mix(whole) ^ (whole >> 32))  # (B,)
    layers = torch.arange(1, 2 * (OBJECTS[1] + 1) + 1)
    phase = (hash_mix(keys[:, None] + layers * _STEP) >> 8).to(torch.float32) * (_PHASES / 2**24)
    seed = (keys & 0x7FFFFFFF).to(torch.int32)[:, None]
    return Nuisance(seed.to(device), phase.view(len(numbers), OBJECTS[1] + 1, 2).to(device))


class Fill(NamedTuple):
    """Colors of a list of pixels.

    Attributes:
        color: (B, 3, M) of the textured fill.
        material: (B, 3, M) the material's plain color.
        bare: (B, M) share of bare ground in a dry medium, None where no style of the batch is dry.
    """

    color: Tensor
    material: Tensor
    bare: Tensor | None


class Painter:
    """Fills surfaces of B scenes, each in its own style.

    Args:
        scenes: B scenes.
        table: B styles.
        nuisance: of B images.
        size_px: side of the pictures.
    """

    def __init__(self, scenes: Scenes, table: StyleTable, nuisance: Nuisance, size_px: int) -> None:
        self._scenes = scenes
        self._table = table
        self._nuisance = nuisance
        self._pixel = 1 / size_px
        colors = torch.cat([table["palette.materials"], table["palette.backgrounds"]], 1)
        colors = colors.view(len(scenes), MATERIALS + BACKGROUNDS, 3)
        numbers = torch.cat([scenes.background[:, None] + MATERIALS, scenes.material], 1)  # (B, 7)
        self._colors = colors.gather(1, numbers[:, :, None].expand(-1, -1, 3)).mT.contiguous()  # (B, 3, 7)
        centers = torch.nn.functional.pad(scenes.center, (0, 0, 1, 0))
        self._origin = nuisance.phase - centers  # (B, 7, 2)
        x, y, z = scenes.light[:, 0], scenes.light[:, 1], scenes.light[:, 2] + 1
        self._half = torch.stack([x, y, z], 1) / (x * x + y * y + z * z).sqrt()[:, None]  # between light and viewer

    def fill(self, surface: Surface, shadow: Tensor | None) -> Fill:
        """Color surfaces.

        Args:
            surface: what is seen at M pixels of each image.
            shadow: (B, M) share of light that is blocked, or None.

        Returns:
            Their colors.
        """
        table = self._table
        material = self.material(surface.layer)
        color = self._shade(material, surface, shadow)
        tone = luma(color)[:, 0].clamp(0, 1)
        paper = table["texture.paper"][:, :, None]
        if table.rows("texture.reserve") is not None:
            color = color + table["texture.reserve.weight"][:, :, None] * (paper - color)
        ink = self._ink(surface, tone)
        if ink is not None:
            pen = table["texture.ink"][:, :, None]
            pen = pen + table["texture.tint"][:, :, None] * (material - pen)
            color = color + ink[:, None] * (pen - color)
        color = self._add_fields(color, surface)
        bare = self._bare(surface, tone)
        if bare is not None:
            color = color + bare[:, None] * (paper - color)
        return Fill(color, material, bare)

    def material(self, layer: Tensor) -> Tensor:
        """Return the plain colors of layers (B, M) as (B, 3, M)."""
        return self._colors.gather(2, layer[:, None].expand(-1, 3, -1))

    def local(self, surface: Surface, rows: Rows = _ALL) -> tuple[Tensor, Tensor]:
        """Return places relative to each layer's center and shifted by its phase, in picture sides."""
        layer, origin = surface.layer[rows], self._origin[rows]
        x, y = (place[rows] + origin[:, :, part].gather(1, layer) for part, place in enumerate((surface.x, surface.y)))
        return x, y

    def _shade(self, material: Tensor, surface: Surface, shadow: Tensor | None) -> Tensor:
        """Light the material's color."""
        table = self._table
        factor = 1 + table["shading.lambert"] * _SLOPE * (surface.light - _PIVOT)
        if table.rows("shading.cel") is not None:
            factor = factor + table["shading.cel"] * _SLOPE * (cel_steps(surface.light) - _PIVOT)
        factor = factor.clamp(min=0.04)
        if shadow is not None:
            factor = factor * (1 - table["shading.shadow.weight"] * _SHADE * shadow)
        color = material * factor[:, None]
        if table.rows("shading.gloss") is not None:
            half = self._half[:, :, None]
            mirror = surface.normal_x * half[:, 0] + surface.normal_y * half[:, 1] + surface.normal_z * half[:, 2]
            mirror = mirror.clamp(min=0) * (surface.layer > 0)
            for _ in range(4):  # to the 16th power
                mirror = mirror * mirror
            color = color + (table["shading.gloss"] * mirror)[:, None]
        return color

    def _lattice(self, kind: str, rows: Rows, surface: Surface) -> Lattice:
        """Return places in a pattern's own periods."""
        x, y = self.local(surface, rows)
        turn = self._table[f"texture.{kind}.turn"][rows]
        cosine, sine = turn[:, :1], turn[:, 1:]
        return Lattice(y * cosine - x * sine, x * cosine + y * sine)

    def _seed(self, kind: str, rows: Rows) -> Tensor:
        return self._nuisance.seed[rows] + _SEEDS[kind]

    def _ink(self, surface: Surface, tone: Tensor) -> Tensor | None:
        """Return the coverage by ink of both tone-following kinds, (B, M)."""
        clear: Tensor | None = None
        for kind in ("hatch", "dots"):
            rows = self._table.rows(f"texture.{kind}.amplitude")
            if rows is None:
                continue
            lattice, share = self._lattice(kind, rows, surface), self._ink_share(tone)[rows]
            footprint = self._table[f"texture.{kind}.frequency"][rows] * self._pixel
            if kind == "hatch":
                cover = hatching(lattice, share, footprint, self._seed(kind, rows))
            else:
                cover = screen_dots(lattice, share, footprint)
            clear = torch.ones_like(tone) if clear is None else clear
            clear[rows] = clear[rows] * (1 - self._table[f"texture.{kind}.amplitude.weight"][rows] * cover)
        return None if clear is None else 1 - clear

    def _ink_share(self, tone: Tensor) -> Tensor:
        """Return how much ink a tone asks for: dark ink where it is dark, light ink where it is light."""
        dark = ((0.5 - luma(self._table["texture.ink"])) * 4 + 0.5).clamp(0, 1)
        return tone + dark * (1 - tone * 2)

    def _add_fields(self, color: Tensor, surface: Surface) -> Tensor:
        """Add the kinds that vary luminance, and the one that varies hue."""
        total: Tensor | None = None
        for kind, draw in _ADDITIVE.items():
            rows = self._table.rows(f"texture.{kind}.amplitude")
            if rows is None:
                continue
            field = draw(self._lattice(kind, rows, surface), self._seed(kind, rows))
            total = torch.zeros_like(surface.light) if total is None else total
            total[rows] = total[rows] + self._table[f"texture.{kind}.amplitude"][rows] * field
        if total is not None:
            color = color + total[:, None]
        rows = self._table.rows("texture.mottle.amplitude")
        if rows is not None:
            lattice = self._lattice("mottle", rows, surface)
            field = gradient_noise(lattice.across * 1.6, lattice.along * 0.8, self._seed("mottle", rows))
            field = self._table["texture.mottle.amplitude"][rows] * field
            color[rows] = color[rows] + field[:, None] * color.new_tensor(_HUE)[:, None]
        return color

    def _bare(self, surface: Surface, tone: Tensor) -> Tensor | None:
        """Return the share of bare ground, (B, M)."""
        rows = self._table.rows("texture.dry.amplitude")
        if rows is None:
            return None
        gaps = dry_gaps(self._lattice("dry", rows, surface), self._seed("dry", rows))
        contrast = (tone[rows] - luma(self._table["texture.paper"][rows])).abs()
        gaps = gaps * (contrast * _BARE_SLOPE - _BARE_START).clamp(0, 1)  # ground that looks like its paper has no gaps
        bare = torch.zeros_like(tone)
        bare[rows] = self._table["texture.dry.amplitude.weight"][rows] * gaps
        return bare
