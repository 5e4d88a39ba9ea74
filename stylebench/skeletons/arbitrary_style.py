"""MyMethod: one network for any style, which a picture gives when the network is used.

Paper: none yet. Write here: authors, "title", venue and year, and which sections are implemented.

Deviations: none yet. Write here what differs from the paper or its code, and why.

What stands here works, with the network of `MyMethodTranslator`:
each stylized image keeps the content's feature maps (content loss), and its maps take the channel means and standard
deviations of its own style image (style loss). Its neighbor is `methods/adain.py`.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from stylebench.data.tasks import StyleBatch, drawn
from stylebench.functional.channel_statistics import channel_statistics, moment_loss
from stylebench.functional.content import content_loss
from stylebench.functional.schedules import Schedule
from stylebench.methods.base import Method
from stylebench.methods.checks import check_weights
from stylebench.methods.terms import OptimizerBuilder
from stylebench.nn.encoders.base import Encoder
from stylebench.skeletons.arbitrary_style_model import MyMethodTranslator


class MyMethod(Method):
    """Train a network that paints every content in the style of every style image.

    Every argument is a key of the config file: a new one is written here and there.

    Args:
        inference: the network, (B, 3, H, W) contents and styles in [0, 1] to images of the contents' size.
        encoder: frozen network whose feature maps the losses compare.
        optimizers: build the optimizer of the network, under its name, from its weights.
        schedule: of the learning rate.
        content_layers: taps whose maps must stay those of the content image.
        style_layers: taps whose channel statistics must become those of the style image.
        weight_content: factor of the content loss.
        weight_style: factor of the style loss.

    Raises:
        ValueError: if a weight is not a number of at least 0.
    """

    compiled_networks: ClassVar[tuple[str, ...]] = ("model", "encoder")
    model: MyMethodTranslator

    def __init__(
        self,
        *,
        inference: MyMethodTranslator,
        encoder: Encoder,
        optimizers: Mapping[str, OptimizerBuilder],
        schedule: Schedule,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        weight_content: float,
        weight_style: float,
    ) -> None:
        super().__init__(inference=inference, optimizers=optimizers, schedule=schedule)
        self.encoder = encoder
        self.content_layers, self.style_layers = tuple(content_layers), tuple(style_layers)
        self.layers = tuple(dict.fromkeys((*content_layers, *style_layers)))
        self.weights = {"content": weight_content, "style": weight_style}
        check_weights(self.weights)

    def training_step(self, batch: StyleBatch, batch_idx: int) -> Tensor:
        """Compare each stylized image with its content and with its style."""
        content, style = drawn(batch.content), drawn(batch.style)  # (B, 3, H, W) each, in [0, 1]
        stylized = self.model(content, style)  # (B, 3, H, W)
        with torch.no_grad():  # targets are constants: gradients reach the network through its output alone
            content_maps = self.encoder(content, self.content_layers)
            style_maps = self.encoder(style, self.style_layers)
        maps = self.encoder(stylized, self.layers)
        terms = {  # each term is logged by its name, and each layer of it
            "content": {layer: content_loss(maps[layer], content_maps[layer]).mean() for layer in self.content_layers},
            "style": {
                layer: moment_loss(
                    channel_statistics(maps[layer]), channel_statistics(style_maps[layer]), "mean"
                ).mean()
                for layer in self.style_layers
            },
        }
        return self.log_and_sum(terms, self.weights)
