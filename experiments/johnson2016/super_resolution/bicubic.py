"""Measure bicubic enlargement, the baseline of super-resolution, in the variants that published rows may mean.

    python experiments/johnson2016/super_resolution/bicubic.py --photos Set5/ [--factors 4,8]

Each picture is cut to a multiple of the factor, shrunk and enlarged again. Prints PSNR and SSIM of luma, means over the
pictures, by

- channels: RGB through the whole path, or the luma alone, rounded to 8 bits, as SRCNN's programs do;
- low resolution: rounded to the 256 levels of a file, or not;
- blur: sigma in pixels of the Gaussian before shrinking, 0 for none;
- border cut off before comparing: as many pixels as the factor, or none.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from stylebench.data.images import decode_image
from stylebench.data.listing import list_pictures
from stylebench.functional.bicubic import blur, crop_to_multiple, enlarge, shrink
from stylebench.functional.pixels import psnr, quantize, video_luma, without_border
from stylebench.metrics.pairs import ssim_of

MAX_PIXELS = 100_000_000
VARIANTS = (   # channels, low resolution rounded to 8 bits, sigma of the blur, border of the factor's size
    ("luma", False, 0.0, True), ("luma", True, 0.0, True), ("luma", False, 0.0, False), ("luma", False, 1.0, True),
    ("rgb", True, 0.0, True), ("rgb", False, 0.0, True), ("rgb", True, 0.0, False), ("rgb", True, 1.0, True),
)  # fmt: skip


def main() -> None:
    """Print a table for each factor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--factors", default="4,8")
    options = parser.parse_args()
    pictures = [read_picture(path) for path in list_pictures(options.photos).pictures.values()]
    for factor in map(int, options.factors.split(",")):
        print(f"{options.photos.name}, {len(pictures)} pictures, x{factor}")  # noqa: T201
        print("| channels | low resolution | blur | border | PSNR-Y | SSIM-Y |\n|---|---|---|---|---|---|")  # noqa: T201
        for channels, rounded, sigma, bordered in VARIANTS:
            border = factor if bordered else 0
            scores = baseline(pictures, factor, channels, rounded, sigma, border)
            low = "8 bits" if rounded else "float"
            print(f"| {channels} | {low} | {sigma:g} | {border} | {scores[0]:.2f} | {scores[1]:.4f} |")  # noqa: T201


def read_picture(path: Path) -> Tensor:
    """Read a picture as (1, 3, H, W) uint8."""
    return torch.from_numpy(decode_image(path, MAX_PIXELS)).permute(2, 0, 1)[None]


def baseline(
    pictures: list[Tensor], factor: int, channels: str, rounded: bool, sigma_px: float, border_px: int
) -> tuple[float, float]:
    """Return mean PSNR and SSIM of luma after shrinking and enlarging.

    Args:
        pictures: (1, 3, H, W) uint8 each.
        factor: of both.
        channels: `rgb`, or `luma` for the Y of video range alone.
        rounded: round the small picture to 256 levels.
        sigma_px: of the Gaussian before shrinking, 0 for none.
        border_px: cut off before comparing.
    """
    scores = []
    for picture in pictures:
        whole = crop_to_multiple(picture, factor)
        image = whole.double() / 255 if channels == "rgb" else video_luma(whole).round() / 255
        small = shrink(blur(image, sigma_px), factor)
        again = quantize(enlarge(quantize(small).double() / 255 if rounded else small, factor))
        first, second = (again, whole) if channels == "rgb" else (again.double(), image * 255)
        scores.append(luma_scores(first, second, border_px))
    psnrs, ssims = (sum(values) / len(values) for values in zip(*scores, strict=True))
    return psnrs, ssims


def luma_scores(first: Tensor, second: Tensor, border_px: int) -> tuple[float, float]:
    """Return PSNR and SSIM (valid windows) of luma of (1, 3, H, W) uint8 pictures, or of (1, 1, H, W) lumas 0..255."""
    first, second = (without_border(video_luma(x) if x.shape[1] == 3 else x, border_px) for x in (first, second))
    return float(psnr(first, second)), float(ssim_of(first / 255, second / 255, True))


if __name__ == "__main__":
    main()
