"""Draw what a generator makes of pictures as its statistics move from the training's to a domain's.

    stylebench calibrate run=outputs/candy domain=paintings/
    python experiments/adabn2016/shares.py --run outputs/candy --domain paintings --pictures paintings/ --output x.png

A row a picture: the picture, then `statistics_share` 0, 0.25, 0.5, 0.75 and 1 of the domain's statistics.
"""

import argparse
from pathlib import Path

import torch

from stylebench.data.images import decode_image
from stylebench.data.listing import list_pictures
from stylebench.functional.geometry import center_crop
from stylebench.inference.loading import load_translator
from stylebench.training.callbacks.sample_grid import sample_grid, save_png

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_MOST_PIXELS = 200_000_000


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--domain", required=True, help="name of the statistics")
    parser.add_argument("--pictures", type=Path, required=True, help="a folder")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6, help="pictures")
    parser.add_argument("--tile", type=int, default=192, help="side of a tile in pixels")
    options = parser.parse_args()
    model = load_translator(options.run)
    files = sorted(list_pictures(options.pictures).pictures.values())[: options.count]
    columns = []
    for file in files:
        picture = torch.from_numpy(decode_image(file, _MOST_PIXELS)).permute(2, 0, 1)[None].float() / 255
        picture = center_crop(picture, [options.tile] * 2)  # (1, 3, tile, tile)
        made = [model.translate(picture, statistics=options.domain, statistics_share=share) for share in SHARES]
        columns.append(torch.cat([picture, *made]))
    save_png(sample_grid(columns), options.output)


if __name__ == "__main__":
    main()
