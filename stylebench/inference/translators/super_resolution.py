"""The translator of super-resolution: any image, in bands where it is large, with a histogram step.

Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016, section 4.2
and the supplement; the network is in `nn/generators/super_resolution.py`.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stylebench.functional.histogram_matching import match_histograms
from stylebench.inference.base import Choice
from stylebench.inference.translators.base import Guides, Translator
from stylebench.nn.bands import BAND_THRESHOLD_PX, run_network


class SuperResolutionTranslator(Translator):
    """A network that maps an image to one of `factor` times its height and width.

    Args:
        generator: (B, 3, H, W) RGB in [0, 1] to (B, 3, factor H, factor W); values outside [0, 1] are clamped. Its
            attribute `factor` says by how much.

    Attributes:
        band_threshold_px: results of more pixels are computed in bands, where the generator can; equal up to rounding.
    """

    band_threshold_px: ClassVar[int] = BAND_THRESHOLD_PX
    controls = (
        Choice(
            "match",
            ("histogram", "none"),
            "histogram",
            "histogram gives each color channel of the result the distribution of the input's (Johnson et al. 2016)",
        ),
    )

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator
        self.factor = int(generator.factor)  # type: ignore[arg-type]

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the enlarged picture."""
        return self.factor * height, self.factor * width

    def forward(self, images: Tensor) -> Tensor:
        """Return the generator's output, unclamped and with its graph: for training."""
        output: Tensor = self.generator(images)
        return output

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return the enlarged images; (B, 3, H, W) to (B, 3, factor H, factor W)."""
        output = run_network(self.generator, images, self.band_threshold_px / self.factor**2)
        if controls["match"] == "none":
            return output
        # One image after another: the sorted copies of big results fill the memory.
        pairs = zip(output.clamp(0.0, 1.0), images, strict=True)
        return torch.cat([match_histograms(large[None], small[None]) for large, small in pairs])
