"""Read folders of pictures as squares of one size, for experiments on real images."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stylebench.data.images import IMAGE_SUFFIXES, decode_image

_MAX_PIXELS = 100_000_000


def central_square(image: Tensor, size_px: int) -> Tensor:
    """Cut the middle (C, size_px, size_px) out of (C, H, W).

    Raises:
        ValueError: if the image is smaller.
    """
    height, width = image.shape[1:]
    if min(height, width) < size_px:
        raise ValueError(f"expected an image of at least {size_px} px a side, got {height} x {width}; lower the size")
    top, left = (height - size_px) // 2, (width - size_px) // 2
    return image[:, top : top + size_px, left : left + size_px]


def sample_files(folder: Path, count: int, seed: int) -> list[Path]:
    """Return `count` image files under a folder (all, where there are fewer) in an order drawn by the seed.

    Raises:
        FileNotFoundError: if there is none.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"no images under {folder}; name a folder that holds some")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(files))
    return [files[place] for place in order[:count]]


def read_squares(files: list[Path], size_px: int) -> Tensor:
    """Return the central squares of images whose shorter side was shrunk (Lanczos) to a size, (N, 3, s, s) uint8."""
    images = (torch.from_numpy(decode_image(file, _MAX_PIXELS, size_px)).permute(2, 0, 1) for file in files)
    return torch.stack([central_square(image, size_px) for image in images])
