"""From uint8 rectangles to float images: resizing, mirroring and scaling, on whatever device the pixels are.

A training crop is "shrink the shorter side to `resize_px`, then cut `size_px` x `size_px`". Doing it in the other
order gives the same picture and touches far fewer pixels: the rectangle that will become the crop is copied out of the
store as it is, and only that is resized. Where a size is a height and a width, the image is shrunk until it just covers
`resize_px`. The two orders differ by the rounding of the rectangle to whole pixels (a
scale off by less than 1/side) and in the outermost row, where the antialiasing filter cannot see beyond the crop.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.checks import Size, check_size, sides, size_text
from stylebench.data.domain import Domain


class RawImages(NamedTuple):
    """Images on their way from the store to the device: plain tensors that a worker can send and Lightning can move.

    Attributes:
        pixels: (B, 3, h, w) uint8 RGB where all rectangles have one size, else a list of (3, h, w).
        flip: (B,) bool, which to mirror left to right.
    """

    pixels: Tensor | list[Tensor]
    flip: Tensor


@dataclass(frozen=True)
class CropSettings:
    """How training crops are cut.

    Args:
        size_px: side of the crop, or height and width.
        resize_px: the shorter side of the image that the crop is cut from, or the height and width that the image just
            covers; None for `size_px` (the largest possible crop).
        flip: mirror every second image, on average.

    Raises:
        ValueError: if a size is below 1 or the crop is larger than the resized image.
    """

    size_px: Size
    resize_px: Size | None
    flip: bool

    def __post_init__(self) -> None:
        check_size("dataset.size_px", self.size_px)
        if self.resize_px is None:
            return
        check_size("dataset.resize_px", self.resize_px)
        if any(side > room for side, room in zip(sides(self.size_px), sides(self.resize_px), strict=True)):
            raise ValueError(
                f"a crop of size_px={size_text(self.size_px)} does not fit into images resized to "
                f"resize_px={size_text(self.resize_px)}; raise dataset.resize_px, or set it to null for the largest "
                "possible crop"
            )

    def source_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the rectangle in a stored image that becomes the crop.

        Args:
            height: of the stored image.
            width: of the stored image.

        Returns:
            Sides in stored pixels, at least 1, none longer than the image's.
        """
        covered = sides(self.size_px if self.resize_px is None else self.resize_px)
        # The side that touches what is to be covered decides the scale.
        stored, resized = (height, covered[0]) if height * covered[1] <= width * covered[0] else (width, covered[1])
        wanted = [max(1, round(stored * side / resized)) for side in sides(self.size_px)]
        return min(wanted[0], height), min(wanted[1], width)


def finish_images(raw: RawImages, size_px: Size) -> Tensor:
    """Resize, mirror and scale a batch on the device it is on.

    Args:
        raw: the rectangles and flips.
        size_px: side of the results, or their height and width.

    Returns:
        (B, 3, H, W) float32 in [0, 1], contiguous.
    """
    height, width = sides(size_px)
    if isinstance(raw.pixels, Tensor):
        images = _resize(raw.pixels, height, width)
    else:
        images = torch.cat([_resize(pixels[None], height, width) for pixels in raw.pixels])
    return torch.where(raw.flip[:, None, None, None], images.flip(-1), images)


def whole_image(domain: Domain, index: int, shorter_side_px: int | None) -> Tensor:
    """Read one whole image, such as the style image of a method that trains one network for one style.

    Args:
        domain: where the image is.
        index: position in the domain.
        shorter_side_px: resize the shorter side to this length (antialiased), keeping the proportions; None keeps the
            stored size.

    Returns:
        (1, 3, H, W) float32 in [0, 1], contiguous.
    """
    pixels = torch.from_numpy(domain.image(index)).permute(2, 0, 1)[None]  # (1, 3, H, W)
    height, width = domain.shape(index)
    if shorter_side_px is not None:
        scale = shorter_side_px / min(height, width)
        height, width = (max(shorter_side_px, round(side * scale)) for side in (height, width))
    return _resize(pixels, height, width)


def _resize(pixels: Tensor, height: int, width: int) -> Tensor:
    """Resize uint8 (B, 3, h, w) to float32 (B, 3, height, width) in [0, 1], contiguous."""
    images = pixels.float()
    if images.shape[-2:] != (height, width):
        # Scaling to [0, 1] comes after: the result usually has fewer pixels.
        images = F.interpolate(images, size=(height, width), mode="bilinear", antialias=True)  # (B, 3, height, width)
    return (images / 255).clamp_(0, 1).contiguous()  # filter weights sum to 1 only up to rounding
