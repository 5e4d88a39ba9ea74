"""A first report of a run on a rendered world: one static page with the exact answers beside the results."""

import base64
import html
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stylebench.data.contact_sheet import labeled_rows
from stylebench.data.opened import Opened
from stylebench.data.splits import unit_hash
from stylebench.data.world import SOURCE, TRUTH_DRAWS
from stylebench.files import atomic_write
from stylebench.functional.color_match import match_color_statistics
from stylebench.functional.pixels import quantize
from stylebench.functional.segments import region_iou
from stylebench.inference.translators.base import Translator
from stylebench.run_folder import REPORT
from stylebench.worlds.strength import StrengthReader

_SCENES = 32
_SHOWN = 6
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:64em;margin:2em auto;padding:0 1em}}
img{{width:100%}}td,th{{padding:.2em 1em;text-align:right;border-bottom:1px solid #ccc}}
td:first-child,th:first-child{{text-align:left}}pre{{background:#f4f4f4;padding:1em;overflow:auto}}
</style><h1>{title}</h1><p>{summary}</p><img alt="contents, answers and results" src="data:image/png;base64,{grid}">
<h2>How close is it?</h2>{table}<p>{legend}</p><h2>Command</h2><pre>{command}</pre><h2>Config</h2><pre>{config}</pre>
</html>"""
_LEGEND = (
    "strength: how much of the style (palette, texture, strokes ...) can be read out of the picture, 0 = the content "
    "itself, 1 = the exact target, above 1 = overdone, not better; its components follow, those that cannot be read in "
    "this style are left out. stray texture: amplitude outside the style's band, 1 = as much as the style has; "
    "noise has plenty. masks: how well the regions can still be told apart by color (mean IoU). PSNR: in dB, to the "
    "nearest of {draws} exact targets; it favors flat fills over the right texture, so it does not rank styles. Means "
    "over {scenes} contents that training has not seen."
)


def write_report(folder: Path, config: Mapping[str, Any], opened: Opened, translator: Translator, command: str) -> Path:
    """Compare a trained model with the exact answers and with two trivial ones, and write `report.html`.

    Args:
        folder: the run folder.
        config: the run's resolved config.
        opened: the rendered world that the run trained on, and its domains.
        translator: the trained model.
        command: the command line that made the run.

    Returns:
        The path of the page; it needs no other file and no network.
    """
    settings = config["dataset"]
    world, domains = opened.world, opened.domains
    assert world is not None
    ids = _held_out(domains["content"])
    style = world.look_up(settings["style"], opened.task.part("style"))[1][0]
    contents = world.render(ids, SOURCE, purpose="reference").float() / 255
    style_picture = torch.from_numpy(domains["style"].image(0)).permute(2, 0, 1)[None].float() / 255
    truth = torch.stack([world.render(ids, style, draw=draw) for draw in range(TRUTH_DRAWS)]).float() / 255
    pictures: dict[str, Any] = {"style": style_picture} if translator.takes("style") else {}
    answers = {
        "content as it is": contents,
        "colors matched": match_color_statistics(contents, style_picture),
        "this model": translator.translate(contents, **pictures),
        "exact target": world.render(ids, style, purpose="reference").float() / 255,
    }
    regions = world.anatomy(ids).regions
    reader = StrengthReader(world, style, ids)
    rows = {name: _figures(quantize(images), ids, reader, regions, truth) for name, images in answers.items()}
    shown = {name: list(_pixels(images[:_SHOWN])) for name, images in answers.items()}
    page = _PAGE.format(
        title=html.escape(f"{config['name']}: {SOURCE} to {style}"),
        summary=html.escape(
            f"{config['budget']['batches']} batches of {settings['batch_size']} pictures of {settings['size_px']} px, "
            f"seed {config['seed']}. The style was learned from the one picture in the first row."
        ),
        grid=_png(labeled_rows({"style picture": list(_pixels(style_picture)), **shown})),
        table=_table(rows),
        legend=html.escape(_LEGEND.format(draws=TRUTH_DRAWS, scenes=len(ids))),
        command=html.escape(command),
        config=html.escape(json.dumps(config, indent=2)),
    )
    path = folder / REPORT
    with atomic_write(path) as file:
        file.write(page.encode())
    return path


def _held_out(domain: Any) -> list[str]:
    """Return contents of the test split, by hash."""
    return sorted((domain.ids[i] for i in domain.split("test")), key=unit_hash)[:_SCENES]


def _figures(
    images: Tensor, ids: list[str], reader: StrengthReader, regions: Tensor, truth: Tensor
) -> dict[str, float]:
    """Return the table's row of one answer."""
    readings = reader.read(images, ids)
    floats = images.float() / 255
    error = (floats - truth).square().mean((2, 3, 4)).clamp_min(1e-10)  # (draws, B)
    return {
        "strength": float(readings.strength.nanmean()),
        **{name: float(values.nanmean()) for name, values in readings.components.items()},
        "stray texture": float(readings.texture_excess.nanmean()),
        "masks": float(region_iou(floats, regions).mean()),
        "PSNR": float((-10 * error.log10()).amax(0).mean()),
    }


def _pixels(images: Tensor) -> NDArray[np.uint8]:
    return quantize(images).permute(0, 2, 3, 1).numpy()


def _png(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return figures as an HTML table; what does not apply is left empty."""
    columns = [name for name in next(iter(rows.values())) if any(row[name] == row[name] for row in rows.values())]
    lines = ["<tr><th></th>" + "".join(f"<th>{html.escape(name)}</th>" for name in columns) + "</tr>"]
    for name, row in rows.items():
        cells = "".join(f"<td>{row[column]:.{1 if column == 'PSNR' else 2}f}</td>" for column in columns)
        lines.append(f"<tr><td>{html.escape(name)}</td>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"
