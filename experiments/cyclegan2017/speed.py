"""Time our CycleGAN step against the steps of two well-known programs, in one process.

The baselines are written here from the layouts of the repositories, with the same losses, optimizers and order of the
step (their pools, whose cost is nothing, are left out): `plain` is junyanz/pytorch-CycleGAN-and-pix2pix (a padding
module before each convolution, `nn.InstanceNorm2d`, six generator calls, biases before norms), `cut` the CycleGAN of
taesungp/contrastive-unpaired-translation (the same with fixed blur filters for halving and doubling, in the
discriminators, too). Steps alternate; the ratio of means counts.

    python experiments/cyclegan2017/speed.py --size 128 --batch 1 --blocks 6 --steps 5 [--channels-last] [--compile]
        [--bf16] [--identity-every 4] [--only ours,plain,cut] [--check] [--device cuda]

`--check` copies the plain baseline's weights into ours and compares the gradients of a step in float64 instead.
"""

import argparse
import itertools
import json
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylebench.functional.dead_leaves import dead_leaves
from stylebench.functional.schedules import Constant
from stylebench.inference.translators.unpaired import UnpairedTranslator
from stylebench.methods.cyclegan import CycleGAN
from stylebench.nn.discriminators.patch import PatchDiscriminator
from stylebench.nn.generators.resnet import BlurPool, BlurUpsample, ResNetGenerator

