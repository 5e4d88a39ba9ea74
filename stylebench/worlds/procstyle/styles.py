"""Styles as parameter vectors, and the ways to mix two of them.

A style holds identity parameters only: what makes two pictures be in the same style. Where a pattern starts, which
noise field it uses and how a stroke trembles are nuisance, decided by an integer beside the style.

Source: experiments/worlds/README.md.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from stylebench.files import json_digest
from stylebench.worlds.procstyle.film import expose
from stylebench.worlds.procstyle.scenes import BACKGROUNDS, MATERIALS

Color = tuple[float, float, float]  # red, green, blue as exposures: about display values, beyond [0, 1] near both ends


COMPONENTS = ("palette", "texture", "stroke", "shading", "quantization")
STRENGTHS = (0.0, 1.5)  # range of interpolation
PATTERNS = ("hatch", "dots", "noise", "grain", "streaks", "weave", "brush", "wash", "mottle", "dry")

_DARKEST, _BRIGHTEST = 0.07, 0.93  # display values of a style's own colors
_GRAY: Color = (0.5, 0.5, 0.5)
_Group = TypeVar("_Group")


def _mixed(rule: str, *owners: str) -> dict[str, Any]:
    """Say how a parameter is mixed, and which amounts it belongs to: without them it has no meaning.

    Rules: "linear"; "amount", linear and clamped at 0; "log", linear in log space; "angle", in the doubled angle.
    """
    return {"rule": rule, "owners": owners}


@dataclass(frozen=True)
class Pattern:
    """One kind of texture.

    Attributes:
        amplitude: how much of it, >= 0; an amount (see `cover_weight`) for hatch, dots and dry, else the standard
            deviation of the color that it adds.
        frequency: periods in a picture's side, > 0.
        orientation: direction in which the pattern runs, radians from +x toward +y (down), of period pi: lines,
            streaks and dabs lie along it and repeat across it; dots and cloth repeat along and across.
    """

    amplitude: float = field(default=0.0, metadata=_mixed("amount"))
    frequency: float = field(default=10.0, metadata=_mixed("log", "amplitude"))
    orientation: float = field(default=0.0, metadata=_mixed("angle", "amplitude"))


@dataclass(frozen=True)
class Palette:
    """Colors of the materials.

    Attributes:
        materials: six colors of objects.
        backgrounds: four colors of grounds.
    """

    materials: tuple[Color, ...] = field(default=(_GRAY,) * MATERIALS, metadata=_mixed("linear"))
    backgrounds: tuple[Color, ...] = field(default=(_GRAY,) * BACKGROUNDS, metadata=_mixed("linear"))


@dataclass(frozen=True)
class Texture:
    """How fills and backgrounds are filled.

    Attributes:
        hatch: pen lines of ink that follow tone, crossed in the dark.
        dots: print dots of ink that follow tone.
        noise: isotropic band-pass noise.
        grain: the same once more, meant for a finer one: paper, film.
        streaks: noise drawn out along the orientation: chalk, pencil, combed paint.
        weave: cloth.
        brush: dabs of thick paint.
        wash: pools of pigment.
        mottle: noise in hue, of no luminance.
        dry: gaps through which the paper shows.
        ink: color of hatch and dots.
        tint: 0 = `ink` as it is, 1 = ink takes the material's color.
        paper: color of bare ground.
        reserve: amount (see `cover_weight`) to which fills give way to the paper, so that only ink carries tone.
    """

    hatch: Pattern = field(default=Pattern(), metadata=_mixed("linear"))
    dots: Pattern = field(default=Pattern(), metadata=_mixed("linear"))
    noise: Pattern = field(default=Pattern(), metadata=_mixed("linear"))
    grain: Pattern = field(default=Pattern(frequency=20.0), metadata=_mixed("linear"))
    streaks: Pattern = field(default=Pattern(), metadata=_mixed("linear"))
    weave: Pattern = field(default=Pattern(), metadata=_mixed("linear"))
    brush: Pattern = field(default=Pattern(), metadata=_mixed("linear"))
    wash: Pattern = field(default=Pattern(frequency=4.0), metadata=_mixed("linear"))
    mottle: Pattern = field(default=Pattern(), metadata=_mixed("linear"))
    dry: Pattern = field(default=Pattern(), metadata=_mixed("linear"))
    ink: Color = field(default=(0.1, 0.1, 0.1), metadata=_mixed("linear", "hatch", "dots"))
    tint: float = field(default=0.0, metadata=_mixed("linear", "hatch", "dots"))
    paper: Color = field(default=(0.95, 0.95, 0.95), metadata=_mixed("linear", "reserve", "dry"))
    reserve: float = field(default=0.0, metadata=_mixed("amount"))


@dataclass(frozen=True)
class Stroke:
    """How contours are drawn.

    Attributes:
        amount: how opaque the line is (see `cover_weight`); 0 = no line.
        width: of the line, in picture sides, > 0.
        color: of the line.
        tint: 0 = `color` as it is, 1 = the material's color.
        placement: where the line's middle lies: -1 = line inside the contour, 0 = on it, 1 = outside.
        softness: width of the line's fading border, in line widths, >= 0.
        wobble: amplitude of the line's tremble, in picture sides, >= 0.
        glow: amount of light that the contour sheds around, >= 0.
        glow_width: how far it reaches, in picture sides, > 0.
    """

    amount: float = field(default=0.0, metadata=_mixed("amount"))
    width: float = field(default=0.02, metadata=_mixed("log", "amount"))
    color: Color = field(default=(0.05, 0.05, 0.05), metadata=_mixed("linear", "amount", "glow"))
    tint: float = field(default=0.0, metadata=_mixed("linear", "amount", "glow"))
    placement: float = field(default=0.0, metadata=_mixed("linear", "amount"))
    softness: float = field(default=0.0, metadata=_mixed("amount", "amount"))
    wobble: float = field(default=0.0, metadata=_mixed("amount", "amount"))
    glow: float = field(default=0.0, metadata=_mixed("amount"))
    glow_width: float = field(default=0.05, metadata=_mixed("log", "glow"))


@dataclass(frozen=True)
class Shading:
    """How light shows.

    Attributes:
        lambert: slope of brightness in n.l, >= 0.
        cel: slope of brightness in the stepped n.l of `cel_steps`, >= 0.
        gloss: amount of highlight, >= 0.
        shadow: amount of soft shadow that objects cast on what lies under them, >= 0.
        vignette: darkening of the picture's corners, >= 0.
    """

    lambert: float = field(default=0.0, metadata=_mixed("amount"))
    cel: float = field(default=0.0, metadata=_mixed("amount"))
    gloss: float = field(default=0.0, metadata=_mixed("amount"))
    shadow: float = field(default=0.0, metadata=_mixed("amount"))
    vignette: float = field(default=0.0, metadata=_mixed("amount"))


@dataclass(frozen=True)
class Quantization:
    """How coarse the picture is.

    Attributes:
        amount: share of the coarse picture in the result (see `cover_weight`); 0 = none.
        levels: levels of luminance, >= 2.
        block: side of a block in picture sides, in (0, 0.5]; a block is at least a pixel.
    """

    amount: float = field(default=0.0, metadata=_mixed("amount"))
    levels: float = field(default=8.0, metadata=_mixed("log", "amount"))
    block: float = field(default=1 / 64, metadata=_mixed("log", "amount"))


@dataclass(frozen=True)
class Geometry:
    """How shapes are bent.

    Attributes:
        warp: amplitude of the displacement in picture sides, >= 0; labels hold for 0 only.
        frequency: of the displacement field, in periods a picture side, > 0.
    """

    warp: float = field(default=0.0, metadata=_mixed("amount"))
    frequency: float = field(default=4.0, metadata=_mixed("log", "warp"))


@dataclass(frozen=True)
class Style:
    """The identity parameters of a style, in groups that can be mixed one by one.

    Raises:
        ValueError: if numbers are missing or not finite, an amount is negative, or a width or frequency not positive.
    """

    palette: Palette = Palette()
    texture: Texture = Texture()
    stroke: Stroke = Stroke()
    shading: Shading = Shading()
    quantization: Quantization = Quantization()
    geometry: Geometry = Geometry()

    def __post_init__(self) -> None:
        for group in dataclasses.fields(self):
            _check(group.name, getattr(self, group.name))
        if not self.quantization.levels >= 2 or not self.quantization.block <= 0.5:
            raise ValueError(
                f"quantization expects levels >= 2 and block <= 0.5, got {self.quantization.levels} and "
                f"{self.quantization.block}; choose within"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return all parameters as nested plain values, ready for JSON."""
        return dataclasses.asdict(self)


