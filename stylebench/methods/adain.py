"""AdaIN: one network for any style.

Paper: Huang, Belongie, "Arbitrary Style Transfer in Real-Time with Adaptive Instance Normalization", ICCV 2017:
section 6 (the network is in `inference/translators/adain.py`; here is its training).

Deviations: squared errors (the paper writes norms, both well-known codes square them); the style term is a mean or a
sum over channels (`style_reduction`), which weighs the layers differently; the encoder is whatever `encoder` names.
With `transfer=concat`, for which the paper names no content target, the target stays the one of AdaIN, so that the
losses of all variants can be compared.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from stylebench.checks import check_choice
from stylebench.data.tasks import StyleBatch, drawn
from stylebench.functional.channel_statistics import (
    MOMENT_REDUCTIONS,
    ChannelStatistics,
    adaptive_instance_norm,
    channel_statistics,
    moment_loss,
)
from stylebench.functional.content import content_loss
from stylebench.functional.schedules import Schedule
from stylebench.inference.translators.adain import AdaINTranslator
from stylebench.methods.base import Method
from stylebench.methods.checks import check_weights
from stylebench.methods.terms import OptimizerBuilder, Terms


class AdaIN(Method):
    """Train a decoder that paints features whose statistics were exchanged, for every content and style.

    Args:
        inference: encoder, exchange and decoder; only the decoder learns.
        optimizers: build the optimizer of the decoder, under its name, from its weights.
        schedule: of the learning rate.
        style_layers: taps whose channel means and standard deviations must become those of the style image; each weighs
            1, and their terms are summed.
        weight_content: factor of the content loss.
        weight_style: factor of the style loss.
        weight_reconstruction: factor of both losses of the decoder's image of the style's own features.
        style_reduction: how squared differences of channel statistics are reduced, `mean` or `sum`.

    Raises:
        ValueError: if a weight is not a number of at least 0, or the reduction or a tap is unknown.
    """

    compiled_networks: ClassVar[tuple[str, ...]] = ("model.decoder", "model.encoder")
    model: AdaINTranslator

    def __init__(
        self,
        *,
        inference: AdaINTranslator,
        optimizers: Mapping[str, OptimizerBuilder],
        schedule: Schedule,
        style_layers: Sequence[str],
        weight_content: float,
        weight_style: float,
        weight_reconstruction: float,
        style_reduction: str,
    ) -> None:
        super().__init__(inference=inference, optimizers=optimizers, schedule=schedule)
        self.encoder, self.layer = inference.encoder, inference.layer
        self.style_layers = tuple(style_layers)
        self.layers = tuple(dict.fromkeys((*style_layers, self.layer)))
        check_weights({"content": weight_content, "style": weight_style, "reconstruction": weight_reconstruction})
        self.weights = {
            "content": weight_content,
            "style": weight_style,
            "reconstruction_content": weight_reconstruction * weight_content,
            "reconstruction_style": weight_reconstruction * weight_style,
        }
        self._check(style_reduction)
        self.style_reduction = style_reduction

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Return the stylized images, unclamped; (B, 3, H, W) in [0, 1] each, H and W multiples of the stride."""
        maps = (self.encoder(images, (self.layer,))[self.layer] for images in (content, style))
        return self.model(*maps)  # type: ignore[no-any-return]

    def training_step(self, batch: StyleBatch, batch_idx: int) -> Tensor:
        """Compare the stylized batch with the features it was made of and with its styles (section 6)."""
        return self.log_and_sum(self.terms(drawn(batch.content), drawn(batch.style)), self.weights)

    def terms(self, content: Tensor, style: Tensor) -> Terms:
        """Return the loss terms of a batch, as batch means: content, and style by layer.

        Args:
            content: (B, 3, H, W) in [0, 1].
            style: (B, 3, H, W) in [0, 1].
        """
        with torch.no_grad():  # targets are constants: gradients reach the decoder through its output alone
            style_maps = self.encoder(style, self.layers)
            content_map = self.encoder(content, (self.layer,))[self.layer]  # (B, C, h, w)
            statistics = {layer: channel_statistics(style_maps[layer]) for layer in self.layers}
            target = adaptive_instance_norm(content_map, statistics[self.layer])  # (B, C, h, w): t
        terms = self._compare(self.model(content_map, style_maps[self.layer]), target, statistics)
        if self.weights["reconstruction_content"] or self.weights["reconstruction_style"]:
            again = self._compare(
                self.model(style_maps[self.layer], style_maps[self.layer]), style_maps[self.layer], statistics
            )
            terms |= {f"reconstruction_{name}": term for name, term in again.items()}
        return terms

    def _check(self, style_reduction: str) -> None:
        unknown = [layer for layer in self.style_layers if layer not in self.encoder.channels]
        if unknown or not self.style_layers:
            raise ValueError(
                f"style_layers names taps of {self.encoder.name}, at least one; it has no {unknown}; choose from "
                f"{', '.join(self.encoder.taps)}"
            )
        check_choice("style_reduction", style_reduction, MOMENT_REDUCTIONS)

    def _compare(
        self, image: Tensor, target: Tensor, statistics: Mapping[str, ChannelStatistics]
    ) -> dict[str, Tensor | Mapping[str, Tensor]]:
        """Return how far a decoded image is from the features it should have, and from a style's statistics."""
        maps = self.encoder(image, self.layers)
        return {
            "content": content_loss(maps[self.layer], target).mean(),
            "style": {
                layer: moment_loss(channel_statistics(maps[layer]), statistics[layer], self.style_reduction).mean()
                for layer in self.style_layers
            },
        }
