"""Is translation on the device what it is on the CPU? Players that move in turn, and translators."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from stylebench.functional.schedules import Constant
from stylebench.inference.translators.paired import PairedTranslator
from stylebench.inference.translators.unpaired import UnpairedTranslator
from stylebench.methods.cyclegan import CycleGAN
from stylebench.methods.pix2pix import Pix2Pix
from stylebench.nn.discriminators.patch import PatchDiscriminator
from stylebench.nn.generators.resnet import UPSAMPLING, ResNetGenerator
from stylebench.nn.generators.unet import UNetGenerator
from tests.gpu.base import Outcome, Setting
from tests.gpu.equality import compared, noise

ADAM = partial(torch.optim.Adam, lr=1e-4)
PLAYERS = {"generator": ADAM, "discriminator": ADAM}
SIDE = 32


def cyclegan() -> CycleGAN:
    """Return a small CycleGAN, the same at every call."""
    torch.manual_seed(0)
    generators = [ResNetGenerator(2, 8) for _ in range(2)]
    judges = [PatchDiscriminator(3, 16, 8) for _ in range(2)]
    return CycleGAN(
        inference=UnpairedTranslator(*generators), discriminator_a=judges[0], discriminator_b=judges[1],
        optimizers=PLAYERS, objective="lsgan", weight_gan=1.0, weight_cycle=10.0, cycles="both", weight_identity=5.0,
        identity_every=1, pool=0, schedule=Constant(),
    )  # fmt: skip


def pix2pix() -> Pix2Pix:
    """Return a small pix2pix without dropout, whose masks differ between devices; the same at every call."""
    torch.manual_seed(0)
    generator = UNetGenerator(size_px=SIDE, width=8, dropout="none")
    return Pix2Pix(
        inference=PairedTranslator(generator, "train_stats"), discriminator=PatchDiscriminator(6, 16, 8, "batch"),
        optimizers=PLAYERS, schedule=Constant(), objective="vanilla", conditional=True, weight_gan=1.0, weight_l1=100.0,
    )  # fmt: skip


def gradients(method: Any, player: str, loss: Tensor) -> dict[str, Tensor]:
    """Return a player's loss and its gradients as one vector."""
    weights = method.player_parameters(player)
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    flat = torch.cat([part.flatten() for part in found if part is not None])
    return {player: loss.detach(), f"{player} gradient": flat}


def keep_gradients(
    found: dict[str, Tensor], name: str, method: Any, player: str, terms: dict[str, Tensor], weights: dict[str, float]
) -> None:
    """Add a player's loss on these terms and its gradients to what was found, under a method's name."""
    parts = gradients(method, player, method.log_and_sum(terms, weights))
    found.update({f"{name} {key}": value for key, value in parts.items()})


def steps(setting: Setting) -> Outcome:
    """Losses and gradients of both players of CycleGAN and pix2pix."""

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        a, b = (2 * noise(4, 3, SIDE, SIDE, seed=seed).to(device, dtype) - 1 for seed in (1, 2))
        found: dict[str, Tensor] = {}

        keep = partial(keep_gradients, found)
        first: Any = cyclegan().to(device, dtype).to(memory_format=layout)
        terms, fake_a, fake_b = first.generator_terms(a, b)
        keep("cyclegan", first, "generator", terms, first.weights)
        terms = first.discriminator_terms(a, b, fake_a.detach(), fake_b.detach())
        keep("cyclegan", first, "discriminator", terms, {"a": 0.5, "b": 0.5})
        second: Any = pix2pix().to(device, dtype).to(memory_format=layout)
        image = second(a)
        keep("pix2pix", second, "generator", second.generator_terms(a, b, image), second.weights)
        keep("pix2pix", second, "discriminator", second.discriminator_terms(a, b, image.detach()), {"gan": 0.5})
        return found

    return compared(setting, compute)


def translators(setting: Setting) -> Outcome:
    """What their translators make of pictures of odd sizes, with their controls."""

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        images = noise(2, 3, 45, 51).to(device, dtype)
        found: dict[str, Tensor] = {}
        torch.manual_seed(0)
        for upsample in UPSAMPLING:
            both = [ResNetGenerator(1, 8, upsample) for _ in range(2)]
            unpaired = UnpairedTranslator(*both).to(device, dtype).to(memory_format=layout)
            for direction in ("a_to_b", "b_to_a"):
                found[f"{upsample} {direction}"] = unpaired.translate(images, direction=direction)
        paired = pix2pix().model.to(device, dtype).to(memory_format=layout)
        found["pix2pix"] = paired.translate(images)
        return found

    return compared(setting, compute)
