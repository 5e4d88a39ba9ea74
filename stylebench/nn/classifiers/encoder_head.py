"""A head with batch norm over the features of a frozen encoder: a training of seconds."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stylebench.checks import check_whole
from stylebench.nn.classifiers.base import ClassifierNetwork
from stylebench.nn.encoders.base import Encoder


class EncoderHead(ClassifierNetwork):
    """Linear, BatchNorm1d, ReLU, Linear over the mean activations of an encoder's layers.

    The batch norm is what adaptation works on; the encoder is frozen and in no checkpoint.

    Args:
        classes: K.
        encoder: frozen network with named taps.
        layers: taps whose means over positions are put side by side.
        width: of the hidden layer.

    Raises:
        ValueError: if there is no such tap.
    """

    def __init__(self, classes: int, encoder: Encoder, layers: Sequence[str], width: int = 256) -> None:
        super().__init__()
        check_whole("width", width)
        unknown = [layer for layer in layers if layer not in encoder.taps]
        if unknown or not layers:
            raise ValueError(f"layers must name taps out of {', '.join(encoder.taps)}, got {list(layers)}")
        self.encoder, self.layers = encoder, tuple(layers)
        self.width = width
        self.hidden = nn.Sequential(
            nn.Linear(sum(encoder.channels[layer] for layer in layers), width), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.head = nn.Linear(width, classes)

    def pooled(self, images: Tensor) -> Tensor:
        """Return what the encoder makes of (B, 3, H, W) images in [0, 1]: (B, sum of channels), without gradient."""
        with torch.no_grad():
            maps = self.encoder(images, self.layers)
        return torch.cat([maps[layer].mean((2, 3)) for layer in self.layers], 1)

    def features(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) images in [0, 1] to (B, width)."""
        features: Tensor = self.hidden(self.pooled(images))
        return features
