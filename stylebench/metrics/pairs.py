"""Metrics of an image and what it is compared with: pixels, structure and color. One value an image."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from stylebench.functional.color_histogram import hellinger, uv_histogram
from stylebench.functional.edges import sobel_magnitude
from stylebench.functional.pixels import CAP_DB, psnr, video_luma, without_border
from stylebench.metrics.batch import Views

AGAINST = ("target", "content", "style")
NEAREST = "nearest"  # variant of values that are taken to the nearest of several right answers
_WINDOW = 11  # side of SSIM's Gaussian window
_MS_SSIM_LEAST = _WINDOW * 2**4  # pixels a side that five scales need


class PairMetric(ABC):
    """A value for each image, from the image and one other picture.

    Args:
        against: what it is compared with: `target`, `content` or `style`. Of several targets the nearest counts.

    Attributes:
        stem: dashboard name; it tells what is compared with where that is not the usual.
        usual: what images are usually compared with.
        inputs: fields that a batch must hold.
        extractor: the extractor whose maps are compared, by its name in the config; None for pixels.
        larger_is_better: direction.
        smallest_px: shorter side that images need.

    Raises:
        ValueError: for anything else to compare with.
    """

    stem: str
    usual: ClassVar[str] = "target"
    larger_is_better: ClassVar[bool] = False
    smallest_px: int = 1
    allowed: ClassVar[tuple[str, ...]] = AGAINST

    def __init__(self, against: str, extractor: str | None = None) -> None:
        if against not in self.allowed:
            raise ValueError(
                f"{type(self).__name__} compares with {' or '.join(self.allowed)}, got against={against!r}"
            )
        self.against = against
        self.extractor = extractor
        if against != self.usual:
            self.stem = f"{self.stem}_{against}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Fields of a batch that must not be None."""
        return (self.against,)

    @property
    def layers(self) -> tuple[str, ...] | None:
        """Taps of the extractor that are compared; None for all, or where there is no extractor."""
        return None

    @property
    def tag(self) -> str:
        """What of the settings belongs to the record key: values under one key were measured alike; "" for nothing."""
        return ""

    @abstractmethod
    def rows(self, views: Views) -> dict[str, Tensor]:
        """Return (B,) float64 values by variant; the main one under "" or `NEAREST`."""

    def describe(self) -> dict[str, Any]:
        """Return what a record says of the metric, as plain values."""
        return {"against": self.against, "larger_is_better": self.larger_is_better}


class PixelMetric(PairMetric):
    """A pair metric on the pixels of two pictures of one size."""

    allowed = ("target", "content")

    def rows(self, views: Views) -> dict[str, Tensor]:
        """Return the values, to the nearest of several targets."""
        image = views.batch.image
        others = views.others(self.against)  # (B, K, 3, H, W)
        if others.shape[-2:] != image.shape[-2:]:
            raise ValueError(
                f"{self.stem} compares pictures of one size, got images of {tuple(image.shape[-2:])} and "
                f"{self.against}s of {tuple(others.shape[-2:])} (height, width); resize one of them first"
            )
        values = torch.stack([self.compare(image, others[:, k]).double() for k in range(others.shape[1])])  # (K, B)
        best = values.amax(0) if self.larger_is_better else values.amin(0)
        return {nearest_of(others.shape[1]): best}

    @abstractmethod
    def compare(self, images: Tensor, others: Tensor) -> Tensor:
        """Return (B,) values of (B, 3, H, W) uint8 images and pictures of the same size."""


class PSNR(PixelMetric):
    """Peak signal-to-noise ratio of each image, in dB; equal images count 100 dB."""

    stem, larger_is_better = "psnr", True

    def __init__(self, against: str = "target") -> None:
        super().__init__(against)

    def compare(self, images: Tensor, others: Tensor) -> Tensor:
        """Return decibels."""
        return psnr(images, others)

    def describe(self) -> dict[str, Any]:
        """Name the cap."""
        return {**super().describe(), "cap_db": CAP_DB}


class PSNRY(PixelMetric):
    """PSNR of BT.601 video luma without a border, as super-resolution papers give it.

    Args:
        scale_px: border that is cut off, the upscaling factor by convention.
        against: see `PairMetric`.
    """

    stem, larger_is_better = "psnr_y", True

    def __init__(self, scale_px: int, against: str = "target") -> None:
        super().__init__(against)
        self.scale_px = scale_px
        self.smallest_px = 2 * scale_px + 1

    @property
    def tag(self) -> str:
        """The border."""
        return f"border{self.scale_px}"

    def compare(self, images: Tensor, others: Tensor) -> Tensor:
        """Return decibels."""
        first, second = (without_border(video_luma(x), self.scale_px) for x in (images, others))
        return psnr(first, second)

    def describe(self) -> dict[str, Any]:
        """Name the border."""
        return {**super().describe(), "border_px": self.scale_px}


