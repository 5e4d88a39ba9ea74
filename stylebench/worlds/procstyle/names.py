"""The names of styles, and what they say."""

import re

from stylebench.worlds.procstyle.families import family_member
from stylebench.worlds.procstyle.named import NAMED_STYLES, PHOTO, hue_style
from stylebench.worlds.procstyle.prior import POOLS, prior_style
from stylebench.worlds.procstyle.styles import STRENGTHS, Style, interpolate

_NAME = re.compile(r"(?P<base>[a-z_]+(?:-\d+)?)(?:@(?P<strength>[0-9.]+))?")
_HUES = re.compile(r"hues-(?P<degrees>\d{1,3})")
_FAMILY = re.compile(r"family-(?P<number>\d+)")
_POOLED = re.compile(r"(?P<pool>[a-z]+)-(?P<number>\d+)")


def parse_style(name: str, nuisance: int = 0) -> Style:
    """Read a style's name.

    Args:
        name: "photo", a named style, a hue circle such as "hues-30" (see `hue_style`), or a style of the prior such as
            "prior-17", "val-3", "hidden-3", or a family around one, "family-17"; "@0.5" after it gives the strength
            from `PHOTO`, in [0, 1.5].
        nuisance: of the picture: which member of a family it shows.

    Returns:
        The style.

    Raises:
        ValueError: if there is no such style or strength.
    """
    match = _NAME.fullmatch(name)
    base = match["base"] if match else name
    pooled = _POOLED.fullmatch(base)
    if base == "photo":
        style = PHOTO
    elif base in NAMED_STYLES:
        style = NAMED_STYLES[base]
    elif hues := _HUES.fullmatch(base):
        style = hue_style(int(hues["degrees"]))
    elif family := _FAMILY.fullmatch(base):
        style = family_member(int(family["number"]), nuisance)
    elif pooled and pooled["pool"] in POOLS:
        style = prior_style(int(pooled["number"]), pooled["pool"])
    else:
        pools = ", ".join(f"{pool}-<number>" for pool in POOLS)
        raise ValueError(
            f"no style {name!r}; there are photo, {', '.join(NAMED_STYLES)}, hues-<degrees>, {pools}, "
            f"family-<number>, each with @<strength> in [{STRENGTHS[0]}, {STRENGTHS[1]}] after it if wanted, such as "
            "flat@0.5"
        )
    if match is None or match["strength"] is None:
        return style
    try:
        strength = float(match["strength"])
    except ValueError:
        raise ValueError(f"strength in {name!r} must be a number; write for example {base}@0.5") from None
    return interpolate(PHOTO, style, strength)
