"""Gatys' algorithm: the pixels of a picture move until its features are a content's and their statistics a style's.

Papers: Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016 (sections 2.1 to
2.3); the same, "Texture Synthesis Using Convolutional Neural Networks", NIPS 2015 (sections 2 and 3). Other style
losses are Li, Wang, Liu, Hou, "Demystifying Neural Style Transfer", IJCAI 2017. The ladder of sizes:
crowsonkb/style-transfer-pytorch, style_transfer.py.

Deviations: weights are in units of each term's gradient (`calibrated`): that of the style term at the content, that of
the content term at the style, so that a weight means the same for every encoder, size and style loss; without it they
are the papers' plain factors. A style weight of 0 is content reconstruction (2016, section 2.1). An iteration is an
evaluation of the objective with its gradient, whatever the optimizer makes of it.

Beside this file: `style_losses.py` (which statistics), `pictures.py` (what is given, and the ladder of sizes),
`image_parameter.py` (bounds of pixels, their optimizer), `tiled.py` (the same objective for pictures that memory does
not hold).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stylebench.checks import check_choice, check_number
from stylebench.functional.content import content_loss
from stylebench.functional.precision import float32_island
from stylebench.functional.total_variation import total_variation
from stylebench.nn.encoders.base import Encoder
from stylebench.optimization.image_parameter import LONGEST_SEARCH, BestPoint, ImageParameter, Settings
from stylebench.optimization.pictures import Pictures, ladder, noise
from stylebench.optimization.style_losses import StyleLoss, Summary

CONTENT_NORMS = ("mean", "gatys")

_LEAST_UNIT = 3e-3  # of the gradient at noise: the least unit


class Weights(NamedTuple):
    """Factors of the terms."""

    content: float
    style: float
    tv: float


class Evaluation(NamedTuple):
    """One evaluation of the objective.

    Attributes:
        total: scalar, the weighted sum.
        gradient: (1, 3, H, W), contiguous.
        terms: unweighted scalars by term, and by layer where a term has several.
    """

    total: Tensor
    gradient: Tensor
    terms: dict[str, Any]


@dataclass(frozen=True)
class Targets:
    """What a picture is compared with.

    Attributes:
        content: (1, C, h, w) maps by layer.
        styles: for every style: by layer what its `StyleLoss` prepared.
        shares: the weight of every style, with sum 1.
    """

    content: Mapping[str, Tensor] = field(default_factory=dict)
    styles: Sequence[Mapping[str, Any]] = ()
    shares: Sequence[float] = ()


class Objective:
    """Features like a content's, feature statistics like a style's, and smoothness.

    Args:
        encoder: frozen network.
        content_layers: taps whose maps must be the content's.
        style_layers: taps whose statistics must be the style's.
        style_loss: how statistics are compared, at every style layer.
        layer_weights: of the style layers; None for equal ones with sum 1.
        content_norm: `mean` (over C*H*W) or `gatys` (half the sum: Gatys et al. 2016, eq. 1).
        tv_convention: form of the total variation.

    Raises:
        ValueError: if a layer is no tap, or settings do not fit each other.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        style_loss: StyleLoss,
        layer_weights: Sequence[float] | None,
        content_norm: str,
        tv_convention: str,
    ) -> None:
        for layer in (*content_layers, *style_layers):
            if layer not in encoder.taps:
                raise ValueError(f"{encoder.name} has no layer {layer!r}; choose from {', '.join(encoder.taps)}")
        check_choice("content_norm", content_norm, CONTENT_NORMS)
        weights = [1 / max(1, len(style_layers))] * len(style_layers) if layer_weights is None else list(layer_weights)
        for weight in weights:
            check_number("each of layer_weights", weight)
        if len(weights) != len(style_layers):
            raise ValueError(
                f"expected a weight for each of the style layers {', '.join(style_layers)}, got {len(weights)}; give "
                "layer_weights as many numbers, or null for equal ones"
            )
        self.encoder = encoder
        self.content_layers, self.style_layers = tuple(content_layers), tuple(style_layers)
        self.layer_weights = dict(zip(style_layers, weights, strict=True))
        self.style_loss = style_loss
        self.content_norm, self.tv_convention = content_norm, tv_convention

    def terms(self, image: Tensor, targets: Targets, weights: Weights, step: int = 0) -> dict[str, Any]:
        """Return the terms of a whole picture that have a weight, differentiable; as `Evaluation.terms`."""
        content, style = self.layers(weights)
        maps = self.encoder(image, tuple(dict.fromkeys((*content, *style))))
        terms: dict[str, Any] = {}
        if content:
            goal = targets.content
            terms["content"] = {layer: self.content_term(maps[layer], goal[layer], goal[layer]) for layer in content}
        if style:
            sums = {layer: self.style_loss.summarize(maps[layer], step=step) for layer in style}
            terms["style"] = self.style_terms(sums, targets)
        if weights.tv:
            terms["tv"] = total_variation(image, self.tv_convention).sum()
        return terms

    def evaluate(self, image: Tensor, step: int = 0, *, targets: Targets, weights: Weights) -> Evaluation:
        """Return the objective, its gradient and its terms.

        Args:
            image: (1, 3, H, W), any real range around [0, 1].
            step: number of the evaluation, for losses that sample new positions each time.
            targets: from `content_targets` and `style_targets`.
            weights: factors; a term with factor 0 is not computed.
        """
        pixels, total = image.detach().requires_grad_(), image.new_zeros(())
        with torch.enable_grad():
            terms = self.terms(pixels, targets, weights, step)
            for name, weight in (("content", weights.content), ("style", weights.style)):
                for term in terms.get(name, {}).values():
                    total = total + weight * term
        gradient = torch.zeros_like(image)
        if total.requires_grad:
            gradient.add_(torch.autograd.grad(total, pixels)[0])
        if "tv" in terms:  # it shares no graph with the features, and its gradient is scaled last
            gradient.add_(torch.autograd.grad(terms["tv"], pixels)[0], alpha=weights.tv)
            total = total + weights.tv * terms["tv"]
        return Evaluation(total.detach(), gradient, detached(terms))

    def layers(self, weights: Weights) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the layers of the content term and of the style term, none for a term without a weight."""
        return self.content_layers if weights.content else (), self.style_layers if weights.style else ()

    def content_term(self, features: Tensor, wanted: Tensor, whole: Tensor) -> Tensor:
        """Return the content term of a layer, or the part of it that a tile has.

        Args:
            features: (1, C, h, w).
            wanted: the content's features at the same place.
            whole: (1, C, H, W), the content's features.
        """
        part = content_loss(features, wanted).sum() * wanted[0].numel() / len(self.content_layers)
        return part / 2 if self.content_norm == "gatys" else part / whole[0].numel()

    def style_terms(self, sums: Mapping[str, Summary], targets: Targets) -> dict[str, Tensor]:
        """Return the style term of each layer: its weight, times the mean of the distances to all styles."""
        return {
            layer: self.layer_weights[layer]
            * torch.stack(
                [
                    share * self.style_loss.distance(total, style[layer]).sum()
                    for share, style in zip(targets.shares, targets.styles, strict=True)
                ]
            ).sum()
            for layer, total in sums.items()
        }

    @torch.no_grad()
    def content_targets(self, content: Tensor) -> dict[str, Tensor]:
        """Return the content's maps by layer; (1, 3, H, W) in [0, 1]."""
        return self.encoder(content, self.content_layers)  # type: ignore[no-any-return]

    @torch.no_grad()
    def style_targets(self, style: Tensor) -> dict[str, Any]:
        """Return what the style loss keeps of a picture, by layer; (1, 3, h, w) in [0, 1]."""
        sums = self.style_sums(style)
        return {layer: self.style_loss.target(sums[layer], layer) for layer in self.style_layers}

    def style_sums(self, image: Tensor) -> dict[str, Summary]:
        """Return the statistics of a picture, by style layer."""
        maps = self.encoder(image, self.style_layers)
        return {layer: self.style_loss.summarize(maps[layer]) for layer in self.style_layers}

    def targets(self, pictures: Pictures, weights: Weights) -> Targets:
        """Return what the terms with a weight compare a picture with."""
        content = pictures.content if weights.content else None
        return Targets(
            {} if content is None else self.content_targets(content),
            [self.style_targets(style) for style in pictures.styles] if weights.style else (),
            pictures.shares,
        )

    def check(self, weights: Weights) -> None:
        """Check that every term with a weight has layers.

        Raises:
            ValueError: naming the one that has none.
        """
        for name, taps in (("content", self.content_layers), ("style", self.style_layers)):
            weight = getattr(weights, name)
            if weight and not taps:
                raise ValueError(f"weight_{name} is {weight:g}, but {name}_layers is empty; name taps, or set it to 0")

    def calibrated(self, weights: Weights, targets: Targets, references: Mapping[str, Tensor]) -> Weights:
        """Return weights in units of each term's own gradient at a picture that it pulls away from.

        With them a weight of 1 means a gradient of root mean square 1 there, over encoders, sizes and losses; not over
        pairs of pictures, of which some differ more. Pictures serve better than noise, at which gradients are larger,
        by another factor for each encoder; a small part of noise's is the least unit, for pictures near the target.

        Args:
            weights: as the user gives them.
            targets: of the optimization.
            references: (1, 3, H, W) by term: for the style term the content, for the content term the style; a term
                without one (total variation: a smooth picture has hardly any) has noise's gradient as its unit.

        Raises:
            ValueError: if a term has no gradient at all.

        Source: ours, after Li et al. 2017, who balance their losses by gradient norms.
        """
        found = dict.fromkeys(Weights._fields, 0.0)
        sizes = next(iter(references.values()))
        for name, weight in weights._asdict().items():
            if weight:
                alone = Weights(**{**dict.fromkeys(Weights._fields, 0.0), name: 1.0})
                unit = self._steepness(noise(sizes.shape[-2:], sizes, 0), targets, alone)
                if name in references:
                    unit = max(_LEAST_UNIT * unit, self._steepness(references[name], targets, alone))
                if not unit > 0:
                    raise ValueError(
                        f"the {name} term has no gradient, not even at a picture of noise; choose other layers"
                    )
                found[name] = weight / unit
        return Weights(**found)

    def _steepness(self, picture: Tensor, targets: Targets, weights: Weights) -> float:
        """Return the root mean square of the gradient at a picture."""
        return float(self.evaluate(picture, targets=targets, weights=weights).gradient.square().mean().sqrt())


