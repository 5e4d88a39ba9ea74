"""StarGAN: translation among any number of domains by one generator.

Paper: Choi, Choi, Kim, Ha, Kim, Choo, "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image
Translation", CVPR 2018: sections 3 and 4, appendix 7.1 and 7.2. Images are in [-1, 1] here.

Deviations: target domains come from the data stream, balanced, where the published code permutes the batch's labels;
images of several data sets (section 3.2) share a batch, where it takes turns; a batch that moves the generator too
uses the discriminator's generated images again, and the others make them without a graph (the same gradients). By
default the frame evaluates and exports a moving average of the generator (`ema=null` for the weights themselves).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from stylebench.checks import check_whole
from stylebench.data.tasks import MultiDomainBatch, MultiDomainTask, Task
from stylebench.functional.adversarial import discriminator_loss, generator_loss, logit_figures
from stylebench.functional.gradient_penalty import interpolate_penalty
from stylebench.functional.pixels import from_signed, to_signed
from stylebench.functional.schedules import Schedule
from stylebench.inference.translators.multi_domain import MultiDomainTranslator
from stylebench.methods.base import Method
from stylebench.methods.checks import check_domains, check_size_multiple, check_weights
from stylebench.methods.terms import OptimizerBuilder
from stylebench.nn.discriminators.stargan import StarGANDiscriminator
from stylebench.nn.generators.stargan import STRIDE

OBJECTIVE = "wgan"


class StarGAN(Method):
    """Train a generator that is told the target domain against a critic that also classifies domains.

    Args:
        inference: the generator and the domains' label vectors.
        discriminator: builds the critic and classifier from the number of `classes`; it has no batch norm, as its
            gradients are penalized image by image.
        optimizers: build an optimizer for each player, `generator` and `discriminator`, from its weights.
        schedule: of the learning rates.
        weight_gan: factor of the Wasserstein terms.
        weight_penalty: factor of the gradient penalty (section 4.1, lambda_gp).
        weight_class: factor of the classification losses (eq. 5 and 6, lambda_cls).
        weight_reconstruction: factor of the mean absolute error of the way back (eq. 6, lambda_rec).
        critic_batches: critic updates per generator update (appendix 7.1).

    Raises:
        ValueError: if a setting is out of its range.
    """

    task: ClassVar[type[Task]] = MultiDomainTask
    draws: ClassVar[tuple[str, ...] | None] = ("image",)
    players: ClassVar[Mapping[str, Sequence[str]]] = {
        "generator": ("model",),
        "discriminator": ("discriminator",),
    }
    compiled_networks: ClassVar[tuple[str, ...]] = ("model.generator", "discriminator")
    model: MultiDomainTranslator

    def __init__(
        self,
        *,
        inference: MultiDomainTranslator,
        discriminator: Callable[..., StarGANDiscriminator],
        optimizers: Mapping[str, OptimizerBuilder],
        schedule: Schedule,
        weight_gan: float,
        weight_penalty: float,
        weight_class: float,
        weight_reconstruction: float,
        critic_batches: int,
    ) -> None:
        super().__init__(inference=inference, optimizers=optimizers, schedule=schedule)
        self.discriminator = discriminator(classes=inference.labels.classes)
        self.weights = {
            "gan": weight_gan,
            "penalty": weight_penalty,
            "class": weight_class,
            "reconstruction": weight_reconstruction,
        }
        check_weights(self.weights)
        self.turn_batches = check_whole("critic_batches", critic_batches)

    def prepare(self, task: Task) -> None:
        """Check the images' size, and that the model knows the task's domains.

        Raises:
            ValueError: if images cannot be halved as often as the networks do, or the names of domains differ.
        """
        check_size_multiple(task.size_px, STRIDE)
        check_domains(task.roles, self.model.labels.domains)

    def forward(self, images: Tensor, domains: Tensor) -> Tensor:
        """Return images, (B, 3, H, W) in [-1, 1], in the domains of these numbers, (B,), with their graph."""
        return self.model(images, domains)  # type: ignore[no-any-return]

    def training_step(self, batch: MultiDomainBatch, batch_idx: int) -> None:
        """Move the critic, and in every `critic_batches`-th batch the generator, too (sections 3.1 and 7.1)."""
        real, source = to_signed(batch.image), batch.domain  # (B, 3, H, W) in [-1, 1], (B,)
        target = self.model.labels.targets(source, batch.target_domain)  # (B,)
        generators_turn = (self.batches_done + 1) % self.turn_batches == 0
        with torch.set_grad_enabled(generators_turn):
            fake = self(real, target)  # (B, 3, H, W): both players see it, as the generator has not moved in between
        with self.moving("discriminator"):
            terms = self.discriminator_terms(real, source, fake.detach())
            self.update(self.log_and_sum(terms, self.weights))
        if generators_turn:
            with self.moving("generator"):
                terms = self.generator_terms(real, source, fake, target)
                self.update(self.log_and_sum(terms, self.weights))

    def discriminator_terms(self, real: Tensor, source: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the critic's loss terms (eq. 5 and 8); it minimizes their sum with the weights of the config.

        gan: mean D(fake) - mean D(real), the Wasserstein loss. penalty: mean (|grad D(x_hat)|_2 - 1)^2 at points x_hat
        between real and fake. class: the classifier's cross entropy on real images, against their own domains.

        Args:
            real: (B, 3, H, W) in [-1, 1].
            source: (B,) its domains.
            fake: (B, 3, H, W) generated, detached.
        """
        logits, classes = self.discriminator(torch.cat([real, fake]))
        real_logits, fake_logits = logits.chunk(2)
        self.log_health(logit_figures(real_logits, fake_logits, OBJECTIVE))
        mix = self.uniform(len(real))  # (B,): a of x_hat = a x + (1 - a) G(x, c)
        return {
            "gan": discriminator_loss(real_logits, fake_logits, OBJECTIVE),
            "penalty": interpolate_penalty(lambda images: self.discriminator.forward(images)[0], real, fake, mix),
            "class": self.model.labels.classification_loss(classes[: len(real)], source),
        }

    def generator_terms(self, real: Tensor, source: Tensor, fake: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the generator's loss terms (eq. 6 and 8).

        gan: -mean D(fake). class: the classifier's cross entropy on fake images, against their target domains.
        reconstruction: mean |G(fake, source) - real|.

        Args:
            real: (B, 3, H, W) in [-1, 1].
            source: (B,) its domains.
            fake: (B, 3, H, W), what became of it, with its graph.
            target: (B,) the domains it should be in.
        """
        logits, classes = self.discriminator(fake)
        return {
            "gan": generator_loss(logits, OBJECTIVE),
            "class": self.model.labels.classification_loss(classes, target),
            "reconstruction": (self(fake, source) - real).abs().mean(),
        }

    def validation_step(self, batch: MultiDomainBatch, batch_idx: int) -> None:
        """Log the generator's terms on held-out images."""
        real, target = to_signed(batch.image), self.model.labels.targets(batch.domain, batch.target_domain)
        terms = self.generator_terms(real, batch.domain, self(real, target), target)
        self.log_and_sum(terms, self.weights, stage="val", phase="generator")

    def sample_rows(self, batch: MultiDomainBatch) -> list[Tensor]:
        """Return a row of images, then one for every domain that they are translated to."""
        real = to_signed(batch.image)
        numbers = range(len(self.model.labels.domains))
        return [batch.image, *(from_signed(self(real, torch.full_like(batch.domain, number))) for number in numbers)]
