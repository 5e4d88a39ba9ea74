"""Time our AdaIN training step against that of the best-known PyTorch program for the method, in one process.

The baseline is written here from the layout of naoto0804/pytorch-AdaIN (net.py, function.py, train.py): a VGG-19 that
begins with a 1x1 convolution, a reflection padding module before each convolution, cut into four parts that are run one
after the other, means and unbiased variances taken again wherever they are needed, a decoder with `nn.Upsample`, mean
squared errors, Adam. Both take the same random VGG weights, initial decoder and batches; steps alternate, and the ratio
of medians is what counts. `--biased` gives the baseline our variance, so that the losses can be compared.

    python -m experiments.adain2017.speed --size 256 --batch 4 --steps 3 [--bf16] [--compile] [--channels-last]
        [--only ours] [--biased]
"""

import argparse
import json
import logging
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylebench.data.tasks import StyleBatch
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.functional.schedules import InverseDecay
from stylebench.inference.translators.adain import AdaINTranslator
from stylebench.methods.adain import AdaIN
from stylebench.nn.decoders import Decoder
from stylebench.nn.encoders import VGGEncoder
from stylebench.nn.encoders.stages import Conv, Pool

logger = logging.getLogger(__name__)
STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
WEIGHT_STYLE, LR, EPS = 10.0, 1e-4, 1e-5
Step = Callable[[int], float]
Batches = Sequence[tuple[Tensor, Tensor]]


def build_encoder() -> VGGEncoder:
    """Return VGG-19 with random weights and reflection padding."""
    return VGGEncoder(
        depth=19, weights="random", normalize=False, content_layers=["relu4_1"], style_layers=list(STYLE),
        exchange_layer="relu4_1", padding="reflect",
    )  # fmt: skip


def baseline_encoder(encoder: VGGEncoder) -> list[nn.Sequential]:
    """Return the baseline's four parts, up to relu1_1, relu2_1, relu3_1 and relu4_1, with our encoder's weights."""
    first = nn.Conv2d(3, 3, 1)  # does what our encoder's mean and std do
    with torch.no_grad():
        first.weight.copy_(torch.diag(1 / encoder.std.flatten())[..., None, None])
        cast(Tensor, first.bias).copy_(-(encoder.mean / encoder.std).flatten())
    parts: list[nn.Sequential] = []
    layers: list[nn.Module] = [first]
    for tap, stage in encoder.stages.items():
        if isinstance(stage, Conv):
            source = stage.conv
            outputs, inputs = source.weight.shape[:2]
            conv = nn.Conv2d(inputs, outputs, 3)
            conv.load_state_dict({"weight": source.weight, "bias": source.bias})
            layers += [nn.ReflectionPad2d(1), conv, nn.ReLU()]
        elif isinstance(stage, Pool):
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        elif tap in STYLE:
            parts.append(nn.Sequential(*layers).requires_grad_(False))
            layers = []
        if tap == STYLE[-1]:
            break
    return parts


def baseline_decoder(ours: Decoder) -> nn.Sequential:
    """Return the baseline's decoder with our decoder's weights: the same 3x3 convolutions in the same order."""
    convs = [layer for layer in ours.layers if isinstance(layer, nn.Conv2d)]
    layers: list[nn.Module] = []
    for number, source in enumerate(convs):
        if number in (1, 5, 7):  # 512-256 | 256-256 x 3, 256-128 | 128-128, 128-64 | 64-64, 64-3
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        conv = nn.Conv2d(source.in_channels, source.out_channels, 3)
        conv.load_state_dict(source.state_dict())
        layers += [nn.ReflectionPad2d(1), conv, nn.ReLU()]
    return nn.Sequential(*layers[:-1])  # no ReLU behind the last


def _mean_std(maps: Tensor, correction: int) -> tuple[Tensor, Tensor]:
    batch, channels = maps.size()[:2]
    flat = maps.view(batch, channels, -1)  # (B, C, H*W)
    std = (flat.var(dim=2, correction=correction) + EPS).sqrt().view(batch, channels, 1, 1)
    return flat.mean(dim=2).view(batch, channels, 1, 1), std


def _exchange(content: Tensor, style: Tensor, correction: int) -> Tensor:
    size = content.size()
    style_mean, style_std = _mean_std(style, correction)
    mean, std = _mean_std(content, correction)
    return (content - mean.expand(size)) / std.expand(size) * style_std.expand(size) + style_mean.expand(size)


