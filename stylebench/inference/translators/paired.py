"""The translator of a generator that learned from pairs; its network works in [-1, 1], it itself in [0, 1]."""

from typing import Any

import torch
from torch import Tensor, nn

from stylebench.checks import check_choice
from stylebench.functional.pixels import from_signed, to_signed
from stylebench.inference.base import Control
from stylebench.inference.translators.base import Guides, Translator
from stylebench.nn.domain_norms import SOURCE
from stylebench.nn.normalization import IMAGE
from stylebench.nn.seeded_dropout import SeededDropout, seeded_dropout

EVAL_MODES = ("train_stats_dropout", "train_stats", "eval")
_NOISE_SEED = Control(
    "noise_seed", 0, 2**31 - 1, 0, "which draw of the noise (dropout); others vary the results", whole=True
)


class PairedTranslator(Translator):
    """A generator that learned from pairs, used as it was trained.

    Args:
        generator: (B, 3, H, W) in [-1, 1] to the same shape and range.
        eval_mode: how batch norm and dropout of a U-Net work: `train_stats_dropout` (the paper's: each image's own
            statistics, and dropout as noise, drawn by the control `noise_seed`, the same for every image),
            `train_stats` (without the noise) or `eval` (running averages of the statistics, no noise). Where statistics
            of a domain are kept, the control `statistics` chooses them in place of these.

    Raises:
        ValueError: if the mode is none of these.

    Source: Isola et al. 2017, section 3.3 (inference).
    """

    def __init__(self, generator: nn.Module, eval_mode: str = "train_stats_dropout") -> None:
        super().__init__()
        check_choice("eval_mode", eval_mode, EVAL_MODES)
        self.generator, self.eval_mode = generator, eval_mode
        self.own_statistics = SOURCE if eval_mode == "eval" else IMAGE
        drops = any(isinstance(layer, SeededDropout) for layer in generator.modules())
        self.is_noisy = drops and eval_mode == "train_stats_dropout"
        self.controls = (_NOISE_SEED,) if self.is_noisy else ()

    def forward(self, images: Tensor) -> Tensor:
        """Translate (B, 3, H, W) in [-1, 1], with its graph: for training, where it works as torch's layers do."""
        output: Tensor = self.generator(images)
        return output

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return (B, 3, H, W) images of the target's kind, each as if it were translated alone."""
        seed = torch.tensor([int(controls["noise_seed"])], device=images.device) if self.is_noisy else None  # int64
        with seeded_dropout(self.generator, seed):
            return from_signed(self(to_signed(images)))