def display_color(red: float, green: float, blue: float) -> Color:
    """Return the color that is shown as the given display values, kept off black and white as room for more."""
    red, green, blue = (expose(min(max(part, _DARKEST), _BRIGHTEST)) for part in (red, green, blue))
    return red, green, blue


def style_digest(style: Style) -> str:
    """Return the SHA-256 of a style's parameters as 64 hexadecimal digits."""
    return json_digest(style.to_dict())


def _check(name: str, value: Any) -> None:
    """Raise ValueError where a parameter lies outside its range."""
    for item in dataclasses.fields(value):
        number, rule = getattr(value, item.name), item.metadata["rule"]
        label = f"{name}.{item.name}"
        if isinstance(number, Pattern):
            _check(label, number)
            continue
        numbers, wanted = _numbers(number), len(_numbers(item.default))
        if len(numbers) != wanted or not all(math.isfinite(x) for x in numbers):
            raise ValueError(f"style parameter {label} expects {wanted} finite numbers, got {number}; give as many")
        if (rule == "amount" and number < 0) or (rule == "log" and number <= 0):
            least = "at least 0" if rule == "amount" else "above 0"
            raise ValueError(f"style parameter {label} must be {least}, got {number}; choose a larger one")


def _numbers(value: Any) -> list[float]:
    """Flatten a number or nested tuples of numbers."""
    if isinstance(value, tuple):
        return [number for part in value for number in _numbers(part)]
    return [float(value)]