class Progress(NamedTuple):
    """Where an optimization stands.

    Attributes:
        evaluation: number of this evaluation, from 1.
        evaluations: how many there will be.
        image: (1, 3, H, W), the picture that was evaluated, within what the bounds allow; keep only a copy.
        total: scalar, the objective there.
        terms: its terms, unweighted.
    """

    evaluation: int
    evaluations: int
    image: Tensor
    total: Tensor
    terms: dict[str, Any]


Watch = Callable[[Progress], None]


@dataclass(frozen=True)
class Plan:
    """How a picture is optimized.

    Attributes:
        settings: the optimizer of its pixels, and their bounds.
        weights: as the user gives them.
        calibrate: whether they are in units of each term's own gradient; see `Objective.calibrated`.
        init: the picture to start with: `content`, `style` or `noise`.
        seed: of the noise.
        evaluations: of the objective, at the smallest size.
        evaluations_per_scale: at every larger size of the ladder.
        smallest_px: longer side that the ladder of sizes begins with; None for no ladder.
    """

    settings: Settings
    weights: Weights
    calibrate: bool
    init: str
    seed: int
    evaluations: int
    evaluations_per_scale: int
    smallest_px: int | None


def optimize(objective: Objective, plan: Plan, pictures: Pictures, watch: Watch | None = None) -> Tensor:
    """Optimize one picture, at each size of the ladder from small to large.

    Args:
        objective: what it should become.
        plan: how.
        pictures: content and styles, at their final sizes.
        watch: sees every evaluation.

    Returns:
        (1, 3, H, W) within the bounds.

    Raises:
        ValueError: if a term with a weight has no layers or no gradient, or a style cannot be measured in.
    """
    objective.check(plan.weights)
    sizes = ladder(pictures.size[0], pictures.size[1], plan.smallest_px)
    counts = [plan.evaluations, *[plan.evaluations_per_scale] * (len(sizes) - 1)]
    parameter, done = None, 0
    with float32_island(pictures.styles[0]):  # a line search compares values: half precision would lead it astray
        for size, count in zip(sizes, counts, strict=True):
            here = pictures.at(size)
            targets, weights = objective.targets(here, plan.weights), plan.weights
            if plan.calibrate:
                weights = objective.calibrated(weights, targets, here.references())
            if parameter is None:
                parameter = ImageParameter(plan.settings, here.start(plan.init, plan.seed))
            else:
                parameter = parameter.enlarged(size)
            evaluate = partial(objective.evaluate, targets=targets, weights=weights)
            minimize(parameter, evaluate, count, watch, done, sum(counts))
            done += count
    assert parameter is not None
    return parameter.image


