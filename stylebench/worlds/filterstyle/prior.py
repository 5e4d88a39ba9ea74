"""FilterStyle's prior: endlessly many styles, each a pure function of its pool and number."""

import colorsys
from collections.abc import Callable

import numpy as np

from stylebench.worlds.filters.halftone import PROCESS_INKS
from stylebench.worlds.filterstyle.styles import FILTERS, Color, Style, Value, make_style

# `compact` and `judge` hold the styles that the package's own encoders are trained on (experiments/compact).
POOLS: tuple[str, ...] = ("prior", "val", "hidden", "compact", "judge")
_Settings = dict[str, Value]

# Ink and paper that go together: dark on light, light on dark (scratchboard, chalk, blueprint).
_SHEETS: tuple[tuple[Color, Color], ...] = (
    ((0.12, 0.11, 0.14), (0.93, 0.91, 0.85)),
    ((0.36, 0.15, 0.07), (0.94, 0.86, 0.68)),
    ((0.10, 0.17, 0.45), (0.91, 0.93, 0.94)),
    ((0.55, 0.10, 0.12), (0.95, 0.89, 0.80)),
    ((0.06, 0.29, 0.23), (0.86, 0.91, 0.76)),
    ((0.27, 0.10, 0.36), (0.95, 0.82, 0.52)),
    ((0.08, 0.08, 0.10), (0.90, 0.32, 0.20)),
    ((0.05, 0.20, 0.42), (0.60, 0.82, 0.92)),
)
# Four inks in the place of cyan, magenta, yellow and black.
_INK_SETS: tuple[tuple[Color, ...], ...] = (
    PROCESS_INKS,
    ((0.0, 0.47, 0.75), (1.0, 0.28, 0.69), (1.0, 0.91, 0.0), (0.17, 0.15, 0.35)),
    ((0.0, 0.51, 0.54), (0.95, 0.31, 0.24), (0.98, 0.78, 0.45), (0.08, 0.17, 0.23)),
    ((0.25, 0.36, 0.80), (0.84, 0.24, 0.52), (0.99, 0.76, 0.30), (0.26, 0.10, 0.32)),
)


def prior_style(number: int, pool: str) -> Style:
    """Draw a style; eight consecutive numbers hold every filter once, so 24 hold three of each.

    Args:
        number: which style of the pool, >= 0.
        pool: of `POOLS`; two pools share no random numbers, so the hidden styles can't be met in training.

    Returns:
        The style; the same for the same arguments, always.

    Raises:
        ValueError: if the pool is unknown or the number negative.
    """
    if pool not in POOLS:
        raise ValueError(f"expected a pool of {', '.join(POOLS)}; got {pool!r}")
    if number < 0:
        raise ValueError(f"expected a number >= 0 of a style in the pool {pool}, got {number}")
    rng = np.random.default_rng((7, POOLS.index(pool), number))
    name = FILTERS[number % len(FILTERS)]
    return make_style(name, **_DRAWS[name](rng))


def _palette_map(rng: np.random.Generator) -> _Settings:
    count = int(rng.integers(4, 8))
    hue, arc = rng.random(), rng.choice((0.08, 0.35, 0.55))  # one family of colors, neighbors, or opposites
    saturation, dark, light = rng.uniform(0.45, 0.95), rng.uniform(0.08, 0.30), rng.uniform(0.82, 1.0)
    ramp = np.linspace(0, 1, count)
    palette = [
        colorsys.hsv_to_rgb(
            (hue + arc * part + rng.normal(0, 0.02)) % 1,
            saturation * (1 - 0.65 * part**2),
            dark + (light - dark) * part**0.8,
        )
        for part in ramp
    ]
    return {"palette": tuple(_rounded(color) for color in palette), "softness": _between(rng, 60, 200)}


def _kuwahara(rng: np.random.Generator) -> _Settings:
    return {
        "radius": _between(rng, 4, 10),
        "sharpness": _between(rng, 4, 12),
        "eccentricity": round(float(np.exp(rng.uniform(np.log(0.4), np.log(2.5)))), 3),
        "tensor_sigma": _between(rng, 1.5, 5),
    }


