"""What calibration costs beside plain inference over the same images: processor seconds and peak memory.

    python -m experiments.adabn2016.cost --output experiments/adabn2016/cost.json

ResNet-18 with random weights on noise at 64 px: what is computed does not depend on either. Seconds: pairs of one pass
each in one process on one thread, which of the two comes first alternates; the median ratio with a 95 % interval by
bootstrap. Memory: a fresh process of each, for two numbers of images.
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet18

from experiments.costs import alone, peak_bytes, ratios, tell
from stylebench.adaptation.adabn import recalibrate

IMAGES, BATCH, SIZE_PX = 1000, 128, 64


class Noise:
    """Batches of noise that are made again each time, so that their number costs no memory."""

    def __init__(self, images: int) -> None:
        self.images = images

    def __iter__(self) -> Any:
        for start in range(0, self.images, BATCH):
            generator = torch.Generator().manual_seed(start)
            yield torch.rand(min(BATCH, self.images - start), 3, SIZE_PX, SIZE_PX, generator=generator)


@torch.no_grad()
def infer(network: nn.Module, batches: Any) -> None:
    """Show a network all batches."""
    for batch in batches:
        network(batch)


WAYS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "inference": infer,
    "calibration": lambda network, batches: recalibrate(network, batches, propagate="batch"),
}


def network() -> nn.Module:
    """Return the network, in evaluation mode."""
    torch.manual_seed(0)
    return resnet18(num_classes=10).eval()


def compare_seconds() -> dict[str, Any]:
    """Measure pairs in this process."""
    model, batches = network(), list(Noise(IMAGES))
    return ratios({name: functools.partial(way, model, batches) for name, way in WAYS.items()})


def main() -> None:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file")
    parser.add_argument("--alone", choices=list(WAYS), help="one pass, whose peak memory in bytes is printed")
    parser.add_argument("--images", type=int, default=IMAGES)
    options = parser.parse_args()
    if options.alone:
        alone(functools.partial(WAYS[options.alone], network(), Noise(options.images)))
        return
    found: dict[str, Any] = {"seconds": compare_seconds()}
    found["peak_bytes"] = {
        images: {way: peak_bytes("experiments.adabn2016.cost", way, "--images", str(images)) for way in WAYS}
        for images in (IMAGES, 3 * IMAGES)
    }
    tell(found, options.output)


if __name__ == "__main__":
    main()
