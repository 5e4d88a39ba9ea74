"""`pix-pca`: principal components of small pictures. Closed form, no network; a baseline that everything must beat."""

from typing import Any

import torch
from torch import Tensor

from stylebench.files import json_digest
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.metrics.extractors.base import Extractor
from stylebench.metrics.extractors.levels import resized_levels
from stylebench.nn.encoders.normalization import calibration_name

BUILT_IN = {"count": 24, "size_px": 128, "seed": 1}  # arguments of `dead_leaves`; 16 tiles of each picture are taken
_SIDE_PX = 32
_COMPONENTS = 256
_LEAST_SHARE = 1e-6  # a component with a smaller part of the largest one's spread is rounding noise


class PixelPCA(Extractor):
    """The first 256 principal components of 32 x 32 pictures, shrunk with antialiasing (`tm19`).

    Fewer pictures span fewer components: N of them give N - 1 at most, and `width` says how many there are.

    Args:
        pictures: (N, 3, H, W) uint8 to fit on; None for tiles of dead leaves, the same on every machine.

    Attributes:
        fitted_on: a name of the pictures that tells different ones apart.

    Raises:
        ValueError: if the pictures are of another type or shape, or all alike.

    Source: Pearson 1901; the sign of a component makes its largest entry positive.
    """

    alias, origin = "pix_pca", "none"
    resize, size_px = "tm19", _SIDE_PX
    mean: Tensor
    components: Tensor

    def __init__(self, pictures: Tensor | None = None) -> None:
        super().__init__()
        sample = _tiles(dead_leaves(**BUILT_IN)) if pictures is None else pictures
        self.fitted_on = calibration_name(sample)
        rows = _rows(sample).double()  # (N, 3072)
        mean = rows.mean(0)  # (3072,)
        _, spread, axes = torch.linalg.svd(rows - mean, full_matrices=False)
        found = int((spread > _LEAST_SHARE * spread[0]).sum())
        if found == 0 or float(spread[0]) < _LEAST_SHARE:
            raise ValueError(f"pix-pca expects pictures that differ, got {len(sample)} that are alike; use others")
        components = axes[: min(found, _COMPONENTS)]  # (d, 3072)
        largest = components.gather(1, components.abs().argmax(1, keepdim=True))  # (d, 1)
        self.width = len(components)
        self.register_buffer("mean", mean.float())
        self.register_buffer("components", (components * largest.sign()).float())
        # The last bits of a component depend on the machine, so that the pictures and the formula are hashed instead.
        self.digest = json_digest({"pictures": self.fitted_on, "side_px": _SIDE_PX, "components": self.width})
        self.name = "pix-pca" if pictures is None else f"pix-pca-{self.digest[:8]}"
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, width) float32 features; see `Extractor`."""
        return (_rows(images) - self.mean) @ self.components.mT  # (B, d)

    def describe(self) -> dict[str, Any]:
        """Return what a record says about the extractor, with the pictures it was fitted on."""
        return {**super().describe(), "fitted_on": self.fitted_on}


def _rows(images: Tensor) -> Tensor:
    return (resized_levels(images, PixelPCA.resize, _SIDE_PX) / 255).flatten(1)  # (B, 3072)


def _tiles(pictures: Tensor) -> Tensor:
    cut = pictures.unfold(2, _SIDE_PX, _SIDE_PX).unfold(3, _SIDE_PX, _SIDE_PX)  # (N, 3, rows, columns, 32, 32)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)  # (N * rows * columns, 3, 32, 32)
