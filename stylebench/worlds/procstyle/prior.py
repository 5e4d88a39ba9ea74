"""Styles without end: a prior over style vectors, drawn by number from disjoint pools.

Source: experiments/worlds/README.md; the prior is ours.
"""

import hashlib
import math
from typing import Final

import numpy as np

from stylebench.worlds.procstyle.oklch import oklch_to_rgb
from stylebench.worlds.procstyle.scenes import BACKGROUNDS, MATERIALS, VERSION
from stylebench.worlds.procstyle.styles import (
    Color,
    Palette,
    Pattern,
    Quantization,
    Shading,
    Stroke,
    Style,
    Texture,
    display_color,
)

# Each pool owns a range of seeds, so that no style of one can be in another.
# `compact` and `judge` hold the styles that the package's own encoders are trained on (experiments/compact).
POOLS: Final = {"prior": 0, "val": 1_000_000, "hidden": 2_000_000, "compact": 3_000_000, "judge": 4_000_000}
POOL_SIZE: Final = 1_000_000
# Hues of a palette relative to its key hue, in turns.
_HARMONIES = (
    (0.0, 0.06, -0.06),  # neighbors
    (0.0, 0.5, 0.04),  # opposites
    (0.0, 1 / 3, 2 / 3),  # triad
    (0.0, 0.42, 0.58),  # split opposites
    (0.0, 0.25, 0.5, 0.75),  # square
    (0.0,),  # one hue
)
# Lightness of backgrounds, and ranges of lightness of objects that stand out from them. What carries a texture keeps
# off black and white, where there is no room for it; grounds that ink is laid over are middle tones, which the paper
# makes light or dark.
_PLAIN_GROUNDS = {
    "light": ((0.84, 0.95), ((0.30, 0.74),)),
    "middle": ((0.54, 0.66), ((0.24, 0.44), (0.78, 0.94))),
    "dark": ((0.20, 0.30), ((0.52, 0.92),)),
}
_TEXTURED_GROUNDS = {
    "light": ((0.76, 0.84), ((0.28, 0.64),)),
    "middle": ((0.54, 0.66), ((0.26, 0.42), (0.78, 0.92))),
    "dark": ((0.34, 0.42), ((0.58, 0.92),)),
}
_INKED_GROUNDS = {
    "light": ((0.72, 0.78), ((0.32, 0.62),)),
    "middle": ((0.60, 0.70), ((0.34, 0.48), (0.80, 0.90))),
    "dark": ((0.50, 0.58), ((0.68, 0.92),)),
}
_PAPERS = {"light": (0.90, 0.97), "middle": (0.60, 0.72), "dark": (0.12, 0.24)}
_RESERVES = {"light": (0.6, 1.0), "middle": (0.0, 0.0), "dark": (0.6, 1.0)}
_FINE = 1 / 256  # a block no larger than a pixel
_PLAIN = 0.08  # part of the other styles that have no texture


def style_seed(number: int, pool: str) -> int:
    """Return the seed of a style of the prior; seeds of different pools differ.

    Args:
        number: of the style within its pool, in [0, 1 000 000).
        pool: a key of `POOLS`.

    Returns:
        The seed.

    Raises:
        ValueError: if there is no such pool or number.
    """
    if pool not in POOLS:
        raise ValueError(f"no pool of styles {pool!r}; there are {', '.join(POOLS)}")
    if not 0 <= number < POOL_SIZE:
        raise ValueError(f"style number must lie in [0, {POOL_SIZE}), got {number}; choose within")
    return POOLS[pool] + number