class SSIM(PixelMetric):
    """Structural similarity, 11 x 11 Gaussian window of sigma 1.5.

    Args:
        valid: only where the window lies inside the image, as MATLAB's and super-resolution papers' do.
        luma: on BT.601 video luma instead of RGB.
        against: see `PairMetric`.
        border_px: cut off on each side first; super-resolution papers take the upscaling factor.
    """

    larger_is_better = True

    def __init__(self, valid: bool = True, luma: bool = False, against: str = "target", border_px: int = 0) -> None:
        self.stem = "ssim" + ("_y" if luma else "") + ("" if valid else "_mirrored")
        super().__init__(against)
        self.valid, self.luma, self.border_px = valid, luma, border_px
        self.smallest_px = _WINDOW + 2 * border_px

    @property
    def tag(self) -> str:
        """The border, where there is one."""
        return f"border{self.border_px}" if self.border_px else ""

    def compare(self, images: Tensor, others: Tensor) -> Tensor:
        """Return similarities in [-1, 1]."""
        first, second = (without_border(x, self.border_px) for x in (images, others))
        first, second = ((video_luma(x) if self.luma else x.double()) / 255 for x in (first, second))
        return ssim_of(first, second, self.valid)

    def describe(self) -> dict[str, Any]:
        """Name the region."""
        border = {"border_px": self.border_px} if self.border_px else {}
        return {**super().describe(), "region": "valid" if self.valid else "mirrored", "data_range": 1.0, **border}


class MSSSIM(PixelMetric):
    """Structural similarity over five scales."""

    stem, larger_is_better, smallest_px = "ms_ssim", True, _MS_SSIM_LEAST

    def __init__(self, against: str = "target") -> None:
        super().__init__(against)

    def compare(self, images: Tensor, others: Tensor) -> Tensor:
        """Return similarities in [0, 1]."""
        return multiscale_structural_similarity_index_measure(
            images.double() / 255, others.double() / 255, data_range=1.0, reduction="none", normalize="relu"
        )


class EdgeSSIM(PixelMetric):
    """Structural similarity of luma edges: whether outlines stay, whatever the colors."""

    stem, usual, larger_is_better, smallest_px = "edge_ssim", "content", True, _WINDOW

    def __init__(self, against: str = "content") -> None:
        super().__init__(against)

    def compare(self, images: Tensor, others: Tensor) -> Tensor:
        """Return similarities in [-1, 1]."""
        return ssim_of(sobel_magnitude(images.float() / 255), sobel_magnitude(others.float() / 255), True)


class RGBUV(PairMetric):
    """Hellinger distance of log-chroma histograms: whether the colors are those of the style, wherever they are."""

    stem, usual = "color", "style"

    def __init__(self, against: str = "style") -> None:
        super().__init__(against)

    def rows(self, views: Views) -> dict[str, Tensor]:
        """Return distances in [0, 1], to the nearest of several targets."""
        ours = uv_histogram(views.batch.image.float() / 255)
        return nearest(views, self.against, lambda others: hellinger(ours, uv_histogram(others.float() / 255)))


def nearest(views: Views, against: str, distance: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Return a distance to a role's pictures, the smallest where there are several right answers.

    Args:
        views: of the batch.
        against: the role.
        distance: takes (B or 1, 3, h, w) uint8 pictures, returns (B,).
    """
    others = views.others(against)  # (B, K, 3, h, w)
    values = torch.stack([distance(others[:, k]).double() for k in range(others.shape[1])])
    return {nearest_of(others.shape[1]): values.amin(0)}


def nearest_of(count: int) -> str:
    """Return the variant of a value that is taken to the nearest of `count` right answers, "" for one."""
    return f"{NEAREST}{count}" if count > 1 else ""


def is_main(variant: str) -> bool:
    """Tell whether a variant is a metric's main value, not a part of it."""
    return not variant or variant.startswith(NEAREST)


def ssim_of(first: Tensor, second: Tensor, valid: bool) -> Tensor:
    """Return SSIM of (B, C, H, W) float pictures in [0, 1], (B,)."""
    if not valid:
        mirrored: Tensor = structural_similarity_index_measure(first, second, data_range=1.0, reduction="none")  # type: ignore[assignment]
        return mirrored
    _, full = structural_similarity_index_measure(
        first, second, data_range=1.0, reduction="none", return_full_image=True
    )
    return without_border(full, _WINDOW // 2).flatten(1).mean(1)
