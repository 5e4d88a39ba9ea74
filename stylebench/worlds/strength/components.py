"""Components of a style as ways from the source to the style, in what is measured."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stylebench.worlds.readouts import Band, band_energy, find_band, grid_excess, spectrum
from stylebench.worlds.strength.measurement import Measurement, average

# Changes below these are invisible, or too small to be told from rounding.
LEAST_COLOR = 0.02  # root mean square over regions and channels
LEAST_TEXTURE = 2 / 255  # amplitude, in parts of the room between black and white
LEAST_STROKE = 0.02  # root mean square over the profile
_LEAST_SHADING = 0.03  # root mean square of relative brightness
_LEAST_LEVELS = 0.5  # in the logarithm of their number
_LEAST_BLOCKS = 0.1  # of the energy of edges
_BLOCK_GROWTH = 1.5  # overdone blocks may grow, by as much as the largest strength
_ROUNDING = 2 / 255  # noise that no bin of a profile is free of
_BEND = 0.02  # share of the style's energy of texture below which values stop following its root


class Way(NamedTuple):
    """The way of one part from the source to the style, in B contents.

    Attributes:
        source: (B, D) features of the source.
        weights: (B, D), such that the weighted sum of the whole change is 1.
        visible: (B,) bool, whether the change can be told by eye.
    """

    source: Tensor
    weights: Tensor
    visible: Tensor


class Part(ABC):
    """One thing that makes up a component, or all of it.

    Args:
        component: name of the component.
    """

    def __init__(self, component: str) -> None:
        self.component = component

    @abstractmethod
    def features(self, measurement: Measurement) -> Tensor:
        """Return (..., B, D) features."""

    @abstractmethod
    def weigh(self, source: Measurement, change: Tensor) -> Tensor:
        """Return (B, D) weights, of any scale, for the features' change (B, D) from a mean source to the style."""

    @abstractmethod
    def visible(self, source: Measurement, change: Tensor) -> Tensor:
        """Return (B,) bool, whether the change can be told by eye."""

    def way(self, sources: Measurement, targets: Measurement) -> Way:
        """Find the way between means of draws: (K, B, ...) of the source, and (T, B, ...) of the style."""
        start = self.features(sources).mean(0)
        change = self.features(targets).mean(0) - start  # (B, D)
        source = average(sources)
        weights = self.weigh(source, change)
        total = (change * weights).sum(-1, keepdim=True)
        scale = torch.where(total.abs() > 1e-12, 1 / total, 0.0)
        return Way(start, weights * scale, self.visible(source, change))

    def values(self, way: Way, measurement: Measurement) -> Tensor:
        """Return (..., B) raw values: how far images are on the way, 0 at the source and 1 at the style."""
        return ((self.features(measurement) - way.source) * way.weights).sum(-1)


class Palette(Part):
    """Mean colors of regions, by their areas."""

    def features(self, measurement: Measurement) -> Tensor:  # noqa: D102
        return measurement.colors.flatten(-2)

    def weigh(self, source: Measurement, change: Tensor) -> Tensor:  # noqa: D102
        return change * source.sizes.repeat_interleave(3, 1)

    def visible(self, source: Measurement, change: Tensor) -> Tensor:  # noqa: D102
        squares = (change * self.weigh(source, change)).sum(1) / (3 * source.sizes.sum(1)).clamp(min=1)
        return squares.sqrt() >= LEAST_COLOR


class Stroke(Part):
    """Colors along outlines; distances at which they vary between draws count less.

    Args:
        targets: (T, B, ...) measured on draws of the style.
    """

    def __init__(self, targets: Measurement) -> None:
        super().__init__("stroke")
        self._noise = targets.profile.var(0).mean(0).flatten() + _ROUNDING**2  # (27,)

    def features(self, measurement: Measurement) -> Tensor:  # noqa: D102
        return measurement.profile.flatten(-2)

    def weigh(self, source: Measurement, change: Tensor) -> Tensor:  # noqa: D102
        return change / self._noise

    def visible(self, source: Measurement, change: Tensor) -> Tensor:  # noqa: D102
        return change.square().mean(1).sqrt() >= LEAST_STROKE


class Shading(Part):
    """Slopes of brightness in light, in the metric of the brightness that they explain."""

    def features(self, measurement: Measurement) -> Tensor:  # noqa: D102
        return measurement.slopes

    def weigh(self, source: Measurement, change: Tensor) -> Tensor:  # noqa: D102
        return (source.light @ change[..., None])[..., 0]

    def visible(self, source: Measurement, change: Tensor) -> Tensor:  # noqa: D102
        return (change * self.weigh(source, change)).sum(1).clamp(min=0).sqrt() >= _LEAST_SHADING


