"""Optimize pixels under the losses of several encoders, side by side.

    python -m experiments.compact.optimize --content photos/ --style paintings/ --squeezenet squeezenet1_0.pth \
        --output pixels.png

Each row shows content, style, then a result of each encoder: 200 steps of Adam from the content. The first --pairs
pictures of both folders are paired in the order of their names.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torchvision.io import write_png
from torchvision.utils import make_grid

from experiments.compact.measure import central_square, encoders, images_in
from stylebench.functional.content import content_loss
from stylebench.functional.gram import gram_loss, gram_matrix
from stylebench.functional.pixels import quantize
from stylebench.nn.encoders.base import Encoder

_RATE = 0.02
_LEAST_PX = 32  # below this the deepest maps are smaller than a pixel


def main() -> None:
    """Optimize every pair under every encoder and write the grid."""
    parser = argparse.ArgumentParser(description="Optimize pixels under several encoders.")
    add = parser.add_argument
    add("--content", type=Path, required=True, help="folder of photographs")
    add("--style", type=Path, required=True, help="folder of paintings")
    add("--squeezenet", required=True, help="path of SqueezeNet's weights")
    add("--weights", default="shipped", help="of the compact encoder")
    add("--pairs", type=int, default=4, help="rows of the grid (default: %(default)s)")
    add("--size", type=int, default=256, help="height and width, pixels (default: %(default)s)")
    add("--steps", type=int, default=200, help="of Adam (default: %(default)s)")
    add("--weight-style", type=float, default=20.0, help="factor of the style loss (default: %(default)s)")
    add("--output", type=Path, required=True, help="the grid, a PNG file")
    options = parser.parse_args()
    try:
        paths = paired(options.content, options.style, options.pairs)
        if options.size < _LEAST_PX or options.steps < 1:
            raise ValueError(f"--size must be at least {_LEAST_PX} and --steps at least 1")
        if options.output.suffix.lower() != ".png":
            raise ValueError(f"--output must name a PNG file, got {options.output}")
        options.output.parent.mkdir(parents=True, exist_ok=True)
        compared = encoders(options.squeezenet, options.weights)
    except (ValueError, FileNotFoundError) as error:  # what was given does not fit; the message says what would
        parser.error(str(error))
    rows = []
    for content_path, style_path in paths:
        content, style = (central_square(path, options.size)[None].float() / 255 for path in (content_path, style_path))
        rows += [content[0], style[0]]
        rows += [optimize(net, content, style, options.steps, options.weight_style)[0] for net in compared.values()]
    grid = make_grid(torch.stack(rows), nrow=2 + len(compared))
    write_png(quantize(grid), str(options.output))
    print("columns: content, style,", ", ".join(compared))  # noqa: T201


def paired(content: Path, style: Path, count: int) -> list[tuple[Path, Path]]:
    """Pair the first pictures of two folders, in the order of their names.

    Args:
        content: folder of photographs.
        style: folder of paintings.
        count: how many pairs.

    Returns:
        (photograph, painting) paths.

    Raises:
        FileNotFoundError: if a folder is missing.
        ValueError: if `count` is below 1, or a folder holds fewer pictures.
    """
    if count < 1:
        raise ValueError(f"--pairs must be at least 1, got {count}")
    chosen = []
    for option, folder in (("--content", content), ("--style", style)):
        if not folder.is_dir():
            raise FileNotFoundError(f"{option} expects a folder of pictures, found no {folder}")
        found = images_in(folder)
        if len(found) < count:
            raise ValueError(f"{option} {folder} must hold at least {count} pictures for --pairs, found {len(found)}")
        chosen.append(found[:count])
    return list(zip(*chosen, strict=True))


def optimize(encoder: Encoder, content: Tensor, style: Tensor, steps: int, weight_style: float) -> Tensor:
    """Lower content loss + weight_style x relative Gram loss from the content on.

    Args:
        encoder: whose content and style layers are compared.
        content: (1, 3, H, W) in [0, 1].
        style: (1, 3, h, w) in [0, 1].
        steps: of Adam.
        weight_style: factor of the style loss.

    Returns:
        (1, 3, H, W) in [0, 1].
    """
    with torch.no_grad():
        targets = encoder(content, encoder.content_layers)
        grams = {layer: gram_matrix(maps) for layer, maps in encoder(style, encoder.style_layers).items()}
    image = content.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=_RATE)
    layers = tuple(dict.fromkeys((*encoder.content_layers, *encoder.style_layers)))
    for _ in range(steps):
        maps = encoder(image, layers)
        kept = torch.stack([content_loss(maps[layer], target) for layer, target in targets.items()]).sum()
        styled = torch.stack([gram_loss(gram_matrix(maps[k]), gram, "relative") for k, gram in grams.items()]).sum()
        optimizer.zero_grad()
        (kept + weight_style * styled).backward()
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    return image.detach()


if __name__ == "__main__":
    main()
