"""Super-resolution: a network that enlarges photographs, trained by what an encoder sees instead of by pixels.

Paper: Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016
(section 3.2: the losses, 4.2: training; the network and the histogram matching after it are in
`inference/translators/super_resolution.py`, blur and shrinking in `functional/bicubic.py`).

`weight_feature=1 weight_pixel=0` is the paper's l_feat, `weight_feature=0 weight_pixel=1` its control l_pixel, the same
network on the same data. The paper's range (PSNR and SSIM of luma, recalled): l_feat lies 0.7 to 1.6 dB below l_pixel
and below bicubic enlargement, and is preferred by people for its edges; at a factor of 8 its SSIM is the higher one on
two sets of three.

Deviations: the loss network is whatever `encoder` names, its tap comes from the encoder's config (the paper: relu2_2 of
VGG-16); pixels are compared in [0, 1]; crops of a single color give no gradient (`functional/flat.py`).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from stylebench.data.tasks import PairedBatch, PairedTask, Task
from stylebench.functional.bicubic import enlarge
from stylebench.functional.content import content_loss
from stylebench.functional.flat import detach_flat
from stylebench.functional.schedules import Schedule
from stylebench.inference.translators.super_resolution import SuperResolutionTranslator
from stylebench.methods.base import Method
from stylebench.methods.checks import check_weights
from stylebench.methods.terms import OptimizerBuilder, Terms
from stylebench.nn.encoders.base import Encoder


class SuperResolution(Method):
    """Train a network that makes large images of small ones.

    Args:
        inference: holds the generator, (B, 3, H, W) images in [0, 1] to images of `factor` times the size.
        encoder: frozen network whose feature maps the feature loss compares.
        optimizers: build the optimizer of the generator, under its name, from its weights.
        schedule: of the learning rate.
        feature_layers: taps whose maps must become those of the target.
        weight_pixel: factor of the mean squared difference of pixels.
        weight_feature: factor of the mean squared difference of feature maps; with 0 the encoder is not run.

    Raises:
        ValueError: if a weight is not a number of at least 0, both are 0, or a tap is unknown.
    """

    task: ClassVar[type[Task]] = PairedTask
    compiled_networks: ClassVar[tuple[str, ...]] = ("model.generator", "encoder")
    model: SuperResolutionTranslator

    def __init__(
        self,
        *,
        inference: SuperResolutionTranslator,
        encoder: Encoder,
        optimizers: Mapping[str, OptimizerBuilder],
        schedule: Schedule,
        feature_layers: Sequence[str],
        weight_pixel: float,
        weight_feature: float,
    ) -> None:
        super().__init__(inference=inference, optimizers=optimizers, schedule=schedule)
        self.encoder = encoder
        self.layers = tuple(feature_layers)
        self.weights = {"pixel": weight_pixel, "feature": weight_feature}
        check_weights(self.weights)
        if not any(self.weights.values()):
            raise ValueError("weight_pixel and weight_feature are both 0, so nothing would be learned")
        unknown = [layer for layer in self.layers if layer not in encoder.channels]
        if unknown or not self.layers:
            raise ValueError(
                f"feature_layers names taps of {encoder.name}, at least one; it has no {unknown}; choose from "
                f"{', '.join(encoder.taps)}"
            )

    def prepare(self, task: Task) -> None:
        """Check that inputs are made of targets, and are as much smaller as the network enlarges.

        Raises:
            ValueError: if they are given as pictures (which have the targets' size), or shrunk by another factor.
        """
        degradation = task.degradation if isinstance(task, PairedTask) else None
        if degradation is None:
            raise ValueError(
                "super_resolution makes its small inputs of the targets: name the photographs by dataset.target alone "
                "and set dataset.degradation.factor (the model's own default does)"
            )
        if degradation.factor != self.model.factor:
            raise ValueError(
                f"dataset.degradation.factor={degradation.factor}, but the network enlarges "
                f"{self.model.factor} times; set model.generator.factor alone, which decides both"
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return the enlarged images, unclamped; (B, 3, H, W) in [0, 1] to (B, 3, factor H, factor W)."""
        return self.model(images)  # type: ignore[no-any-return]

    def training_step(self, batch: PairedBatch, batch_idx: int) -> Tensor:
        """Compare the enlarged inputs with their targets (sections 3.2, 4.2)."""
        enlarged = detach_flat(self(batch.input), batch.input)  # (B, 3, factor H, factor W)
        return self.log_and_sum(self.terms(enlarged, batch.target), self.weights)

    def terms(self, enlarged: Tensor, target: Tensor) -> Terms:
        """Return the loss terms of a batch, as batch means: pixels, and features by layer where they have a weight.

        Args:
            enlarged: (B, 3, H, W), the network's output; gradient flows through it.
            target: (B, 3, H, W) in [0, 1].
        """
        terms: dict[str, Tensor | dict[str, Tensor]] = {"pixel": content_loss(enlarged, target).mean()}
        if self.weights["feature"]:
            with torch.no_grad():
                wanted = self.encoder(target, self.layers)
            maps = self.encoder(enlarged, self.layers)
            terms["feature"] = {layer: content_loss(maps[layer], wanted[layer]).mean() for layer in self.layers}
        return terms

    def sample_rows(self, batch: PairedBatch) -> list[Tensor]:
        """Return rows of bicubic enlargements, results and targets."""
        bicubic = enlarge(batch.input, self.model.factor).clamp(0.0, 1.0)
        return [bicubic, self.translate(batch), batch.target]
