"""The objective of `gatys.py` for pictures that memory does not hold: a tile at a time, and the same gradient.

Statistics of style are sums over positions, so they add over tiles. A picture in tiles is evaluated in two passes: the
first sums the statistics, without a graph; the loss is a function of these sums, and its derivative by them is what the
second pass sends back through each tile. The gradient is that of the whole picture; only one tile is in memory.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stylebench.functional.total_variation import total_variation
from stylebench.nn.encoders.base import Encoder
from stylebench.nn.tiles import Tile, cut_tiles, encode_in_tiles
from stylebench.optimization.gatys import Evaluation, Objective, Targets, Weights, detached
from stylebench.optimization.style_losses import Summary, Window


class TiledObjective(Objective):
    """The objective over whole pictures, in tiles where a picture is larger than one.

    Args:
        encoder: frozen network.
        tile_px: side of the tiles.
        **settings: those of `Objective`.

    Raises:
        ValueError: as `Objective`.
    """

    def __init__(self, encoder: Encoder, *, tile_px: int, **settings: Any) -> None:
        super().__init__(encoder, **settings)
        self.tile_px = tile_px

    def evaluate(self, image: Tensor, step: int = 0, *, targets: Targets, weights: Weights) -> Evaluation:
        """Return the objective, its gradient and its terms: those of `Objective.evaluate`, up to rounding."""
        content, style = self.layers(weights)
        tiles = self.tiles(image, (*content, *style))
        if len(tiles) == 1:
            return super().evaluate(image, step, targets=targets, weights=weights)
        gradient, total = torch.zeros_like(image), image.new_zeros(())
        terms: dict[str, Any] = {"content": dict.fromkeys(content, 0)} if content else {}
        cotangents: dict[str, tuple[Tensor, ...]] = {}
        if style:
            terms["style"], cotangents = self._whole_style(image, tiles, targets, weights, step)
            total = total + weights.style * sum(terms["style"].values())
        for tile in tiles:
            slope, parts = self._through(image, tile, targets, weights, step, cotangents)
            tile.read(gradient).add_(slope)
            total = total + sum(weights.content * part for part in parts.values())
            for layer, part in parts.items():
                terms["content"][layer] = terms["content"][layer] + part
        if weights.tv:
            pixels = image.detach().requires_grad_()
            with torch.enable_grad():
                smooth = total_variation(pixels, self.tv_convention).sum()
            gradient.add_(torch.autograd.grad(smooth, pixels)[0], alpha=weights.tv)
            terms["tv"], total = smooth.detach(), total + weights.tv * smooth.detach()
        return Evaluation(total, gradient, terms)

    def content_targets(self, content: Tensor) -> dict[str, Tensor]:
        """Return the content's maps by layer; (1, 3, H, W) in [0, 1]."""
        return encode_in_tiles(self.encoder, content, self.content_layers, self.tile_px)

    def style_sums(self, image: Tensor) -> dict[str, Summary]:
        """Return the statistics of a picture, summed over its tiles, by style layer."""
        return self._summed(image, self.tiles(image, self.style_layers), step=0)

    def tiles(self, image: Tensor, layers: Sequence[str]) -> list[Tile]:
        """Return the tiles of a picture; one where it is no larger, or where no features are asked for."""
        side = self.tile_px if layers else None
        return cut_tiles(image.shape[-2], image.shape[-1], side, self.encoder, layers)

    def _summed(self, image: Tensor, tiles: Sequence[Tile], step: int) -> dict[str, Summary]:
        """Sum the statistics of tiles, by style layer."""
        sums: dict[str, Summary] = {}
        for tile in tiles:
            parts = self._sums(
                self._inner_maps(tile.read(image), tile, self.style_layers), tile, self.style_layers, step
            )
            sums = {layer: sums[layer] + part if sums else part for layer, part in parts.items()}
        return sums

    def _whole_style(
        self, image: Tensor, tiles: Sequence[Tile], targets: Targets, weights: Weights, step: int
    ) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, ...]]]:
        """First pass: return the style terms, and the derivative of their weighted sum by the statistics."""
        with torch.no_grad():
            sums = self._summed(image, tiles, step)
        leaves = {layer: tuple(part.requires_grad_() for part in whole.tensors()) for layer, whole in sums.items()}
        with torch.enable_grad():
            terms = self.style_terms({layer: sums[layer].with_tensors(leaves[layer]) for layer in leaves}, targets)
            flat = [part for layer in leaves for part in leaves[layer]]
            total = weights.style * torch.stack([*terms.values()]).sum()
            slopes = iter(torch.autograd.grad(total, flat, allow_unused=True))
        cotangents = {layer: tuple(_filled(next(slopes), part) for part in leaves[layer]) for layer in leaves}
        return detached(terms), cotangents

    def _through(
        self,
        image: Tensor,
        tile: Tile,
        targets: Targets,
        weights: Weights,
        step: int,
        cotangents: Mapping[str, tuple[Tensor, ...]],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Second pass: return the gradient that comes back through a tile, halo included, and its content terms."""
        content, style = self.layers(weights)
        pixels = tile.read(image).detach().requires_grad_()
        with torch.enable_grad():
            maps = self._inner_maps(pixels, tile, tuple(dict.fromkeys((*content, *style))))
            terms = {layer: self._content_part(layer, maps[layer], tile, targets) for layer in content}
            outputs = [weights.content * term for term in terms.values()]
            slopes: list[Tensor | None] = [None] * len(outputs)
            for layer, part in self._sums(maps, tile, style, step).items():
                outputs += part.tensors()
                slopes += cotangents[layer]
            (gradient,) = torch.autograd.grad(outputs, pixels, slopes)
        return gradient, detached(terms)

    def _inner_maps(self, pixels: Tensor, tile: Tile, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the (1, C, h, w) maps of a tile without those of its halo."""
        maps = self.encoder(pixels, layers)
        return {layer: tile.inner(maps[layer], self.encoder.strides[layer]) for layer in layers}

    def _sums(self, maps: Mapping[str, Tensor], tile: Tile, layers: Sequence[str], step: int) -> dict[str, Summary]:
        """Return what the style loss keeps of a tile's maps, by layer."""
        return {
            layer: self.style_loss.summarize(maps[layer], self._window(layer, tile, maps[layer]), step)
            for layer in layers
        }

    def _window(self, layer: str, tile: Tile, features: Tensor) -> Window:
        """Return where a tile's positions lie in the map of the whole picture."""
        stride = self.encoder.strides[layer]
        height, width = (self.encoder.size_out(side, layer) for side in (tile.height, tile.width))
        rows, columns = features.shape[-2:]
        return Window(tile.top // stride, tile.left // stride, rows, columns, height, width)

    def _content_part(self, layer: str, features: Tensor, tile: Tile, targets: Targets) -> Tensor:
        """Return a tile's part of the content term of a layer."""
        whole, window = targets.content[layer], self._window(layer, tile, features)
        rows = slice(window.top, window.top + window.rows)
        columns = slice(window.left, window.left + window.columns)
        return self.content_term(features, whole[..., rows, columns], whole)


def _filled(slope: Tensor | None, part: Tensor) -> Tensor:
    """Return a derivative, zeros where there is none."""
    return torch.zeros_like(part) if slope is None else slope