class Number(Part):
    """A single number that grows, or falls.

    Args:
        component: name of the component.
        number: gives (..., B) of a measurement.
        least: the smallest change that counts, negative for a number that falls.
    """

    def __init__(self, component: str, number: Callable[[Measurement], Tensor], least: float) -> None:
        super().__init__(component)
        self._number = number
        self._least = least

    def features(self, measurement: Measurement) -> Tensor:  # noqa: D102
        return self._number(measurement)[..., None]

    def weigh(self, source: Measurement, change: Tensor) -> Tensor:  # noqa: D102
        return torch.ones_like(change)

    def visible(self, source: Measurement, change: Tensor) -> Tensor:  # noqa: D102
        return change[:, 0] / self._least >= 1


class AddedTexture(Number):
    """Energy of texture that a style adds in a band; raw values follow its root, the amplitude.

    Energies of independent textures add up, amplitudes don't: the amplitude of both hardly grows until the style's
    exceeds the source's, so that small strengths could not be told apart. That of the energy added does.

    Args:
        band: where it is.
    """

    def __init__(self, band: Band) -> None:
        super().__init__("texture", lambda measurement: band_energy(spectrum(measurement.correlation), band), 1.0)

    def visible(self, source: Measurement, change: Tensor) -> Tensor:  # noqa: D102
        before = self.features(source)[:, 0]
        return (before + change[:, 0]).clamp(min=0).sqrt() - before.sqrt() >= LEAST_TEXTURE

    def values(self, way: Way, measurement: Measurement) -> Tensor:  # noqa: D102
        share = super().values(way, measurement)
        # Near 0 the root would blow up noise; it is scaled to 1 at 1.
        bent: Tensor = share * (1 + _BEND) ** 0.5 / (share.abs() + _BEND).sqrt()
        return bent


class StyleParts(NamedTuple):
    """What a style is made of.

    Attributes:
        parts: of all components of the world.
        band: where the style's texture is.
        adds_texture: whether it has a texture of its own there, or only takes from the source's.
    """

    parts: list[Part]
    band: Band
    adds_texture: bool


def style_parts(sources: Measurement, targets: Measurement, components: tuple[str, ...]) -> StyleParts:
    """Work out what a style is made of.

    Args:
        sources: (K, B, ...) measured on draws of the source.
        targets: (T, B, ...) measured on draws of the style.
        components: which there are in this world.

    Returns:
        Its parts.
    """
    source, target = average(sources), average(targets)
    band, adds = _texture_band(source, target)
    block = _block_side(source, target)
    parts = [
        Palette("palette"),
        AddedTexture(band) if adds else Number("texture", lambda m: texture_amplitude(m, band), -LEAST_TEXTURE),
        Stroke(targets),
        Shading("shading"),
        Number("quantization", lambda m: m.levels, -_LEAST_LEVELS),
        Number("quantization", lambda m: grid_excess(m.edges, block, _BLOCK_GROWTH), _LEAST_BLOCKS),
    ]
    return StyleParts([part for part in parts if part.component in components], band, adds)


def texture_amplitude(measurement: Measurement, band: Band | None = None) -> Tensor:
    """Return the (..., B) amplitude of texture in a band, or of all texture."""
    power = spectrum(measurement.correlation)
    return (power.sum((-2, -1)).clamp(min=0) if band is None else band_energy(power, band)).sqrt()


def _texture_band(source: Measurement, target: Measurement) -> tuple[Band, bool]:
    """Find where a style adds texture; if it only takes some away, where it takes most."""
    gain = spectrum(target.correlation.mean(0)) - spectrum(source.correlation.mean(0))
    gained, lost = find_band(gain), find_band(-gain)
    adds = band_energy(gain, gained) >= min(LEAST_TEXTURE**2, float(band_energy(-gain, lost)))
    return (gained, True) if adds else (lost, False)


def _block_side(source: Measurement, target: Measurement) -> float:
    """Find the side of blocks on whose grid a style gathers edges."""
    length = source.edges.shape[-1] + 1
    sides = [side / 4 for side in range(8, length // 2 + 1)]
    gains = [float((grid_excess(target.edges, side) - grid_excess(source.edges, side)).mean()) for side in sides]
    return sides[max(range(len(sides)), key=lambda place: gains[place])]
