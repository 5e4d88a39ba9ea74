"""Texture synthesis by optimizing pixels from noise; nothing is learned.

Paper: Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional Neural Networks", NIPS 2015. The algorithm and its
deviations: `inference/translators/gatys.py`. As a method it synthesizes the styles of the validation split at the size
of the crops, into an ordinary run folder; a batch of training does nothing, so one is enough
(`conf/model/texture_synthesis.yaml`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stylebench.data.tasks import StyleBatch, drawn
from stylebench.inference.translators.gatys import TextureTranslator
from stylebench.methods.base import Method
from stylebench.methods.optimized_pairs import OptimizedPairs


class TextureSynthesis(Method):
    """Synthesize pictures with the textures of the style images.

    Args:
        inference: the optimization.
        snapshots: evaluations after which a sample grid shows the picture, beside its end.
    """

    ema_networks: ClassVar[tuple[str, ...]] = ()
    model: TextureTranslator

    def __init__(self, *, inference: TextureTranslator, snapshots: Sequence[int]) -> None:
        super().__init__(inference=inference)
        self.automatic_optimization = False
        self.encoder = inference.encoder
        self.pairs = OptimizedPairs(inference, snapshots)
        self.nothing = nn.Parameter(torch.zeros(()))  # DDP refuses a module without parameters

    def training_step(self, batch: StyleBatch, batch_idx: int) -> None:
        """Do nothing: there is nothing to train."""

    def validation_step(self, batch: StyleBatch, batch_idx: int) -> None:
        """Synthesize, and log the terms at the end and at the snapshots, as means."""
        self.latest["val"] = self.pairs.terms(drawn(batch.content), drawn(batch.style))

    def translated(self, images: Tensor, pictures: Mapping[str, Tensor], request: Mapping[str, Any]) -> Tensor:
        """Return the optimized pictures, (B, 3, H, W) in [0, 1]; a pair is optimized once, whoever asks."""
        return self.pairs.images(images, pictures["style"], **request)

    def sample_rows(self, batch: StyleBatch) -> list[Tensor]:
        """Return rows of styles, what stood at the snapshots, and results."""
        style = drawn(batch.style)
        return [style, *self.pairs.rows(drawn(batch.content), style)]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return none: pixels are no parameters."""
        return []
