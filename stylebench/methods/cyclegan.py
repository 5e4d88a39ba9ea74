"""CycleGAN: translation between two domains without pairs.

Paper: Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
ICCV 2017: sections 3, 4 and 5.1.4 (ablations). Images are in [-1, 1] here.

Deviations, none of which changes a gradient: a generator sees its translation and its identity images in one call, a
discriminator real and earlier generated images in one call (instance norm keeps samples apart); terms of weight 0 are
not computed. One that changes results: by default the frame evaluates and exports a moving average of the generators
(`ema=null` for the weights themselves). Order of a step as in junyanz/pytorch-CycleGAN-and-pix2pix: both generators,
then both discriminators.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from stylebench.checks import check_choice, check_whole
from stylebench.data.tasks import Task, UnpairedBatch, UnpairedTask, drawn
from stylebench.functional.adversarial import check_objective, discriminator_loss, generator_loss, logit_figures
from stylebench.functional.pixels import from_signed, to_signed
from stylebench.functional.schedules import Schedule
from stylebench.inference.translators.unpaired import UnpairedTranslator
from stylebench.methods.base import Method
from stylebench.methods.checks import check_size_multiple, check_weights
from stylebench.methods.image_pool import ImagePool
from stylebench.methods.terms import OptimizerBuilder
from stylebench.nn.discriminators.patch import PatchDiscriminator

CYCLES = ("both", "forward", "backward", "none")


class CycleGAN(Method):
    """Train two generators that undo each other against two discriminators, one a domain.

    Args:
        inference: both generators; instance norm or none, as samples share a call.
        discriminator_a: judges domain a.
        discriminator_b: judges domain b.
        optimizers: build one optimizer for both generators and one for both discriminators, from their weights.
        objective: the adversarial loss, a key of `functional.adversarial.OBJECTIVES`.
        weight_gan: factor of the generators' adversarial losses; 0 trains no discriminator.
        weight_cycle: factor of the mean absolute cycle errors.
        cycles: which of them: `both`, `forward` (a to b to a), `backward` (b to a to b) or `none`.
        weight_identity: factor of the mean absolute change of images that are in the target domain already.
        identity_every: batches between two that compute the identity terms, which then count as many times.
        pool: earlier images of each generator that its discriminator may be shown.
        schedule: of the learning rates.

    Raises:
        ValueError: if a setting is out of its range.
    """

    task: ClassVar[type[Task]] = UnpairedTask
    players: ClassVar[Mapping[str, Sequence[str]]] = {
        "generator": ("model",),
        "discriminator": ("discriminator_a", "discriminator_b"),
    }
    compiled_networks: ClassVar[tuple[str, ...]] = (
        "model.generator_ab", "model.generator_ba", "discriminator_a", "discriminator_b",
    )  # fmt: skip
    model: UnpairedTranslator

    def __init__(
        self,
        *,
        inference: UnpairedTranslator,
        discriminator_a: PatchDiscriminator,
        discriminator_b: PatchDiscriminator,
        optimizers: Mapping[str, OptimizerBuilder],
        objective: str,
        weight_gan: float,
        weight_cycle: float,
        cycles: str,
        weight_identity: float,
        identity_every: int,
        pool: int,
        schedule: Schedule,
    ) -> None:
        super().__init__(inference=inference, optimizers=optimizers, schedule=schedule)
        self.discriminator_a, self.discriminator_b = discriminator_a, discriminator_b
        self.objective = check_objective(objective)
        check_weights({"gan": weight_gan, "cycle": weight_cycle, "identity": weight_identity})
        check_choice("cycles", cycles, CYCLES)
        check_whole("pool", pool, 0)
        _refuse_batch_norm(inference, discriminator_a, discriminator_b)
        self.turn_batches = check_whole("identity_every", identity_every)
        self.weights = {
            "gan_ab": weight_gan,
            "gan_ba": weight_gan,
            "cycle_a": weight_cycle if cycles in ("both", "forward") else 0.0,
            "cycle_b": weight_cycle if cycles in ("both", "backward") else 0.0,
            "identity_a": weight_identity * identity_every,
            "identity_b": weight_identity * identity_every,
        }
        if not any(weight for term, weight in self.weights.items() if not term.startswith("identity")):
            raise ValueError(
                "no term of CycleGAN that translates has a weight; set weight_gan or weight_cycle above 0 "
                f"(with cycles other than none), got {weight_gan!r} and {weight_cycle!r} with cycles={cycles}"
            )
        self.pool_a, self.pool_b = ImagePool(pool, name=0), ImagePool(pool, name=1)

    def prepare(self, task: Task) -> None:
        """Check the images' size, and seed the pools.

        Raises:
            ValueError: if images cannot be halved as often as a generator does, or are too small for the
                discriminators.
        """
        for generator in (self.model.generator_ab, self.model.generator_ba):
            check_size_multiple(task.size_px, int(getattr(generator, "multiple", 1)))
        if self.weights["gan_ab"]:
            self.discriminator_a.check_size(task.size_px)
            self.discriminator_b.check_size(task.size_px)
        self.pool_a.seed = self.pool_b.seed = task.seed

    def forward(self, images: Tensor) -> Tensor:
        """Return images of a, (B, 3, H, W) in [-1, 1], as images of b, with their graph."""
        return self.model.generator_ab(images)  # type: ignore[no-any-return]

    def training_step(self, batch: UnpairedBatch, batch_idx: int) -> None:
        """Move both generators, then both discriminators (section 3, eq. 3)."""
        real_a, real_b = to_signed(drawn(batch.a)), to_signed(drawn(batch.b))  # (B, 3, H, W) each, in [-1, 1]
        with self.moving("generator"):
            identity = (self.batches_done + 1) % self.turn_batches == 0
            terms, fake_a, fake_b = self.generator_terms(real_a, real_b, identity=identity)
            self.update(self.log_and_sum(terms, self.weights))
        if self.weights["gan_ab"]:
            with self.moving("discriminator"):
                seen_a, seen_b = self.pool_a(fake_a, self.global_rank), self.pool_b(fake_b, self.global_rank)
                terms = self.discriminator_terms(real_a, real_b, seen_a, seen_b)
                weights = {"a": 0.5, "b": 0.5}  # halved, so that it learns at half the generators' pace (section 7.1)
                self.update(self.log_and_sum(terms, weights))

    def generator_terms(
        self, real_a: Tensor, real_b: Tensor, *, identity: bool = True
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return the generators' loss terms, and the translated images with their graph.

        Args:
            real_a: (B, 3, H, W) in [-1, 1].
            real_b: the same of domain b.
            identity: whether to compute the identity terms.
        """
        ab, ba = self.model.generator_ab, self.model.generator_ba
        if identity and self.weights["identity_a"]:
            fake_b, identity_b = ab(torch.cat([real_a, real_b])).chunk(2)
            fake_a, identity_a = ba(torch.cat([real_b, real_a])).chunk(2)
            terms = {"identity_a": (identity_a - real_a).abs().mean(), "identity_b": (identity_b - real_b).abs().mean()}
        else:
            fake_b, fake_a, terms = ab(real_a), ba(real_b), {}
        if self.weights["gan_ab"]:
            terms["gan_ab"] = generator_loss(self.discriminator_b(fake_b), self.objective)
            terms["gan_ba"] = generator_loss(self.discriminator_a(fake_a), self.objective)
        if self.weights["cycle_a"]:
            terms["cycle_a"] = (ba(fake_b) - real_a).abs().mean()
        if self.weights["cycle_b"]:
            terms["cycle_b"] = (ab(fake_a) - real_b).abs().mean()
        return terms, fake_a, fake_b

    def discriminator_terms(self, real_a: Tensor, real_b: Tensor, fake_a: Tensor, fake_b: Tensor) -> dict[str, Tensor]:
        """Return the discriminators' loss terms; all images (B, 3, H, W) in [-1, 1], the generated ones detached."""
        terms = {}
        for name, network, real, fake in (
            ("a", self.discriminator_a, real_a, fake_a),
            ("b", self.discriminator_b, real_b, fake_b),
        ):
            real_logits, fake_logits = network(torch.cat([real, fake])).chunk(2)
            terms[name] = discriminator_loss(real_logits, fake_logits, self.objective)
            figures = logit_figures(real_logits, fake_logits, self.objective)
            self.log_health({f"{figure}_{name}": value for figure, value in figures.items()})
        return terms

    def validation_step(self, batch: UnpairedBatch, batch_idx: int) -> None:
        """Log the generators' terms on held-out images."""
        terms, _, _ = self.generator_terms(to_signed(drawn(batch.a)), to_signed(drawn(batch.b)))
        weights = {  # every evaluation computes the identity terms, so that they count once
            name: weight / self.turn_batches if name.startswith("identity") else weight
            for name, weight in self.weights.items()
        }
        self.log_and_sum(terms, weights, stage="val", phase="generator")

    def sample_rows(self, batch: UnpairedBatch) -> list[Tensor]:
        """Return rows of images of a, translated, and back again; then the same of b."""
        rows = []
        for images, first, second in (
            (drawn(batch.a), self.model.generator_ab, self.model.generator_ba),
            (drawn(batch.b), self.model.generator_ba, self.model.generator_ab),
        ):
            fake = first(to_signed(images))
            rows += [images, from_signed(fake), from_signed(second(fake))]
        return rows


def _refuse_batch_norm(*networks: nn.Module) -> None:
    """Refuse batch norm, which would mix the images that share a call."""
    if any(isinstance(layer, nn.BatchNorm2d) for network in networks for layer in network.modules()):
        raise ValueError(
            "CycleGAN shows a network several kinds of images in one call, which batch norm would mix; use "
            "norm=instance or norm=none"
        )
