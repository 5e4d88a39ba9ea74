"""What turns images into features: one network, one resize protocol, one name for records."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class Extractor(nn.Module):
    """A frozen network from uint8 images to feature vectors, and to feature maps where it has any.

    It stays outside every method, checkpoint and optimizer: an evaluator holds it as a plain attribute.

    Attributes:
        name: for records: the network with what decides its features, such as `compact_judge-fe4de1a2` or `rand-ms-s3`.
        alias: for dashboards: short and stable, snake_case, such as `compact_judge` or `rand_ms`.
        digest: SHA-256 of the weights; of a description of them where they follow from a seed or a formula.
        origin: where the features come from: `random`, `procedural`, `natural` images, or `none`.
        canonical: the reserved words that these weights earn, such as ("fid", "kid"); empty for most.
        resize: the resize protocol, a key of `metrics.resizing.PROTOCOLS`, or `none` for the images' own size.
        size_px: side to which images are resized, None where they are not.
        width: d, the number of features.
        parts: how many equal parts of the features are measured apart, their distances averaged; 1 for most.
        taps: names of the feature maps; empty where there are only vectors.
    """

    name: str
    alias: str
    digest: str
    origin: str
    canonical: tuple[str, ...] = ()
    resize: str = "none"
    size_px: int | None = None
    width: int
    parts: int = 1
    taps: tuple[str, ...] = ()
    dtype: ClassVar[str] = "float32"

    def forward(self, images: Tensor) -> Tensor:
        """Turn images into features.

        Args:
            images: (B, 3, H, W) RGB, uint8, or float32 in [0, 1] where gradients are wanted.

        Returns:
            (B, width) float32.
        """
        raise NotImplementedError

    def maps(self, images: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Turn images into feature maps.

        Args:
            images: (B, 3, H, W) RGB, uint8, or float32 in [0, 1] where gradients are wanted.
            layers: taps to stop at; None for all.

        Returns:
            (B, C, h, w) float32 by tap.

        Raises:
            ValueError: if the extractor has no maps, or no such one.
        """
        raise ValueError(f"{self.name} has no feature maps; choose an extractor that has, such as compact_judge")

    def pool(self, maps: dict[str, Tensor]) -> Tensor:
        """Turn feature maps into the features that `forward` gives, (B, width) float32."""
        raise ValueError(f"{self.name} has no feature maps; choose an extractor that has, such as compact_judge")

    def describe(self) -> dict[str, Any]:
        """Return what a record says about the extractor, as plain values."""
        return {
            "name": self.name, "alias": self.alias, "digest": self.digest, "origin": self.origin, "width": self.width,
            "resize": self.resize, "size_px": self.size_px, "dtype": self.dtype, "taps": list(self.taps),
        }  # fmt: skip

    def train(self, mode: bool = True) -> "Extractor":
        """Stay in evaluation mode, whatever a parent asks for."""
        return super().train(False)


_ROUNDING = 1e-3  # beyond [0, 1]


def unit_range(images: Tensor) -> Tensor:
    """Check what an extractor is given, and return it as float32 in [0, 1].

    Args:
        images: (B, 3, H, W) RGB, uint8, or float32 in [0, 1].

    Returns:
        (B, 3, H, W) float32 in [0, 1].

    Raises:
        TypeError: on another type.
        ValueError: on another shape.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ValueError(f"extractors expect (B, 3, H, W) images with B >= 1, got shape {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return images.float() / 255
    if images.dtype != torch.float32:
        raise TypeError(f"extractors expect uint8 images, or float32 ones in [0, 1], got {images.dtype}")
    low, high = (float(bound) for bound in images.detach().aminmax())
    if not -_ROUNDING <= low <= high <= 1 + _ROUNDING:
        raise ValueError(f"extractors expect images in [0, 1], found values from {low:g} to {high:g}; scale them first")
    return images
