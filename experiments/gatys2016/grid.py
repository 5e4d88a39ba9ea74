"""Stylize every photograph with every painting by optimization, and lay the results out.

    python -m experiments.gatys2016.grid --photos a.png b.png --paintings c.jpg d.jpg --output grid.jpg [--size 320]
        [override ...]

Overrides are those of `stylebench stylize` (encoder=squeezenet, model.weight_style=5). The first row holds
the paintings, the first column the photographs, cut to a common shape for the grid alone. One JSON line a picture.
"""

import argparse
import json
import logging
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from stylebench.build import build_translator
from stylebench.cli.config import compose
from stylebench.commands.stylize.guides import shrunk
from stylebench.data.images import decode_image
from stylebench.functional.geometry import center_crop, resized
from stylebench.functional.pixels import quantize

logger = logging.getLogger(__name__)
LIMIT = 200_000_000
GAP = 4


def read(path: Path, size_px: int) -> Tensor:
    """Return a picture, its longer side at most `size_px`; (3, H, W) in [0, 1]."""
    pixels = torch.from_numpy(decode_image(path, LIMIT)).permute(2, 0, 1).float() / 255
    return shrunk(pixels, size_px)


def square(picture: Tensor, side: int) -> Tensor:
    """Cut the middle square out of a (3, H, W) picture and resize it to (3, side, side)."""
    return resized(center_crop(picture[None], [min(picture.shape[1:])] * 2), (side, side))[0]


def lay_out(cells: list[list[Tensor]]) -> Tensor:
    """Lay (3, S, S) pictures out in rows, with white gaps and a white first cell; (3, H, W)."""
    side = cells[0][-1].shape[-1]
    rows, columns = len(cells), len(cells[0])
    sheet = torch.ones(3, rows * (side + GAP) - GAP, columns * (side + GAP) - GAP)
    for row, line in enumerate(cells):
        for column, picture in enumerate(line):
            top, left = row * (side + GAP), column * (side + GAP)
            sheet[:, top : top + side, left : left + side] = picture
    return sheet


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--paintings", type=Path, nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True, help="a picture; results lie beside it one by one")
    parser.add_argument("--size", type=int, default=320, help="longer side in px")
    parser.add_argument("--cell", type=int, default=240, help="side of a cell of the grid in px")
    parser.add_argument("overrides", nargs="*", help="of stylebench stylize")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    translator = build_translator(compose("stylize", arguments.overrides), "cpu")
    paintings = [read(path, 2 * arguments.size) for path in arguments.paintings]
    cells = [[torch.ones(3, arguments.cell, arguments.cell), *(square(part, arguments.cell) for part in paintings)]]
    for photo in arguments.photos:
        content = read(photo, arguments.size)
        cells.append([square(content, arguments.cell)])
        for path, painting in zip(arguments.paintings, paintings, strict=True):
            start = time.perf_counter()
            made = translator.translate(content, style=painting)
            facts = {"photo": photo.name, "painting": path.name, "seconds": time.perf_counter() - start}
            logger.info(json.dumps({**facts, "size": list(content.shape[1:]), "encoder": translator.encoder.name}))
            save(made, arguments.output.with_name(f"{photo.stem}_{path.stem}.png"))
            cells[-1].append(square(made, arguments.cell))
            save(lay_out([*cells[:-1], [*cells[-1], *cells[0][len(cells[-1]) :]]]), arguments.output)


def save(picture: Tensor, path: Path) -> None:
    """Write a (3, H, W) picture in [0, 1]."""
    Image.fromarray(quantize(picture).permute(1, 2, 0).numpy()).save(path, quality=88)


if __name__ == "__main__":
    main()
