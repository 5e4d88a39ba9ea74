"""Is translation on the device what it is on the CPU? Players of every method, and penalties beside compilation."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from stylebench.functional.gradient_penalty import interpolate_penalty
from stylebench.functional.schedules import Constant
from stylebench.inference.translators.multi_domain import MultiDomainTranslator
from stylebench.inference.translators.paired import PairedTranslator
from stylebench.inference.translators.unpaired import UnpairedTranslator
from stylebench.methods.cyclegan import CycleGAN
from stylebench.methods.pix2pix import Pix2Pix
from stylebench.methods.stargan import StarGAN
from stylebench.nn.discriminators.patch import PatchDiscriminator
from stylebench.nn.discriminators.stargan import StarGANDiscriminator
from stylebench.nn.generators.resnet import UPSAMPLING, ResNetGenerator
from stylebench.nn.generators.stargan import StarGANGenerator
from stylebench.nn.generators.unet import UNetGenerator
from stylebench.nn.labels import DomainLabels
from tests.gpu.base import Outcome, Setting, gap
from tests.gpu.equality import compared, noise

ADAM = partial(torch.optim.Adam, lr=1e-4)
PLAYERS = {"generator": ADAM, "discriminator": ADAM}
SIDE = 32
PENALTY_BAND = 1e-3


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


def stargan() -> StarGAN:
    """Return a small StarGAN, the same at every call."""
    torch.manual_seed(0)
    labels = DomainLabels(["one", "two", "three"])
    return StarGAN(
        inference=MultiDomainTranslator(partial(StarGANGenerator, blocks=1, width=8), labels),
        discriminator=partial(StarGANDiscriminator, size_px=SIDE, layers=4, width=8), optimizers=PLAYERS,
        schedule=Constant(), weight_gan=1.0, weight_penalty=10.0, weight_class=1.0, weight_reconstruction=10.0,
        critic_batches=1,
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


def steps(setting: Setting) -> Outcome:
    """Losses and gradients of both players of CycleGAN, StarGAN and pix2pix."""

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        a, b = (2 * noise(4, 3, SIDE, SIDE, seed=seed).to(device, dtype) - 1 for seed in (1, 2))
        domains = torch.tensor([0, 1, 2, 0], device=device)
        found: dict[str, Tensor] = {}

        def keep(name: str, method: Any, player: str, terms: dict[str, Tensor], weights: dict[str, float]) -> None:
            parts = gradients(method, player, method.log_and_sum(terms, weights))
            found.update({f"{name} {key}": value for key, value in parts.items()})

        first: Any = cyclegan().to(device, dtype).to(memory_format=layout)
        terms, fake_a, fake_b = first.generator_terms(a, b)
        keep("cyclegan", first, "generator", terms, first.weights)
        terms = first.discriminator_terms(a, b, fake_a.detach(), fake_b.detach())
        keep("cyclegan", first, "discriminator", terms, {"a": 0.5, "b": 0.5})
        second: Any = stargan().to(device, dtype).to(memory_format=layout)
        fake = second(a, domains.flip(0))
        keep("stargan", second, "generator", second.generator_terms(a, domains, fake, domains.flip(0)), second.weights)
        third: Any = pix2pix().to(device, dtype).to(memory_format=layout)
        image = third(a)
        keep("pix2pix", third, "generator", third.generator_terms(a, b, image), third.weights)
        keep("pix2pix", third, "discriminator", third.discriminator_terms(a, b, image.detach()), {"gan": 0.5})
        judged = second.discriminator_terms(a, domains, fake.detach())
        keep("stargan", second, "discriminator", judged, second.weights)
        return found

    return compared(setting, compute)


def translators(setting: Setting) -> Outcome:
    """What the translators of all four methods make of pictures of odd sizes, with their controls."""

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        images = noise(2, 3, 45, 51).to(device, dtype)
        found: dict[str, Tensor] = {}
        torch.manual_seed(0)
        for upsample in UPSAMPLING:
            both = [ResNetGenerator(1, 8, upsample) for _ in range(2)]
            unpaired = UnpairedTranslator(*both).to(device, dtype).to(memory_format=layout)
            for direction in ("a_to_b", "b_to_a"):
                found[f"{upsample} {direction}"] = unpaired.translate(images, direction=direction)
        many = stargan().model.to(device, dtype).to(memory_format=layout)
        found |= {f"target {name}": many.translate(images, domain=name) for name in ("one", "three")}
        paired = pix2pix().model.to(device, dtype).to(memory_format=layout)
        found["pix2pix"] = paired.translate(images)
        return found

    return compared(setting, compute)


def penalty_beside_compilation(setting: Setting) -> Outcome:
    """A penalty through the plain `forward` of a network that is compiled for everything else, under autocast."""
    found: dict[str, dict[str, Tensor]] = {}
    for kind in ("eager", "compiled"):
        torch.manual_seed(0)
        critic = StarGANDiscriminator(SIDE, 3, layers=4, width=8).to(setting.device)
        if kind == "compiled":
            critic.compile(backend="inductor" if setting.device.type == "cuda" else "aot_eager")
        real, fake = (2 * noise(2, 3, SIDE, SIDE, seed=seed).float().to(setting.device) - 1 for seed in (1, 2))
        with torch.autocast(setting.device.type, torch.bfloat16):
            logits, _ = critic(real)
            mix = torch.full((2,), 0.3, device=setting.device)
            penalty = interpolate_penalty(lambda images, critic=critic: critic.forward(images)[0], real, fake, mix)  # type: ignore[misc]
            loss = penalty + 0.0 * logits.float().mean()
        loss.backward()
        flat = torch.cat([weight.grad.flatten() for weight in critic.trunk.parameters() if weight.grad is not None])
        found[kind] = {"penalty": penalty.detach(), "gradient": flat}
    gaps = {name: gap(found["compiled"][name], found["eager"][name]) for name in found["eager"]}
    passed = all(value <= PENALTY_BAND for value in gaps.values())
    return Outcome(passed, f"relative norm of the difference at most {PENALTY_BAND}", gaps)
