"""Style parameters of a batch as tensors."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stylebench.worlds.procstyle.styles import PATTERNS, Style, cover_weight, flatten

_COVERS = ("texture.hatch.amplitude", "texture.dots.amplitude", "texture.dry.amplitude", "texture.reserve",
           "stroke.amount", "quantization.amount", "shading.shadow")  # fmt: skip

_AMOUNTS = ("amplitude", "amount", "reserve", "cel", "gloss", "shadow", "glow", "wobble")

Rows = slice | Tensor


@functools.cache
def _columns() -> dict[str, slice]:
    """Return where each parameter stands in a style's row."""
    columns, start = {}, 0
    for name, values in _parameters(Style()).items():
        columns[name] = slice(start, start + len(values))
        start += len(values)
    return columns


def _parameters(style: Style) -> dict[str, tuple[float, ...]]:
    """Return a style's parameters and what the renderer derives from them, once for each style, in double precision."""
    flat = dict(flatten(style))
    for name in _COVERS:
        flat[f"{name}.weight"] = (cover_weight(flat[name][0]),)
    for kind in PATTERNS:
        frequency, angle = flat[f"texture.{kind}.frequency"][0], flat[f"texture.{kind}.orientation"][0]
        flat[f"texture.{kind}.turn"] = (frequency * math.cos(angle), frequency * math.sin(angle))
    return flat


@functools.lru_cache(maxsize=4096)
def _row(style: Style) -> NDArray[np.float32]:
    return np.array([value for values in _parameters(style).values() for value in values], dtype=np.float32)


@functools.lru_cache(maxsize=4096)
def features(style: Style) -> tuple[bool, ...]:
    """Return which amounts of a style are above 0."""
    return tuple(values[0] > 0 for name, values in flatten(style).items() if name.endswith(_AMOUNTS))


class StyleTable:
    """The parameters of B styles, by dotted name.

    Args:
        styles: one for each image.
        device: where the tensors shall lie.
    """

    def __init__(self, styles: Sequence[Style], device: torch.device) -> None:
        self._host = np.stack([_row(style) for style in styles])
        self._values = torch.from_numpy(self._host).to(device)

    def __getitem__(self, name: str) -> Tensor:
        """Return a parameter as (B, k); a single number as (B, 1)."""
        return self._values[:, _columns()[name]]

    def host(self, name: str) -> NDArray[np.float32]:
        """Return a parameter as (B, k) on the CPU, for decisions that must not wait for the device."""
        return self._host[:, _columns()[name]]

    def rows(self, name: str) -> Rows | None:
        """Return which images have more than 0 of a parameter: None if none has, all of them as a slice."""
        present = self.host(name)[:, 0] > 0
        if present.all():
            return slice(None)
        return torch.from_numpy(np.flatnonzero(present)).to(self._values.device) if present.any() else None
