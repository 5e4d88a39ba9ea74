"""One optimization for a study: the translator that the configs name, what it reached, and a file of such results."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from experiments.gatys2016.pairs import Pair
from stylebench.build import build_translator
from stylebench.cli.config import compose
from stylebench.inference.translators.gatys import GatysTranslator, TextureTranslator
from stylebench.optimization.gatys import Progress, Targets, Weights

STYLE_WEIGHT = 10.0  # of the studies, in units of the style term's gradient; content weight 1
LAST = 26  # evaluations among which L-BFGS keeps the best picture (`optimization/image_parameter.py`)
Row = dict[str, Any]


class Run(NamedTuple):
    """A result.

    Attributes:
        image: (1, 3, H, W) in [0, 1].
        curve: the objective at every evaluation.
    """

    image: Tensor
    curve: list[float]

    @property
    def total(self) -> float:
        """The objective at the picture that was kept: the best of the last evaluations."""
        return min(self.curve[-LAST:])


@lru_cache(maxsize=32)
def translator(model: str, overrides: tuple[str, ...]) -> Any:
    """Return what the configs describe: `model` with the package's defaults and these overrides."""
    return build_translator(compose("stylize", [f"model={model}", *overrides]), "cpu")


def optimize(pair: Pair, overrides: Sequence[str] = (), model: str = "gatys", **controls: Any) -> Run:
    """Optimize a pair; Gatys without total variation and from noise unless `controls` say otherwise, as the paper.

    Args:
        pair: content and style.
        overrides: of the config.
        model: name of its config.
        **controls: of the translator.
    """
    found: GatysTranslator | TextureTranslator = translator(model, tuple(overrides))
    curve: list[float] = []

    def watch(progress: Progress) -> None:
        curve.append(float(progress.total))

    plain = {"init": "noise", "weight_tv": 0.0} if model == "gatys" else {}
    image = found.translate(pair.content, style=pair.style, watch=watch, **{**plain, "seed": pair.seed, **controls})
    return Run(image, curve)


@torch.no_grad()
def terms(image: Tensor, content: Tensor | None, style: Tensor, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Return the unweighted terms of a picture under the losses of `model=gatys` with overrides.

    Args:
        image: (1, 3, H, W) in [0, 1].
        content: the same; None leaves the content term out.
        style: (1, 3, h, w).
        overrides: of the config.
    """
    objective = translator("gatys", tuple(overrides)).objective
    targets = Targets(
        {} if content is None else objective.content_targets(content), [objective.style_targets(style)], (1.0,)
    )
    weights = Weights(0.0 if content is None else 1.0, 1.0, 0.0)
    found = objective.evaluate(image, targets=targets, weights=weights).terms
    return {name: float(sum(found[name].values())) for name in ("content", "style") if name in found}


class Results:
    """A file of results, one JSON object a line; what it holds already is not computed again.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = read(path) if path.exists() else []
        self._known = {_key(row) for row in self.rows}

    def has(self, row: Row) -> bool:
        """Tell whether there is a result of this study, group, seed, pair and setting."""
        return _key(row) in self._known

    def add(self, row: Row) -> None:
        """Write a result down at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)
        self._known.add(_key(row))


def read(path: Path) -> list[Row]:
    """Return the results of a file."""
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def label(study: str, pair: Pair, setting: str) -> Row:
    """Return what names a result."""
    return {"study": study, "group": pair.group, "seed": pair.seed, "pair": pair.name, "setting": setting}


def by_pair(rows: Sequence[Row], study: str) -> Iterator[tuple[Row, dict[str, Row]]]:
    """Return for every pair of a study what names it, and its results by setting."""
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        if row["study"] == study:
            found.setdefault((row["group"], row["seed"], row["pair"]), {})[row["setting"]] = row
    for settings in found.values():
        yield next(iter(settings.values())), settings


def rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return values with six significant digits."""
    return {name: None if value is None else float(f"{value:.6g}") for name, value in values.items()}


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("study", "group", "seed", "pair", "setting"))
