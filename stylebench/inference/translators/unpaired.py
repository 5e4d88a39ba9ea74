"""The translator between two domains, there and back; its networks work in [-1, 1], it itself in [0, 1]."""

from typing import Any, ClassVar

from torch import Tensor, nn

from stylebench.functional.pixels import from_signed, to_signed
from stylebench.inference.base import Choice
from stylebench.inference.translators.base import Guides, Translator
from stylebench.nn.bands import BAND_THRESHOLD_PX, run_network

DIRECTIONS = ("a_to_b", "b_to_a")


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