def _xdog(rng: np.random.Generator) -> _Settings:
    ink, paper = _sheet(rng)
    return {
        "sigma": _between(rng, 0.8, 2.2),
        "gain": _between(rng, 10, 30),
        "threshold": _between(rng, 0.45, 0.70),
        "slope": _between(rng, 3, 20),
        "flow": _between(rng, 2, 8),
        "grain": _between(rng, 0.04, 0.20),
        "ink": ink,
        "paper": paper,
    }


def _halftone(rng: np.random.Generator) -> _Settings:
    turn = rng.uniform(0, 90)
    settings: _Settings = {
        "period": _between(rng, 5, 12),
        "angles": tuple(round(turn + angle, 2) for angle in (15.0, 75.0, 0.0, 45.0)),
    }
    if rng.random() < 0.35:  # one ink only
        ink, paper = _sheet(rng)
        return settings | {"inks": (ink,), "paper": paper}
    inks = _INK_SETS[int(rng.integers(len(_INK_SETS)))]
    return settings | {"inks": inks, "black": _between(rng, 0.5, 1.0), "paper": _rounded(rng.uniform(0.84, 0.95, 3))}


def _hatching(rng: np.random.Generator) -> _Settings:
    ink, paper = _sheet(rng)
    spacing, turn, step = rng.uniform(5, 11), rng.uniform(0, 180), rng.choice((25.0, 45.0, 60.0, 90.0))
    count = 2 if step == 90 else int(rng.integers(2, 5))
    return {
        "spacing": round(spacing, 3),
        "angles": tuple(round(turn + step * layer, 2) for layer in range(count)),
        "line_width": round(spacing * rng.uniform(0.28, 0.5), 3),
        "wobble": _between(rng, 0.3, 4),
        "ink": ink,
        "paper": paper,
    }


def _posterize_edges(rng: np.random.Generator) -> _Settings:
    return {
        "levels": float(rng.integers(3, 9)),
        "slope": _between(rng, 5, 15),
        "smoothing": _between(rng, 2, 5),
        "edge_sigma": _between(rng, 0.8, 2.2),
        "edge_threshold": _between(rng, 0.008, 0.02),
        "vividness": _between(rng, -0.4, 1.0),
    }


def _watercolor(rng: np.random.Generator) -> _Settings:
    return {
        "wash": _between(rng, 4, 10),
        "clouds": _between(rng, 0.15, 0.6),
        "grain": _between(rng, 0.1, 0.5),
        "edges": _between(rng, 0.2, 0.8),
        "cloud_period": _between(rng, 30, 100),
        "dilution": _between(rng, 0.1, 0.8),
        "cover": _between(rng, 0.7, 0.95),
        "vividness": _between(rng, -0.1, 0.8),
        "wobble": _between(rng, 0.5, 4),
        "paper": _rounded(rng.uniform((0.93, 0.91, 0.80), (1.0, 0.99, 0.97))),
    }


def _pixel_art(rng: np.random.Generator) -> _Settings:
    return {
        "block": float(rng.integers(4, 11)),
        "colors": int(rng.choice((4, 6, 8, 12, 16, 24))),
        "dither": float(rng.choice((0.0, 0.05, 0.10, 0.18))),
    }


_DRAWS: dict[str, Callable[[np.random.Generator], _Settings]] = {
    "palette_map": _palette_map,
    "kuwahara": _kuwahara,
    "xdog": _xdog,
    "halftone": _halftone,
    "hatching": _hatching,
    "posterize_edges": _posterize_edges,
    "watercolor": _watercolor,
    "pixel_art": _pixel_art,
}


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number, rounded so that its record is short and exact."""
    return round(float(rng.uniform(low, high)), 3)


def _sheet(rng: np.random.Generator) -> tuple[Color, Color]:
    """Draw ink and paper, each a little off a pair of the list."""
    ink, paper = _SHEETS[int(rng.integers(len(_SHEETS)))]
    shift = rng.normal(0, 0.02, (2, 3))
    return _rounded(ink + shift[0]), _rounded(paper + shift[1])


def _rounded(color: object) -> Color:
    """Clip and round a color."""
    red, green, blue = np.clip(np.asarray(color, dtype=float), 0, 1).round(3).tolist()
    return red, green, blue
