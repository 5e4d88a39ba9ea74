"""Which styles each encoder of the package may see: drawn from its own pools, none near a style that tests use.

A method trained with an encoder that had seen the test styles would hold an oracle of the test. So both encoders draw
from pools of their own, and a draw is left out that lies nearer than `LEAST_DISTANCE` to a named style or to one of the
first `HIDDEN_STYLES` hidden test styles of its world.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stylebench.data.world import HIDDEN_STYLES
from stylebench.worlds import filterstyle, procstyle
from stylebench.worlds.procstyle.styles import PATTERNS, Style, flatten

POOLS = {"compact": "compact", "compact_judge": "judge"}  # encoder -> its pool in both worlds
LEAST_DISTANCE = {"procstyle": 0.6, "filterstyle": 0.3}  # root mean square, in spreads of the prior
_SCALE_SAMPLE = 512  # styles of the prior that a parameter's spread is taken over

_Array = NDArray[np.float64]


def chosen(encoder: str, world: str, count: int) -> list[int]:
    """Return the numbers of the first `count` styles of an encoder's pool that keep their distance.

    Args:
        encoder: key of `POOLS`.
        world: "procstyle" or "filterstyle".
        count: how many styles.

    Returns:
        Ascending numbers within the pool.
    """
    pool = POOLS[encoder]
    numbers: list[int] = []
    start, step = 0, 512
    while len(numbers) < count:
        distances = nearest_held_out(pool, world, range(start, start + step))
        numbers += [start + int(place) for place in np.flatnonzero(distances >= LEAST_DISTANCE[world])]
        start += step
    return numbers[:count]


def nearest_held_out(pool: str, world: str, numbers: Sequence[int]) -> _Array:
    """Return the distance of each of a pool's styles to the nearest named or hidden style of its world, (N,)."""
    if world == "procstyle":
        return procstyle_distances([procstyle.prior_style(number, pool) for number in numbers])
    return filterstyle_distances([filterstyle.prior_style(number, pool) for number in numbers])


def procstyle_distances(styles: Sequence[Style]) -> _Array:
    """Return each style's distance to the nearest named or hidden style of ProcStyle, (N,)."""
    hidden = (procstyle.prior_style(number, "hidden") for number in range(HIDDEN_STYLES))
    nearest: _Array = parameter_distances(styles, [*procstyle.NAMED_STYLES.values(), *hidden]).min(1)
    return nearest


def filterstyle_distances(styles: Sequence[filterstyle.Style]) -> _Array:
    """Return each style's distance to the nearest named or hidden style of the same filter, (N,)."""
    return np.array([_filter_distance(style) for style in styles])


def parameter_distances(first: Sequence[Style], second: Sequence[Style]) -> _Array:
    """Return root mean square differences of ProcStyle's parameters in units of their spread in the prior, (N, M)."""
    return _distances(_proc_vectors(first), _proc_vectors(second))


def _distances(first: _Array, second: _Array) -> _Array:
    """Return root mean square differences of (N, P) and (M, P) vectors, (N, M)."""
    squares = (first**2).mean(1)[:, None] + (second**2).mean(1) - 2 * first @ second.T / first.shape[1]
    distances: _Array = np.sqrt(np.maximum(squares, 0))
    return distances


def _proc_vectors(styles: Sequence[Style]) -> _Array:
    """Return (N, P) parameters in units of their spread in the prior."""
    center, spread = _proc_scale()
    vectors: _Array = (np.array([_proc_vector(style) for style in styles]) - center) / spread
    return vectors


@functools.cache
def _proc_scale() -> tuple[_Array, _Array]:
    sample = np.array([_proc_vector(procstyle.prior_style(n, "prior")) for n in range(_SCALE_SAMPLE)])
    spread = sample.std(0)
    return sample.mean(0), np.where(spread < 1e-6, 1.0, spread)


def _proc_vector(style: Style) -> _Array:
    """List a style's parameters; what has no meaning without an amount counts 0 without it, angles count doubled."""
    flat = flatten(style)
    values: list[float] = []
    for kind in PATTERNS:
        amplitude, frequency, angle = (
            flat[f"texture.{kind}.{part}"][0] for part in ("amplitude", "frequency", "orientation")
        )
        there = float(amplitude > 0)
        values += [amplitude, there * math.log2(frequency), there * math.cos(2 * angle), there * math.sin(2 * angle)]
    inked = float(flat["texture.hatch.amplitude"][0] > 0 or flat["texture.dots.amplitude"][0] > 0)
    papered = float(flat["texture.reserve"][0] > 0 or flat["texture.dry.amplitude"][0] > 0)
    stroked, coarse = float(flat["stroke.amount"][0] > 0), float(flat["quantization.amount"][0] > 0)
    owners = {"texture.ink": inked, "texture.tint": inked, "texture.paper": papered}
    for name, numbers in flat.items():
        if name.startswith("texture.") and name.rsplit(".", 1)[1] in ("amplitude", "frequency", "orientation"):
            continue
        there = owners.get(name, 1.0)
        if name.startswith("stroke.") and name not in ("stroke.amount", "stroke.glow", "stroke.glow_width"):
            there = stroked
        if name in ("quantization.levels", "quantization.block"):
            there = coarse
        logarithmic = name in ("stroke.width", "quantization.levels", "quantization.block")
        values += [there * (math.log2(number) if logarithmic else number) for number in numbers]
    return np.array(values)


def _filter_distance(style: filterstyle.Style) -> float:
    """Return a filter style's distance to the nearest held-out style of the same filter; inf where shapes differ."""
    vector = _filter_vector(style)
    held = _filter_held_out(style.filter, len(vector))
    if not len(held):
        return math.inf
    center, spread = _filter_scale(style.filter, len(vector))
    return float(_distances(((vector - center) / spread)[None], (held - center) / spread).min())


@functools.cache
def _filter_held_out(name: str, length: int) -> _Array:
    """Return the vectors of a filter's named and hidden styles that have as many numbers, (M, P)."""
    named = _filter_vector(filterstyle.NAMED_STYLES[name])
    hidden = _drawn_vectors("hidden", HIDDEN_STYLES).get((name, length), [])
    vectors = [*([named] if len(named) == length else []), *hidden]
    return np.array(vectors).reshape(-1, length)


@functools.cache
def _filter_scale(name: str, length: int) -> tuple[_Array, _Array]:
    """Return mean and spread of a filter's parameters, over styles of the prior with as many numbers."""
    sample = np.array(_drawn_vectors("prior", 8 * _SCALE_SAMPLE)[name, length])
    spread = sample.std(0)
    return sample.mean(0), np.where(spread < 1e-6, 1.0, spread)


@functools.cache
def _drawn_vectors(pool: str, count: int) -> dict[tuple[str, int], list[_Array]]:
    """Return the vectors of a pool's first styles, by filter and by how many numbers they have."""
    found: dict[tuple[str, int], list[_Array]] = {}
    for number in range(count):
        style = filterstyle.prior_style(number, pool)
        vector = _filter_vector(style)
        found.setdefault((style.filter, len(vector)), []).append(vector)
    return found


def _filter_vector(style: filterstyle.Style) -> _Array:
    """List the numbers of a filter's parameters."""

    def numbers(value: object) -> list[float]:
        if isinstance(value, tuple):
            return [number for part in value for number in numbers(part)]
        return [float(value)]  # type: ignore[arg-type]

    return np.array(numbers(tuple(value for _, value in style.settings)))
