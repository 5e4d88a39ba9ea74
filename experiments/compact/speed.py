"""Measure how many pictures a second the encoders turn into features, each to its deepest style layer.

    python -m experiments.compact.speed --squeezenet squeezenet1_0.pth [--seconds 5]

Encoders take turns, so that all see the same machine; the best of three turns counts.
"""

import argparse
import time

import torch

from experiments.compact.measure import encoders, named
from stylebench.nn.encoders import VGGEncoder
from stylebench.nn.encoders.base import Encoder

_SIZES = {64: 32, 256: 4}  # pixels -> pictures in a batch
_TURNS = 3
_VGG19 = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description="Measure features a second.")
    parser.add_argument("--squeezenet", required=True, help="path of SqueezeNet's weights")
    parser.add_argument("--weights", default="shipped", help="of the compact encoder")
    parser.add_argument("--judge", default="shipped", help="weights of compact_judge")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    options = parser.parse_args()
    compared = encoders(options.squeezenet, options.weights)
    compared["compact_judge"] = named("compact_judge", options.judge)
    compared["vgg19 (random weights)"] = VGGEncoder(19, "random", False, ["relu4_2"], _VGG19, "relu4_1")
    best = {(name, size): 0.0 for name in compared for size in _SIZES}
    for _ in range(_TURNS):
        for name, size in best:
            best[name, size] = max(best[name, size], _rate(compared[name], size, options.seconds))
    print(f"{torch.get_num_threads()} threads")  # noqa: T201
    print("| encoder | " + " | ".join(f"{size} px, images/s" for size in _SIZES) + " |")  # noqa: T201
    print("| --- |" + " --- |" * len(_SIZES))  # noqa: T201
    for name in compared:
        print(f"| {name} | " + " | ".join(f"{best[name, size]:.0f}" for size in _SIZES) + " |")  # noqa: T201


@torch.no_grad()
def _rate(encoder: Encoder, size: int, seconds: float) -> float:
    images = torch.rand(_SIZES[size], 3, size, size)
    encoder(images, encoder.style_layers)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        encoder(images, encoder.style_layers)
        count += len(images)
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
