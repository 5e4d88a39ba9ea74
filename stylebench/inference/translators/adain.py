"""Arbitrary style transfer in one pass: an encoder, an exchange of statistics, a decoder.

Huang & Belongie, "Arbitrary Style Transfer in Real-Time with Adaptive Instance Normalization", ICCV 2017:
section 6 (the network), section 7 (controls at run time: strength, interpolation, regions, color; concatenation as an
ablation).

Deviations: any encoder (the decoder mirrors its strides) and any image size (extended by reflection to a multiple of
the stride, cropped after); biased variances, as in the authors' Lua code.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from stylebench.checks import check_choice
from stylebench.functional.channel_statistics import ChannelStatistics, adaptive_instance_norm, channel_statistics
from stylebench.inference.base import Control, check_images
from stylebench.inference.translators.base import Encoded, Guides
from stylebench.inference.translators.style import COLOR, STYLE_SCALE, StyleTranslator, scaled
from stylebench.nn.bands import BAND_THRESHOLD_PX, is_big
from stylebench.nn.decoders import Decoder
from stylebench.nn.encoders.base import Encoder
from stylebench.nn.layers import pad_to_multiple
from stylebench.nn.tiles import encode_in_tiles

ALPHA = Control("alpha", 0.0, 1.0, 1.0, "strength: mix of the content's features (0) and the stylized ones (1)")
_TILE_PX = 512


class Exchange(Protocol):
    """How the features of a style change those of a content."""

    inputs_factor: int

    def summarize(self, maps: Tensor) -> Any:
        """Return what is kept of a style's (1 or B, C, h, w) features."""

    def mix(self, summaries: Sequence[Any], weights: Sequence[float], size: torch.Size) -> Any:
        """Return the weighted mean of what was kept of several styles, for content features of a size (h, w)."""

    def apply(self, content: Tensor, summary: Any, mask: Tensor | None) -> Tensor:
        """Return (B, C, h, w) content features with the style's where the (1 or B, h, w) mask is 1."""

    def join(self, content: Tensor, changed: Tensor) -> Tensor:
        """Return what the decoder reads: (B, inputs_factor * C, h, w)."""


class Statistics(Exchange):
    """Give each channel the style's mean and standard deviation."""

    inputs_factor = 1

    def summarize(self, maps: Tensor) -> ChannelStatistics:
        """Return the statistics of each channel."""
        return channel_statistics(maps)

    def mix(
        self, summaries: Sequence[ChannelStatistics], weights: Sequence[float], size: torch.Size
    ) -> ChannelStatistics:
        """Mix the statistics: the features that they give are linear in them, so those are mixed the same."""
        means, deviations = zip(*summaries, strict=True)
        return ChannelStatistics(_blended(means, weights), _blended(deviations, weights))

    def apply(self, content: Tensor, summary: ChannelStatistics, mask: Tensor | None) -> Tensor:
        """Normalize by the content's statistics (inside the mask alone), then scale and shift by the style's."""
        return adaptive_instance_norm(content, summary, mask)

    def join(self, content: Tensor, changed: Tensor) -> Tensor:
        """Return the changed features."""
        return changed


class Concatenation(Exchange):
    """Put the style's features beside the content's, and leave the rest to the decoder."""

    inputs_factor = 2

    def summarize(self, maps: Tensor) -> Tensor:
        """Return the features."""
        return maps

    def mix(self, summaries: Sequence[Tensor], weights: Sequence[float], size: torch.Size) -> Tensor:
        """Mix the features, resized to the content's."""
        return _blended([_fitted(summary, size) for summary in summaries], weights)

    def apply(self, content: Tensor, summary: Tensor, mask: Tensor | None) -> Tensor:
        """Return the style's features, resized to the content's."""
        style = _fitted(summary, content.shape[2:]).expand_as(content)
        return style if mask is None else torch.where(mask.unsqueeze(1) > 0, style, content)

    def join(self, content: Tensor, changed: Tensor) -> Tensor:
        """Return both, the content's first."""
        return torch.cat((content, changed), 1)  # (B, 2C, h, w)


EXCHANGES: dict[str, Exchange] = {"adain": Statistics(), "concat": Concatenation()}


class AdaINStyle(Encoded):
    """What is kept of a style picture.

    Args:
        summary: what `Exchange.summarize` made of its features.
        origin: which encoder, tap and exchange made it.
        style_scale: the control that it was made with.
    """

    def __init__(self, summary: Any, origin: tuple[str, ...], style_scale: float) -> None:
        self.summary, self.origin, self.style_scale = summary, origin, style_scale


