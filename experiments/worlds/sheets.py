"""Draw the contact sheets of the README: the same contents in every named style of both worlds.

python experiments/worlds/sheets.py --photos <folder of photographs> --output experiments/worlds
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from stylebench.data.contact_sheet import labeled_rows
from stylebench.data.folders import Folders
from stylebench.data.world import SOURCE, World
from stylebench.worlds.filterstyle import FILTERS
from stylebench.worlds.filterstyle.world import FilterStyle
from stylebench.worlds.procstyle import NAMED_STYLES
from stylebench.worlds.procstyle.world import ProcStyle

PRIOR = 8  # styles of the prior on the sheet of ProcStyle
QUALITY = 88


def write_sheet(world: World, ids: list[str], styles: list[str], path: Path) -> None:
    """Write a row of pictures for each style, as a JPEG."""
    rows = {}
    for style in styles:
        images = world.render(ids, style, purpose="reference")
        rows[style] = list(images.permute(0, 2, 3, 1).numpy())
    pixels: np.ndarray = labeled_rows(rows)
    Image.fromarray(pixels).save(path, quality=QUALITY)


def main() -> None:
    """Write procstyle.jpg, procstyle_prior.jpg and filterstyle.jpg."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs that may be published")
    parser.add_argument("--output", type=Path, required=True, help="folder for the sheets")
    parser.add_argument("--size", type=int, default=128, help="pixels of a scene's side")
    parser.add_argument("--filtered-size", type=int, default=192, help="pixels of a photograph's side")
    options = parser.parse_args()
    scenes = ProcStyle(options.size, 8, 1, 1, packed=False, cache=None)
    ids = [f"train-{number:05d}" for number in range(8)]
    write_sheet(scenes, ids, [SOURCE, *NAMED_STYLES], options.output / "procstyle.jpg")
    write_sheet(scenes, ids, [f"prior-{n}" for n in range(PRIOR)], options.output / "procstyle_prior.jpg")
    photographs = Folders(None, 512, 10**8, "stop", 0.0, 0.0)
    filtered = FilterStyle(str(options.photos), options.filtered_size, packed=False, photographs=photographs)
    write_sheet(filtered, filtered.photographs.ids, [SOURCE, *FILTERS], options.output / "filterstyle.jpg")


if __name__ == "__main__":
    main()
