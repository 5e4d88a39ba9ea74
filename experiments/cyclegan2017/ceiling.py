"""Train the generator of a translation run on exact pairs instead: what it could reach if the answer were known.

    python -m experiments.cyclegan2017.ceiling --run outputs/learning/cyclegan --batches 6000 --output ceiling.pt

The pairs show the training scenes of domain a in the style of domain b, another draw of what the style leaves open each
time. The loss is the mean absolute error plus, as that alone averages open texture into a flat fill, the squared
difference of Gram matrices within each region, divided by their energy, in features of `compact`; the renderer knows
the regions' masks.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.build import build
from stylebench.data.streams import pick
from stylebench.data.tasks import UnpairedTask
from stylebench.data.world import World
from stylebench.functional.pixels import from_signed, to_signed
from stylebench.inference.loading import read_model
from stylebench.nn.encoders.base import Encoder
from stylebench.training.callbacks.flop_counter import FlopCounter

LAYERS = ("relu1_1", "relu2_1")
WEIGHT_GRAM = 1.0
_TINY = 1e-12
_LEAST_PX = 24  # of a region; smaller ones say little of a texture
_DRAWS = 4  # nuisance draws of each pair that are cycled through


def region_grams(maps: Tensor, regions: Tensor) -> Tensor:
    """Return Gram matrices within regions, divided by the region's size and the channels.

    Args:
        maps: (B, C, H, W) features.
        regions: (B, R, H, W) in [0, 1], area shares.

    Returns:
        (B, R, C, C); zero for regions that are too small.
    """
    flat = maps.flatten(2)  # (B, C, N)
    shares = regions.flatten(2)  # (B, R, N)
    sizes = shares.sum(2)  # (B, R)
    grams = torch.einsum("bcn,brn,bdn->brcd", flat, shares, flat)
    scale = torch.where(sizes >= 1.0, 1.0 / sizes.clamp(min=1.0), torch.zeros_like(sizes)) / maps.shape[1]
    return grams * scale[:, :, None, None]


def gram_loss(encoder: Encoder, made: Tensor, target: Tensor, regions: Tensor) -> Tensor:
    """Return the mean over regions and layers of the normalized distance of Grams, in [0, 1]; images in [0, 1]."""
    big = regions.flatten(2).sum(2) >= _LEAST_PX  # (B, R)
    maps, wanted = encoder(made, LAYERS), encoder(target, LAYERS)
    total = made.new_zeros(())
    for layer in LAYERS:
        shares = F.adaptive_avg_pool2d(regions * big[:, :, None, None], maps[layer].shape[-2:])
        own, right = region_grams(maps[layer], shares), region_grams(wanted[layer], shares)
        energy = (own.square() + right.square()).sum((2, 3)) + _TINY  # (B, R)
        total = total + ((own - right).square().sum((2, 3)) / energy * big).sum() / big.sum().clamp(min=1)
    return total / len(LAYERS)


def pairs(world: World, settings: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Return contents (N, 3, H, W), targets (draws, N, 3, H, W), both uint8, and regions (N, R, H, W) bool."""
    domain = UnpairedTask.open(world, settings)["a"]
    ids = [domain.ids[int(index)] for index in domain.split("train")]
    contents = world.render(ids, settings["a"], purpose="reference")
    targets = torch.stack([world.render(ids, settings["b"], purpose="reference" if not n else "calibration", draw=n)
                           for n in range(_DRAWS)])  # fmt: skip
    return contents, targets, world.anatomy(ids).regions


def train(run: Path, batches: int, batch_size: int, scenes: int, seed: int) -> tuple[nn.Module, dict[str, Any]]:
    """Train a new generator of a run's kind; return it with what it cost."""
    config = read_model(run).config
    settings = config["dataset"]
    store = {**settings["store"], "train_images": scenes}
    contents, targets, regions = pairs(build({**store, "packed": False}), settings)
    torch.manual_seed(seed)
    generator: nn.Module = build(config["model"]["inference"]["generator_ab"])
    encoder: Encoder = build(config["encoder"])
    optimizer = torch.optim.Adam(generator.parameters(), 2e-4, betas=(0.5, 0.999), fused=True)
    counter, begin = FlopCounter(), time.process_time()
    flops = 0
    for batch in range(batches):
        for group in optimizer.param_groups:
            group["lr"] = 2e-4 * min(1.0, 2.0 * (1 - batch / batches))
        chosen = pick(seed, "ceiling", len(contents), np.arange(batch * batch_size, (batch + 1) * batch_size))
        content = contents[chosen].float() / 255
        target = targets[batch % _DRAWS][chosen].float() / 255

        def step(content: Tensor = content, target: Tensor = target, chosen: Any = chosen) -> None:
            made = from_signed(generator(to_signed(content)))
            loss = (made - target).abs().mean() * 2 + WEIGHT_GRAM * gram_loss(
                encoder, made, target, regions[chosen].float()
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        if batch == 0:
            with counter:
                step()
            flops = counter.total
        else:
            step()
    return generator, {"flops": flops * batches, "cpu_seconds": time.process_time() - begin, "batches": batches}


def main() -> None:
    """Train, and save weights and cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True, help="a CycleGAN run: its generator, data and size")
    parser.add_argument("--batches", type=int, default=6000)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    generator, cost = train(options.run, options.batches, options.batch_size, options.scenes, options.seed)
    torch.save({"generator": generator.state_dict(), "cost": cost}, options.output)
    print(cost)  # noqa: T201


if __name__ == "__main__":
    main()
