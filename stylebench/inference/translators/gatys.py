"""Style transfer and texture synthesis by optimizing pixels: what is asked of `optimization/gatys.py`, and how.

Papers: Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016; the same, "Texture
Synthesis Using Convolutional Neural Networks", NIPS 2015.

Deviation: styles are resized to the content's area, with their own shape (the paper: to its size).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stylebench.checks import check_choice
from stylebench.functional.geometry import resized
from stylebench.functional.histogram_matching import match_histograms
from stylebench.inference.base import CONTENT, Choice, Control, Picture
from stylebench.inference.translators.base import Guides, OptimizingTranslator
from stylebench.inference.translators.style import COLOR, STYLE, STYLE_SCALE, StyleTranslator
from stylebench.nn.encoders.base import Encoder
from stylebench.optimization.gatys import Objective, Plan, Weights, optimize
from stylebench.optimization.image_parameter import Minimizer, Settings, searches_lines
from stylebench.optimization.pictures import INITS, Pictures
from stylebench.optimization.style_losses import StyleLoss
from stylebench.optimization.tiled import TiledObjective

STYLE_FITS = ("area", "stretch", "own")
_MOST = 1e12
_LARGEST_SEED = 2**53


class _PixelTranslator(StyleTranslator, OptimizingTranslator):
    """What both methods share: settings as controls, one picture after the other, styles of a fitting size."""

    default_px = 384  # under a minute on two cores
    inputs: Sequence[Picture] = (CONTENT, STYLE._replace(regions=False))

    def __init__(
        self,
        *,
        objective: Objective,
        plan: Plan,
        style_fit: str,
        controls: Sequence[Control | Choice],
    ) -> None:
        super().__init__()
        if objective.style_loss.varies and searches_lines(plan.settings.minimizer):
            raise ValueError(
                "this style loss draws new positions at each evaluation, and L-BFGS compares evaluations; use "
                "Adam as the minimizer"
            )
        check_choice("style_fit", style_fit, STYLE_FITS)
        self.encoder = objective.encoder
        self.objective, self.plan, self.style_fit = objective, plan, style_fit
        self.controls = (
            Control(
                "evaluations", 1, 1_000_000, plan.evaluations,
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

    def optimize(self, image: Tensor, guides: Guides, plan: Plan) -> Tensor:
        """Optimize one picture.

        Args:
            image: (1, 3, H, W), the content; its size is the result's.
            guides: styles, fitted to that size.
            plan: how.

        Returns:
            (1, 3, H, W) within the bounds.
        """
        content = image if self.takes("content") else None
        pictures = Pictures(content, guides.styles, guides.weights, image.shape[-2:])
        return optimize(self.objective, plan, pictures, guides.watch)

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
        calibrate: whether weights are in units of each term's own gradient; see `Objective.calibrated`.
        content_norm: `mean` or `gatys`.
        tv_convention: form of the total variation.
        init: `content`, `style` or `noise`.
        seed: of the noise.
        evaluations: of the objective, at the smallest size.
        evaluations_per_scale: at every larger size of the ladder.
        smallest_px: longer side that the ladder of sizes begins with; None for no ladder.
        bounds: `auto`, `none`, `clamp` or `sigmoid`; see `image_parameter.Settings`.
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
        objective = _objective(
            encoder, tile_px, content_layers=content_layers, style_layers=style_layers, style_loss=style_loss,
            layer_weights=layer_weights, content_norm=content_norm, tv_convention=tv_convention,
        )  # fmt: skip
        plan = Plan(
            Settings(minimizer, bounds), Weights(weight_content, weight_style, weight_tv), calibrate=calibrate,
            init=init, seed=seed, evaluations=evaluations, evaluations_per_scale=evaluations_per_scale,
            smallest_px=smallest_px,
        )  # fmt: skip
        super().__init__(
            objective=objective, plan=plan, style_fit=style_fit,
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
        plan = replace(
            self.plan, weights=weights, init=controls["init"], seed=int(controls["seed"]),
            evaluations=int(controls["evaluations"]),
        )  # fmt: skip
        return torch.cat([self.optimize(image, own, plan) for image, own in self._one_by_one(images, guides)])


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
        bounds: `auto`, `none`, `clamp` or `sigmoid`; see `image_parameter.Settings`.
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
        objective = _objective(
            encoder, tile_px, content_layers=(), style_layers=style_layers, style_loss=style_loss,
            layer_weights=layer_weights, content_norm="mean", tv_convention="magenta",
        )  # fmt: skip
        plan = Plan(
            Settings(minimizer, bounds), Weights(0.0, 1.0, weight_tv), calibrate=True, init="noise", seed=seed,
            evaluations=evaluations, evaluations_per_scale=evaluations_per_scale, smallest_px=smallest_px,
        )  # fmt: skip
        super().__init__(
            objective=objective, plan=plan, style_fit=style_fit,
            controls=(
                Control("weight_tv", 0.0, _MOST, weight_tv, "of the total variation; takes the grain of the noise"),
                Control("seed", 0, _LARGEST_SEED, seed, "of the noise that the texture grows from", whole=True),
            ),
        )  # fmt: skip
        self.match_histogram = match_histogram

    def render_styles(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Optimize one picture after the other; (B, 3, H, W) to the same shape."""
        weights, found = self.plan.weights._replace(tv=controls["weight_tv"]), []
        plan = replace(self.plan, weights=weights, seed=int(controls["seed"]), evaluations=int(controls["evaluations"]))
        for image, own in self._one_by_one(images, guides):
            made = self.optimize(image, own, plan)
            found.append(match_histograms(made, own.styles[0]) if self.match_histogram else made)
        return torch.cat(found)


def _objective(encoder: Encoder, tile_px: int | None, **settings: Any) -> Objective:
    """Return the objective with some settings, in tiles where a side is given."""
    if tile_px is None:
        return Objective(encoder, **settings)
    return TiledObjective(encoder, tile_px=tile_px, **settings)
