"""Style transfer and texture synthesis by optimizing the pixels of each picture; nothing is learned.

Papers: Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, and "Texture
Synthesis Using Convolutional Neural Networks", NIPS 2015. The algorithm and its deviations: `optimization/gatys.py`.

As a method it optimizes the pairs of the validation split, or synthesizes its styles at the size of the crops, into an
ordinary run folder; a batch of training does nothing, so one is enough (`conf/model/gatys.yaml`,
`conf/model/texture_synthesis.yaml`). Several devices share the pairs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stylebench.data.tasks import StyleBatch, drawn
from stylebench.inference.translators.gatys import GatysTranslator, TextureTranslator
from stylebench.methods.base import Method
from stylebench.methods.optimized_pairs import OptimizedPairs


class Gatys(Method):
    """Optimize pairs of content and style, or pictures with the textures of the styles alone.

    Args:
        inference: the optimization.
        snapshots: evaluations after which a sample grid shows the picture, beside its end.
    """

    ema_networks: ClassVar[tuple[str, ...]] = ()
    model: GatysTranslator | TextureTranslator

    def __init__(self, *, inference: GatysTranslator | TextureTranslator, snapshots: Sequence[int]) -> None:
        super().__init__(inference=inference)
        self.automatic_optimization = False
        self.encoder = inference.encoder
        self.pairs = OptimizedPairs(inference, snapshots)
        self.nothing = nn.Parameter(torch.zeros(()))  # DDP refuses a module without parameters

    @property
    def name(self) -> str:
        """The paper's method: style transfer keeps a content, texture synthesis has none."""
        return "gatys" if self.model.takes("content") else "texture_synthesis"

    def training_step(self, batch: StyleBatch, batch_idx: int) -> None:
        """Do nothing: there is nothing to train."""

    def validation_step(self, batch: StyleBatch, batch_idx: int) -> None:
        """Optimize the pairs, and log their terms at the end and at the snapshots, as means."""
        self.latest["val"] = self.pairs.terms(drawn(batch.content), drawn(batch.style))

    def translated(self, images: Tensor, pictures: Mapping[str, Tensor], request: Mapping[str, Any]) -> Tensor:
        """Return the optimized pictures, (B, 3, H, W) in [0, 1]; a pair is optimized once, whoever asks."""
        return self.pairs.images(images, pictures["style"], **request)

    def sample_rows(self, batch: StyleBatch) -> list[Tensor]:
        """Return rows of contents (where they count), styles, what stood at the snapshots, and results."""
        content, style = drawn(batch.content), drawn(batch.style)
        shown = [content, style] if self.model.takes("content") else [style]
        return [*shown, *self.pairs.rows(content, style)]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return none: pixels are not parameters."""
        return []
