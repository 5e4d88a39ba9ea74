"""Rungs of ladders in ProcStyle, where every part of a picture can be changed by itself."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stylebench.functional.pixels import quantize
from stylebench.grading.rungs import Stage, directions, generator_of
from stylebench.worlds.procstyle import COMPONENTS, PHOTO, Scenes, Style, Texture, draw_scenes, interpolate, parse_style
from stylebench.worlds.procstyle import SHAPES as SHAPE_NAMES
from stylebench.worlds.procstyle import render as render_scenes
from stylebench.worlds.readouts import region_means

_BATCH = 16
_ROOM = 3  # objects that can be added to a scene with as many
_OTHERS = tuple(name for name in COMPONENTS if name != "texture")


class SceneStage(Stage):
    """Renders ladders in ProcStyle."""

    def jittered(self, ids: Sequence[str], style: str, amount: float, draw: int) -> Tensor:
        """See `Stage`; objects are displaced each by itself."""
        scenes = draw_scenes(ids)
        noise = torch.stack(
            [torch.from_numpy(generator_of("jitter", id_).standard_normal(scenes.center.shape[1:])) for id_ in ids]
        )
        return self._render(replace(scenes, center=scenes.center + amount * noise.float()), style, ids, draw)

    def exchanged(self, ids: Sequence[str], style: str, amount: float, draw: int) -> Tensor:
        """See `Stage`; scenes of many objects lose those in front, others gain some there."""
        scenes, donors = draw_scenes(ids), draw_scenes([f"{id_}-added" for id_ in ids])
        number = int(amount)
        slots = torch.arange(scenes.shape.shape[1])
        many = scenes.count > _ROOM  # (B,)
        count = torch.where(many, scenes.count - number, scenes.count + number)
        added = ~many[:, None] & (slots >= scenes.count[:, None]) & (slots < count[:, None])  # (B, 6)
        shape = torch.where(donors.shape < 0, slots % len(SHAPE_NAMES), donors.shape)
        shape = torch.where(added, shape, scenes.shape)
        shape = torch.where(slots < count[:, None], shape, -1)
        return self._render(replace(scenes, count=count, shape=shape), style, ids, draw)

    def shifted(self, ids: Sequence[str], style: str, amount: float, draw: int) -> Tensor:
        """See `Stage`; the ground stays."""
        scenes = draw_scenes(ids)
        step = directions(ids)[:, None] * (amount * self.unit_px / self.world.size_px)
        return self._render(replace(scenes, center=scenes.center + step), style, ids, draw)

    def recolored(self, ids: Sequence[str], style: str, other: str, amount: float, draw: int) -> Tensor:
        """See `Stage`."""
        mixed = interpolate(parse_style(style), parse_style(other), amount, ("palette",))
        return self._render(draw_scenes(ids), style, ids, draw, mixed)

    def textured(self, ids: Sequence[str], style: str, amount: float) -> Tensor:
        """See `Stage`; at 0 the texture is the source's."""
        wanted = parse_style(style)
        bare = interpolate(PHOTO, wanted, 1.0, _OTHERS)
        return self._render(draw_scenes(ids), style, ids, 0, interpolate(bare, wanted, amount, ("texture",)))

    def partly_textured(self, ids: Sequence[str], style: str, amount: float, draw: int) -> Tensor:
        """See `Stage`; flat regions have the mean color of the textured ones."""
        scenes, wanted = draw_scenes(ids), parse_style(style)
        full = self._render(scenes, style, ids, draw) / 255
        flat = self._render(scenes, style, ids, draw, replace(wanted, texture=Texture())) / 255
        regions = self.world.anatomy(ids).regions  # (B, R, H, W)
        lift = region_means(full, regions)[0] - region_means(flat, regions)[0]  # (B, R, 3)
        flat = flat + torch.einsum("brc,brhw->bchw", lift, regions.float())
        kept = torch.stack([_chosen(id_, region, amount) for id_, region in zip(ids, regions, strict=True)])
        return quantize(torch.where(kept[:, None], full, flat).clamp(0, 1))

    def _render(self, scenes: Scenes, style: str, ids: Sequence[str], draw: int, made: Style | None = None) -> Tensor:
        nuisance = self.world.nuisance(ids, [style] * len(ids), "truth", draw)
        painted = parse_style(style) if made is None else made
        return torch.cat(
            [
                render_scenes(
                    scenes.select(slice(i, i + _BATCH)), painted, nuisance[i : i + _BATCH], self.world.size_px
                )
                for i in range(0, len(ids), _BATCH)
            ]
        )


def _chosen(id_: str, regions: Tensor, share: float) -> Tensor:
    """Return (H, W) bool, a share of the regions (R, H, W) that are there, in an order of the content's own."""
    present = [int(r) for r in regions.flatten(1).any(1).nonzero()[:, 0]]
    order = [present[int(i)] for i in generator_of("regions", id_).permutation(len(present))]
    return regions[order[: round(share * len(order))]].any(0)