Images = tuple[Tensor, Tensor]


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels), nn.ReLU(True)),
            *(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def baseline_generator(blocks: int, width: int, blurred: bool) -> nn.Sequential:
    """Return the generator of the baselines, with the blur filters of `cut` or without."""

    def stage(*layers: nn.Module, channels: int) -> list[nn.Module]:
        return [*layers, nn.InstanceNorm2d(channels), nn.ReLU(True)]

    layers = [nn.ReflectionPad2d(3), *stage(nn.Conv2d(3, width, 7), channels=width)]
    for c in (width, 2 * width):
        layers += stage(nn.Conv2d(c, 2 * c, 3, 1 if blurred else 2, 1), channels=2 * c)
        layers += [BlurPool(2 * c)] if blurred else []
    layers += [_Block(4 * width) for _ in range(blocks)]
    for c in (4 * width, 2 * width):
        if blurred:
            layers += [BlurUpsample(c), *stage(nn.Conv2d(c, c // 2, 3, 1, 1), channels=c // 2)]
        else:
            layers += stage(nn.ConvTranspose2d(c, c // 2, 3, 2, 1, 1), channels=c // 2)
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())


def baseline_discriminator(width: int, blurred: bool) -> nn.Sequential:
    """Return the 70 x 70 discriminator of the baselines."""
    stride = 1 if blurred else 2
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride, 1), nn.LeakyReLU(0.2, True)]
    layers += [BlurPool(width)] if blurred else []
    for c, step in ((width, stride), (2 * width, stride), (4 * width, 1)):
        layers += [nn.Conv2d(c, 2 * c, 4, step, 1), nn.InstanceNorm2d(2 * c), nn.LeakyReLU(0.2, True)]
        layers += [BlurPool(2 * c)] if blurred and c < 4 * width else []
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))


class Baseline:
    """The step of the baselines: every network call on its own, in the order of their code."""

    def __init__(self, options: argparse.Namespace, blurred: bool) -> None:
        torch.manual_seed(0)
        make = partial(baseline_generator, options.blocks, options.width, blurred)
        self.g_a, self.g_b = make(), make()
        self.d_a, self.d_b = (baseline_discriminator(options.width, blurred) for _ in range(2))
        for layer in itertools.chain(*(net.modules() for net in self.networks())):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
                nn.init.zeros_(layer.bias)
        for net in self.networks():
            net.to(options.device, torch.float64 if options.check else torch.float32)
        adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_g = adam(itertools.chain(self.g_a.parameters(), self.g_b.parameters()))
        self.optimizer_d = adam(itertools.chain(self.d_a.parameters(), self.d_b.parameters()))

    def networks(self) -> tuple[nn.Sequential, ...]:
        """Return both generators and both discriminators: a to b first, the judge of b first."""
        return self.g_a, self.g_b, self.d_a, self.d_b

    def __call__(self, images: Images) -> float:
        """Take a step; return the generators' loss."""
        a, b = images
        fake_b = self.g_a(a)
        rec_a = self.g_b(fake_b)
        fake_a = self.g_b(b)
        rec_b = self.g_a(fake_a)
        self._judges_learn(False)
        self.optimizer_g.zero_grad()
        loss = 5 * (F.l1_loss(self.g_a(b), b) + F.l1_loss(self.g_b(a), a))
        for judge, fake in ((self.d_a, fake_b), (self.d_b, fake_a)):
            logits = judge(fake)
            loss = loss + F.mse_loss(logits, torch.ones_like(logits))
        loss = loss + 10 * F.l1_loss(rec_a, a) + 10 * F.l1_loss(rec_b, b)
        loss.backward()
        self.optimizer_g.step()
        self._judges_learn(True)
        self.optimizer_d.zero_grad()
        for judge, real, fake in ((self.d_a, b, fake_b), (self.d_b, a, fake_a)):
            right, wrong = judge(real), judge(fake.detach())
            half = F.mse_loss(right, torch.ones_like(right)) + F.mse_loss(wrong, torch.zeros_like(wrong))
            (0.5 * half).backward()
        self.optimizer_d.step()
        return loss.item()

    def _judges_learn(self, learn: bool) -> None:
        for judge in (self.d_a, self.d_b):
            judge.requires_grad_(learn)


class Ours:
    """Our step, with the switches of the command line."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        biases = options.check  # with biases every weight has a partner in the baseline
        generators = (ResNetGenerator(options.blocks, options.width, biases=biases) for _ in range(2))
        judges = [PatchDiscriminator(3, 70, options.width, biases=biases) for _ in range(2)]
        adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999), fused=True)
        self.method = CycleGAN(
            inference=UnpairedTranslator(*generators), discriminator_a=judges[0], discriminator_b=judges[1],
            optimizers={"generator": adam, "discriminator": adam}, objective="lsgan", weight_gan=1.0, weight_cycle=10.0,
            cycles="both", weight_identity=5.0, identity_every=options.identity_every, pool=50, schedule=Constant(),
        )  # fmt: skip
        self.method.to(options.device, torch.float64 if options.check else torch.float32)
        if options.channels_last:
            self.method.to(memory_format=torch.channels_last)
        if options.compile:
            for name in self.method.compiled_networks:
                self.method.get_submodule(name).compile()
        self.optimizers = self.method.configure_optimizers()
        self.autocast = partial(torch.autocast, options.device, torch.bfloat16, enabled=options.bf16)
        self.steps = 0

    def __call__(self, images: Images) -> float:
        """Take a step; return the generators' loss."""
        method = self.method
        a, b = images
        identity = self.steps % method.turn_batches == 0
        self.steps += 1
        with method.moving("generator"):
            with self.autocast():
                terms, fake_a, fake_b = method.generator_terms(a, b, identity=identity)
                loss = method.log_and_sum(terms, method.weights)
            self._update(0, loss)
        with method.moving("discriminator"):
            with self.autocast():
                fakes = method.pool_a(fake_a.detach()), method.pool_b(fake_b.detach())
                halves = {"a": 0.5, "b": 0.5}
                judged = method.log_and_sum(method.discriminator_terms(a, b, *fakes), halves)
            self._update(1, judged)
        return loss.item()

    def _update(self, player: int, loss: Tensor) -> None:
        self.optimizers[player].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[player].step()


def check(options: argparse.Namespace, images: list[Images]) -> dict[str, float]:
    """Take a step of the plain baseline and of ours from the same weights; return the largest differences."""
    ours, plain = Ours(options), Baseline(options, blurred=False)
    translator = ours.method.model
    mine = translator.generator_ab, translator.generator_ba, ours.method.discriminator_b, ours.method.discriminator_a
    pairs = [
        (own, their)
        for network, other in zip(mine, plain.networks(), strict=True)
        for own, their in zip(network.parameters(), other.parameters(), strict=True)
    ]
    with torch.no_grad():
        for own, their in pairs:
            own.copy_(their)
    wide = images[0][0].double(), images[0][1].double()
    losses = ours(wide), plain(wide)
    largest = max(
        float((own.grad - their.grad).abs().max() / their.grad.abs().max().clamp(min=1e-9)) for own, their in pairs
    )
    return {"loss_difference": abs(losses[0] - losses[1]), "largest_relative_gradient_difference": largest}


def main() -> None:
    """Alternate the steps, and write medians, ratios and peak memory as one JSON line."""
    parser = argparse.ArgumentParser()
    for name, value in (("size", 128), ("batch", 1), ("blocks", 6), ("width", 64), ("steps", 5), ("warmup", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--identity-every", type=int, default=1)
    parser.add_argument("--only", default="ours,plain,cut")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    for switch in ("bf16", "compile", "channels-last", "check"):
        parser.add_argument(f"--{switch}", action="store_true")
    options = parser.parse_args()
    pictures = (dead_leaves(4 * options.batch, options.size, 0).float() / 127.5 - 1).to(options.device)
    halves = pictures.chunk(4)
    images = [(halves[0], halves[1]), (halves[2], halves[3])]
    if options.check:
        print(json.dumps(check(options, images)))  # noqa: T201
        return
    makers: dict[str, Callable[[], Callable[[Images], float]]] = {
        "plain": partial(Baseline, options, False),
        "cut": partial(Baseline, options, True),
        "ours": partial(Ours, options),
    }
    steps = {name: makers[name]() for name in options.only.split(",")}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    for k in range(options.warmup + options.steps):
        for name, step in steps.items():
            begin = time.perf_counter()
            losses[name].append(step(images[k % 2]))
            if k >= options.warmup:
                seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    means = {name: statistics.mean(values) for name, values in seconds.items()}  # batches of ours may differ in kind
    figures = {
        "settings": {key: value for key, value in vars(options).items() if key != "output"},
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "median_seconds": medians,
        "mean_seconds": means,
        # every n-th batch is dearer with --identity-every n, which a median would not see
        "over_ours": {name: value / means["ours"] for name, value in means.items()} if "ours" in means else None,
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
