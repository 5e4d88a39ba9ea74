"""Is StarGAN on the device what it is on the CPU? Both players, its translator, and its penalty beside compilation."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from stylebench.functional.gradient_penalty import interpolate_penalty
from stylebench.functional.schedules import Constant
from stylebench.inference.translators.multi_domain import MultiDomainTranslator
from stylebench.methods.stargan import StarGAN
from stylebench.nn.discriminators.stargan import StarGANDiscriminator
from stylebench.nn.generators.stargan import StarGANGenerator
from stylebench.nn.labels import DomainLabels
from tests.gpu.base import Check, Outcome, Setting, gap
from tests.gpu.equality import compared, noise
from tests.gpu.translation import PLAYERS, SIDE, keep_gradients

PENALTY_BAND = 1e-3


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


def steps(setting: Setting) -> Outcome:
    """Losses and gradients of both players."""

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        images = 2 * noise(4, 3, SIDE, SIDE, seed=1).to(device, dtype) - 1
        domains = torch.tensor([0, 1, 2, 0], device=device)
        found: dict[str, Tensor] = {}
        keep = partial(keep_gradients, found)
        method: Any = stargan().to(device, dtype).to(memory_format=layout)
        fake = method(images, domains.flip(0))
        terms = method.generator_terms(images, domains, fake, domains.flip(0))
        keep("stargan", method, "generator", terms, method.weights)
        terms = method.discriminator_terms(images, domains, fake.detach())
        keep("stargan", method, "discriminator", terms, method.weights)
        return found

    return compared(setting, compute)


def translator(setting: Setting) -> Outcome:
    """What its translator makes of pictures of odd sizes, domain by domain."""

    def compute(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, Tensor]:
        images = noise(2, 3, 45, 51).to(device, dtype)
        many = stargan().model.to(device, dtype).to(memory_format=layout)
        return {f"target {name}": many.translate(images, domain=name) for name in ("one", "three")}

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


CHECKS = [
    Check("equal: players of StarGAN", steps),
    Check("equal: translator of StarGAN", translator),
    Check("penalty beside compilation", penalty_beside_compilation, 60),
]
