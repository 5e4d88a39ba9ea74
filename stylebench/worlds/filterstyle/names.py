"""Names of FilterStyle's styles, as configs and commands write them."""

import re

from stylebench.worlds.filterstyle.prior import POOLS, prior_style
from stylebench.worlds.filterstyle.rendering import STRONGEST
from stylebench.worlds.filterstyle.styles import FILTERS, NAMED_STYLES, PHOTO, Style

_DRAWN = re.compile(rf"({'|'.join(POOLS)})-(\d+)")


def parse_style(name: str) -> tuple[Style, float]:
    """Read a style's name.

    Args:
        name: "photo" for the photograph itself, a filter's name for its default style, or "prior-17", "val-3",
            "hidden-3" for a style of a pool; each may be followed by a strength, as in "xdog@0.5".

    Returns:
        The style, and the strength, 1 where none is given.

    Raises:
        ValueError: if there is no such style, or the strength is not a number in [0, 1.5]; the message lists them.

    Example:
        >>> style, strength = parse_style("halftone@0.5")
        >>> style.filter, strength
        ('halftone', 0.5)
    """
    stem, at, amount = name.partition("@")
    drawn = _DRAWN.fullmatch(stem)
    if stem == PHOTO.filter:
        style = PHOTO
    elif stem in NAMED_STYLES:
        style = NAMED_STYLES[stem]
    elif drawn:
        style = prior_style(int(drawn[2]), drawn[1])
    else:
        pools = ", ".join(f"{pool}-<number>" for pool in POOLS)
        raise ValueError(
            f"no style {stem!r} in filterstyle; there are {PHOTO.filter}, {', '.join(FILTERS)}, {pools}, each with "
            f"@<strength> in [0, {STRONGEST}] after it if wanted, such as watercolor@0.5"
        )
    return style, _strength(name, amount) if at else 1.0


def _strength(name: str, text: str) -> float:
    """Read the part of a name after the "@"."""
    try:
        strength = float(text)
    except ValueError:
        strength = float("nan")
    if not 0 <= strength <= STRONGEST:
        raise ValueError(f"expected a strength in [0, {STRONGEST}] after the @ of {name!r}, got {text!r}")
    return strength