def _style_loss(maps: Tensor, style: Tensor, correction: int) -> Tensor:
    mean, std = _mean_std(maps, correction)
    style_mean, style_std = _mean_std(style, correction)
    return F.mse_loss(mean, style_mean) + F.mse_loss(std, style_std)


def baseline_step(encoder: VGGEncoder, decoder: Decoder, batches: Batches, correction: int) -> Step:
    """Return a function that takes the baseline's training step k and returns its loss.

    Args:
        encoder: ours, whose weights are copied.
        decoder: ours, whose weights are copied.
        batches: contents and styles, (B, 3, H, W) in [0, 1].
        correction: of the variance, 1 as in the baseline, 0 as in ours.
    """
    parts, network = baseline_encoder(encoder), baseline_decoder(decoder)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)

    def intermediate(x: Tensor) -> list[Tensor]:
        maps = []
        for part in parts:
            maps.append(x := part(x))
        return maps

    def step(k: int) -> float:
        content, style = batches[k % len(batches)]
        style_maps = intermediate(style)
        target = _exchange(intermediate(content)[-1], style_maps[-1], correction)
        maps = intermediate(network(target))
        loss = F.mse_loss(maps[-1], target)
        loss = loss + WEIGHT_STYLE * sum(_style_loss(a, b, correction) for a, b in zip(maps, style_maps, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def build_method(encoder: VGGEncoder) -> AdaIN:
    """Return our method with the baseline's weights and learning rate."""
    torch.manual_seed(0)
    return AdaIN(
        inference=AdaINTranslator(encoder=encoder, transfer="adain", norm="none"),
        optimizers={"decoder": partial(torch.optim.Adam, lr=LR)}, schedule=InverseDecay(5e-5), style_layers=STYLE,
        weight_content=1.0, weight_style=WEIGHT_STYLE, weight_reconstruction=0.0, style_reduction="mean",
    )  # fmt: skip


def our_step(method: AdaIN, batches: Batches, bf16: bool) -> Step:
    """Return a function that takes our training step k and returns its loss."""
    optimizer = method.configure_optimizers()

    def step(k: int) -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = method.training_step(StyleBatch(*batches[k % len(batches)]), k)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Let the steps take turns."""
    pictures = dead_leaves(4 * options.batch, options.size, 0).float() / 255
    parts = pictures.split(options.batch)
    batches = [(parts[0], parts[1]), (parts[2], parts[3])]
    encoder = build_encoder()
    method = build_method(encoder)
    steps: dict[str, Step] = {}
    if options.only != "ours":
        steps["baseline"] = baseline_step(encoder, method.model.decoder, batches, 0 if options.biased else 1)
    if options.only != "baseline":
        if options.channels_last:
            method.to(memory_format=torch.channels_last)
        for name in method.compiled_networks if options.compile else ():
            method.get_submodule(name).compile()
        steps["ours"] = our_step(method, batches, options.bf16)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    processor: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    for k in range(options.warmup + options.steps):
        for name, step in steps.items():
            begin, begin_processor = time.perf_counter(), time.process_time()
            losses[name].append(step(k))
            if k >= options.warmup:
                seconds[name].append(time.perf_counter() - begin)
                processor[name].append(time.process_time() - begin_processor)
    return {
        "seconds": summary(seconds),
        "processor_seconds": summary(processor),  # of all threads: what else runs on the machine matters less
        "losses": losses,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def summary(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return times, their medians, and the ratio of the medians where both programs ran."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = medians["ours"] / medians["baseline"] if len(medians) == 2 else None
    return {"all": seconds, "medians": medians, "ours_over_baseline": ratio}


def main() -> None:
    """Run what the command line asks for; write medians, ratio and peak memory as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in px")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each")
    parser.add_argument("--warmup", type=int, default=1, help="steps before")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", choices=["ours", "baseline"], help="for the memory of one alone")
    for switch in ("bf16", "compile", "channels-last", "biased"):
        parser.add_argument(f"--{switch}", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    figures = {"settings": settings, "threads": torch.get_num_threads(), "torch": torch.__version__}
    text = json.dumps(figures | measure(options))
    logger.info(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
