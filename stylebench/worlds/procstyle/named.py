"""The source rendering, the eight named styles and the hue circles, each a vector of parameters."""

import math

from stylebench.worlds.procstyle.oklch import oklch_to_rgb
from stylebench.worlds.procstyle.scenes import BACKGROUNDS, MATERIALS
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

_HUE_LIGHTNESS, _HUE_CHROMA = 0.7, 0.12  # inside a display's colors at every hue
_GROUNDS = (0.95, 0.85, 0.4, 0.25)  # lightness of the gray grounds


def _colors(*codes: str) -> tuple[Color, ...]:
    """Read displayed colors from hexadecimal codes, "c8573a"."""
    return tuple(display_color(*(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))) for code in codes)


def _color(code: str) -> Color:
    return _colors(code)[0]


_DEGREE = math.pi / 180

# Ceramics on a studio backdrop: matte glazes, soft light from above.
PHOTO = Style(
    palette=Palette(
        materials=_colors("b4553c", "c99a3f", "6f8a5a", "3f6d8f", "e0d3bb", "6a4a66"),
        backgrounds=_colors("b9ab98", "8f9fa9", "a09b7c", "c4aaa2"),
    ),
    texture=Texture(
        noise=Pattern(0.008, 5.0),
        grain=Pattern(0.008, 20.0),
    ),
    shading=Shading(lambert=0.75, gloss=0.32, shadow=0.75, vignette=0.16),
)

NAMED_STYLES: dict[str, Style] = {
    "flat": Style(
        palette=Palette(
            materials=_colors("e8412f", "f6b92c", "2fa866", "2467c9", "f7f0e0", "c23f8e"),
            backgrounds=_colors("7fd0d8", "f4c9a0", "b9a6e0", "cfe08a"),
        ),
    ),
    "ink_hatch": Style(
        palette=Palette(
            materials=_colors("4c4a4e", "94908c", "6c6a70", "58565e", "c8c4bc", "7e7a82"),
            backgrounds=_colors("b8b4ac", "b0aca4", "aca8a0", "b4aea6"),
        ),
        texture=Texture(
            hatch=Pattern(1.0, 16.0, -45 * _DEGREE),
            ink=(-0.2, -0.2, -0.18),
            paper=(1.06, 1.03, 0.94),
            reserve=1.0,
        ),
        stroke=Stroke(amount=1.0, width=0.015, color=(-0.1, -0.1, -0.08), wobble=0.0014),
        shading=Shading(lambert=1.1),
    ),
    "halftone": Style(
        palette=Palette(
            materials=_colors("d81e3a", "e08800", "00845a", "0060b4", "7c7a78", "8a2890"),
            backgrounds=_colors("74c0e4", "e0bc5c", "e49cac", "98cc70"),
        ),
        texture=Texture(
            dots=Pattern(1.0, 14.0, 45 * _DEGREE),
            ink=(0.0, 0.0, 0.05),
            tint=0.85,
            paper=(1.06, 1.03, 0.95),
            reserve=0.9,
        ),
        shading=Shading(lambert=1.1),
    ),
    "oil_noise": Style(
        palette=Palette(
            materials=_colors("b8321a", "e09a20", "56761e", "1d5496", "ead4a0", "622458"),
            backgrounds=_colors("3a626c", "8a5e30", "525680", "746e36"),
        ),
        texture=Texture(
            brush=Pattern(0.1, 11.0, 35 * _DEGREE),
            mottle=Pattern(0.034, 7.0, 35 * _DEGREE),
        ),
        shading=Shading(lambert=0.45, gloss=0.1),
    ),
    "watercolor": Style(
        palette=Palette(
            materials=_colors("d4685a", "e0b044", "72a878", "5c98c8", "c49e8c", "946eaa"),
            backgrounds=_colors("c9d5dc", "dbd0b8", "d0d5bc", "dccbcd"),
        ),
        texture=Texture(
            wash=Pattern(0.037, 3.2),
            grain=Pattern(0.02, 20.0),
            paper=(1.0, 0.98, 0.94),
            reserve=0.1,
        ),
        stroke=Stroke(
            amount=0.6, width=0.024, color=_color("3c4a70"), tint=0.6, placement=-1.0, softness=1.0, wobble=0.004
        ),
    ),
    "pixel": Style(
        palette=Palette(
            materials=_colors("cc3333", "ff9933", "33a044", "3366cc", "ffffcc", "9933cc"),
            backgrounds=_colors("80ccff", "5a6699", "333366", "99cc66"),
        ),
        shading=Shading(cel=0.75),
        quantization=Quantization(amount=1.0, levels=7.0, block=3 / 64),
    ),
    "neon_outline": Style(
        palette=Palette(
            materials=_colors("ff2d6f", "ffc42d", "3dff7a", "28c8ff", "f4f0ff", "b24dff"),
            backgrounds=_colors("34468c", "562878", "1c5a6c", "5c2450"),
        ),
        texture=Texture(paper=(-0.07, -0.07, -0.03), reserve=1.0),
        stroke=Stroke(
            amount=1.0, width=0.022, color=(1.05, 1.05, 1.05), tint=0.8, softness=0.5, glow=0.48, glow_width=0.025
        ),
    ),
    "chalk": Style(
        palette=Palette(
            materials=_colors("e08e8e", "e2cc78", "94cc94", "8cb8e0", "dcd8ce", "c49cd2"),
            backgrounds=_colors("365a49", "3a515f", "4a524e", "434d5c"),
        ),
        texture=Texture(
            streaks=Pattern(0.034, 16.0, -40 * _DEGREE),
            dry=Pattern(0.85, 16.0, -40 * _DEGREE),
            paper=(0.1, 0.15, 0.13),
        ),
        stroke=Stroke(amount=1.0, width=0.022, color=(1.0, 0.99, 0.95), tint=0.25, softness=0.5, wobble=0.0034),
        shading=Shading(lambert=0.12),
    ),
}


def hue_style(degrees: int) -> Style:
    """Return flat fills whose materials differ in hue alone: six steps of 60 degrees around a circle, on gray grounds.

    Two of these circles have no natural correspondence: turned by 30 degrees, every hue of one lies midway between two
    of the other. What a method learns to map to what can then be read off.

    Args:
        degrees: hue of the first material, in [0, 360).

    Raises:
        ValueError: if it is out of range.
    """
    if not 0 <= degrees < 360:
        raise ValueError(f"the first hue lies in 0 .. 359 degrees, got {degrees}")
    hues = [(degrees / 360 + number / MATERIALS) % 1.0 for number in range(MATERIALS)]
    materials = tuple(display_color(*oklch_to_rgb(_HUE_LIGHTNESS, _HUE_CHROMA, hue)) for hue in hues)
    grounds = tuple(display_color(*oklch_to_rgb(lightness, 0.0, 0.0)) for lightness in _GROUNDS[:BACKGROUNDS])
    return Style(palette=Palette(materials=materials, backgrounds=grounds))
