"""The translator to any of several domains; its network works in [-1, 1], it itself in [0, 1]."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from stylebench.functional.pixels import from_signed, to_signed
from stylebench.inference.base import Choice
from stylebench.inference.translators.base import Guides, Translator
from stylebench.nn.labels import DomainLabels


class MultiDomainTranslator(Translator):
    """One generator that is told by a label vector which domain to go to.

    Args:
        generator: builds, from the number of `label_channels`, a network that maps (B, 3, H, W) images in [-1, 1] and
            (B, c) label vectors to images of the same shape and range.
        labels: the domains, and the vector of each.
    """

    def __init__(self, generator: Callable[..., nn.Module], labels: DomainLabels) -> None:
        super().__init__()
        self.generator, self.labels = generator(label_channels=labels.vectors.shape[1]), labels
        names = labels.domains
        self.controls = (Choice("domain", names, names[-1], "the domain that pictures go to"),)

    def forward(self, images: Tensor, domains: Tensor) -> Tensor:
        """Translate (B, 3, H, W) in [-1, 1] to the domains of these numbers, (B,) int64; with its graph."""
        output: Tensor = self.generator(images, self.labels.vectors[domains])
        return output

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return (B, 3, H, W) images of the target domain."""
        number = self.labels.domains.index(controls["domain"])
        return from_signed(self(to_signed(images), torch.full((len(images),), number, device=images.device)))
