"""Pictures that steer `stylize`: styles, their weights and their regions, read from files."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stylebench.checks import read_paths
from stylebench.data.images import decode_image
from stylebench.functional.geometry import resized
from stylebench.inference.base import Picture
from stylebench.inference.translators.base import Translator
from stylebench.inference.translators.style import StyleTranslator

_log = logging.getLogger(__name__)
_INSIDE = 0.5  # a mask's pixel is inside from this lightness on


@dataclass(frozen=True)
class GuidePictures:
    """What is given beside the pictures that are stylized; the same for all of them.

    Attributes:
        styles: pictures (3, h, w) in [0, 1], or what a translator made of them.
        weights: a share of each style, None for equal ones.
        masks: (K, H, W) of 0 and 1, None for everywhere.
        files: that they were read from.
        others: pictures of other inputs, and their weights, by the keywords of `translate`.
    """

    styles: Sequence[Any] = ()
    weights: Sequence[float] | None = None
    masks: Tensor | None = None
    files: Sequence[Path] = field(default_factory=tuple)
    others: Mapping[str, Any] = field(default_factory=dict)

    def check_target(self, target: Path) -> None:
        """Raise ValueError if an output would replace one of these pictures."""
        if target.exists() and target.resolve() in [path.resolve() for path in self.files]:
            raise ValueError(f"the output {target} is one of the pictures that steer it; name another output")

    def arguments(self, size: Sequence[int]) -> dict[str, Any]:
        """Return the keywords of `translate` for a picture of a size (height, width); masks shrink with it.

        Raises:
            ValueError: if masks have another shape than the picture.
        """
        if not self.styles:
            return dict(self.others)
        given: dict[str, Any] = {**self.others, "style": list(self.styles), "style_weights": self.weights}
        if self.masks is not None:
            given["masks"] = _fitted(self.masks, size)
        return given


def read_guides(
    translator: Translator,
    styles: Sequence[str | Path],
    weights: Sequence[float] | None,
    masks: Sequence[str | Path],
    max_pixels: int,
    *,
    encode: bool = True,
    **controls: Any,
) -> GuidePictures:
    """Read the pictures, and have the translator encode the styles once for all contents.

    Args:
        translator: what will take them.
        styles: files.
        weights: a share of each.
        masks: files, one a style.
        max_pixels: larger pictures are refused.
        encode: whether the translator may encode the styles; not where a control varies that it encodes them by.
        **controls: those of the translation.

    Returns:
        The pictures; none where none are named.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the translator takes no styles or needs one, or masks differ in size or number.
    """
    if not translator.takes("style"):
        if styles or masks or weights is not None:
            raise ValueError(
                f"this model ({type(translator).__name__}) learned its style in training; leave style, style_weights "
                "and masks out, or use another model"
            )
        return GuidePictures()
    if not styles:
        raise ValueError("this model is shown its style: name a picture by style=<picture>")
    if weights is not None and len(styles) == 1:
        _log.warning("style_weights changes nothing: there is one style")
    pictures: Sequence[Any] = [_picture(path, "style", max_pixels) for path in styles]
    regions = None
    if masks:
        found = [_picture(path, "masks", max_pixels).mean(0) >= _INSIDE for path in masks]
        sizes = {tuple(mask.shape) for mask in found}
        if len(sizes) > 1:
            raise ValueError(f"the masks differ in size ({', '.join(map(_size, sizes))}); make them the input's size")
        if len(found) != len(styles):
            raise ValueError(
                f"got {len(found)} masks for {len(styles)} styles; a mask says where the style of the same place goes"
            )
        regions = torch.stack(found).float()  # (K, H, W)
    if encode and isinstance(translator, StyleTranslator):
        with torch.no_grad():
            pictures = translator.encode_styles([picture.to(translator.device) for picture in pictures], **controls)
    return GuidePictures(pictures, weights, regions, [Path(path) for path in (*styles, *masks)])


def with_others(
    guides: GuidePictures, inputs: Sequence[Picture], given: Mapping[str, Any], max_pixels: int
) -> GuidePictures:
    """Read the pictures of inputs that no key of the command is for, and add them.

    Args:
        guides: the others.
        inputs: of the translator.
        given: what was typed, by keyword: a file or a list of them, or weights.
        max_pixels: larger pictures are refused.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if weights are given for no picture.
    """
    read, files = dict[str, Any](), list(guides.files)
    for picture in inputs:
        paths = read_paths(picture.name, given.get(picture.name))
        if paths:
            read[picture.name] = [_picture(path, picture.name, max_pixels) for path in paths]
            files += map(Path, paths)
        elif words := [word for word in picture.keywords if word in given]:
            raise ValueError(f"{words[0]} is given without a {picture.name}; name pictures, or leave it out")
        read |= {word: given[word] for word in picture.keywords[1:] if word in given}
    return replace(guides, others=read, files=files)


def shrunk(picture: Tensor, size_px: int | None) -> Tensor:
    """Shrink a (3, H, W) picture so that its longer side is at most `size_px`; None leaves it."""
    longer = max(picture.shape[1:])
    if size_px is None or longer <= size_px:
        return picture
    return resized(picture[None], [max(1, round(side * size_px / longer)) for side in picture.shape[1:]])[0]


def _picture(path: str | Path, key: str, max_pixels: int) -> Tensor:
    if Path(path).is_dir():
        raise ValueError(f"{key}={path} is a folder; name a picture, or several as [a.jpg,b.jpg]")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no picture at {key}={path}; name a file")
    notes: list[str] = []
    pixels = decode_image(Path(path), max_pixels, notes=notes)
    for note in notes:
        _log.warning("%s=%s: %s", key, path, note)
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255.0)  # (3, H, W)


def _fitted(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Return masks at the picture's size; they may be of the picture that it was shrunk from."""
    height, width = masks.shape[1:]
    factor = max(size) / max(height, width)
    if factor > 1 or abs(height * factor - size[0]) > 1 or abs(width * factor - size[1]) > 1:
        raise ValueError(
            f"the masks are {_size((height, width))}, the picture {_size(size)} (width x height); make masks of the "
            "picture's size"
        )
    return F.interpolate(masks[None], list(size), mode="nearest-exact")[0]  # (K, H, W)


def _size(size: Sequence[int]) -> str:
    return f"{size[1]} x {size[0]}"