def minimize(
    parameter: ImageParameter,
    evaluate: Callable[[Tensor, int], Evaluation],
    evaluations: int,
    watch: Watch | None = None,
    done: int = 0,
    of: int = 0,
) -> None:
    """Evaluate an objective a number of times, and follow its gradient.

    Args:
        parameter: the picture.
        evaluate: takes pixels and the number of the evaluation.
        evaluations: how many.
        watch: sees every evaluation.
        done: evaluations before these, for `watch`.
        of: evaluations in all, for `watch`; 0 for these alone.
    """
    count, best = 0, BestPoint()

    def closure() -> Tensor:
        nonlocal count
        if count == evaluations:
            raise _SpentError
        count += 1
        pixels = parameter.bounded_pixels()
        found = evaluate(pixels, done + count)
        parameter.take_gradient(found.gradient)
        if parameter.searches and count > evaluations - LONGEST_SEARCH:
            best.offer(found.total, parameter.variable)
        if watch is not None:
            watch(Progress(done + count, of or evaluations, pixels, found.total, found.terms))
        return found.total

    try:
        while count < evaluations:
            parameter.optimizer.step(closure)  # type: ignore[arg-type]
    except _SpentError:  # in the middle of a line search, at a point that it might not have kept
        best.give(parameter.variable)


class _SpentError(Exception):
    """The evaluations are used up."""


def detached(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return terms without their graphs."""
    return {name: detached(term) if isinstance(term, Mapping) else term.detach() for name, term in terms.items()}
