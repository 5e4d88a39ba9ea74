"""Everything about an image that a component of some style may be read off, whatever the style."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.data.world import Anatomy
from stylebench.functional.pixels import LUMA
from stylebench.worlds.procstyle import cel_steps
from stylebench.worlds.readouts import (
    Placed,
    clear_regions,
    coordinates,
    edge_energy,
    log_levels,
    masked_autocorrelation,
    outline_profile,
    region_means,
    region_trends,
    shading_slopes,
)

UNIT_PX = 64  # lengths are given for pictures of this size and grow with it
_LAG = 16  # of autocorrelation
_STROKE = 1.5  # pixels next to an outline that belong to its stroke
_LEAST_COLOR_PX = 16  # a color needs fewer pixels than a texture
_LEAST_ROOM = 0.02  # brightness times darkness below which texture is not scaled up any more


class Ground(NamedTuple):
    """Where to measure in B contents.

    Attributes:
        regions: (B, R, H, W) bool, large enough to be described by a trend.
        solid: (B, R, H, W) bool, where colors are read: regions without their strokes.
        clear: (B, R, H, W) bool, where textures are read: a pixel further from the outlines.
        outline: (B, H, W) distance to the nearest outline, in units of a 64th of the picture.
        objects: (B, N, H, W) bool, what may stand a little off.
        forms: (B, 2, H, W) n.l and its cel form, or None in a world without light.
    """

    regions: Tensor
    solid: Tensor
    clear: Tensor
    outline: Tensor
    objects: Tensor
    forms: Tensor | None

    def row(self, number: int) -> "Ground":
        """Return one content, without the batch."""
        return Ground(
            self.regions[number],
            self.solid[number],
            self.clear[number],
            self.outline[number],
            self.objects[number],
            None if self.forms is None else self.forms[number],
        )


class Measurement(NamedTuple):
    """What is measured on B images; all tensors may have more leading dimensions.

    Attributes:
        colors: (B, R, 3) mean colors of regions.
        sizes: (B, R) their pixels.
        correlation: (B, D, D) autocorrelation of texture, relative to the room between black and white.
        profile: (B, 9, 3) residual colors at distances -4 to 4 units from outlines.
        slopes: (B, 2) of relative brightness in the two forms of light.
        light: (B, 2, 2) covariance of these forms.
        levels: (B,) log number of levels.
        edges: (B, 2, S - 1) energy of edges on lines between columns and rows.
    """

    colors: Tensor
    sizes: Tensor
    correlation: Tensor
    profile: Tensor
    slopes: Tensor
    light: Tensor
    levels: Tensor
    edges: Tensor


def stack(measurements: Sequence[Measurement]) -> Measurement:
    """Join measurements along a new first dimension."""
    return Measurement(*(torch.stack(parts) for parts in zip(*measurements, strict=True)))


def average(measurements: Measurement) -> Measurement:
    """Average over the first dimension."""
    return Measurement(*(part.mean(0) for part in measurements))


def survey(anatomy: Anatomy) -> Ground:
    """Work out where to measure, from what is known of the contents."""
    size_px = anatomy.outline.shape[-1]
    unit = size_px / UNIT_PX
    regions, light = anatomy.regions, anatomy.light
    everywhere = torch.full_like(anatomy.outline, torch.inf)
    return Ground(
        regions=clear_regions(regions, everywhere, 0.0),
        solid=clear_regions(regions, anatomy.outline, _STROKE * unit, _LEAST_COLOR_PX),
        clear=clear_regions(regions, anatomy.outline, _STROKE * unit + 1),
        outline=anatomy.outline / unit,
        objects=anatomy.objects,
        forms=None if light is None else torch.stack([light, cel_steps(light)], 1),
    )


def stack_grounds(grounds: Sequence[Ground], count: int) -> Ground:
    """Join the grounds of single contents (without the batch), with room for `count` objects."""
    objects = [F.pad(ground.objects, (0, 0, 0, 0, 0, count - len(ground.objects))) for ground in grounds]
    forms = [ground.forms for ground in grounds if ground.forms is not None]
    return Ground(
        regions=torch.stack([ground.regions for ground in grounds]),
        solid=torch.stack([ground.solid for ground in grounds]),
        clear=torch.stack([ground.clear for ground in grounds]),
        outline=torch.stack([ground.outline for ground in grounds]),
        objects=torch.stack(objects),
        forms=torch.stack(forms) if forms else None,
    )


def measure(images: Tensor, ground: Ground, placed: Placed | None = None) -> Measurement:
    """Measure images.

    Args:
        images: (B, 3, S, S) in [0, 1].
        ground: of their contents.
        placed: the same with objects where `ground` has them, if they are not. Levels and edges, to which places don't
            matter but grids do, are measured on `images`.

    Returns:
        The measurement.
    """
    size_px = images.shape[-1]
    lag = _LAG * size_px // UNIT_PX
    unmoved = _luminance(images)
    seen, whole = ground.clear.any(1), ground.regions.any(1)
    if placed is not None:
        images, seen, whole = placed.images, seen & ~placed.seams, whole & ~placed.torn
    colors, sizes = region_means(images, ground.solid)
    plane = coordinates(size_px, size_px).expand(len(images), -1, -1, -1)
    forms = ground.forms
    trend = region_trends(images, plane if forms is None else torch.cat([plane, forms], 1), ground.clear, ground.clear)
    texture = (images - trend) / _room(trend) * seen[:, None]
    trend = region_trends(images, plane if forms is None else forms, ground.regions, ground.regions)
    profile = outline_profile(images - trend, ground.outline, whole)
    if forms is None:
        slopes, light = images.new_zeros(len(images), 2), images.new_zeros(len(images), 2, 2)
    else:
        slopes, light = shading_slopes(_luminance(images), forms, ground.clear)
    return Measurement(
        colors=colors,
        sizes=sizes,
        correlation=masked_autocorrelation(texture, seen, lag),
        profile=profile,
        slopes=slopes,
        light=light,
        levels=log_levels(unmoved),
        edges=edge_energy(unmoved),
    )


def _luminance(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def _room(colors: Tensor) -> Tensor:
    """Return how far colors can swing between black and white, 1 in the middle: 4 m (1 - m).

    Ink on half covered paper swings most, on white paper it hardly can; without this, the amplitude of a texture would
    tell of the palette's brightness as much as of the texture.
    """
    middle = colors.clamp(0, 1)
    return 4 * (middle * (1 - middle)).clamp(min=_LEAST_ROOM)
