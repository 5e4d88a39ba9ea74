"""Several results of one picture: a sheet, a strip or an animation over values of what steers a model."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stylebench.checks import check_optional_whole
from stylebench.commands.stylize.writing import ANIMATED, write_animation, write_picture
from stylebench.inference.base import Control, Inference

_MOST_VARIED = 2  # rows and columns
_GAP_PX = 4


@dataclass(frozen=True)
class Variations:
    """What varies over the results of a picture; nothing by default.

    Attributes:
        values: of each control, or of the weights of each kind of picture, that varies: the last varies fastest.
        columns: results in a row of a sheet; None for all values of what varies fastest.
        frame_ms: how long an animation shows each result, in milliseconds; None for a sheet.
    """

    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    columns: int | None = None
    frame_ms: int | None = None

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What is asked for, result by result: keywords of `translate` beside those that do not vary."""
        return [dict(zip(self.values, row, strict=True)) for row in itertools.product(*self.values.values())]

    def check_target(self, target: Path) -> None:
        """Raise ValueError if an output's format holds no animation, and one is wanted."""
        if self.frame_ms is not None and target.suffix.lower() not in ANIMATED:
            raise ValueError(
                f"frame_ms={self.frame_ms} makes an animation, which {target} cannot hold; name an output that ends "
                f"with {' or '.join(ANIMATED)} (suffix=webp for a folder), or leave frame_ms out for a sheet"
            )

    def write(self, target: Path, results: Sequence[NDArray[np.uint8]], alpha: NDArray[np.uint8] | None) -> None:
        """Write the results of a picture, (H, W, 3) uint8 each; `alpha` (H, W) goes with a single one."""
        if self.frame_ms is not None:
            write_animation(target, results, self.frame_ms)
        elif len(results) == 1:
            write_picture(target, results[0], alpha)
        else:
            write_picture(target, sheet(results, self.columns or len([*self.values.values()][-1])))


def sheet(pictures: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Lay pictures of one size, (H, W, 3) uint8, side by side on white, row by row."""
    height, width = pictures[0].shape[:2]
    rows, columns = -(-len(pictures) // columns), min(columns, len(pictures))
    down, across = height + _GAP_PX, width + _GAP_PX
    canvas = np.full((rows * down - _GAP_PX, columns * across - _GAP_PX, 3), 255, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        canvas[row * down : row * down + height, column * across : column * across + width] = picture
    return canvas


def read_variations(
    model: Inference,
    given: Mapping[str, Any],
    *,
    interpolate: int | None = None,
    columns: int | None = None,
    frame_ms: int | None = None,
) -> Variations:
    """Find what varies: a control that was given a list of values, or weights that were given a list of lists.

    Args:
        model: whose controls and pictures they are.
        given: by keyword, controls and weights.
        interpolate: how many values, evenly spaced over those that were given, take their place; None for these.
        columns: see `Variations`.
        frame_ms: see `Variations`.

    Raises:
        TypeError: if a control is given something that is not a value of it.
        ValueError: if more than two vary, a value is out of range, or an option has nothing to work on.
    """
    for name, value, least in (("interpolate", interpolate, 2), ("columns", columns, 1), ("frame_ms", frame_ms, 1)):
        check_optional_whole(name, value, least)
    controls = {control.name: control for control in model.controls}
    values = {name: list(value) for name, value in given.items() if _varies(value, name in controls)}
    if len(values) > _MOST_VARIED:
        raise ValueError(
            f"{', '.join(values)} have lists of values, and a sheet has rows and columns; vary two of them"
        )
    wanted = {"interpolate": interpolate, "columns": columns, "frame_ms": frame_ms}
    if idle := [f"{name}={value}" for name, value in wanted.items() if value is not None and not values]:
        names = ", ".join(controls) or "none"
        raise ValueError(f"{idle[0]} needs a control with a list of values, as seed=[0,1,2]; the controls are {names}")
    if interpolate is not None:
        smooth = {name: _between(each, interpolate) for name, each in values.items() if _is_smooth(each)}
        if not smooth:
            raise ValueError(f"interpolate={interpolate} needs two or more numbers of a control, got {values}")
        values |= smooth
    for name, control in controls.items():
        if interpolate is not None and isinstance(control, Control) and control.whole and name in values:
            values[name] = [round(value) for value in values[name]]
        for value in values.get(name, []):
            control.check(value)
    return Variations(values, columns, frame_ms)


def _varies(value: Any, is_control: bool) -> bool:
    """Tell whether a value is a list of values; of weights one value is a list itself."""
    return isinstance(value, list) and bool(value) and (is_control or isinstance(value[0], list))


def _is_smooth(values: Sequence[Any]) -> bool:
    numbers = np.array(values, dtype=object).ravel()
    return len(values) > 1 and all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers)


def _between(values: Sequence[Any], count: int) -> list[Any]:
    """Return evenly spaced values over a list of numbers, or of lists of as many numbers."""
    places = np.linspace(0, len(values) - 1, count)
    knots = np.array(values, dtype=np.float64).reshape(len(values), -1)  # (N, D)
    columns = [np.interp(places, np.arange(len(values)), knot) for knot in knots.T]
    found = np.stack(columns, 1)  # (count, D)
    return [row.tolist() for row in found] if isinstance(values[0], list) else found[:, 0].tolist()
