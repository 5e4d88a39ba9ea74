"""pix2pix: translation learned from pairs, by a loss on pixels and a discriminator of patches.

Paper: Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017: sections
3 and 4.1 (ablations: `weight_gan=0` is L1, `weight_l1=0` cGAN, with `conditional=false` GAN or L1+GAN). Images are in
[-1, 1] here.

Order of a step as in junyanz/pytorch-CycleGAN-and-pix2pix: the image is generated once, the discriminator learns from
it, then the generator from the discriminator that has learned. Real and generated pairs are judged in separate calls:
batch norm would mix their statistics.

Dropout in training draws from the run's seed and each image's place in the stream, alike on one device and on many.

Deviations, neither of which changes a gradient: the discriminator is frozen while the generator learns, and is not run
where its term has weight 0. Validation is in the model's own mode, the discriminator's with the statistics of the
batch, as in training.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from stylebench.checks import Size, check_switch, sides, size_text
from stylebench.data.tasks import PairedBatch, PairedTask, Task, drawn
from stylebench.functional.adversarial import check_objective, discriminator_loss, generator_loss, logit_figures
from stylebench.functional.pixels import to_signed
from stylebench.functional.schedules import Schedule
from stylebench.inference.translators.paired import PairedTranslator
from stylebench.methods.base import Method
from stylebench.methods.checks import check_size_multiple, check_weights
from stylebench.methods.terms import OptimizerBuilder
from stylebench.nn.discriminators.patch import PatchDiscriminator
from stylebench.nn.generators.unet import UNetGenerator
from stylebench.nn.normalization import BATCH, has_batch_norm, using
from stylebench.nn.seeded_dropout import seeded_dropout

IMAGE_CHANNELS = 3


class Pix2Pix(Method):
    """Train a generator on pairs against a discriminator that sees patches of inputs beside outputs.

    Args:
        inference: holds the generator.
        discriminator: judges pairs, 6 channels, or images alone, 3 channels; any norm, as each call holds one kind.
        optimizers: build the optimizers of both players from their weights.
        objective: the adversarial loss, a key of `functional.adversarial.OBJECTIVES`.
        conditional: whether the discriminator sees the input beside the output.
        weight_gan: factor of the generator's adversarial loss; 0 trains no discriminator.
        weight_l1: factor of the mean absolute difference from the target.
        schedule: of the learning rates.

    Raises:
        ValueError: if a setting is out of its range, or the discriminator has other channels than it is shown.
    """

    task: ClassVar[type[Task]] = PairedTask
    players: ClassVar[Mapping[str, Sequence[str]]] = {
        "generator": ("model",),
        "discriminator": ("discriminator",),
    }
    compiled_networks: ClassVar[tuple[str, ...]] = ("model.generator", "discriminator")
    model: PairedTranslator

    def __init__(
        self,
        *,
        inference: PairedTranslator,
        discriminator: PatchDiscriminator,
        optimizers: Mapping[str, OptimizerBuilder],
        objective: str,
        conditional: bool,
        weight_gan: float,
        weight_l1: float,
        schedule: Schedule,
    ) -> None:
        super().__init__(inference=inference, optimizers=optimizers, schedule=schedule)
        self.discriminator = discriminator
        self.objective = check_objective(objective)
        self.conditional = _check_channels(conditional, discriminator)
        self.weights = {"gan": weight_gan, "l1": weight_l1}
        check_weights(self.weights)
        if not any(self.weights.values()):
            raise ValueError("weight_gan and weight_l1 are both 0, so nothing would be learned")
        self._size_px: Size = 1
        self._batch_size = 0

    def prepare(self, task: Task) -> None:
        """Check that inputs have the targets' size, and that the networks can work on it.

        Raises:
            ValueError: if inputs are smaller, images cannot be halved as often as the U-Net does or are too small for
                the discriminator, or a norm would empty the innermost map.
        """
        if isinstance(task, PairedTask) and task.degradation is not None:
            raise ValueError(
                "pix2pix needs inputs of the targets' size, but dataset.degradation makes smaller ones; set "
                "dataset.degradation=null and name dataset.input, or choose model=super_resolution"
            )
        if isinstance(self.model.generator, UNetGenerator):
            check_size_multiple(task.size_px, self.model.generator.multiple)
        if self.weights["gan"]:
            self.discriminator.check_size(task.size_px)
        self._size_px, self._batch_size = task.size_px, task.batch_size
        self._check_bottleneck(task.batch_size)

    def setup(self, stage: str) -> None:
        """Check a device's share of the batch, which is known only now.

        Raises:
            ValueError: if a norm would empty the innermost map.
        """
        super().setup(stage)
        self._check_bottleneck(self._batch_size // self.trainer.world_size)

    def forward(self, images: Tensor) -> Tensor:
        """Return inputs, (B, 3, H, W) in [-1, 1], as images of the target's kind, with their graph."""
        return self.model(images)  # type: ignore[no-any-return]

    def training_step(self, batch: PairedBatch, batch_idx: int) -> None:
        """Generate, then move the discriminator, then the generator (section 3, eq. 4)."""
        source, target = to_signed(drawn(batch.input)), to_signed(drawn(batch.target))  # (B, 3, H, W), in [-1, 1]
        with seeded_dropout(self.model, self.draw_seeds(len(source))):
            fake = self(source)
        if self.weights["gan"]:
            with self.moving("discriminator"):
                terms = self.discriminator_terms(source, target, fake.detach())
                weights = {"gan": 0.5}  # halved, so that it learns more slowly than the generator (section 3.3)
                self.update(self.log_and_sum(terms, weights))
        with self.moving("generator"):
            terms = self.generator_terms(source, target, fake)
            self.update(self.log_and_sum(terms, self.weights))

    def judge(self, source: Tensor, image: Tensor) -> Tensor:
        """Return the discriminator's logits, (B, 1, h, w), of images, beside their inputs if it is conditional."""
        seen = torch.cat([source, image], 1) if self.conditional else image  # (B, 6 or 3, H, W)
        return self.discriminator(seen)  # type: ignore[no-any-return]

    def discriminator_terms(self, source: Tensor, target: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the discriminator's loss term; all images (B, 3, H, W) in [-1, 1], the generated ones detached."""
        fake_logits, real_logits = self.judge(source, fake), self.judge(source, target)
        self.log_health(logit_figures(real_logits, fake_logits, self.objective))
        return {"gan": discriminator_loss(real_logits, fake_logits, self.objective)}

    def generator_terms(self, source: Tensor, target: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the generator's loss terms; images (B, 3, H, W) in [-1, 1], the generated ones with graph."""
        terms = {"l1": (fake - target).abs().mean()}
        if self.weights["gan"]:
            terms["gan"] = generator_loss(self.judge(source, fake), self.objective)
        return terms

    def validation_step(self, batch: PairedBatch, batch_idx: int) -> None:
        """Log the generator's terms on held-out pairs."""
        fake = to_signed(self.translate(batch))
        with using(self.discriminator, BATCH) if has_batch_norm(self.discriminator) else contextlib.nullcontext():
            terms = self.generator_terms(to_signed(drawn(batch.input)), to_signed(drawn(batch.target)), fake)
        self.log_and_sum(terms, self.weights, stage="val", phase="generator")

    def sample_rows(self, batch: PairedBatch) -> list[Tensor]:
        """Return rows of inputs, results and targets."""
        return [*super().sample_rows(batch), drawn(batch.target)]

    def _check_bottleneck(self, batch_size: int) -> None:
        """Refuse a norm of an innermost map that leaves nothing of it: one of a single entry becomes its mean, 0."""
        generator = self.model.generator
        if not isinstance(generator, UNetGenerator) or not generator.bottleneck_norm:
            return
        if max(sides(self._size_px)) > generator.multiple:
            return
        why = None
        if generator.norm == "instance":
            why = "instance norm takes all of it away"
        elif batch_size == 1:
            why = "batch norm of 1 image on a device takes all of it away; or use a larger dataset.batch_size"
        elif self.model.eval_mode != "eval":
            mode = self.model.eval_mode
            why = f"model.eval_mode={mode} would normalize each image alone, unlike training; or use eval"
        if why is not None:
            raise ValueError(
                f"the innermost map of the U-Net has 1x1 px at dataset.size_px={size_text(self._size_px)}, and {why}. "
                "Set model.generator.bottleneck_norm=false"
            )


def _check_channels(conditional: bool, discriminator: PatchDiscriminator) -> bool:
    check_switch("conditional", conditional)
    expected = 2 * IMAGE_CHANNELS if conditional else IMAGE_CHANNELS
    first = next(layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d))
    if first.in_channels != expected:
        raise ValueError(
            f"conditional={str(conditional).lower()} shows the discriminator {expected} channels, but it is "
            f"built for {first.in_channels}; set discriminator.in_channels={expected}"
        )
    return conditional
