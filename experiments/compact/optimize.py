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
from stylebench.nn.encoders.base import Encoder

_RATE = 0.02


def main() -> None:
    """Optimize every pair under every encoder and write the grid."""
    parser = argparse.ArgumentParser(description="Optimize pixels under several encoders.")
    parser.add_argument("--content", type=Path, required=True)
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--squeezenet", required=True, help="path of SqueezeNet's weights")
    parser.add_argument("--weights", default="shipped", help="of the compact encoder")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--weight-style", type=float, default=20.0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    compared = encoders(options.squeezenet, options.weights)
    rows = []
    paths = zip(images_in(options.content)[: options.pairs], images_in(options.style)[: options.pairs], strict=True)
    for content_path, style_path in paths:
        content, style = (central_square(path, options.size)[None].float() / 255 for path in (content_path, style_path))
        rows += [content[0], style[0]]
        rows += [optimize(net, content, style, options.steps, options.weight_style)[0] for net in compared.values()]
    grid = make_grid(torch.stack(rows), nrow=2 + len(compared))
    write_png((grid * 255).round().to(torch.uint8), str(options.output))
    print("columns: content, style,", ", ".join(compared))  # noqa: T201


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
