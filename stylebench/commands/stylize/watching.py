"""What one sees of a picture that is being optimized: a bar, pictures on the way, and the curve of the losses."""

import contextlib
import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from stylebench.checks import check_optional_whole
from stylebench.data.images import write_png
from stylebench.files import atomic_write
from stylebench.functional.pixels import quantize
from stylebench.inference.translators.base import OptimizingTranslator, Translator, Watch

if TYPE_CHECKING:  # it would bring the encoders, and with them torchvision, where a trained model needs none
    from stylebench.optimization.gatys import Progress


@contextlib.contextmanager
def watching(translator: Translator, target: Path, every: int | None, bar: bool) -> Iterator[Watch | None]:
    """Show a bar while a translator optimizes, and with `every` write what it has so far beside the output.

    Files are `<name>-<evaluation>.png` and, in the end, `<name>.csv` with a row for each of them: evaluation, total and
    unweighted terms. A translator that does not optimize shows nothing.

    Yields:
        What `translate` takes as `watch`; None for a translator that does not optimize.

    Args:
        translator: what will be used.
        target: the output's file.
        every: evaluations between two pictures; None for none.
        bar: whether to show a bar on stderr.

    Raises:
        ValueError: if `every` is not a positive number, or the translator does not optimize.
    """
    check_optional_whole("every", every)
    if not isinstance(translator, OptimizingTranslator):
        if every is not None:
            raise ValueError(
                "every shows pictures on the way of an optimization; a trained model has none: leave it out"
            )
        yield None
        return
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        shown: list[Any] = []

        def watch(progress: "Progress") -> None:
            if not shown:  # only now: what is wrong with the input has been said
                shown.append(
                    stack.enter_context(
                        tqdm(
                            desc="optimize",
                            unit="evaluation",
                            total=progress.evaluations,
                            disable=not bar,
                            leave=False,
                            mininterval=0.5 if sys.stderr.isatty() else 30,
                        )
                    )
                )
            shown[0].update()
            if every is not None and (progress.evaluation % every == 0 or progress.evaluation == 1):
                rows.append({"evaluation": progress.evaluation, "total": progress.total, **_flat(progress.terms)})
                name = f"{target.stem}-{progress.evaluation:06d}.png"
                write_png(_pixels(progress.image), target.with_name(name))

        yield watch
    if rows:
        _write_curve(target.with_suffix(".csv"), rows)


def _pixels(image: Tensor) -> Any:
    return quantize(image.detach().clamp(0, 1))[0].permute(1, 2, 0).contiguous().cpu().numpy()


def _flat(terms: dict[str, Any]) -> dict[str, Tensor]:
    """Return terms by name, those of several layers as their sum and by layer."""
    found: dict[str, Tensor] = {}
    for name, term in terms.items():
        if isinstance(term, dict):
            found[name] = torch.stack(list(term.values())).sum()
            found |= {f"{name}_{layer}": value for layer, value in term.items()}
        else:
            found[name] = term
    return found


def _write_curve(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(
        {key: value if isinstance(value, int) else f"{float(value):.6g}" for key, value in row.items()} for row in rows
    )
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
