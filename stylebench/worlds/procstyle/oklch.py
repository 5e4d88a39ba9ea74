"""Colors by perceived lightness, chroma and hue.

Source: B. Ottosson 2020, "A perceptual color space for image processing" (Oklab), its matrices and the sRGB transfer
curve of IEC 61966-2-1.
"""

import math

_SHRINK = 0.95  # chroma is lowered by this factor until a color can be shown


def oklch_to_rgb(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """Convert a color to display RGB; chroma that a display can't show is lowered, lightness and hue stay.

    Args:
        lightness: perceived, in [0, 1].
        chroma: distance from gray, >= 0; strong colors lie at 0.1 to 0.3.
        hue: in turns: 0.08 red, 0.3 yellow, 0.4 green, 0.73 blue.

    Returns:
        Red, green and blue in [0, 1].
    """
    linear = _linear_rgb(lightness, chroma, hue)
    while not all(-1e-6 <= part <= 1 + 1e-6 for part in linear) and chroma > 1e-3:
        chroma *= _SHRINK
        linear = _linear_rgb(lightness, chroma, hue)
    red, green, blue = (_encode(min(max(part, 0.0), 1.0)) for part in linear)
    return red, green, blue


def _linear_rgb(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    a, b = chroma * math.cos(2 * math.pi * hue), chroma * math.sin(2 * math.pi * hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )


def _encode(linear: float) -> float:
    return float(12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)
