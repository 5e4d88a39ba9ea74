"""Families: styles of the prior that are never quite the same twice, as those of a painter or a workshop.

A family is a domain with inner variety. Each picture has a member of it: the style in the middle with its colors,
frequencies and strokes moved within a stated radius. The member follows from the picture's nuisance, so that splits,
whose contents differ, and the truth, which is drawn for itself, share none, and every member is a right answer.
"""

import hashlib
import math
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from stylebench.worlds.procstyle.prior import prior_style
from stylebench.worlds.procstyle.scenes import VERSION
from stylebench.worlds.procstyle.styles import PATTERNS, Color, Style, Texture

FAMILY = "family-"  # how the names of families begin
LIGHTER = 0.08  # exposures by which all colors of a member are lighter or darker, at most
TINTED = 0.12  # length of the step in color that all of them take, in exposures, at most
OWN = 0.35  # of both that each color moves by itself beside
OCTAVES = 0.5  # that frequencies move up or down, at most, all by the same
STROKE_OCTAVES = 0.7  # that the width of strokes moves, at most
STROKE_AMOUNT = 0.25  # by which strokes are more or less opaque, at most
_RED_GREEN = np.array([1.0, -1.0, 0.0]) / math.sqrt(2)
_YELLOW_BLUE = np.array([1.0, 1.0, -2.0]) / math.sqrt(6)


def family_member(number: int, nuisance: int) -> Style:
    """Draw a member of a family.

    Args:
        number: of the family, and of the style of the pool `prior` in its middle; in [0, 1 000 000).
        nuisance: decides the member.

    Returns:
        The style, the same one for the same arguments.

    Raises:
        ValueError: if there is no such number.
    """
    middle = prior_style(number, "prior")
    digest = hashlib.sha256(f"{VERSION}:family:{number}:{nuisance}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
    step = _step(rng)

    def moved(color: Color) -> Color:
        red, green, blue = (float(part) for part in np.array(color) + step + OWN * _step(rng))
        return red, green, blue

    palette = replace(
        middle.palette,
        materials=tuple(moved(color) for color in middle.palette.materials),
        backgrounds=tuple(moved(color) for color in middle.palette.backgrounds),
    )
    texture = replace(_finer(middle.texture, _octaves(rng, OCTAVES)), paper=moved(middle.texture.paper))
    stroke = middle.stroke
    if stroke.amount > 0:
        amount = max(stroke.amount + rng.uniform(-STROKE_AMOUNT, STROKE_AMOUNT), 0.0)
        width = stroke.width * _octaves(rng, STROKE_OCTAVES)
        stroke = replace(stroke, amount=amount, width=width, color=moved(stroke.color))
    return replace(middle, palette=palette, texture=texture, stroke=stroke)


def _step(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a step in exposures, (3,): evenly lighter or darker, and evenly from a disk of colors."""
    length, turn = TINTED * math.sqrt(rng.random()), 2 * math.pi * rng.random()
    return (
        rng.uniform(-LIGHTER, LIGHTER) + length * math.cos(turn) * _RED_GREEN + length * math.sin(turn) * _YELLOW_BLUE
    )


def _octaves(rng: np.random.Generator, most: float) -> float:
    """Draw a factor, evenly in octaves up and down."""
    return float(2 ** rng.uniform(-most, most))


def _finer(texture: Texture, factor: float) -> Texture:
    """Return a texture all of whose patterns have so many times the frequency."""
    patterns = {item.name: getattr(texture, item.name) for item in fields(texture) if item.name in PATTERNS}
    return replace(texture, **{name: replace(one, frequency=one.frequency * factor) for name, one in patterns.items()})
