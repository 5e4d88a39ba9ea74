"""Read how strongly images show a style, component by component."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stylebench.data.splits import unit_hash
from stylebench.data.world import World
from stylebench.worlds.readouts import Band, band_energy, find_shifts, put_back, spectral_peak, spectrum
from stylebench.worlds.strength.calibration import Calibration, calibrate, distinct
from stylebench.worlds.strength.components import LEAST_TEXTURE, Part, Way, style_parts, texture_amplitude
from stylebench.worlds.strength.measurement import Ground, Measurement, measure, stack_grounds, survey
from stylebench.worlds.strength.sampling import Renders, sample

_CONTENTS = 32  # of the calibration, unless told otherwise; also how many are worked on at once


class Readings(NamedTuple):
    """Strengths of B images: 0 = like the source, 1 = like the style, more = overdone.

    Attributes:
        components: (B,) strengths by component; NaN where one cannot be read, see `StrengthReader`.
        strength: (B,) mean over the components that can be read; NaN if there is none.
        shift_px: (B, N, 2) float, how far each object stands off, down and to the right; NaN where there is no object.
        peak_frequency: (B,) of the strongest texture, in periods a picture.
        peak_orientation: (B,) radians in [0, pi) from +x toward +y (down), the direction in which it repeats; NaN if
            it has none.
        texture_excess: (B,) amplitude of texture outside the style's band, over the amplitude of all of the style's, or
            over two levels of 255 where the style has less.
    """

    components: dict[str, Tensor]
    strength: Tensor
    shift_px: Tensor
    peak_frequency: Tensor
    peak_orientation: Tensor
    texture_excess: Tensor


class _Scale(NamedTuple):
    """How one part is read: its way, (B, L) curves, and whether it can be read; the same without B for one content."""

    way: Way
    curve: Tensor
    readable: Tensor


class _Content(NamedTuple):
    """What is kept of one content; tensors as in `Ground` and `Renders`, without the batch.

    Attributes:
        ground: where to measure.
        templates: mean pictures of source and style.
        texture: amplitude of all of the style's texture.
        scales: of the parts that can be read.
    """

    ground: Ground
    templates: Tensor
    texture: Tensor
    scales: list[_Scale]


class StrengthReader:
    """Reads the strength of one style off images of known contents.

    Renders of known strength calibrate it once; each content adds its own when it is first read. So the first reading
    of a content costs 46 renders of it, and a reading depends on nothing else that is read.

    A component is read only where that makes sense. For the style: its curve over strength rises up to 1 at least, by
    a sixth of an even pace, doesn't fall off beyond, and single readings spread by at most 0.1 between nuisance draws;
    and half of the contents allow a reading. For a content: the change from source to style is visible, three times its
    spread over nuisance, and the content's own curve rises, by a fifth of what the style's does. Beyond the strength up
    to which a curve rises (`highest`) readings go on along its last piece: they may stay behind.

    Args:
        world: renders the source, the truth and the calibration.
        style: the style, by name.
        contents: ids of at least two contents for the calibration; None for 32 of the test split, then of others, or as
            many as there are.

    Attributes:
        calibrations: of the parts that can be read; quantization has two, levels and blocks.
        highest: by component, the strength up to which it is followed; absent where it can't be read.
        band: where the style's texture is, in cycles a pixel.
        adds_texture: whether the style adds texture there; if not, it takes away the source's.

    Raises:
        ValueError: for a style or content that there is not, or fewer than two contents.

    Source: experiments/worlds/README.md. Deviations: objects are placed by matching with known renders; texture
    is measured relative to the room between black and white; curves have 13 nodes and are the contents' own as far as
    these repeat between draws.
    """

    def __init__(self, world: World, style: str, contents: Sequence[str] | None = None) -> None:
        world.check_style(style)
        ids = list(dict.fromkeys(_default_contents(world) if contents is None else contents))
        if len(ids) < 2:
            raise ValueError(
                f"a calibration needs at least two contents, got {len(ids)}; name more, or add some to the world"
            )
        self.world, self.style = world, style
        ground = survey(world.anatomy(ids))
        renders = sample(world, style, ids, ground)
        made_of = style_parts(renders.sources, renders.targets, world.components)
        self.band: Band = made_of.band
        self.adds_texture = made_of.adds_texture
        self.calibrations: list[tuple[Part, Calibration]] = []
        for part in made_of.parts:
            _, values, readable = _along(part, renders)
            calibration = calibrate(values, readable)
            if calibration is not None:
                self.calibrations.append((part, calibration))
        self.highest: dict[str, float] = {}
        for part, calibration in self.calibrations:
            self.highest[part.component] = min(
                calibration.highest, self.highest.get(part.component, calibration.highest)
            )
        self._contents: dict[str, _Content] = {}
        self._keep(ids, ground, renders)

    def read(self, images: Tensor, ids: Sequence[str]) -> Readings:
        """Read images.

        Args:
            images: (B, 3, S, S) uint8 RGB.
            ids: their contents.

        Returns:
            The readings.

        Raises:
            TypeError: if the images are not uint8.
            ValueError: if their shape is wrong, or there is no such content.
        """
        self._check(images, ids)
        new = [id_ for id_ in dict.fromkeys(ids) if id_ not in self._contents]
        for start in range(0, len(new), _CONTENTS):
            some = new[start : start + _CONTENTS]
            ground = survey(self.world.anatomy(some))
            self._keep(some, ground, sample(self.world, self.style, some, ground))
        contents = [self._contents[id_] for id_ in ids]
        count = max(len(content.ground.objects) for content in contents)
        done = [
            self._read(images[start : start + _CONTENTS] / 255, contents[start : start + _CONTENTS], count)
            for start in range(0, len(images), _CONTENTS)
        ]
        components = {name: torch.cat([part.components[name] for part in done]) for name in self.world.components}
        return Readings(components, *(torch.cat(tensors) for tensors in zip(*(part[1:] for part in done), strict=True)))

    def _read(self, images: Tensor, contents: list[_Content], count: int) -> Readings:
        """Read one batch of images, with room for `count` objects."""
        ground = stack_grounds([content.ground for content in contents], count)
        shifts = find_shifts(images, torch.stack([content.templates for content in contents]), ground.objects)
        measurement = measure(images, ground, put_back(images, ground.objects, shifts))
        components = self._strengths(measurement, contents)
        power = spectrum(measurement.correlation)
        frequency, orientation = spectral_peak(power)
        outside = (power.sum((-2, -1)) - band_energy(power, self.band)).clamp(min=0).sqrt()
        present = ground.objects.flatten(2).any(2)[..., None]
        return Readings(
            components=components,
            strength=torch.stack(list(components.values())).nanmean(0),
            shift_px=shifts.float().where(present, torch.nan),
            peak_frequency=frequency * images.shape[-1],
            peak_orientation=orientation,
            texture_excess=outside / torch.stack([content.texture for content in contents]).clamp(min=LEAST_TEXTURE),
        )

    def _strengths(self, measurement: Measurement, contents: list[_Content]) -> dict[str, Tensor]:
        """Return strengths by component: the mean over its parts that can be read."""
        found: dict[str, list[Tensor]] = {name: [] for name in self.world.components}
        for number, (part, calibration) in enumerate(self.calibrations):
            scales = [content.scales[number] for content in contents]
            way = Way(*(torch.stack(parts) for parts in zip(*(scale.way for scale in scales), strict=True)))
            curves = torch.stack([scale.curve for scale in scales], 1)  # (L, B)
            strengths = calibration.strengths(part.values(way, measurement), curves)
            readable = torch.stack([scale.readable for scale in scales])
            found[part.component].append(strengths.where(readable, torch.nan))
        nothing = torch.full((len(contents),), torch.nan)
        return {name: torch.stack(read or [nothing]).nanmean(0) for name, read in found.items()}

    def _keep(self, ids: Sequence[str], ground: Ground, renders: Renders) -> None:
        """Remember how contents are read."""
        scales = []
        for part, calibration in self.calibrations:
            way, values, readable = _along(part, renders)
            curves, rise = calibration.curves(values)
            scales.append(_Scale(way, curves.mT, readable & rise))
        texture = texture_amplitude(renders.targets).mean(0)
        for row, id_ in enumerate(ids):
            own = [_Scale(Way(*(part[row] for part in s.way)), s.curve[row], s.readable[row]) for s in scales]
            self._contents[id_] = _Content(ground.row(row), renders.templates[row], texture[row], own)

    def _check(self, images: Tensor, ids: Sequence[str]) -> None:
        size = self.world.size_px
        if images.dtype != torch.uint8:
            raise TypeError(f"read expects uint8 images, got {images.dtype}; round them to 8 bits first")
        if not len(ids) or images.shape != (len(ids), 3, size, size):
            raise ValueError(
                f"read expects ({len(ids)}, 3, {size}, {size}) images, one for each of at least one id, got "
                f"{tuple(images.shape)}; give images of the world's size and the ids of their contents"
            )


def _along(part: Part, renders: Renders) -> tuple[Way, Tensor, Tensor]:
    """Return a part's way, the raw values of the rungs (K, L, B), and which contents show it (B,)."""
    way = part.way(renders.sources, renders.targets)
    return way, part.values(way, renders.rungs), distinct(way.visible, part.values(way, renders.targets).std(0))


def _default_contents(world: World) -> list[str]:
    """Return contents of the test split first, each split in the order of a hash."""
    contents = world.contents(None)
    ids: list[str] = []
    for split in ("test", "val", "train"):
        if len(ids) < _CONTENTS:
            members = (contents.ids[int(index)] for index in contents.layout.splits[split])
            ids += sorted(members, key=unit_hash)
    return ids[:_CONTENTS]
