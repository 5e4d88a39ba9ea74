"""The objective of image optimization: features like a content's, feature statistics like a style's, and smoothness.

Statistics of style are sums over positions, so they add over tiles. A picture in tiles is evaluated in two passes: the
first sums the statistics, without a graph; the loss is a function of these sums, and its derivative by them is what the
second pass sends back through each tile. The gradient is that of the whole picture; only one tile is in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stylebench.checks import check_choice, check_number
from stylebench.functional.content import content_loss
from stylebench.functional.total_variation import total_variation
from stylebench.nn.encoders.base import Encoder
from stylebench.nn.tiles import Tile, cut_tiles, encode_in_tiles
from stylebench.optimization.style_losses import StyleLoss, Summary, Window

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


def noise(size: Sequence[int], like: Tensor, seed: int) -> Tensor:
    """Draw a picture of white noise, U(0, 1), on the CPU, so that all devices have the same; (1, 3, *size)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, *size, generator=generator).to(like.device, like.dtype)


class FeatureMatching:
    """Compare a picture's features with targets, and give the gradient with respect to its pixels.

    Args:
        encoder: frozen network.
        content_layers: taps whose maps must be the content's.
        style_layers: taps whose statistics must be the style's.
        style_loss: how statistics are compared, at every style layer.
        layer_weights: of the style layers; None for equal ones with sum 1.
        content_norm: `mean` (over C*H*W) or `gatys` (half the sum: Gatys et al. 2016, eq. 1).
        tv_convention: form of the total variation.
        tile_px: side of the tiles, None for the whole picture at once.

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
        tile_px: int | None,
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
        self.content_norm, self.tv_convention, self.tile_px = content_norm, tv_convention, tile_px

    def content_targets(self, content: Tensor) -> dict[str, Tensor]:
        """Return the content's maps by layer; (1, 3, H, W) in [0, 1]."""
        return encode_in_tiles(self.encoder, content, self.content_layers, self.tile_px)

    def style_targets(self, style: Tensor) -> dict[str, Any]:
        """Return what the style loss keeps of a picture, by layer; (1, 3, h, w) in [0, 1]."""
        with torch.no_grad():
            sums = self._summaries(style, self._tiles(style, self.style_layers), self.style_layers, step=0)
            return {layer: self.style_loss.target(sums[layer], layer) for layer in self.style_layers}

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
        found = {}
        for name, weight in weights._asdict().items():
            found[name] = 0.0
            if weight:
                alone = Weights(**{**dict.fromkeys(Weights._fields, 0.0), name: 1.0})
                sizes = next(iter(references.values()))
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

    def evaluate(self, image: Tensor, step: int = 0, *, targets: Targets, weights: Weights) -> Evaluation:
        """Return the objective, its gradient and its terms.

        Args:
            image: (1, 3, H, W), any real range around [0, 1].
            step: number of the evaluation, for losses that sample new positions each time.
            targets: from `content_targets` and `style_targets`.
            weights: factors; a term with factor 0 is not computed.
        """
        for name, weight, taps in (
            ("content", weights.content, self.content_layers),
            ("style", weights.style, self.style_layers),
        ):
            if weight and not taps:
                raise ValueError(f"weight_{name} is {weight:g}, but {name}_layers is empty; name taps, or set it to 0")
        content = self.content_layers if weights.content and targets.content else ()
        style = self.style_layers if weights.style and targets.styles else ()
        layers = tuple(dict.fromkeys((*content, *style)))
        terms: dict[str, Any] = {"content": {}, "style": {}}
        gradient, total = torch.zeros_like(image), image.new_zeros(())
        tiles = self._tiles(image, layers) if layers else []
        cotangents: dict[str, tuple[Tensor, ...]] = {}
        if style and len(tiles) > 1:
            terms["style"], cotangents = self._whole_style(image, tiles, style, targets, weights.style, step)
            total = total + weights.style * sum(terms["style"].values())
        for tile in tiles:
            part = self._part(image, tile, content, style, targets, weights, step, cotangents)
            tile.read(gradient).add_(part.gradient)
            total = total + part.total
            for name, found in part.terms.items():
                for layer, value in found.items():
                    terms[name][layer] = terms[name].get(layer, 0) + value
        if weights.tv:
            smooth, slope = self._smoothness(image)
            gradient.add_(slope, alpha=weights.tv)
            terms["tv"], total = smooth, total + weights.tv * smooth
        return Evaluation(
            total, gradient, {name: term for name, term in terms.items() if not isinstance(term, dict) or term}
        )

    def _whole_style(
        self, image: Tensor, tiles: Sequence[Tile], style: Sequence[str], targets: Targets, weight: float, step: int
    ) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, ...]]]:
        """Sum the statistics of all tiles; return the style terms and the derivative of their sum by the statistics."""
        with torch.no_grad():
            sums = self._summaries(image, tiles, style, step)
        leaves = {layer: tuple(part.requires_grad_() for part in sums[layer].tensors()) for layer in style}
        with torch.enable_grad():
            terms = self._style_terms({layer: sums[layer].with_tensors(leaves[layer]) for layer in style}, targets)
            flat = [part for layer in style for part in leaves[layer]]
            slopes = iter(torch.autograd.grad(weight * torch.stack([*terms.values()]).sum(), flat, allow_unused=True))
        cotangents = {layer: tuple(_filled(next(slopes), part) for part in leaves[layer]) for layer in style}
        return {layer: term.detach() for layer, term in terms.items()}, cotangents

    def _part(
        self,
        image: Tensor,
        tile: Tile,
        content: Sequence[str],
        style: Sequence[str],
        targets: Targets,
        weights: Weights,
        step: int,
        cotangents: Mapping[str, tuple[Tensor, ...]],
    ) -> Evaluation:
        """Go through one tile and back; style terms are complete only where the tile is the whole picture."""
        pixels = tile.read(image).detach().requires_grad_()
        with torch.enable_grad():
            maps = self._inner_maps(pixels, tile, tuple(dict.fromkeys((*content, *style))))
            terms = {"content": {layer: self._content_term(layer, maps[layer], tile, targets) for layer in content}}
            outputs = [weights.content * term for term in terms["content"].values()]
            slopes: list[Tensor | None] = [None] * len(outputs)
            sums = {
                layer: self.style_loss.summarize(maps[layer], self._window(layer, tile, maps[layer]), step)
                for layer in style
            }
            if cotangents:
                outputs += [part for layer in style for part in sums[layer].tensors()]
                slopes += [slope for layer in style for slope in cotangents[layer]]
            elif style:
                terms["style"] = self._style_terms(sums, targets)
                outputs += [weights.style * term for term in terms["style"].values()]
                slopes += [None] * len(style)
            (gradient,) = torch.autograd.grad(outputs, pixels, slopes)
        known = {name: {layer: term.detach() for layer, term in found.items()} for name, found in terms.items()}
        total = image.new_zeros(())
        for name, weight in (("content", weights.content), ("style", weights.style)):
            for term in known.get(name, {}).values():
                total = total + weight * term
        return Evaluation(total, gradient, known)

    def _tiles(self, image: Tensor, layers: Sequence[str]) -> list[Tile]:
        return cut_tiles(image.shape[-2], image.shape[-1], self.tile_px, self.encoder, layers)

    def _inner_maps(self, pixels: Tensor, tile: Tile, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the (1, C, h, w) maps of a tile without those of its halo."""
        maps = self.encoder(pixels, layers)
        return {layer: tile.inner(maps[layer], self.encoder.strides[layer]) for layer in layers}

    def _window(self, layer: str, tile: Tile, features: Tensor) -> Window:
        """Return where a tile's positions lie in the map of the whole picture."""
        stride = self.encoder.strides[layer]
        height, width = (self.encoder.size_out(side, layer) for side in (tile.height, tile.width))
        rows, columns = features.shape[-2:]
        return Window(tile.top // stride, tile.left // stride, rows, columns, height, width)

    def _summaries(self, image: Tensor, tiles: Sequence[Tile], layers: Sequence[str], step: int) -> dict[str, Summary]:
        """Sum the statistics of the tiles, by layer."""
        sums: dict[str, Summary] = {}
        for tile in tiles:
            maps = self._inner_maps(tile.read(image), tile, layers)
            for layer in layers:
                part = self.style_loss.summarize(maps[layer], self._window(layer, tile, maps[layer]), step)
                sums[layer] = sums[layer] + part if layer in sums else part
        return sums

    def _style_terms(self, sums: Mapping[str, Summary], targets: Targets) -> dict[str, Tensor]:
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

    def _content_term(self, layer: str, features: Tensor, tile: Tile, targets: Targets) -> Tensor:
        """Return a tile's part of the content term of a layer."""
        whole = targets.content[layer]
        stride = self.encoder.strides[layer]
        rows, columns = features.shape[-2:]
        top, left = tile.top // stride, tile.left // stride
        wanted = whole[..., top : top + rows, left : left + columns]
        part = content_loss(features, wanted).sum() * wanted[0].numel() / len(self.content_layers)
        return part / 2 if self.content_norm == "gatys" else part / whole[0].numel()

    def _smoothness(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the total variation and its gradient."""
        pixels = image.detach().requires_grad_()
        with torch.enable_grad():
            value = total_variation(pixels, self.tv_convention).sum()
            (gradient,) = torch.autograd.grad(value, pixels)
        return value.detach(), gradient


def _filled(slope: Tensor | None, part: Tensor) -> Tensor:
    """Return a derivative, zeros where there is none."""
    return torch.zeros_like(part) if slope is None else slope
