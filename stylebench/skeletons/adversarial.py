"""MyMethod: a generator that learns from a discriminator, without pairs.

Paper: none yet. Write here: authors, "title", venue and year, and which sections are implemented.

Deviations: none yet. Write here what differs from the paper or its code, and why.

What stands here works: images of domain a are to look like those of domain b to a discriminator of patches, and to stay
near what they were (the self-regularization of Shrivastava, Pfister, Tuzel, Susskind, Wang, Webb, "Learning from
Simulated and Unsupervised Images through Adversarial Training", CVPR 2017). Its neighbors are `methods/pix2pix.py`,
which has pairs, and `methods/cyclegan.py`, which learns the way back, too.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from stylebench.data.tasks import Task, UnpairedBatch, UnpairedTask, drawn
from stylebench.functional.adversarial import check_objective, discriminator_loss, generator_loss, logit_figures
from stylebench.functional.schedules import Schedule
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.methods.base import Method
from stylebench.methods.checks import check_weights
from stylebench.methods.terms import OptimizerBuilder
from stylebench.nn.discriminators.patch import PatchDiscriminator


class MyMethod(Method):
    """Train a generator from domain a to domain b against a discriminator of domain b.

    Every argument is a key of the config file: a new one is written here and there.

    Args:
        inference: holds the generator, (B, 3, H, W) images in [0, 1] to images of the same size.
        discriminator: judges images of domain b, (B, 3, H, W), patch by patch.
        optimizers: build the optimizers of both players from their weights.
        objective: the adversarial loss, a key of `functional.adversarial.OBJECTIVES`.
        weight_gan: factor of the generator's adversarial loss.
        weight_stay: factor of the mean absolute change of an image.
        schedule: of the learning rates.

    Raises:
        ValueError: if a weight is not a number of at least 0, or there is no such objective.
    """

    task: ClassVar[type[Task]] = UnpairedTask
    players: ClassVar[Mapping[str, Sequence[str]]] = {"generator": ("model",), "discriminator": ("discriminator",)}
    compiled_networks: ClassVar[tuple[str, ...]] = ("model.generator", "discriminator")
    model: ImageToImage

    def __init__(
        self,
        *,
        inference: ImageToImage,
        discriminator: PatchDiscriminator,
        optimizers: Mapping[str, OptimizerBuilder],
        objective: str,
        weight_gan: float,
        weight_stay: float,
        schedule: Schedule,
    ) -> None:
        super().__init__(inference=inference, optimizers=optimizers, schedule=schedule)
        self.discriminator = discriminator
        self.objective = check_objective(objective)
        self.weights = {"gan": weight_gan, "stay": weight_stay}
        check_weights(self.weights)

    def prepare(self, task: Task) -> None:
        """Check that the discriminator finds a patch in the images.

        Raises:
            ValueError: if they are too small for it.
        """
        self.discriminator.check_size(task.size_px)

    def training_step(self, batch: UnpairedBatch, batch_idx: int) -> None:
        """Translate once, then move the discriminator, then the generator; each player's loss is its own phase."""
        real_a, real_b = drawn(batch.a), drawn(batch.b)  # (B, 3, H, W) each, in [0, 1]
        fake_b = self.model(real_a)  # (B, 3, H, W), unclamped
        with self.moving("discriminator"):  # the other players are frozen here
            real_logits, fake_logits = self.discriminator(real_b), self.discriminator(fake_b.detach())
            self.log_health(logit_figures(real_logits, fake_logits, self.objective))
            terms = {"gan": discriminator_loss(real_logits, fake_logits, self.objective)}
            self.update(self.log_and_sum(terms, {"gan": 1.0}))
        with self.moving("generator"):
            terms = {
                "gan": generator_loss(self.discriminator(fake_b), self.objective),
                "stay": (fake_b - real_a).abs().mean(),
            }
            self.update(self.log_and_sum(terms, self.weights))
