"""Translators that are shown their style: one picture, several with weights, or one for each region."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from stylebench.functional.color_transfer import coral, luminance_only
from stylebench.nn.translators import Choice, Control, Guides, Translator, check_images

COLOR = Choice(
    "color",
    ("none", "coral", "luminance"),
    "none",
    "colors of the result: none (the style's), coral (the style picture takes the content's first), luminance (only "
    "the lightness of the result is used)",
)
STYLE_SCALE = Control(
    "style_scale", 0.1, 10.0, 1.0, "the style picture is resized by this factor first; larger = larger strokes"
)


class EncodedStyle:
    """What a translator keeps of a style picture, so that many contents need it only once."""


class StyleTranslator(Translator):
    """Base of translators that take style pictures: checks them, and what is done to colors and sizes.

    Subclasses define `render_styles`; their `controls` should hold `COLOR` and `STYLE_SCALE`.
    """

    takes_style = True

    def encode_styles(self, style: Any, **controls: Any) -> tuple[Any, ...]:
        """Return styles in the form that costs least when they are used for many contents.

        Args:
            style: as for `translate`.
            **controls: those that `translate` will be given.

        Returns:
            Something that `translate` takes as `style`; here the pictures themselves.
        """
        return _listed(style)

    def render_styles(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return the stylized images: `render` without what concerns the color.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            guides: at least one style, on the images' device, resized by `fit_style`.
            **controls: all but `color`.

        Returns:
            (B, 3, H, W) RGB.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define render_styles()")

    def fit_style(self, style: Tensor, images: Tensor, scale: float) -> Tensor:
        """Resize a style picture before its features are taken; here by `style_scale` alone.

        Args:
            style: (1 or B, 3, h, w) in [0, 1].
            images: the contents.
            scale: the control.
        """
        return scaled(style, scale)

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Apply the color control around `render_styles`, and scale the style pictures."""
        color, scale = controls.pop("color", COLOR.default), controls.get("style_scale", 1.0)
        styles = tuple(self._prepared(style, images, color, scale) for style in guides.styles)
        result = self.render_styles(images, guides._replace(styles=styles), **controls)
        return luminance_only(result.clamp(0.0, 1.0), images) if color == "luminance" else result

    def check_guides(self, images: Tensor, style: Any, style_weights: Any, masks: Any) -> Guides:
        """Return the given styles, checked and moved to the images' device and type.

        Raises:
            TypeError: if something is no tensor of floating-point pictures, or a weight no number.
            ValueError: if there is no style, or shapes, ranges or counts do not fit.
        """
        if style is None:
            raise ValueError(
                f"{type(self).__name__} needs a picture of the style, and none was given; name one (style=<picture>)"
            )
        styles = tuple(_placed(part, images) for part in _listed(style))
        if not styles:
            raise ValueError("the list of styles is empty; give at least one picture")
        if masks is not None and style_weights is not None:
            raise ValueError("give either style_weights (a mix of styles) or masks (a style a region), not both")
        return Guides(styles, _shares(style_weights, len(styles)), _regions(masks, len(styles), images))

    def _prepared(self, style: Any, images: Tensor, color: str, scale: float) -> Any:
        """Return a style picture with its colors and its size as the controls ask for."""
        if isinstance(style, EncodedStyle):
            if color == "coral":
                raise ValueError(
                    "color=coral changes the style picture for every content, so styles cannot be encoded before; "
                    "give the pictures themselves"
                )
            return style
        if color == "coral":
            style = coral(style.expand(len(images), -1, -1, -1), images).clamp(0.0, 1.0)
        return self.fit_style(style, images, scale)


def scaled(pictures: Tensor, factor: float) -> Tensor:
    """Resize (B, 3, h, w) pictures by a factor, antialiased, at least to one pixel."""
    if factor == 1.0:
        return pictures
    size = [max(1, round(side * factor)) for side in pictures.shape[-2:]]
    return resized(pictures, size)


def resized(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, 3, h, w) pictures in [0, 1] to (B, 3, *size), antialiased, clamped."""
    if list(pictures.shape[-2:]) == list(size):
        return pictures
    return F.interpolate(pictures, list(size), mode="bicubic", antialias=True, align_corners=False).clamp(0.0, 1.0)


def _listed(style: Any) -> tuple[Any, ...]:
    return tuple(style) if isinstance(style, list | tuple) else (style,)


def _placed(style: Any, images: Tensor) -> Any:
    if isinstance(style, EncodedStyle):
        return style
    try:
        check_images(style)
    except (TypeError, ValueError) as error:
        raise type(error)(f"style: {error}") from None
    pictures = style if style.ndim == 4 else style.unsqueeze(0)
    if len(pictures) not in (1, len(images)):
        raise ValueError(
            f"expected one style picture, or one for each of {len(images)} images, got {len(pictures)}; to mix several "
            "styles give a list of pictures"
        )
    return pictures.to(images.device, images.dtype).clamp(0.0, 1.0)  # (1 or B, 3, h, w)


def _shares(weights: Any, count: int) -> tuple[float, ...]:
    if weights is None:
        return (1 / count,) * count
    given = weights.tolist() if isinstance(weights, Tensor) else weights
    given = list(given) if isinstance(given, list | tuple) else [given]
    for weight in given:
        if isinstance(weight, bool) or not isinstance(weight, Real):
            raise TypeError(f"style_weights are numbers, got {type(weight).__name__} {weight!r}")
        if not 0 <= float(weight) < math.inf:
            raise ValueError(f"style_weights are finite and at least 0, got {weight}")
    if len(given) != count:
        raise ValueError(f"expected a weight for each of {count} styles, got {len(given)}; give as many as styles")
    total = sum(float(weight) for weight in given)
    if not total > 0:
        raise ValueError("all style_weights are 0; give at least one style a share")
    return tuple(float(weight) / total for weight in given)


def _regions(masks: Any, count: int, images: Tensor) -> Tensor | None:
    if masks is None:
        return None
    if not isinstance(masks, Tensor):
        raise TypeError(f"masks are a tensor (K, H, W) of 0 and 1, got {type(masks).__name__}")
    regions = masks if masks.ndim == 4 else masks.unsqueeze(0)
    wanted = (count, *images.shape[-2:])
    if regions.ndim != 4 or tuple(regions.shape[1:]) != wanted or len(regions) not in (1, len(images)):
        raise ValueError(
            f"expected masks of shape {wanted} (a mask a style, of the image's size), got {tuple(masks.shape)}; resize "
            "the masks to the image, and give as many as styles"
        )
    regions = regions.to(images.device, images.dtype)
    if not bool(((regions == 0) | (regions == 1)).all()):
        raise ValueError("masks hold 0 (outside) and 1 (inside) only, found other values; threshold them first")
    if bool((regions.sum(1) > 1).any()):
        raise ValueError("masks overlap: a pixel can have one style only; make the regions disjoint")
    if not bool(regions.flatten(2).any(2).all()):
        raise ValueError("a mask is empty: its style would go nowhere; leave out that style and its mask")
    return regions