@functools.lru_cache(maxsize=4096)
def flatten(style: Style) -> dict[str, tuple[float, ...]]:
    """Return a style's parameters under dotted names, such as "texture.hatch.frequency"; don't change the result."""
    flat: dict[str, tuple[float, ...]] = {}

    def walk(prefix: str, value: Any) -> None:
        if dataclasses.is_dataclass(value):
            for item in dataclasses.fields(value):
                walk(f"{prefix}.{item.name}" if prefix else item.name, getattr(value, item.name))
        else:
            flat[prefix] = tuple(_numbers(value))

    walk("", style)
    return flat


def cover_weight(amount: float) -> float:
    """Turn an amount into the share that a cover takes: 0 at 0, 0.8 at 1, 1 from 1.5 on.

    The curve is a shallow parabola, so that a cover of amount 1 leaves room for extrapolation.
    """
    amount = min(max(amount, 0.0), STRENGTHS[1])
    return amount * (16 - 4 * amount) / 15


def interpolate(source: Style, target: Style, strength: float, components: Sequence[str] | None = None) -> Style:
    """Mix two styles: (1 - strength) source + strength target.

    Amounts clamp at 0; frequencies and widths mix in log space, orientations in the doubled angle. Where one end has
    none of a kind, the other end's frequency, orientation, width and color hold.

    Args:
        source: style at strength 0.
        target: style at strength 1.
        strength: in [0, 1.5]; above 1 extrapolates.
        components: which of `COMPONENTS` to mix; the others stay the source's. None = all, geometry too.

    Returns:
        The mixed style; at strength 0 and 1 the ends' own parameters, bit by bit.

    Raises:
        ValueError: if the strength is out of range or a component has no such name.

    Source: experiments/worlds/README.md.
    """
    if not STRENGTHS[0] <= strength <= STRENGTHS[1]:
        raise ValueError(f"strength must lie in [{STRENGTHS[0]}, {STRENGTHS[1]}], got {strength}; choose within")
    unknown = sorted(set(components or ()) - set(COMPONENTS))
    if unknown:
        raise ValueError(f"no component {', '.join(unknown)}; there are {', '.join(COMPONENTS)}")
    names = [item.name for item in dataclasses.fields(Style)] if components is None else list(components)
    return dataclasses.replace(
        source, **{name: _mix(getattr(source, name), getattr(target, name), strength) for name in names}
    )


def _mix(source: _Group, target: _Group, strength: float) -> _Group:
    """Mix two groups of parameters of one class, field by field."""
    if strength in (0, 1) or source == target:
        return target if strength == 1 else source
    mixed = {}
    for item in dataclasses.fields(source):  # type: ignore[arg-type]
        start, end = getattr(source, item.name), getattr(target, item.name)
        owners = item.metadata["owners"]
        if owners and not any(_present(source, owner) for owner in owners):
            start = end
        elif owners and not any(_present(target, owner) for owner in owners):
            end = start
        mixed[item.name] = _mix_values(start, end, strength, item.metadata["rule"])
    if isinstance(source, Quantization):
        mixed["levels"] = max(mixed["levels"], 2.0)
        mixed["block"] = min(mixed["block"], 0.5)
    return type(source)(**mixed)


def _present(group: Any, owner: str) -> bool:
    """Return whether a group has any of the kind that owns other parameters."""
    value = getattr(group, owner)
    return (value.amplitude if isinstance(value, Pattern) else value) > 0


def _mix_values(start: Any, end: Any, strength: float, rule: str) -> Any:
    """Mix two parameters, or nested tuples of them, by a rule."""
    if start == end:
        return start
    if isinstance(start, Pattern):
        return _mix(start, end, strength)
    if isinstance(start, tuple):
        return tuple(_mix_values(a, b, strength, rule) for a, b in zip(start, end, strict=True))
    if rule == "log":
        return math.exp((1 - strength) * math.log(start) + strength * math.log(end))
    if rule == "angle":
        return _mix_angles(start, end, strength)
    mixed = (1 - strength) * start + strength * end
    return max(mixed, 0.0) if rule == "amount" else mixed


def _mix_angles(start: float, end: float, strength: float) -> float:
    """Turn from one orientation to another the short way: unit vectors of the doubled angle, mixed linearly."""
    x = (1 - strength) * math.cos(2 * start) + strength * math.cos(2 * end)
    y = (1 - strength) * math.sin(2 * start) + strength * math.sin(2 * end)
    return math.atan2(y, x) / 2
