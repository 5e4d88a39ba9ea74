"""The translator of a feed-forward network: a picture to a picture of the same size."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stylebench.inference.base import Control
from stylebench.inference.translators.base import Guides, Translator
from stylebench.nn.bands import BAND_THRESHOLD_PX, run_network


class ImageToImage(Translator):
    """A network that maps an image to an image of the same size.

    Args:
        generator: (B, 3, H, W) RGB in [0, 1] to the same shape; values outside [0, 1] are clamped.

    Attributes:
        band_threshold_px: pictures of more pixels are computed in bands, where the generator can; equal up to rounding.
    """

    band_threshold_px: ClassVar[int] = BAND_THRESHOLD_PX
    controls = (Control("alpha", 0.0, 1.0, 1.0, "strength: pixel mix of content (0) and stylized image (1)"),)

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: Tensor) -> Tensor:
        """Return the generator's output, unclamped and with its graph: for training."""
        output: Tensor = self.generator(images)
        return output

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return the mix of the images and the generator's clamped output; (B, 3, H, W) to the same shape."""
        output = run_network(self.generator, images, self.band_threshold_px)
        return torch.lerp(images, output.clamp(0.0, 1.0), controls["alpha"])
