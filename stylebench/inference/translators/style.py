"""Translators that are shown their style: one picture, several with weights, or one for each region."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from stylebench.functional.color_transfer import coral, luminance_only
from stylebench.functional.geometry import resized
from stylebench.inference.base import CONTENT, Choice, Control, Picture
from stylebench.inference.translators.base import Encoded, Guides, Translator

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


STYLE = Picture("style", "the picture whose style is asked for", many=True, regions=True)


class StyleTranslator(Translator):
    """Base of translators that take style pictures: checks them, and what is done to colors and sizes.

    Subclasses define `render_styles`; their `controls` should hold `COLOR` and `STYLE_SCALE`.
    """

    inputs: Sequence[Picture] = (CONTENT, STYLE)

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
        result = self.render_styles(images, guides.with_styles(styles), **controls)
        return luminance_only(result.clamp(0.0, 1.0), images) if color == "luminance" else result

    def _prepared(self, style: Any, images: Tensor, color: str, scale: float) -> Any:
        """Return a style picture with its colors and its size as the controls ask for."""
        if isinstance(style, Encoded):
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


def _listed(style: Any) -> tuple[Any, ...]:
    return tuple(style) if isinstance(style, list | tuple) else (style,)
