"""Embedded color profiles: what a file means by its numbers, turned into sRGB, as a viewer shows it."""

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

BROKEN_PROFILE = "its color profile cannot be used and was ignored"
GRAY_MODES = ("1", "L", "LA", "La")

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_NEAR = 2  # levels: a profile that moves no color further is sRGB in another writing, and changes nothing
_STEPS = 17  # colors a channel at which that is tried
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # color space of a profile -> mode of Pillow


class _Conversion(NamedTuple):
    """How to read the colors of a profile.

    Attributes:
        mode: of the images that it belongs to.
        transform: to sRGB; None if the profile is sRGB.
    """

    mode: str
    transform: ImageCms.ImageCmsTransform | None


def to_srgb(image: Image.Image, rgb: Image.Image) -> tuple[Image.Image, str]:
    """Return the colors of an image as sRGB.

    Args:
        image: as it was opened.
        rgb: its colors as plain RGB, without a profile.

    Returns:
        `rgb`, or what the image's profile makes of it; and a note where there is a profile that cannot be used.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return rgb, ""
    conversion = _conversion(profile)
    if conversion is None or not _suits(conversion.mode, image.mode):
        return rgb, BROKEN_PROFILE
    if conversion.transform is None:
        return rgb, ""
    colors = rgb if conversion.mode == "RGB" else image if image.mode == "CMYK" else rgb.getchannel(0)
    converted = ImageCms.applyTransform(colors, conversion.transform)
    return (rgb, BROKEN_PROFILE) if converted is None else (converted, "")


def is_converted(image: Image.Image) -> bool:
    """Tell whether `to_srgb` changes the colors of an image; its pixels are not read."""
    profile = image.info.get("icc_profile")
    conversion = _conversion(profile) if profile else None
    return conversion is not None and conversion.transform is not None and _suits(conversion.mode, image.mode)


def _suits(profile_mode: str, mode: str) -> bool:
    """Tell whether a profile says something of an image: one of RGB also of gray, which is RGB with equal channels."""
    if profile_mode == "L":
        return mode in GRAY_MODES or mode.startswith("I")
    return (mode == "CMYK") == (profile_mode == "CMYK")


@lru_cache(maxsize=64)
def _conversion(profile: bytes) -> _Conversion | None:
    """Return what a profile does; None if it cannot be read, or is of another color space."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _SPACES[opened.profile.xcolor_space.strip()]
        # Without a cache of the last color a transform may be used by several threads.
        transform = ImageCms.buildTransform(opened, _SRGB, mode, "RGB", flags=ImageCms.Flags.NOCACHE)
    except (ImageCms.PyCMSError, OSError, KeyError, TypeError, ValueError):  # whatever damaged bytes lead to
        return None
    return _Conversion(mode, None if mode == "RGB" and _changes_nothing(transform) else transform)


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Tell whether a transform leaves the colors of a regular lattice where they are, up to rounding."""
    levels = np.linspace(0, 255, _STEPS).round()
    lattice = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).astype(np.uint8)  # (S, S, S, 3)
    lattice = lattice.reshape(_STEPS, -1, 3)
    found = ImageCms.applyTransform(Image.fromarray(lattice), transform)
    return found is not None and int(np.abs(np.asarray(found).astype(int) - lattice).max()) <= _NEAR
