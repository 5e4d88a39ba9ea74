"""StarGAN v2: translation among any number of domains, in any of the styles that a domain has.

Paper: Choi, Uh, Yoo, Ha, "StarGAN v2: Diverse Image Synthesis for Multiple Domains", CVPR 2020: section 3 and appendix;
the order of the phases is that of the published code (clovaai/stargan-v2, core/solver.py). Images are in [-1, 1] here.

A batch has four phases. Images by latents teach the discriminator, then images by references; the generator, the
mapping network and the style encoder learn together from images by latents, then the generator alone from images by
references. `phases` says how that is computed:

- `exact`: as published, but what is the same is made once, and what nobody uses is not made: the images by latents of
  the first phase serve the third, since no network that made them has moved; the second image of the diversity loss has
  no graph; a network that a phase does not move has no gradients of its weights. The weights become the same.
- `official`: every image made anew, every gradient computed, as published: to compare with.
- `merged`: two phases, each on images by latents and by references in one batch. Another algorithm, and a cheaper one:
  half as many steps, and mapping network and style encoder learn from both. Expect to double the learning rates.

Deviations: balanced domains come from the data stream, where the published code samples with replacement; references
are two different images of a domain, drawn anew in each batch; the weight of the diversity loss is computed from the
batch's number, so that a run that was resumed goes on where it was (there it begins again). The frame averages weights
from the first batch on (there the averages begin at another initialization).
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from stylebench.checks import check_choice, check_whole
from stylebench.data.tasks import MultiDomainBatch, MultiDomainTask, Task
from stylebench.functional.adversarial import discriminator_loss, generator_loss, logit_figures
from stylebench.functional.gradient_penalty import logits_and_r1
from stylebench.functional.pixels import from_signed, to_signed
from stylebench.functional.schedules import Schedule
from stylebench.inference.translators.style_code import StyleCodeTranslator
from stylebench.methods.base import Method
from stylebench.methods.checks import check_domains, check_weights
from stylebench.methods.terms import OptimizerBuilder
from stylebench.nn.discriminators.stargan_v2 import MultiTaskDiscriminator

OBJECTIVE = "vanilla"  # the non-saturating loss
PHASES = ("official", "exact", "merged")
_STYLES_SHOWN = 3  # styles of a latent in a sample grid


class Given(NamedTuple):
    """A batch as the phases see it.

    Attributes:
        real: (B, 3, H, W) in [-1, 1].
        source: (B,) its domains.
        target: (B,) the domains to go to.
        references: two (B, 3, H, W) pictures of the target domains.
        latents: two (B, Z).
    """

    real: Tensor
    source: Tensor
    target: Tensor
    references: tuple[Tensor, Tensor]
    latents: tuple[Tensor, Tensor]


class StarGANv2(Method):
    """Train a generator that is told a style code, with the two networks that make codes and a discriminator.

    Args:
        inference: generator, mapping network and style encoder.
        discriminator: builds it from the number of `domains`.
        optimizers: build an optimizer for each player, by name, from its weights.
        schedule: of the learning rates.
        phases: `exact`, `official` or `merged`.
        weight_gan: factor of the adversarial terms.
        weight_penalty: factor of R1, half the squared gradient norm at real images (lambda_reg).
        penalty_batches: R1 is taken in every so many-th batch, so many times as strong, by a step of its own; with 1 it
            is part of every step, as published.
        weight_style: factor of the style reconstruction (eq. 2, lambda_sty).
        weight_diversity: factor of the diversity loss (eq. 3, lambda_ds) at the start.
        diversity_batches: over which that falls to 0.
        weight_cycle: factor of the way back (eq. 4, lambda_cyc).

    Raises:
        ValueError: if a setting is out of its range.
    """

    task: ClassVar[type[Task]] = MultiDomainTask
    draws: ClassVar[tuple[str, ...] | None] = ("image", "reference", "other_reference")
    players: ClassVar[Mapping[str, Sequence[str]]] = {
        "generator": ("model.generator",),
        "mapping": ("model.mapping",),
        "style_encoder": ("model.style_encoder",),
        "discriminator": ("discriminator",),
    }
    compiled_networks: ClassVar[tuple[str, ...]] = ("model.generator", "model.style_encoder", "discriminator")
    model: StyleCodeTranslator

    def __init__(
        self,
        *,
        inference: StyleCodeTranslator,
        discriminator: Callable[..., MultiTaskDiscriminator],
        optimizers: Mapping[str, OptimizerBuilder],
        schedule: Schedule,
        phases: str,
        weight_gan: float,
        weight_penalty: float,
        penalty_batches: int,
        weight_style: float,
        weight_diversity: float,
        diversity_batches: int,
        weight_cycle: float,
    ) -> None:
        super().__init__(inference=inference, optimizers=optimizers, schedule=schedule)
        self.discriminator = discriminator(domains=len(inference.labels.domains))
        self.phases = check_choice("phases", phases, PHASES)
        self.weights = {
            "gan": weight_gan,
            "penalty": weight_penalty,
            "style": weight_style,
            "diversity": weight_diversity,
            "cycle": weight_cycle,
        }
        check_weights(self.weights)
        self.turn_batches = check_whole("penalty_batches", penalty_batches)
        self.diversity_batches = check_whole("diversity_batches", diversity_batches)

    def prepare(self, task: Task) -> None:
        """Check that the model knows the task's domains.

        Raises:
            ValueError: if the names differ.
        """
        check_domains(task.roles, self.model.labels.domains)

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Return images, (B, 3, H, W) in [-1, 1], in the styles of (B, S) codes, with their graph."""
        return self.model(images, codes)  # type: ignore[no-any-return]

    def training_step(self, batch: MultiDomainBatch, batch_idx: int) -> None:
        """Take the phases of a batch (section 3.2)."""
        given = self.given(batch)
        if self.phases == "merged":
            self.merged_phases(given)
            return
        real, source, target, references, latents = given

        # 1. The discriminator, against images by latents; `exact` keeps their graph for phase 3.
        with torch.set_grad_enabled(self.phases == "exact"):
            codes = self.model.mapping(latents[0], target)  # (B, S)
            fake = self(real, codes)
        self.discriminator_phase("latent", real, source, fake.detach(), target)

        # 2. The discriminator, against images by references.
        with torch.no_grad():
            by_reference = self(real, self.model.style_encoder(references[0], target))
        self.discriminator_phase("reference", real, source, by_reference, target)

        # 3. Generator, mapping network and style encoder, by latents.
        with self.turn_of("latent", "generator", "mapping", "style_encoder"):
            if self.phases == "official":
                codes = self.model.mapping(latents[0], target)
                fake = self(real, codes)
            own = self.model.style_encoder(real, source)
            other = self.other_image(real, lambda: self.model.mapping(latents[1], target))
            self.update(self.made(self.generator_terms(given, fake, codes, own, other)))

        # 4. The generator alone, by references.
        with self.turn_of("reference", "generator"):
            codes, others, own = self.codes_of_pictures(given)
            other = self.other_image(real, lambda: others)
            self.update(self.made(self.generator_terms(given, self(real, codes), codes, own, other)))

    def merged_phases(self, given: Given) -> None:
        """Move the discriminator, then all others, on images by latents and by references together."""
        real, source, target, references, latents = given
        images, sources, targets = (torch.cat([part, part]) for part in (real, source, target))
        twice = Given(images, sources, targets, references, latents)
        codes = torch.cat([self.model.mapping(latents[0], target), self.model.style_encoder(references[0], target)])
        fake = self(twice.real, codes)  # (2 B, 3, H, W)
        self.discriminator_phase("merged", real, source, fake.detach(), twice.target)
        with self.turn_of("merged", "generator", "mapping", "style_encoder"):
            own = self.model.style_encoder(real, source)
            other = self.other_image(twice.real, lambda: torch.cat([
                self.model.mapping(latents[1], target), self.model.style_encoder(references[1], target)
            ]))  # fmt: skip
            self.update(self.made(self.generator_terms(twice, fake, codes, torch.cat([own, own]), other)))

    def discriminator_phase(self, name: str, real: Tensor, source: Tensor, fake: Tensor, target: Tensor) -> None:
        """Move the discriminator, and where R1 is taken by steps of its own, once more in batches where it is due."""
        with self.turn_of(name, "discriminator"):
            self.update(self.log_and_sum(self.discriminator_terms(real, source, fake, target), self.weights))
        if self.turn_batches > 1 and self.weights["penalty"] and self.batches_done % self.turn_batches == 0:
            with self.turn_of("penalty", "discriminator"):
                _, penalty = logits_and_r1(partial(self.discriminator.forward, domains=source), real)
                weights = {"penalty": self.weights["penalty"] * self.turn_batches}
                self.update(self.log_and_sum({"penalty": penalty}, weights))

    def discriminator_terms(self, real: Tensor, source: Tensor, fake: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the discriminator's loss terms (eq. 1, and R1).

        gan: the mean over images of softplus(-D(real)), by the head of its domain, and of softplus(D(fake)). penalty:
        half the squared norm of D's gradient at real images, where it is taken in every step.

        Args:
            real: (B, 3, H, W) in [-1, 1].
            source: (B,) its domains.
            fake: (B', 3, H, W) generated, detached.
            target: (B',) the domains it should be in.
        """
        terms = {}
        if self.weights["penalty"] and self.turn_batches == 1:
            critic = partial(self.discriminator.forward, domains=source)
            real_logits, terms["penalty"] = logits_and_r1(critic, real)
        else:
            real_logits = self.discriminator(real, source)
        fake_logits = self.discriminator(fake, target)
        self.log_health(logit_figures(real_logits, fake_logits, OBJECTIVE))
        return {"gan": discriminator_loss(real_logits, fake_logits, OBJECTIVE), **terms}

    def generator_terms(
        self, given: Given, fake: Tensor, codes: Tensor, own: Tensor, other: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the terms of the others (eq. 1 to 4); the diversity loss is the mean of |G(x, s) - G(x, s')|.

        gan: the mean of softplus(-D(fake)). style: mean |E(fake) - s|. cycle: mean |G(fake, E(real)) - real|.

        Args:
            given: the batch.
            fake: (B, 3, H, W), what became of it, with its graph.
            codes: (B, S), by which it was made.
            own: (B, S), the codes of the real images.
            other: (B, 3, H, W), what became of it in another style, without a graph; None for no diversity loss.
        """
        terms = {
            "gan": generator_loss(self.discriminator(fake, given.target), OBJECTIVE),
            "style": (self.model.style_encoder(fake, given.target) - codes).abs().mean(),
            "cycle": (self(fake, own) - given.real).abs().mean(),
        }
        return terms if other is None else {**terms, "diversity": (fake - other).abs().mean()}

    def made(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the loss of the others, who want diversity to be large."""
        return self.log_and_sum(terms, {**self.weights, "diversity": -self.diversity_weight})

    @property
    def diversity_weight(self) -> float:
        """The weight of the diversity loss in this batch, which falls to 0 in a line."""
        return self.weights["diversity"] * max(0.0, 1.0 - self.batches_done / self.diversity_batches)

    def given(self, batch: MultiDomainBatch, latents: tuple[Tensor, Tensor] | None = None) -> Given:
        """Return a batch in [-1, 1], with its latents, which are drawn for it where none are given."""
        assert batch.reference is not None
        assert batch.other_reference is not None
        real, dim = to_signed(batch.image), int(self.model.mapping.latent_dim)  # type: ignore[arg-type]
        if latents is None:
            first, second = (self.normal(len(real), dim, stream).to(real.dtype) for stream in (0, 1))
            latents = first, second
        references = to_signed(batch.reference), to_signed(batch.other_reference)
        return Given(real, batch.domain, batch.target_domain, references, latents)

    def fixed_latent(self, count: int) -> Tensor:
        """Return one latent for some images, (count, Z), always the same."""
        return self.model.latents(torch.zeros(count, dtype=torch.int64, device=self.device))

    def other_image(self, real: Tensor, codes: Callable[[], Tensor]) -> Tensor | None:
        """Return the image in a second style, whose graph nobody needs; None where diversity weighs nothing."""
        if not self.diversity_weight:
            return None
        with torch.set_grad_enabled(self.phases == "official"):
            other: Tensor = self(real, codes()).detach()
        return other

    def codes_of_pictures(self, given: Given) -> tuple[Tensor, Tensor, Tensor]:
        """Return the codes of both references and of the real images; without a graph, unless as published."""
        real, source, target, references, _ = given
        encode = self.model.style_encoder
        if self.phases == "official":
            return encode(references[0], target), encode(references[1], target), encode(real, source)
        with torch.no_grad():
            codes = encode(torch.cat([*references, real]), torch.cat([target, target, source]))
        first, second, own = codes.chunk(3)
        return first, second, own

    @contextlib.contextmanager
    def turn_of(self, guided_by: str, *players: str) -> Iterator[None]:
        """Begin a phase; as published, the networks that it does not move have gradients, too."""
        with self.moving(*players, phase=f"{players[0]}_{guided_by}"):
            if self.phases == "official":
                for parameter in self.player_parameters(*self.players):
                    parameter.requires_grad_(True)
            yield

    def configure_optimizers(self) -> Any:
        """Return an optimizer a player; where R1 has steps of its own, the discriminator's go slower.

        Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B: with one more
        step for every k of them, lr and the logarithms of both betas are multiplied by k / (k + 1).
        """
        made = super().configure_optimizers()
        if self.turn_batches > 1:
            share = self.turn_batches / (self.turn_batches + 1)
            for group in made[list(self.players).index("discriminator")].param_groups:
                group["lr"] *= share
                if "betas" in group:
                    group["betas"] = tuple(beta**share for beta in group["betas"])
        return made

    def validation_step(self, batch: MultiDomainBatch, batch_idx: int) -> None:
        """Log the generator's terms on held-out images, by references and by one latent, always the same."""
        latent = self.fixed_latent(len(batch.image))
        given = self.given(batch, (latent, latent))
        own = self.model.style_encoder(given.real, given.source)
        for name, codes in (
            ("latent", self.model.mapping(latent, given.target)),
            ("reference", self.model.style_encoder(given.references[0], given.target)),
        ):
            terms = self.generator_terms(given, self(given.real, codes), codes, own, None)
            self.log_and_sum(terms, self.weights, stage="val", phase=f"generator_{name}")

    def sample_rows(self, batch: MultiDomainBatch) -> list[Tensor]:
        """Return images, what becomes of them by latents, then references and what becomes of them by these."""
        latent = self.fixed_latent(len(batch.image))
        given, model = self.given(batch, (latent, latent)), self.model
        assert batch.reference is not None
        rows = [batch.image]
        for style in model.latents(torch.arange(_STYLES_SHOWN, device=self.device)):
            codes = model.mapping(style.expand(len(given.real), -1), given.target)
            rows.append(from_signed(self(given.real, codes)))
        codes = model.style_encoder(given.references[0], given.target)
        return [*rows, batch.reference, from_signed(self(given.real, codes))]
