"""Translators of image-to-image translation; their networks work in [-1, 1], they themselves in [0, 1]."""

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stylebench.checks import check_choice
from stylebench.functional.pixels import from_signed, to_signed
from stylebench.inference.base import Choice, Control
from stylebench.inference.translators.base import Guides, Translator
from stylebench.nn.bands import BAND_THRESHOLD_PX, run_network
from stylebench.nn.generators.unet import SeededDropout, as_trained
from stylebench.nn.labels import DomainLabels

DIRECTIONS = ("a_to_b", "b_to_a")
EVAL_MODES = ("train_stats_dropout", "train_stats", "eval")
_NOISE_SEED = Control(
    "noise_seed", 0, 2**31 - 1, 0, "which draw of the noise (dropout); others vary the results", whole=True
)


class UnpairedTranslator(Translator):
    """Two generators, one for each direction between two domains.

    Args:
        generator_ab: (B, 3, H, W) in [-1, 1] of domain a to the same of domain b.
        generator_ba: the way back.

    Attributes:
        band_threshold_px: pictures of more pixels are computed in bands, where the generator can; equal up to rounding.
    """

    controls = (Choice("direction", DIRECTIONS, "a_to_b", "which of the two domains pictures come from and go to"),)
    band_threshold_px: ClassVar[int] = BAND_THRESHOLD_PX

    def __init__(self, generator_ab: nn.Module, generator_ba: nn.Module) -> None:
        super().__init__()
        self.generator_ab, self.generator_ba = generator_ab, generator_ba

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return (B, 3, H, W) images of the other domain."""
        generator = self.generator_ab if controls["direction"] == "a_to_b" else self.generator_ba
        return from_signed(run_network(generator, to_signed(images), self.band_threshold_px))


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


class PairedTranslator(Translator):
    """A generator that learned from pairs, used as it was trained.

    Args:
        generator: (B, 3, H, W) in [-1, 1] to the same shape and range.
        eval_mode: how batch norm and dropout of a U-Net work: `train_stats_dropout` (the paper's: each image's own
            statistics, and dropout as noise, drawn by the control `noise_seed`, the same for every image),
            `train_stats` (without the noise) or `eval` (running averages of the statistics, no noise).

    Raises:
        ValueError: if the mode is none of these.

    Source: Isola et al. 2017, section 3.3 (inference).
    """

    def __init__(self, generator: nn.Module, eval_mode: str = "train_stats_dropout") -> None:
        super().__init__()
        check_choice("eval_mode", eval_mode, EVAL_MODES)
        self.generator, self.eval_mode = generator, eval_mode
        noisy = any(isinstance(layer, SeededDropout) for layer in generator.modules())
        self.controls = (_NOISE_SEED,) if noisy and eval_mode == "train_stats_dropout" else ()

    def forward(self, images: Tensor) -> Tensor:
        """Translate (B, 3, H, W) in [-1, 1], with its graph: for training, where it works as torch's layers do."""
        output: Tensor = self.generator(images)
        return output

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return (B, 3, H, W) images of the target's kind, each as if it were translated alone."""
        seed = int(controls["noise_seed"]) if "noise_seed" in controls else None
        with contextlib.nullcontext() if self.eval_mode == "eval" else as_trained(self.generator, seed):
            return from_signed(self(to_signed(images)))