class AdaINTranslator(StyleTranslator):
    """A frozen encoder, an exchange of features at its `exchange_layer`, and a decoder that mirrors it.

    Of the encoder nothing is in the state dict: its weights are found again by what the config says.

    Args:
        encoder: frozen network.
        transfer: `adain` (statistics) or `concat` (the style's features beside the content's: an ablation).
        norm: of the decoder, `none`, `batch` or `instance` (ablations).

    Attributes:
        band_threshold_px: larger pictures are computed in tiles and bands with the statistics of the whole; the result
            is the same up to rounding.

    Raises:
        ValueError: if an option is unknown, or no decoder can mirror the encoder.
    """

    controls = (ALPHA, COLOR, STYLE_SCALE)
    band_threshold_px: ClassVar[int] = BAND_THRESHOLD_PX

    def __init__(self, *, encoder: Encoder, transfer: str, norm: str) -> None:
        super().__init__()
        check_choice("transfer", transfer, EXCHANGES)
        self.encoder, self.exchange, self.layer = encoder, EXCHANGES[transfer], encoder.exchange_layer
        inputs = self.exchange.inputs_factor * encoder.channels[self.layer]
        self.decoder = Decoder.for_encoder(encoder, norm, inputs)
        self.origin = (encoder.name, encoder.digest, self.layer, transfer)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Return what the decoder makes of (B, C, h, w) content and (1 or B, C, h', w') style features at the tap.

        With its graph and unclamped, (B, 3, stride * h, stride * w): for training.
        """
        changed = self.exchange.apply(content, self.exchange.summarize(style), None)
        stylized: Tensor = self.decoder(self.exchange.join(content, changed))
        return stylized

    @torch.no_grad()
    def encode_styles(self, style: Any, **controls: Any) -> tuple[Any, ...]:
        """Return what is needed of styles, computed once for many contents; with color=coral the pictures themselves.

        Raises:
            TypeError, ValueError: as `translate`.
        """
        chosen = self.check_controls(**controls)
        if chosen["color"] == "coral":  # every content changes the style picture
            return super().encode_styles(style)
        found = []
        for part in super().encode_styles(style):
            if not isinstance(part, Encoded):
                check_images(part)
                pictures = (part if part.ndim == 4 else part.unsqueeze(0)).to(next(self.decoder.parameters()))
                part = self._encoded(scaled(pictures.clamp(0.0, 1.0), chosen["style_scale"]), chosen["style_scale"])
            found.append(part)
        return tuple(found)

    def render_styles(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return the stylized images, unclamped; (B, 3, H, W) to the same shape.

        Raises:
            ValueError: if an encoded style is of another model or scale, a mask covers no position of the features, or
                an image or a style is too small.
        """
        height, width = images.shape[-2:]
        maps = self._decoder_inputs(images, guides, **controls)
        decode = self.decoder.in_bands if self._is_big(images) else self.decoder
        return decode(maps)[..., :height, :width]

    def _decoder_inputs(self, images: Tensor, guides: Guides, *, alpha: float, style_scale: float) -> Tensor:
        """Return what the decoder reads; everything else is freed: for large pictures the rest takes gigabytes."""
        content = self._features(pad_to_multiple(images, self.decoder.stride))  # (B, C, h, w)
        summaries = [self._summary(style, style_scale) for style in guides.styles]
        if guides.masks is None:
            mixed = self.exchange.mix(summaries, guides.weights, content.shape[2:])
            changed = self.exchange.apply(content, mixed, None)
        else:
            changed = self._by_region(content, summaries, guides.masks)
        return self.exchange.join(content, changed if alpha == 1.0 else torch.lerp(content, changed, alpha))

    def _by_region(self, content: Tensor, summaries: Sequence[Any], masks: Tensor) -> Tensor:
        """Give every region its style by the content's statistics in that region; what no mask covers stays."""
        whole = pad_to_multiple(masks, self.decoder.stride)  # (1 or B, K, H', W')
        regions = F.interpolate(whole, content.shape[2:], mode="nearest-exact")  # (1 or B, K, h, w)
        if not bool(regions.flatten(2).any(2).all()):
            raise ValueError(
                f"a mask covers no position of the features, which lie {self.decoder.stride} px apart; enlarge its "
                "region, or leave out that style and its mask"
            )
        changed = content
        for number, summary in enumerate(summaries):
            changed = self.exchange.apply(changed, summary, regions[:, number])
        return changed

    def _summary(self, style: Any, style_scale: float) -> Any:
        """Return what is kept of a style: picture or encoded."""
        encoded = style if isinstance(style, Encoded) else self._encoded(style, style_scale)
        if not isinstance(encoded, AdaINStyle) or encoded.origin != self.origin:
            raise ValueError("the encoded style was made by another model; encode the picture with this one")
        if encoded.style_scale != style_scale:
            raise ValueError(
                f"the style was encoded with style_scale={encoded.style_scale:g}, and style_scale={style_scale:g} is "
                "asked for; encode it again, or give the picture"
            )
        return encoded.summary

    def _encoded(self, pictures: Tensor, style_scale: float) -> AdaINStyle:
        return AdaINStyle(self.exchange.summarize(self._features(pictures)), self.origin, style_scale)

    def _features(self, images: Tensor) -> Tensor:
        """Return (B, C, h, w) features of the whole images, computed in tiles where they are big."""
        if self._is_big(images) and self.encoder.tileable:
            return encode_in_tiles(self.encoder, images, (self.layer,), _TILE_PX)[self.layer]
        features: Tensor = self.encoder(images, (self.layer,))[self.layer]
        return features

    def _is_big(self, images: Tensor) -> bool:
        return is_big(images, self.band_threshold_px)


def _blended(parts: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the weighted sum of tensors, some of which may hold one sample for all."""
    total = weights[0] * parts[0]
    for share, part in zip(weights[1:], parts[1:], strict=True):
        total = total + share * part
    return total


def _fitted(maps: Tensor, size: torch.Size) -> Tensor:
    """Resize (B, C, h, w) features; antialiased, bilinear."""
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, list(size), mode="bilinear", antialias=True, align_corners=False)
