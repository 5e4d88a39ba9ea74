"""Time our training step against the step of the best-known PyTorch program for the same method, in one process.

The baseline is written here from the layout of pytorch/examples `fast_neural_style` (transformer_net.py, vgg.py,
neural_style.py): a reflection padding module before each convolution, `nn.InstanceNorm2d`, nearest upsampling then a
convolution, VGG-16 run to relu4_3 on output and content alike, Gram matrices by batched products, Adam. Both take the
same random VGG weights and batches; steps alternate, and the ratio of medians is what counts.

    python experiments/johnson2016/speed.py --size 256 --batch 4 --steps 5 [--bf16] [--compile] [--channels-last]
                                            [--device cuda]
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylebench.functional.content import content_loss
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.functional.gram import gram_loss, gram_matrix
from stylebench.nn.encoders import VGGEncoder
from stylebench.nn.generators.johnson import JohnsonModern

STYLE = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
CONTENT = "relu2_2"
WEIGHT_CONTENT, WEIGHT_STYLE = 1e5, 1e10


class _Padded(nn.Module):
    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1, upsample: int = 0) -> None:
        super().__init__()
        self.upsample = upsample
        self.pad = nn.ReflectionPad2d(side // 2)
        self.conv = nn.Conv2d(inputs, outputs, side, stride)

    def forward(self, x: Tensor) -> Tensor:
        if self.upsample:
            x = F.interpolate(x, mode="nearest", scale_factor=self.upsample)
        return self.conv(self.pad(x))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _Padded(channels, channels, 3), _Padded(channels, channels, 3)
        self.in1, self.in2 = (nn.InstanceNorm2d(channels, affine=True) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.in2(self.conv2(F.relu(self.in1(self.conv1(x))))) + x


def baseline_network() -> nn.Module:
    """Return the baseline's transformation network."""

    def stage(conv: _Padded) -> list[nn.Module]:
        return [conv, nn.InstanceNorm2d(conv.conv.out_channels, affine=True), nn.ReLU()]

    return nn.Sequential(
        *stage(_Padded(3, 32, 9)),
        *stage(_Padded(32, 64, 3, 2)),
        *stage(_Padded(64, 128, 3, 2)),
        *(_Residual(128) for _ in range(5)),
        *stage(_Padded(128, 64, 3, upsample=2)),
        *stage(_Padded(64, 32, 3, upsample=2)),
        _Padded(32, 3, 9),
    )


class _BaselineVGG(nn.Module):
    def __init__(self, encoder: VGGEncoder) -> None:
        super().__init__()
        from torchvision.models import vgg16

        features = vgg16().features
        ours = [conv for stage in encoder.stages.values() for conv in stage.convs().values()]
        convs = [layer for layer in features if isinstance(layer, nn.Conv2d)]
        with torch.no_grad():
            for mine, theirs in zip(convs, ours, strict=True):
                mine.weight.copy_(theirs.weight)
                mine.bias.copy_(theirs.bias)
        self.slices = nn.ModuleList([features[a:b] for a, b in ((0, 4), (4, 9), (9, 16), (16, 23))])
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for part in self.slices:
            maps.append(x := part(x))
        return maps


def _normalize(images: Tensor) -> Tensor:
    mean = images.new_tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)
    std = images.new_tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)
    return (images / 255.0 - mean) / std


def _gram(maps: Tensor) -> Tensor:
    b, c, h, w = maps.size()
    flat = maps.view(b, c, h * w)
    return flat.bmm(flat.transpose(1, 2)) / (c * h * w)


def baseline_step(encoder: VGGEncoder, style: Tensor, images: list[Tensor]) -> Callable[[int], float]:
    """Return a function that takes the baseline's training step k and returns its loss."""
    torch.manual_seed(0)
    network, vgg = baseline_network().to(style.device), _BaselineVGG(encoder).to(style.device)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    grams = [_gram(maps).expand(len(images[0]), -1, -1) for maps in vgg(_normalize(style * 255))]

    def step(k: int) -> float:
        optimizer.zero_grad()
        x = images[k % len(images)] * 255
        y = _normalize(network(x))
        features_y, features_x = vgg(y), vgg(_normalize(x))
        content = WEIGHT_CONTENT * F.mse_loss(features_y[1], features_x[1])
        styles = [F.mse_loss(_gram(maps), gram) for maps, gram in zip(features_y, grams, strict=True)]
        loss = content + WEIGHT_STYLE * torch.stack(styles).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def our_step(
    encoder: VGGEncoder, style: Tensor, images: list[Tensor], options: argparse.Namespace
) -> Callable[[int], float]:
    """Return a function that takes our training step k and returns its loss."""
    torch.manual_seed(0)
    network = JohnsonModern(head="linear").to(style.device)
    with torch.no_grad():
        grams = {layer: gram_matrix(maps) for layer, maps in encoder(style, STYLE).items()}
    if options.channels_last:
        network.to(memory_format=torch.channels_last)
        encoder.to(memory_format=torch.channels_last)
    if options.compile:
        network.compile()
        encoder.compile()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def step(k: int) -> float:
        optimizer.zero_grad(set_to_none=True)
        x = images[k % len(images)]
        with torch.autocast(style.device.type, dtype=torch.bfloat16, enabled=options.bf16):
            y = network(x)
            with torch.no_grad():
                target = encoder(x, (CONTENT,))[CONTENT]
            maps = encoder(y, STYLE)
            content = WEIGHT_CONTENT * content_loss(maps[CONTENT], target).mean()
            styles = [gram_loss(gram_matrix(maps[layer]), grams[layer], "cchw").mean() for layer in STYLE]
            loss = content + WEIGHT_STYLE * torch.stack(styles).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def main() -> None:
    """Alternate the two steps, and write medians, ratio and peak memory as one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", choices=["ours", "baseline"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    for switch in ("bf16", "compile", "channels-last"):
        parser.add_argument(f"--{switch}", action="store_true")
    options = parser.parse_args()
    pictures = (dead_leaves(2 * options.batch + 1, options.size, 0).float() / 255).to(options.device)
    images = [pictures[i * options.batch : (i + 1) * options.batch] for i in range(2)]
    layers = {"content_layers": [CONTENT], "style_layers": STYLE, "exchange_layer": "relu4_1"}
    encoder = VGGEncoder(depth=16, weights="random", normalize=False, **layers).to(options.device)
    steps = {}
    if options.only != "ours":
        steps["baseline"] = baseline_step(encoder, pictures[-1:], images)
    if options.only != "baseline":
        steps["ours"] = our_step(encoder, pictures[-1:], images, options)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    for k in range(options.warmup + options.steps):
        for name, step in steps.items():
            begin = time.perf_counter()
            losses[name].append(step(k))
            if k >= options.warmup:
                seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    figures = {
        "settings": {key: value for key, value in vars(options).items() if key != "output"},
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "median_seconds": medians,
        "ours_over_baseline": medians["ours"] / medians["baseline"] if len(medians) == 2 else None,
        "losses": losses,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "peak_device_gib": torch.cuda.max_memory_allocated() / 2**30 if options.device == "cuda" else None,
    }
    text = json.dumps(figures)
    if options.output:
        options.output.write_text(text + "\n")
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