def prior_style(number: int, pool: str) -> Style:
    """Draw a style from the prior.

    Palettes of six harmonies on light, middle and dark grounds; one or two kinds of texture; strokes from none to
    bold; flat, smooth and stepped light; at times blocks or few levels.

    Args:
        number: of the style within its pool, in [0, 1 000 000).
        pool: "prior" (for training), "val", "hidden" (for tests), "compact" or "judge" (for the encoders of the
            package).

    Returns:
        The style, the same one for the same arguments.

    Raises:
        ValueError: if there is no such pool or number.
    """
    digest = hashlib.sha256(f"{VERSION}:style:{style_seed(number, pool)}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
    ground = str(rng.choice(("light", "middle", "dark")))
    quantization = _quantization(rng)
    kinds = _kinds(rng, plain=quantization.amount > 0)
    if _INKED & set(kinds):
        palette = _palette(rng, *_INKED_GROUNDS[ground])
    else:
        palette = _palette(rng, *(_TEXTURED_GROUNDS if set(kinds) - {"mottle"} else _PLAIN_GROUNDS)[ground])
    return Style(palette, _texture(rng, kinds, ground), _stroke(rng, ground), _shading(rng), quantization)


def _palette(rng: np.random.Generator, around: tuple[float, float], apart: tuple[tuple[float, float], ...]) -> Palette:
    """Draw colors of one harmony, backgrounds of one range of lightness and objects of others."""
    harmony = _HARMONIES[rng.integers(len(_HARMONIES))]
    key, vivid = rng.random(), rng.uniform(0.05, 0.22)
    materials = []
    for place in rng.permutation(MATERIALS):
        low, high = apart[place % len(apart)]
        steps = -(-MATERIALS // len(apart))
        lightness = low + (high - low) * (place // len(apart) + rng.random()) / steps
        hue = key + harmony[rng.integers(len(harmony))] + rng.normal(0, 0.025)
        materials.append(_color(float(lightness), vivid * rng.uniform(0.7, 1.2), float(hue)))
    backgrounds, depth = [], rng.uniform(0.01, 0.09)
    for _ in range(BACKGROUNDS):
        hue = key + harmony[rng.integers(len(harmony))] + rng.normal(0, 0.04)
        backgrounds.append(_color(rng.uniform(*around), depth * rng.uniform(0.6, 1.2), float(hue)))
    return Palette(tuple(materials), tuple(backgrounds))


def _color(lightness: float, chroma: float, hue: float) -> Color:
    return display_color(*oklch_to_rgb(lightness, chroma, hue))


def _pattern(rng: np.random.Generator, amplitudes: tuple[float, float], frequencies: tuple[float, float]) -> Pattern:
    """Draw amplitude and direction evenly, frequency evenly in log space."""
    frequency = math.exp(rng.uniform(math.log(frequencies[0]), math.log(frequencies[1])))
    return Pattern(rng.uniform(*amplitudes), frequency, rng.uniform(-math.pi / 2, math.pi / 2))


# Kinds of texture: weight in the draw, range of amplitudes, range of frequencies.
_KINDS: dict[str, tuple[float, tuple[float, float], tuple[float, float]]] = {
    "hatch": (0.18, (0.7, 1.0), (9.0, 18.0)),
    "dots": (0.15, (0.7, 1.0), (8.0, 15.0)),
    "noise": (0.11, (0.035, 0.07), (4.0, 14.0)),
    "streaks": (0.08, (0.034, 0.06), (8.0, 18.0)),
    "weave": (0.12, (0.05, 0.1), (8.0, 16.0)),
    "brush": (0.16, (0.06, 0.105), (6.0, 13.0)),
    "wash": (0.12, (0.03, 0.055), (2.5, 5.0)),
    "dry": (0.16, (0.6, 1.0), (8.0, 18.0)),
}
_INKED = {"hatch", "dots"}


def _kinds(rng: np.random.Generator, plain: bool) -> dict[str, Pattern]:
    """Draw one kind of texture, none at times, at times with grain, cloth or hue noise beside it.

    Plain styles, which blocks and levels would rob of their texture, have hue noise at most.
    """
    kinds = {}
    if rng.random() < 0.25:
        kinds["mottle"] = _pattern(rng, (0.02, 0.047), (3.0, 9.0))
    if plain or rng.random() < _PLAIN:
        return kinds
    weights = np.array([weight for weight, _, _ in _KINDS.values()])
    main = str(rng.choice(list(_KINDS), p=weights / weights.sum()))
    kinds[main] = _pattern(rng, *_KINDS[main][1:])
    beside = rng.random()
    if beside < 0.2:
        kinds["grain"] = _pattern(rng, (0.017, 0.034), (16.0, 22.0))
    elif beside < 0.3 and main != "weave":
        kinds["weave"] = _pattern(rng, (0.03, 0.05), (12.0, 18.0))
    return kinds


def _texture(rng: np.random.Generator, kinds: dict[str, Pattern], ground: str) -> Texture:
    """Draw ink and paper for kinds of texture."""
    inked = bool(_INKED & set(kinds))
    dark_ink = ground == "light" or (ground == "middle" and rng.random() < 0.6)
    paper = ground
    if "dry" in kinds:  # the ground shows through best where it is far from the fill
        paper = "dark" if ground == "light" or (ground == "middle" and rng.random() < 0.5) else "light"
    return Texture(
        **kinds,
        ink=_neutral(rng, dark_ink),
        tint=float(rng.choice((0.0, 0.3, 0.8))) if dark_ink else 0.0,
        paper=_color(rng.uniform(*_PAPERS[paper]), rng.uniform(0.0, 0.06), rng.random()),
        reserve=rng.uniform(*_RESERVES[ground]) if inked else 0.0,
    )


def _neutral(rng: np.random.Generator, dark: bool) -> Color:
    """Draw a nearly gray color."""
    lightness = rng.uniform(0.12, 0.3) if dark else rng.uniform(0.88, 0.98)
    return _color(float(lightness), rng.uniform(0, 0.05), rng.random())


def _stroke(rng: np.random.Generator, ground: str) -> Stroke:
    """Draw no stroke, a thin or a bold one; on dark grounds at times a glowing one."""
    if rng.random() < 0.3:
        return Stroke()
    dark = ground == "light" or (ground == "middle" and rng.random() < 0.5)
    glows = not dark and rng.random() < 0.35
    return Stroke(
        amount=rng.uniform(0.6, 1.0),
        width=math.exp(rng.uniform(math.log(0.012), math.log(0.04))),
        color=_neutral(rng, dark),
        tint=float(rng.choice((0.0, 0.0, 0.5))),
        placement=float(rng.choice((-1.0, 0.0, 0.0, 1.0))),
        softness=float(rng.choice((0.0, 0.0, 0.6))),
        wobble=float(rng.choice((0.0, 0.0, 0.0027))),
        glow=rng.uniform(0.3, 0.7) if glows else 0.0,
        glow_width=rng.uniform(0.02, 0.05),
    )


def _shading(rng: np.random.Generator) -> Shading:
    """Draw flat, smooth or stepped light."""
    kind = rng.choice(("flat", "lambert", "cel", "both"))
    return Shading(
        lambert=rng.uniform(0.3, 1.1) if kind in ("lambert", "both") else 0.0,
        cel=rng.uniform(0.4, 1.0) if kind in ("cel", "both") else 0.0,
        gloss=rng.uniform(0.2, 0.6) if rng.random() < 0.25 else 0.0,
        shadow=rng.uniform(0.4, 1.0) if rng.random() < 0.3 else 0.0,
        vignette=rng.uniform(0.1, 0.3) if rng.random() < 0.2 else 0.0,
    )


def _quantization(rng: np.random.Generator) -> Quantization:
    """Draw none, few levels, or blocks and few levels."""
    kind = rng.choice(("none", "levels", "blocks"), p=(0.72, 0.13, 0.15))
    if kind == "none":
        return Quantization()
    block = _FINE if kind == "levels" else float(rng.choice((1 / 32, 3 / 64, 1 / 16)))
    return Quantization(rng.uniform(0.7, 1.0), levels=rng.uniform(3.5, 8.0), block=block)
