"""Score a finished run on whole photographs it never saw: its own loss terms, stylized beside unstylized.

    python experiments/johnson2016/held_out.py --run outputs/candy --photos photos/ [--weights ema] [--grid grid.png]
        [--controls statistics=paintings]

Each photograph is stylized at its own size (up to --longest pixels a side). Prints one line a photograph and the means
as JSON.
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
import yaml
from omegaconf import OmegaConf
from torch import Tensor

from stylebench.build import build
from stylebench.data.augmentation import whole_image
from stylebench.functional.content import content_loss
from stylebench.functional.geometry import center_crop
from stylebench.functional.gram import gram_loss, gram_matrix
from stylebench.inference.loading import load
from stylebench.training.callbacks.sample_grid import sample_grid, save_png


def main() -> None:
    """Score every photograph, print the means."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--longest", type=int, default=1024)
    parser.add_argument("--grid", type=Path)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--controls", nargs="*", default=[], help="of the model, name=value")
    options = parser.parse_args()
    config = OmegaConf.to_container(OmegaConf.load(options.run / "config.yaml"))
    model, translator = config["model"], load(options.run, weights=options.weights)
    controls = {name: yaml.safe_load(value) for name, _, value in (text.partition("=") for text in options.controls)}
    encoder = build(config["encoder"])
    source = build({**config["dataset"]["store"], "stored_px": options.longest})
    style = whole_image(source.open(config["dataset"]["style"]), 0, model["style_size_px"])
    layers = tuple(dict.fromkeys((*model["content_layers"], *model["style_layers"])))
    grams = {layer: gram_matrix(maps) for layer, maps in encoder(style, model["style_layers"]).items()}

    def terms(content: Tensor, image: Tensor) -> tuple[float, float]:
        targets, maps = encoder(content, model["content_layers"]), encoder(image, layers)
        kept = sum(content_loss(maps[layer], targets[layer]).item() for layer in model["content_layers"])
        styled = sum(gram_loss(gram_matrix(maps[k]), gram, model["gram_norm"]).item() for k, gram in grams.items())
        return kept, styled

    photos = source.open(options.photos)
    rows, shown = [], []
    with torch.no_grad():
        for index, name in enumerate(photos.ids):
            photo = whole_image(photos, index, None)
            scale = options.longest / max(photo.shape[-2:])
            if scale < 1:
                photo = F.interpolate(photo, scale_factor=scale, mode="bilinear", antialias=True)
            stylized = translator.translate(photo, **controls)
            kept, styled = terms(photo, stylized)
            rows.append({"photo": name, "content": kept, "style": styled, "style_unstylized": terms(photo, photo)[1]})
            print(json.dumps(rows[-1]))  # noqa: T201
            shown.append((center_crop(photo, [options.tile] * 2), center_crop(stylized, [options.tile] * 2)))
    means = {key: sum(row[key] for row in rows) / len(rows) for key in ("content", "style", "style_unstylized")}
    means["style_share"] = means["style"] / means["style_unstylized"]
    print(json.dumps({"photos": len(rows), "weights": options.weights, **means}))  # noqa: T201
    if options.grid:
        save_png(pairs_grid(shown), options.grid)


def pairs_grid(pairs: list[tuple[Tensor, Tensor]], columns: int = 6) -> Tensor:
    """Lay (1, 3, H, W) photographs out above their stylized versions, at most `columns` beside each other."""
    rows = []
    for first in range(0, len(pairs), columns):
        part = pairs[first : first + columns]
        missing = [torch.ones_like(part[0][0])] * (min(columns, len(pairs)) - len(part))
        rows += [torch.cat([*(pair[which] for pair in part), *missing]) for which in (0, 1)]
    return sample_grid(rows)


if __name__ == "__main__":
    main()
