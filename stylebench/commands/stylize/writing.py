"""Write pictures to files: formats by suffix, whole or not at all."""

import io
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stylebench.files import atomic_write
from stylebench.functional.pixels import quantize

JPEG_OPTIONS = {"quality": 95, "subsampling": 0}
# file suffix -> Pillow's name of the format and its options
WRITERS: dict[str, tuple[str, dict[str, int]]] = {
    ".png": ("PNG", {"compress_level": 4}),
    ".jpg": ("JPEG", JPEG_OPTIONS),
    ".jpeg": ("JPEG", JPEG_OPTIONS),
    ".jpe": ("JPEG", JPEG_OPTIONS),
    ".jfif": ("JPEG", JPEG_OPTIONS),
    ".webp": ("WEBP", {"quality": 95}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
}
ANIMATED = (".webp",)  # formats that hold animations
_WEBP_PX = 16_383  # longest side of a WebP
WITH_ALPHA = (".png", ".webp")  # formats in which transparency is kept


def check_writable(folders: Iterable[Path]) -> None:
    """Create folders and prove that a file can be written in each.

    Raises:
        RuntimeError: naming the folder and the reason.
    """
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise RuntimeError(f"cannot write into {folder}: {error.strerror}; name another output") from error


def to_pixels(image: torch.Tensor) -> NDArray[np.uint8]:
    """Map (3, H, W) in [0, 1] to (H, W, 3) uint8; see `quantize`."""
    return np.ascontiguousarray(quantize(image).permute(1, 2, 0).cpu().numpy())


def write_picture(path: Path, pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> None:
    """Write a picture to a file, atomically, in the format of its suffix.

    Args:
        path: the file.
        pixels: (H, W, 3) uint8.
        alpha: (H, W) uint8, 0 where it is transparent, for one of the formats `WITH_ALPHA`.
    """
    kind, options = WRITERS[path.suffix.lower()]
    if kind == "WEBP" and max(pixels.shape[:2]) > _WEBP_PX:
        raise ValueError(
            f"{path} would be {pixels.shape[1]} x {pixels.shape[0]} px, and WebP holds {_WEBP_PX} a side; name a PNG"
        )
    encoded = io.BytesIO()
    layers = pixels if alpha is None else np.dstack([pixels, alpha])  # (H, W, 3 or 4)
    Image.fromarray(layers).save(encoded, format=kind, **options)
    with atomic_write(path) as file:
        file.write(encoded.getbuffer())


def write_animation(path: Path, frames: Sequence[NDArray[np.uint8]], frame_ms: int) -> None:
    """Write an animation that begins again at its end, atomically.

    Args:
        path: the file, of one of the formats `ANIMATED`.
        frames: (H, W, 3) uint8 each.
        frame_ms: how long each is shown, in milliseconds.
    """
    kind, options = WRITERS[path.suffix.lower()]
    first, *others = map(Image.fromarray, frames)
    encoded = io.BytesIO()
    first.save(encoded, format=kind, save_all=True, append_images=others, duration=frame_ms, loop=0, **options)
    with atomic_write(path) as file:
        file.write(encoded.getbuffer())
