"""Decode picture files of any common kind to upright 8-bit RGB, and refuse what is damaged or too large.

The file's first bytes decide the format, not its suffix, and only five decoders are ever reached: a PostScript
file renamed to `.png` runs nothing. Pixel limits are checked against the header before a pixel is decoded, without
touching Pillow's process-wide settings. Colors come as a viewer shows them: embedded profiles are turned into sRGB.
"""

import io
import struct
import sys
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
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from stylebench.data.color_profiles import is_converted, to_srgb
from stylebench.files import atomic_write

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")
# Notes on pictures that were read: what a user may not expect.
OVER_WHITE = "its transparency was laid over white"
DARK_16_BIT = (
    "most of the range of its 16 bits is unused, so it is read as dark; stretch its values if they are of fewer bits"
)

_SIGNATURE_BYTES = 12
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # + for files beyond 4 GB
_ORIENTATION_TAG = 0x0112
_HALF_16_BIT, _HALF_8_BIT = 32768, 128
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
_UNUSABLE = {"F": "floating-point numbers", "LAB": "colors of CIELAB"}  # mode -> what that is
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


class DecodedPicture(NamedTuple):
    """A picture as it was read.

    Attributes:
        pixels: (H, W, 3) uint8, contiguous and writable; what is transparent is laid over white.
        alpha: (H, W) uint8, 0 where it is transparent; None if it is nowhere.
        notes: what a user may not expect, a line each.
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    notes: tuple[str, ...]


def read_picture(path: Path, max_pixels: int, shorter_side_px: int | None = None) -> DecodedPicture:
    """Decode a jpg, png, webp, bmp or tiff file to upright sRGB.

    Gray becomes three equal channels; transparency is laid over white; 16-bit gray is scaled to 8 bits (65535 becomes
    255, nothing is clipped), of 16-bit colors the high byte counts; EXIF rotation is applied; an embedded color profile
    is converted to sRGB, where it is another. Of a file with several pictures the first is read.

    Args:
        path: the file.
        max_pixels: refuse images with more pixels than this.
        shorter_side_px: shrink the image (antialiased, Lanczos) so that its shorter side has this length, if it is
            longer. Large JPEGs are then decoded at a reduced scale, never below twice this length.

    Returns:
        Its pixels, its transparency, and notes.

    Raises:
        OSError: if the file cannot be opened or read (FileNotFoundError, PermissionError).
        ImageError: if the file is empty, no image, damaged, truncated, or larger than `max_pixels`.
    """
    with _opened(path, max_pixels) as image:
        full = Size(image.height, image.width)
        target = full if shorter_side_px is None else stored_size(full, shorter_side_px)
        if target != full:
            image.draft(None, (2 * target.width, 2 * target.height))  # only JPEG knows how; elsewhere it does nothing
        decoded, alpha, notes = _to_rgb(image)
        upright = _UPRIGHT.get(_orientation(image))

        def finished(layer: Image.Image) -> NDArray[np.uint8]:
            if target != full:
                layer = layer.resize((target.width, target.height), Image.Resampling.LANCZOS)
            return np.array(layer if upright is None else layer.transpose(upright), dtype=np.uint8)

        return DecodedPicture(finished(decoded), None if alpha is None else finished(alpha), notes)


def decode_image(
    path: Path, max_pixels: int, shorter_side_px: int | None = None, notes: list[str] | None = None
) -> NDArray[np.uint8]:
    """Read the pixels of a picture, for who has no use for its transparency; see `read_picture`.

    Args:
        path: the file.
        max_pixels: refuse images with more pixels than this.
        shorter_side_px: shrink the image so that its shorter side has this length, if it is longer.
        notes: a list that notes on the picture are added to.

    Returns:
        (H, W, 3) uint8, contiguous and writable.

    Raises:
        OSError: if the file cannot be opened or read.
        ImageError: if it is no usable image.
    """
    picture = read_picture(path, max_pixels, shorter_side_px)
    if notes is not None:
        notes += [*picture.notes, *([] if picture.alpha is None else [OVER_WHITE])]
    return picture.pixels


def decode_pair(path: Path, max_pixels: int, shorter_side_px: int, notes: list[str] | None = None) -> NDArray[np.uint8]:
    """Decode a file that holds two pictures of one size side by side, as `decode_image`, but shrink each on its own.

    No column of the result mixes the two, as the middle ones do where the whole is shrunk.

    Args:
        path: the file.
        max_pixels: refuse images with more pixels than this, both together.
        shorter_side_px: shrink each picture so that its shorter side has this length, if it is longer.
        notes: a list that notes on the file are added to.

    Returns:
        (H, W, 3) uint8, both pictures side by side again. A file of an odd width is no pair; it comes as it is.

    Raises:
        OSError: if the file cannot be opened or read.
        ImageError: as `decode_image`.
    """
    pixels = decode_image(path, max_pixels, notes=notes)
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


def has_converted_colors(path: Path) -> bool:
    """Tell whether a file's colors are turned into sRGB when it is read; False for what is no usable image."""
    try:
        with _opened(path, sys.maxsize) as image:
            return is_converted(image)
    except (ImageError, OSError):  # reading it says what is wrong
        return False


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
    if head.startswith(_TIFF):
        return TiffImageFile
    if not head:
        raise _NotAnImageError("is empty (0 bytes); replace or remove it")
    raise _NotAnImageError(f"is no JPEG, PNG, WebP, BMP or TIFF image (it starts with {head!r}); replace or remove it")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 (upright) where there is none or where the metadata is damaged."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _METADATA_ERRORS:
        return 1


def _to_rgb(image: ImageFile.ImageFile) -> tuple[Image.Image, Image.Image | None, tuple[str, ...]]:
    """Return an image as RGB over white, its alpha where something is transparent, and notes on it."""
    if image.mode in _UNUSABLE:
        raise _NotAnImageError(f"holds {_UNUSABLE[image.mode]}; save it as RGB with 8 or 16 bits a channel")
    deep = any(";16" in str(tile.args) for tile in image.tile)  # known only until the pixels are read
    if image.mode in ("I", "I;16", "I;16L", "I;16B"):
        plain, alpha, dark = _gray16(image)
    else:
        transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
        layers = image.convert("RGBA") if transparent else image
        alpha = layers.getchannel("A") if transparent else None
        plain = layers.convert("RGB")
        dark = deep and int(np.asarray(plain).max()) < _HALF_8_BIT
    colors, note = to_srgb(image, plain)
    if alpha is not None and alpha.getextrema() == (255, 255):
        alpha = None
    notes = tuple(filter(None, (note, DARK_16_BIT if dark else "")))
    if alpha is None:
        return colors, None, notes
    layers = colors.copy()
    layers.putalpha(alpha)
    white = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(white, layers).convert("RGB"), alpha, notes


def _gray16(image: Image.Image) -> tuple[Image.Image, Image.Image | None, bool]:
    """Scale 16-bit gray to 8 bits by rounding; Pillow's own conversion would clip everything above 255.

    Returns:
        It as RGB, its alpha, and whether most of the range is unused.
    """
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise _NotAnImageError("holds whole numbers beyond 16 bits; save it as RGB with 8 or 16 bits a channel")
    gray = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    transparent = image.info.get("transparency")
    alpha = None
    if isinstance(transparent, int):
        alpha = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
    return gray, alpha, int(values.max()) < _HALF_16_BIT
