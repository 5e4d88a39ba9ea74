"""What a training step with AutoDIAL's layers costs beside one with plain batch norm on the same joint batch.

    python -m experiments.autodial2017.cost --output experiments/autodial2017/cost.json

ResNet-18 at 64 px, 32 images of the source and 32 of the target: cross entropy of the source, for AutoDIAL also the
entropy of the target and the projection of alpha, SGD. Random weights and noise: what is computed does not depend on
either. Processor seconds on one thread, 15 pairs; the median ratio with a 95 % interval by bootstrap. Peak memory: a
fresh process of each.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.costs import alone, peak_bytes, ratios, tell
from stylebench.adaptation.autodial import AutoDIAL
from stylebench.adaptation.base import Outputs, Strategy
from stylebench.adaptation.joint import joint_outputs
from stylebench.nn.classifiers.resnet import ResNet

IMAGES, SIZE_PX, CLASSES = 32, 64, 10
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
SETTINGS: dict[str, Any] = {
    "learned": True, "by_channel": False, "lr_factor": 1.0, "mixture": "moments", "entropy_weight": 0.1,
    "eval_moments": "mixture", "recalibrate": "exact", "propagate": "batch", "sync_moments": False,
}  # fmt: skip


class PlainBatchNorm(Strategy):
    """Source and target in one batch, of which batch norm takes the statistics."""

    def outputs(self, network: nn.Module, source: Tensor, target: Tensor | None) -> Outputs:
        """Run the network on both at once."""
        assert target is not None
        return joint_outputs(network, source, target)


def step(strategy: Strategy, layout: torch.memory_format) -> Callable[[], None]:
    """Return a training step."""
    torch.manual_seed(0)
    network = strategy.convert(ResNet(CLASSES)).train().to(memory_format=layout)
    source, target = (torch.rand(IMAGES, 3, SIZE_PX, SIZE_PX).contiguous(memory_format=layout) for _ in range(2))
    labels = torch.arange(IMAGES) % CLASSES
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)

    def run() -> None:
        optimizer.zero_grad()
        outputs = strategy.outputs(network, source, target)
        terms = strategy.terms(outputs, 0.5)
        loss = F.cross_entropy(outputs.source, labels)
        for name, term in terms.items():
            loss = loss + strategy.weights[name] * term
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        strategy.after_step(network)

    return run


WAYS: dict[str, Callable[[], Strategy]] = {
    "batch_norm": PlainBatchNorm,
    "autodial": lambda: AutoDIAL(alpha=0.8, **SETTINGS),
    "autodial_1_fixed": lambda: AutoDIAL(alpha=1.0, **{**SETTINGS, "learned": False}),
}


def main() -> None:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file")
    parser.add_argument("--alone", choices=list(WAYS), help="three steps, whose peak memory in bytes is printed")
    options = parser.parse_args()
    if options.alone:
        alone(step(WAYS[options.alone](), torch.contiguous_format), times=3)
        return
    found: dict[str, Any] = {
        f"{way}/{name}": ratios({"batch_norm": step(PlainBatchNorm(), layout), way: step(WAYS[way](), layout)})
        for name, layout in LAYOUTS.items()
        for way in ("autodial", "autodial_1_fixed")
    }
    found["peak_bytes"] = {way: peak_bytes("experiments.autodial2017.cost", way) for way in WAYS}
    tell(found, options.output)


if __name__ == "__main__":
    main()
