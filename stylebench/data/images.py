"""Decode picture files of any common kind to upright 8-bit RGB, and refuse what is damaged or too large.

The file's first bytes decide the format, not its suffix, and only four decoders are ever reached: a PostScript
file renamed to `.png` runs nothing. Pixel limits are checked against the header before a pixel is decoded, without
touching Pillow's process-wide settings. Embedded color profiles are ignored, as in most training code.
"""

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from stylebench.files import atomic_write

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp")

_SIGNATURE_BYTES = 12
_ORIENTATION_TAG = 0x0112
# EXIF orientation -> the transposition that turns the stored pixels upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises on damaged metadata.
_METADATA_ERRORS = (SyntaxError, ValueError, TypeError, KeyError, OSError, EOFError, struct.error)


class ImageError(ValueError):
    """A file that cannot be used as an image.

    Attributes:
        path: the file.
        reason: what is wrong with it and what to do, without the path.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Size(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int


def decode_image(path: Path, max_pixels: int, shorter_side_px: int | None = None) -> NDArray[np.uint8]:
    """Decode a jpg, png, webp or bmp file to upright RGB.

    Gray becomes three equal channels; transparency is laid over white; 16-bit gray is scaled to 8 bits (65535 becomes
    255, nothing is clipped); EXIF rotation is applied.

    Args:
        path: the file.
        max_pixels: refuse images with more pixels than this.
        shorter_side_px: shrink the image (antialiased, Lanczos) so that its shorter side has this length, if it is
            longer. Large JPEGs are then decoded at a reduced scale, never below twice this length.

    Returns:
        (H, W, 3) uint8, contiguous and writable.

    Raises:
        OSError: if the file cannot be opened or read (FileNotFoundError, PermissionError).
        ImageError: if the file is empty, no image, damaged, truncated, or larger than `max_pixels`.
    """
    with _opened(path, max_pixels) as image:
        full = Size(image.height, image.width)
        target = full if shorter_side_px is None else stored_size(full, shorter_side_px)
        if target != full:
            image.draft(None, (2 * target.width, 2 * target.height))  # only JPEG knows how; elsewhere it does nothing
        pixels = _to_rgb(image)
        if target != full:
            pixels = pixels.resize((target.width, target.height), Image.Resampling.LANCZOS)
        upright = _UPRIGHT.get(_orientation(image))
        if upright is not None:
            pixels = pixels.transpose(upright)
        return np.array(pixels, dtype=np.uint8)


def decode_pair(path: Path, max_pixels: int, shorter_side_px: int) -> NDArray[np.uint8]:
    """Decode a file that holds two pictures of one size side by side, as `decode_image`, but shrink each on its own.

    No column of the result mixes the two, as the middle ones do where the whole is shrunk.

    Args:
        path: the file.
        max_pixels: refuse images with more pixels than this, both together.
        shorter_side_px: shrink each picture so that its shorter side has this length, if it is longer.

    Returns:
        (H, W, 3) uint8, both pictures side by side again. A file of an odd width is no pair; it comes as it is.

    Raises:
        OSError: if the file cannot be opened or read.
        ImageError: as `decode_image`.
    """
    pixels = decode_image(path, max_pixels)
    height, width = pixels.shape[:2]
    target = stored_pair_size(Size(height, width), shorter_side_px)
    if target == (height, width):
        return pixels
    sides = [Image.fromarray(side) for side in np.split(pixels, 2, axis=1)]
    shrunk = [side.resize((target.width // 2, target.height), Image.Resampling.LANCZOS) for side in sides]
    return np.concatenate([np.asarray(side) for side in shrunk], axis=1)


def read_size(path: Path, max_pixels: int) -> Size:
    """Read an image's size from its header, as stored: EXIF rotation may swap the sides.

    Args:
        path: the file.
        max_pixels: refuse images with more pixels than this.

    Returns:
        Height and width in pixels.

    Raises:
        OSError: if the file cannot be opened or read (FileNotFoundError, PermissionError).
        ImageError: if the header says that the file is not a usable image.
    """
    with _opened(path, max_pixels) as image:
        return Size(image.height, image.width)


def stored_size(size: Size, shorter_side_px: int) -> Size:
    """Return the size of an image once its shorter side is shrunk to `shorter_side_px`; never larger than `size`."""
    shorter = min(size)
    if shorter <= shorter_side_px:
        return size
    return Size(*(shorter_side_px if side == shorter else round(side * shorter_side_px / shorter) for side in size))


def stored_pair_size(size: Size, shorter_side_px: int) -> Size:
    """Return the size of two pictures side by side once each is shrunk as `stored_size` says; an odd width stays."""
    if size.width % 2:
        return size
    half = stored_size(Size(size.height, size.width // 2), shorter_side_px)
    return Size(half.height, 2 * half.width)


def write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write (H, W, 3) uint8 RGB as a PNG, atomically; its folder is created."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """Open a file with the decoder that its first bytes ask for; turn whatever goes wrong into `ImageError`."""
    try:
        with path.open("rb") as file, _decoder(file)(file) as image:
            if min(image.size) < 1:
                raise ImageError(path, f"has no pixels ({image.width} x {image.height}); replace or remove it")
            if image.width * image.height > max_pixels:
                raise ImageError(
                    path,
                    f"has {image.width} x {image.height} pixels, more than max_pixels={max_pixels}; shrink it, or "
                    "raise max_pixels if you trust it",
                )
            yield image
    except (ImageError, MemoryError):
        raise
    except _NotAnImageError as error:
        raise ImageError(path, str(error)) from None
    except Exception as error:  # on damaged bytes Pillow's decoders raise nearly any type, from SyntaxError to KeyError
        if isinstance(error, OSError) and error.errno is not None:  # the system's complaint, not the decoder's
            raise
        reason = str(error) or type(error).__name__
        raise ImageError(path, f"is truncated or damaged ({reason}); replace or remove it") from error


class _NotAnImageError(ValueError):
    """The first bytes of a file belong to no image format that is read here."""


def _decoder(file: IO[bytes]) -> Callable[[IO[bytes]], ImageFile.ImageFile]:
    head = file.read(_SIGNATURE_BYTES)
    file.seek(0)
    if head.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WebPImageFile
    if head.startswith(b"BM"):
        return BmpImageFile
    if not head:
        raise _NotAnImageError("is empty (0 bytes); replace or remove it")
    raise _NotAnImageError(f"is no JPEG, PNG, WebP or BMP image (it starts with {head!r}); replace or remove it")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 (upright) where there is none or where the metadata is damaged."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _METADATA_ERRORS:
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16L", "I;16B"):
        return _grey16_to_rgb(image)
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if not transparent:
        return image.convert("RGB")
    layers = image.convert("RGBA")
    white = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(white, layers).convert("RGB")


def _grey16_to_rgb(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 8 bits by rounding; Pillow's own conversion would clip everything above 255."""
    values = np.asarray(image).astype(np.uint32)
    gray = ((values * 255 + 32767) // 65535).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        gray[values == transparent] = 255
    return Image.fromarray(gray).convert("RGB")
