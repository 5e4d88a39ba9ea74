"""Style transfer and texture synthesis by optimizing pixels: nothing is trained.

Papers: Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016 (sections 2.1 to
2.3); the same, "Texture Synthesis Using Convolutional Neural Networks", NIPS 2015 (sections 2 and 3). Other style
losses are Li, Wang, Liu, Hou, "Demystifying Neural Style Transfer", IJCAI 2017.

Deviations: weights are in units of each term's gradient (`calibrate`): that of the style term at the content, that of
the content term at the style, so that a weight means the same for every encoder, size and style loss; without it they
are the papers' plain factors. Styles are resized to the content's area, with their own shape (the paper: to its size).
A style weight of 0 is content reconstruction (2016, section 2.1).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stylebench.checks import check_choice
from stylebench.functional.geometry import resized
from stylebench.functional.histogram_matching import match_histograms
from stylebench.functional.precision import float32_island
from stylebench.inference.base import CONTENT, Choice, Control, Picture
from stylebench.inference.translators.base import Guides, OptimizingTranslator
from stylebench.inference.translators.style import COLOR, STYLE, STYLE_SCALE, StyleTranslator
from stylebench.nn.encoders.base import Encoder
from stylebench.optimization.loop import (
    INITS,
    Minimizer,
    PixelOptimizer,
    Settings,
    ladder,
    searches_lines,
)
from stylebench.optimization.matching import FeatureMatching, Targets, Weights, noise
from stylebench.optimization.style_losses import StyleLoss

STYLE_FITS = ("area", "stretch", "own")
_MOST = 1e12
_LARGEST_SEED = 2**53


class _PixelTranslator(StyleTranslator, OptimizingTranslator):
    """What both methods share: settings as controls, one picture after the other, sizes from small to large."""

    default_px = 384  # under a minute on two cores
    inputs: Sequence[Picture] = (CONTENT, STYLE._replace(regions=False))

    def __init__(
        self,
        *,
        matching: FeatureMatching,
        settings: Settings,
        evaluations: int,
        evaluations_per_scale: int,
        smallest_px: int | None,
        style_fit: str,
        calibrate: bool,
        controls: Sequence[Control | Choice],
    ) -> None:
        super().__init__()
        if matching.style_loss.varies and searches_lines(settings.minimizer):
            raise ValueError(
                "this style loss draws new positions at each evaluation, and L-BFGS compares evaluations; use "
                "Adam as the minimizer"
            )
        check_choice("style_fit", style_fit, STYLE_FITS)
        self.encoder = matching.encoder
        self.matching, self.settings = matching, settings
        self.evaluations_per_scale, self.smallest_px = evaluations_per_scale, smallest_px
        self.style_fit, self.calibrate = style_fit, calibrate
        self.controls = (
            Control(
                "evaluations", 1, 1_000_000, evaluations,
                "of the objective, the iterations of the papers; with a ladder those at its smallest size", whole=True,
            ),
            *controls,
            STYLE_SCALE,
        )  # fmt: skip

    def fit_style(self, style: Tensor, images: Tensor, scale: float) -> Tensor:
        """Resize a style picture to the content's area or size, or leave it, and then by `scale`."""
        height, width = images.shape[-2:]
        own_height, own_width = style.shape[-2:]
        if self.style_fit == "stretch":
            size = [height * scale, width * scale]
        else:
            factor = scale * ((height * width / (own_height * own_width)) ** 0.5 if self.style_fit == "area" else 1.0)
            size = [own_height * factor, own_width * factor]
        return resized(style, [max(1, round(side)) for side in size])

    def optimize(
        self, images: Tensor, guides: Guides, start: Sequence[Any], weights: Weights, **controls: Any
    ) -> Tensor:
        """Optimize one picture up the ladder of sizes.

        Args:
            images: (1, 3, H, W), the content; its size is the result's.
            guides: styles, fitted to that size.
            start: name of the picture to start with, and the seed of its noise.
            weights: as the user gives them.
            **controls: `evaluations` is used here.

        Returns:
            (1, 3, H, W) within the bounds.
        """
        with float32_island(images):  # a line search compares values: rounding to half precision would lead it astray
            return self._climbed(images, guides, start, weights, int(controls["evaluations"]))

    def _climbed(
        self, images: Tensor, guides: Guides, start: Sequence[Any], weights: Weights, evaluations: int
    ) -> Tensor:
        """Optimize at each size, from small to large."""
        sizes = ladder(images.shape[-2], images.shape[-1], self.smallest_px)
        counts = [evaluations, *[self.evaluations_per_scale] * (len(sizes) - 1)]
        done, optimizer = 0, None
        for size, count in zip(sizes, counts, strict=True):
            content = resized(images, size)
            styles = [resized(style, _scaled_size(style, size, images)) for style in guides.styles]
            targets = Targets(
                self.matching.content_targets(content) if weights.content else {},
                [self.matching.style_targets(style) for style in styles] if weights.style else (),
                guides.weights,
            )
            factors = weights
            if self.calibrate:
                factors = self.matching.calibrated(weights, targets, self._references(content, styles))
            optimizer = (
                PixelOptimizer(self.settings, self._first(content, styles, *start))
                if optimizer is None
                else optimizer.enlarged(size)
            )
            objective = partial(self.matching.evaluate, targets=targets, weights=factors)
            optimizer.run(objective, count, guides.watch, done, sum(counts))
            done += count
        assert optimizer is not None
        return optimizer.image

    def _references(self, content: Tensor, styles: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the pictures at which each term's gradient is its unit."""
        if not self.takes("content"):
            content = noise(content.shape[-2:], content, 0)
        return {"style": content, "content": resized(styles[0], content.shape[-2:])}

    def _first(self, content: Tensor, styles: Sequence[Tensor], init: str, seed: int) -> Tensor:
        """Return the picture to start with; (1, 3, H, W)."""
        if init == "content":
            return content
        if init == "style":
            return resized(styles[0], content.shape[-2:])
        return noise(content.shape[-2:], content, seed)

    def _one_by_one(self, images: Tensor, guides: Guides) -> list[tuple[Tensor, Guides]]:
        """Return every image with its own style pictures: pixels of different pictures share nothing."""
        parts = []
        for place in range(len(images)):
            own = tuple(style[place : place + 1] if len(style) > 1 else style for style in guides.styles)
            parts.append((images[place : place + 1], guides.with_styles(own)))
        return parts


class GatysTranslator(_PixelTranslator):
    """Give a content image the feature statistics of a style image while its own features stay.

    Args:
        encoder: frozen network.
        content_layers: taps whose maps must stay the content's.
        style_layers: taps whose statistics must become the style's.
        style_loss: which statistics, and how they are compared.
        minimizer: builds the optimizer from a list of one tensor.
        layer_weights: of the style layers, None for equal ones with sum 1.
        weight_content: factor of the content term.
        weight_style: factor of the style term; 0 = content reconstruction.
        weight_tv: factor of the total variation.
        calibrate: whether weights are in units of each term's own gradient; see `FeatureMatching.calibrated`.
        content_norm: `mean` or `gatys`.
        tv_convention: form of the total variation.
        init: `content`, `style` or `noise`.
        seed: of the noise.
        evaluations: of the objective, at the smallest size.
        evaluations_per_scale: at every larger size of the ladder.
        smallest_px: longer side that the ladder of sizes begins with; None for no ladder.
        bounds: `auto`, `none`, `clamp` or `sigmoid`; see `image_optimization.Settings`.
        style_fit: `area` (of the content, with the style's own shape), `stretch` (to its size) or `own`.
        tile_px: side of tiles, for pictures that memory does not hold; None for none.

    Raises:
        ValueError: if a setting is unknown, or the layers do not fit the encoder.
    """

    def __init__(
        self,
        *,
        encoder: Encoder,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        style_loss: StyleLoss,
        minimizer: Minimizer,
        layer_weights: Sequence[float] | None,
        weight_content: float,
        weight_style: float,
        weight_tv: float,
        calibrate: bool,
        content_norm: str,
        tv_convention: str,
        init: str,
        seed: int,
        evaluations: int,
        evaluations_per_scale: int,
        smallest_px: int | None,
        bounds: str,
        style_fit: str,
        tile_px: int | None,
    ) -> None:
        matching = FeatureMatching(
            encoder, content_layers=content_layers, style_layers=style_layers, style_loss=style_loss,
            layer_weights=layer_weights, content_norm=content_norm, tv_convention=tv_convention, tile_px=tile_px,
        )  # fmt: skip
        super().__init__(
            matching=matching, settings=Settings(minimizer, bounds), evaluations=evaluations,
            evaluations_per_scale=evaluations_per_scale, smallest_px=smallest_px, style_fit=style_fit,
            calibrate=calibrate,
            controls=(
                Control("weight_content", 0.0, _MOST, weight_content, "factor of the content term"),
                Control("weight_style", 0.0, _MOST, weight_style, "of the style term; 0 = content reconstruction"),
                Control("weight_tv", 0.0, _MOST, weight_tv, "factor of the total variation; smooths"),
                Choice("init", INITS, init, "the picture to start with"),
                Control("seed", 0, _LARGEST_SEED, seed, "of the noise that init=noise starts with", whole=True),
                COLOR,
            ),
        )  # fmt: skip

    def render_styles(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Optimize one image after the other; (B, 3, H, W) to the same shape."""
        weights = Weights(*(controls[f"weight_{name}"] for name in Weights._fields))
        if not (weights.content or weights.style):
            raise ValueError("weight_content and weight_style are both 0, so nothing is asked for; raise one of them")
        start = (controls["init"], int(controls["seed"]))
        parts = self._one_by_one(images, guides)
        return torch.cat([self.optimize(image, own, start, weights, **controls) for image, own in parts])


class TextureTranslator(_PixelTranslator):
    """Synthesize a picture with the feature statistics of a texture, from noise; of the image only the size counts.

    Args:
        encoder: frozen network.
        style_layers: taps whose statistics are matched.
        style_loss: which statistics, and how they are compared.
        minimizer: builds the optimizer from a list of one tensor.
        layer_weights: of the layers, None for equal ones with sum 1.
        weight_tv: factor of the total variation, in units of the style term's gradient at noise; 0 as in the paper.
        seed: of the noise.
        evaluations: of the objective, at the smallest size.
        evaluations_per_scale: at every larger size of the ladder.
        smallest_px: longer side that the ladder of sizes begins with; None for no ladder.
        bounds: `auto`, `none`, `clamp` or `sigmoid`; see `image_optimization.Settings`.
        match_histogram: whether the result takes the texture's distribution of each color channel in the end.
        style_fit: `own` (the paper's), `area` or `stretch`.
        tile_px: side of tiles; None for none.

    Raises:
        ValueError: if a setting is unknown, or the layers do not fit the encoder.
    """

    canvas_px = 256  # as in the paper
    inputs = (STYLE._replace(regions=False),)

    def __init__(
        self,
        *,
        encoder: Encoder,
        style_layers: Sequence[str],
        style_loss: StyleLoss,
        minimizer: Minimizer,
        layer_weights: Sequence[float] | None,
        weight_tv: float,
        seed: int,
        evaluations: int,
        evaluations_per_scale: int,
        smallest_px: int | None,
        bounds: str,
        match_histogram: bool,
        style_fit: str,
        tile_px: int | None,
    ) -> None:
        matching = FeatureMatching(
            encoder, content_layers=(), style_layers=style_layers, style_loss=style_loss, layer_weights=layer_weights,
            content_norm="mean", tv_convention="magenta", tile_px=tile_px,
        )  # fmt: skip
        super().__init__(
            matching=matching, settings=Settings(minimizer, bounds), evaluations=evaluations,
            evaluations_per_scale=evaluations_per_scale, smallest_px=smallest_px, style_fit=style_fit, calibrate=True,
            controls=(
                Control("weight_tv", 0.0, _MOST, weight_tv, "of the total variation; takes the grain of the noise"),
                Control("seed", 0, _LARGEST_SEED, seed, "of the noise that the texture grows from", whole=True),
            ),
        )  # fmt: skip
        self.match_histogram = match_histogram

    def render_styles(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Optimize one picture after the other; (B, 3, H, W) to the same shape."""
        start = ("noise", int(controls["seed"]))
        found = []
        for image, own in self._one_by_one(images, guides):
            made = self.optimize(image, own, start, Weights(0.0, 1.0, controls["weight_tv"]), **controls)
            found.append(match_histograms(made, own.styles[0]) if self.match_histogram else made)
        return torch.cat(found)


def _scaled_size(style: Tensor, size: Sequence[int], images: Tensor) -> list[int]:
    """Return a style's size at a rung of the ladder: as much smaller as the content is there."""
    factor = max(size) / max(images.shape[-2:])
    return [max(1, round(side * factor)) for side in style.shape[-2:]]
