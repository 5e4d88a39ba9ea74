"""Distances between pictures on an encoder's features, all pairs at once."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stylebench.functional.gram import gram_matrix
from stylebench.nn.encoders.base import Encoder

_BATCH = 16


def style_distances(encoder: Encoder, images: Tensor) -> Tensor:
    """Compare Gram matrices: |G - G'|^2 / (|G|^2 + |G'|^2), averaged over the encoder's style layers.

    Args:
        encoder: whose `style_layers` are compared.
        images: (N, 3, H, W) uint8.

    Returns:
        (N, N) float32 in [0, 1].
    """
    return _distances(encoder, images, encoder.style_layers, _half_gram)


def content_distances(encoder: Encoder, images: Tensor) -> Tensor:
    """Compare maps position by position: |F - F'|^2 / (|F|^2 + |F'|^2), averaged over the content layers.

    Args:
        encoder: whose `content_layers` are compared.
        images: (N, 3, H, W) uint8.

    Returns:
        (N, N) float32 in [0, 1].
    """
    return _distances(encoder, images, encoder.content_layers, lambda maps: maps.flatten(1))


@torch.no_grad()
def _distances(encoder: Encoder, images: Tensor, layers: Sequence[str], vector: Callable[[Tensor], Tensor]) -> Tensor:
    """Average relative distances over layers, (N, N)."""
    vectors: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for part in images.split(_BATCH):
        for layer, maps in encoder(part.float() / 255, layers).items():
            vectors[layer].append(vector(maps))
    return torch.stack([_relative(torch.cat(parts)) for parts in vectors.values()]).mean(0)


def _half_gram(maps: Tensor) -> Tensor:
    """Return one half of each symmetric Gram matrix, weighted as the whole, (B, C (C + 1) / 2)."""
    row, column = torch.triu_indices(maps.shape[1], maps.shape[1])
    return gram_matrix(maps)[:, row, column] * torch.where(row == column, 1.0, 2.0).sqrt()


def _relative(vectors: Tensor) -> Tensor:
    energy = vectors.square().sum(1)
    sums = energy[:, None] + energy
    return ((sums - 2 * vectors @ vectors.T) / sums.clamp(min=1e-12)).clamp(0, 1)
