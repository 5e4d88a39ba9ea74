"""What an evaluation of Gatys et al.'s objective costs, in time and memory, whole and in tiles.

    python -m experiments.gatys2016.speed evaluation [--size 256] [--repeats 30]
    python -m experiments.gatys2016.speed tiled [--size 4096] [--small 1024] [--tile 512] [--minimizer adam] [--steps 1]

`evaluation` takes turns with a bare forward and backward pass through the same encoder with the same losses, written
out here. `tiled` optimizes a large and a small picture in tiles, and the small one whole; it prints seconds a
megapixel and evaluation, their ratios, and the peak resident memory after each. Pictures are dead leaves; encoder
`compact`, or SqueezeNet by --squeezenet FILE. One JSON line.
"""

import argparse
import json
import logging
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stylebench.functional.content import content_loss
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.functional.gram import gram_loss, gram_matrix
from stylebench.inference.translators.gatys import GatysTranslator
from stylebench.nn.encoders import CompactEncoder, Encoder, SqueezeNetEncoder
from stylebench.optimization.gatys import Targets, Weights
from stylebench.optimization.style_losses import GramStyle

logger = logging.getLogger(__name__)
MINIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, lr=0.02),
    "lbfgs": partial(
        torch.optim.LBFGS, lr=1.0, history_size=100, line_search_fn="strong_wolfe", max_iter=100000, max_eval=1000000,
        tolerance_grad=0.0, tolerance_change=0.0,
    ),
}  # fmt: skip


def build_encoder(squeezenet: str | None) -> Encoder:
    """Return SqueezeNet with weights from a file, or `compact`."""
    if squeezenet is not None:
        taps = ["conv1", "fire2", "fire3", "pool4", "fire5", "fire7"]
        return SqueezeNetEncoder(squeezenet, True, ["pool4"], taps, "fire6")
    taps = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    return CompactEncoder("shipped", ["relu2_2"], taps, "relu4_1")


def translator(encoder: Encoder, minimizer: str, tile_px: int | None) -> GatysTranslator:
    """Return the optimization with the settings of conf/model/gatys.yaml, without the total variation."""
    return GatysTranslator(
        encoder=encoder, content_layers=encoder.content_layers, style_layers=encoder.style_layers,
        style_loss=GramStyle("relative"), minimizer=MINIMIZERS[minimizer], layer_weights=None, weight_content=1.0,
        weight_style=10.0, weight_tv=0.0, calibrate=False, content_norm="mean", tv_convention="magenta",
        init="content", seed=0, evaluations=1, evaluations_per_scale=1, smallest_px=None, bounds="auto",
        style_fit="own", tile_px=tile_px,
    )  # fmt: skip


def pictures(size: int) -> tuple[Tensor, Tensor]:
    """Draw a content of a size, and a style of at most 512 px; (1, 3, H, W) in [0, 1]."""
    small = dead_leaves(2, min(size, 512), 0).float() / 255
    repeats = -(-size // small.shape[-1])
    return small[:1].repeat(1, 1, repeats, repeats)[..., :size, :size], small[1:]


def evaluation(encoder: Encoder, size: int, repeats: int) -> dict[str, Any]:
    """Compare an evaluation with the bare passes."""
    content, style = pictures(size)
    objective = translator(encoder, "adam", None).objective
    weights = Weights(1.0, 10.0, 0.0)
    targets = Targets(objective.content_targets(content), [objective.style_targets(style)], (1.0,))
    layers = tuple(dict.fromkeys((*encoder.content_layers, *encoder.style_layers)))
    with torch.no_grad():
        wanted = encoder(content, encoder.content_layers)
        grams = {layer: gram_matrix(maps) for layer, maps in encoder(style, encoder.style_layers).items()}
    image = (content + 0.1 * torch.rand_like(content)).clamp(0, 1)

    def bare() -> Tensor:
        pixels = image.detach().requires_grad_()
        maps = encoder(pixels, layers)
        terms = [content_loss(maps[layer], wanted[layer]).sum() for layer in encoder.content_layers]
        styled = [gram_loss(gram_matrix(maps[layer]), grams[layer], "relative").sum() for layer in encoder.style_layers]
        total = torch.stack(terms).mean() + 10 * torch.stack(styled).mean()
        (gradient,) = torch.autograd.grad(total, pixels)
        return gradient

    def ours() -> Tensor:
        return objective.evaluate(image, targets=targets, weights=weights).gradient

    calls = {"ours": ours, "bare": bare}
    difference = float((ours() - bare()).abs().max() / bare().abs().max())
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {"seconds": medians, "ratio": medians["ours"] / medians["bare"], "gradients_differ_by": difference}


def tiled(encoder: Encoder, size: int, small: int, tile: int, minimizer: str, steps: int) -> dict[str, Any]:
    """Optimize a small picture whole, the same in tiles, and a large one in tiles."""
    found: dict[str, Any] = {"peak_mib_before": peak_mib()}
    for name, side, tile_px in (("whole", small, None), ("small", small, tile), ("large", size, tile)):
        content, style = pictures(side)
        optimization = translator(encoder, minimizer, tile_px)
        times: list[float] = []
        start = time.perf_counter()
        optimization.translate(
            content, style=style, evaluations=steps + 1,
            watch=lambda progress, times=times: times.append(time.perf_counter()),
        )  # fmt: skip
        spent = (times[-1] - times[0]) / steps
        logger.info("%s, %d px: %.2f s an evaluation, %.0f s in all", name, side, spent, times[-1] - start)
        found[name] = {"seconds": spent, "seconds_a_megapixel": spent / (side * side / 1e6), "peak_mib": peak_mib()}
    per_pixel = {name: found[name]["seconds_a_megapixel"] for name in ("whole", "small", "large")}
    return {**found, "large_to_small": per_pixel["large"] / per_pixel["small"],
            "small_to_whole": per_pixel["small"] / per_pixel["whole"]}  # fmt: skip


def peak_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=("evaluation", "tiled"))
    parser.add_argument("--size", type=int, default=None, help="side in px: 256 for evaluation, 4096 for tiled")
    parser.add_argument("--repeats", type=int, default=30, help="turns of each, for evaluation")
    parser.add_argument("--small", type=int, default=1024, help="side of the small picture, for tiled")
    parser.add_argument("--tile", type=int, default=512, help="side of a tile, for tiled")
    parser.add_argument("--minimizer", choices=sorted(MINIMIZERS), default="adam", help="for tiled")
    parser.add_argument("--steps", type=int, default=1, help="timed evaluations, for tiled")
    parser.add_argument("--squeezenet", default=None, help="a file of weights; without it, compact")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    encoder = build_encoder(arguments.squeezenet)
    if arguments.case == "evaluation":
        found = evaluation(encoder, arguments.size or 256, arguments.repeats)
    else:
        found = tiled(
            encoder, arguments.size or 4096, arguments.small, arguments.tile, arguments.minimizer, arguments.steps
        )
    setting = {"encoder": encoder.name, "torch": torch.__version__, "threads": torch.get_num_threads()}
    logger.info(json.dumps({"case": arguments.case, **found, **setting}))


if __name__ == "__main__":
    main()
