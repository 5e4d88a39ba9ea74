"""Fast style transfer: one feed-forward network for one style image.

Paper: Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016
(sections 3.1 and 3.2: the losses, 4.1: training); instance norm in place of batch norm is Ulyanov, Vedaldi, Lempitsky,
"Instance Normalization", 2016.

Deviations: the default network is the layout of pytorch/examples `fast_neural_style` (`model/generator=johnson_paper`
is the paper's); the loss network is whatever `encoder` names, its taps come from the encoder's config; the style loss
is divided by the style's own energy (`gram_norm: relative`), so that a weight means the same for all encoders
(`cchw` is the form of the authors' code); crops of a single color give no gradient (`functional/flat.py`).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from stylebench.data.augmentation import whole_image
from stylebench.data.tasks import StyleBatch, Task, drawn
from stylebench.functional.content import content_loss
from stylebench.functional.flat import detach_flat
from stylebench.functional.geometry import center_crop
from stylebench.functional.gram import check_gram_energy, gram_loss, gram_matrix
from stylebench.functional.schedules import Schedule
from stylebench.functional.total_variation import total_variation
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.methods.base import Method
from stylebench.methods.checks import check_weights
from stylebench.methods.terms import OptimizerBuilder, Terms
from stylebench.nn.encoders.base import Encoder


class FastTransfer(Method):
    """Train a network that paints any content image in the style of one picture, in one pass.

    Args:
        inference: holds the generator, (B, 3, H, W) images in [0, 1] to images of the same size.
        encoder: frozen network whose feature maps the losses compare.
        optimizers: build the optimizer of the generator, under its name, from its weights.
        schedule: of the learning rate.
        content_layers: taps whose maps must stay those of the content image.
        style_layers: taps whose Gram matrices must become those of the style image.
        weight_content: factor of the content loss.
        weight_style: factor of the style loss.
        weight_tv: factor of the total variation of the output.
        gram_norm: normalization of the style loss, one of `functional.gram.GRAM_NORMS`.
        tv_convention: form of the total variation, one of `functional.total_variation.TV_CONVENTIONS`.
        style_size_px: shorter side of the style image when its statistics are taken, None = its own size; larger
            means larger strokes.

    Raises:
        ValueError: if a weight is not a number of at least 0.
    """

    draws: ClassVar[tuple[str, ...] | None] = ("content",)  # the style is one picture: its statistics are cached
    compiled_networks: ClassVar[tuple[str, ...]] = ("model.generator", "encoder")
    model: ImageToImage

    def __init__(
        self,
        *,
        inference: ImageToImage,
        encoder: Encoder,
        optimizers: Mapping[str, OptimizerBuilder],
        schedule: Schedule,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        weight_content: float,
        weight_style: float,
        weight_tv: float,
        gram_norm: str,
        tv_convention: str,
        style_size_px: int | None,
    ) -> None:
        super().__init__(inference=inference, optimizers=optimizers, schedule=schedule)
        self.encoder = encoder
        self.content_layers = tuple(content_layers)
        self.style_layers = tuple(style_layers)
        self.layers = tuple(dict.fromkeys((*content_layers, *style_layers)))
        self.weights = {"content": weight_content, "style": weight_style, "tv": weight_tv}
        check_weights(self.weights)
        self.gram_norm = gram_norm
        self.tv_convention = tv_convention
        self.style_size_px = style_size_px

    def prepare(self, task: Task) -> None:
        """Take the style image's Gram matrices, once for the whole run.

        Raises:
            ValueError: if the style domain holds several images, or one without any structure to imitate.
        """
        domain = task.domains["style"]
        if len(domain) != 1:
            example = f"{domain.address}/{domain.ids[int(domain.split('train')[0])]}"
            raise ValueError(
                f"fast_transfer learns one style image a network, but dataset.style has {len(domain)} "
                f"({', '.join(domain.ids[:3])}, ...); name one of them, for example dataset.style={example}"
            )
        image = whole_image(domain, 0, self.style_size_px)  # (1, 3, H, W)
        with torch.no_grad():
            maps = self.encoder(image, self.style_layers)
            grams = {layer: gram_matrix(maps[layer]) for layer in self.style_layers}
        check_gram_energy(grams)
        self.register_buffer("style_image", image, persistent=False)
        for layer, gram in grams.items():
            self.register_buffer(f"style_gram_{layer}", gram, persistent=False)  # (1, C, C)

    def forward(self, content: Tensor) -> Tensor:
        """Return the stylized images, unclamped; (B, 3, H, W) in [0, 1] to the same shape."""
        return self.model.generator(content)  # type: ignore[no-any-return]

    def training_step(self, batch: StyleBatch, batch_idx: int) -> Tensor:
        """Compare the stylized batch with its contents and with the style image (sections 3.1, 3.2)."""
        content = drawn(batch.content)  # (B, 3, H, W) in [0, 1]
        stylized = detach_flat(self(content), content)  # (B, 3, H, W)
        return self.log_and_sum(self.terms(content, stylized), self.weights)

    def terms(self, content: Tensor, stylized: Tensor) -> Terms:
        """Return the loss terms of a batch, as batch means: content and style by layer, total variation.

        Args:
            content: (B, 3, H, W) in [0, 1].
            stylized: (B, 3, H, W), the network's output; gradient flows through it.
        """
        with torch.no_grad():
            targets = self.encoder(content, self.content_layers)
        maps = self.encoder(stylized, self.layers)
        return {
            "content": {layer: content_loss(maps[layer], targets[layer]).mean() for layer in self.content_layers},
            "style": {
                layer: gram_loss(
                    gram_matrix(maps[layer]), self.get_buffer(f"style_gram_{layer}"), self.gram_norm
                ).mean()
                for layer in self.style_layers
            },
            "tv": total_variation(stylized, self.tv_convention).mean(),
        }

    def sample_rows(self, batch: StyleBatch) -> list[Tensor]:
        """Return content and stylized rows, each led by the style image, cropped to the contents' size."""
        content = drawn(batch.content)
        style = center_crop(self.get_buffer("style_image"), content.shape[-2:])  # (1, 3, H, W)
        return [torch.cat([style, row]) for row in (content, self.translate(batch))]
