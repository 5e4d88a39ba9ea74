"""FilterStyle's styles: a filter and its identity parameters, named or drawn from a prior."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stylebench.worlds import filters

Color = tuple[float, float, float]
Value = float | tuple[float, ...] | tuple[Color, ...]

_FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "palette_map": filters.palette_map,
    "kuwahara": filters.kuwahara,
    "xdog": filters.xdog,
    "halftone": filters.halftone,
    "hatching": filters.hatching,
    "posterize_edges": filters.posterize_edges,
    "watercolor": filters.watercolor,
    "pixel_art": filters.pixel_art,
}
FILTERS: tuple[str, ...] = tuple(_FUNCTIONS)
_UNFILTERED = "photo"


@dataclass(frozen=True)
class Style:
    """What makes a style this style: a filter and all of its parameters but nuisance seeds and strength.

    Hashable, comparable and picklable; equal styles render equal pictures.

    Attributes:
        filter: a name of `FILTERS`, or "photo" for the photograph itself.
        settings: (name, value) of every parameter, in the order of the filter's own signature.
    """

    filter: str
    settings: tuple[tuple[str, Value], ...] = ()

    @property
    def parameters(self) -> dict[str, Value]:
        """Return the parameters by name; their meaning and units are in the filter's docstring."""
        return dict(self.settings)

    @property
    def has_nuisance(self) -> bool:
        """Tell whether the nuisance number changes the picture; if not, a content has one rendering only."""
        return self.filter != _UNFILTERED and "seeds" in inspect.signature(_FUNCTIONS[self.filter]).parameters

    def to_dict(self) -> dict[str, Any]:
        """Return filter and parameters as plain JSON types, for records and fingerprints."""
        return {"filter": self.filter, "parameters": {name: _plain(value) for name, value in self.settings}}


def make_style(name: str, **parameters: Value) -> Style:
    """Make a style of a filter, with the default settings of the named style where no parameter is given.

    Args:
        name: of `FILTERS`.
        **parameters: of the filter, as in its docstring.

    Returns:
        The style.

    Raises:
        ValueError: if there is no such filter, or it has no such parameter.
    """
    if name not in _FUNCTIONS:
        raise ValueError(f"expected a filter of {', '.join(FILTERS)}; got {name!r}")
    known = _defaults(name)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"the filter {name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")
    return Style(name, tuple((known | parameters).items()))


@functools.cache
def _defaults(name: str) -> dict[str, Value]:
    """Return a filter's parameters with their defaults."""
    return {
        key: parameter.default
        for key, parameter in inspect.signature(_FUNCTIONS[name]).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and key != "seeds"
    }


def filter_function(style: Style) -> Callable[..., Tensor]:
    """Return the function that draws a style; it takes images, strength, perhaps seeds, and the parameters."""
    return _FUNCTIONS[style.filter]


PHOTO = Style(_UNFILTERED)
NAMED_STYLES: dict[str, Style] = {name: make_style(name) for name in FILTERS}


def _plain(value: Value) -> Any:
    """Turn tuples into lists, at every depth."""
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
