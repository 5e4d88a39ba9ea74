"""MyMethodTranslator: one network for any style, which a picture gives when the network is used.

Paper: none yet. Write here: authors, "title", venue and year, and which sections are implemented.

What stands here works: each channel of the content's feature map takes the mean and standard deviation that it has in
the style's (AdaIN of Huang & Belongie 2017, eq. 8), and so do the colors of the result; all layers are learned. Its
neighbor is `inference/translators/adain.py`. This file is all that a trained model needs: it imports no training.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stylebench.functional.channel_statistics import ChannelStatistics, adaptive_instance_norm, channel_statistics
from stylebench.inference.base import CONTENT, Control, Picture
from stylebench.inference.translators.base import Guides
from stylebench.inference.translators.style import COLOR, STYLE_SCALE, StyleTranslator


class MyMethodTranslator(StyleTranslator):
    """Paint a content with the channel statistics of a style picture.

    Args:
        width: channels at full resolution; twice as many at half of it.
    """

    inputs: Sequence[Picture] = (CONTENT, Picture("style", "the picture whose style is asked for", many=True))
    controls = (
        Control("alpha", 0.0, 1.0, 1.0, "strength: pixel mix of content (0) and stylized image (1)"),
        COLOR,
        STYLE_SCALE,
    )

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down = nn.Sequential(_conv(3, width, 9), nn.ReLU(), _conv(width, 2 * width, 3, stride=2))
        self.up = nn.Sequential(
            nn.ReLU(), _conv(2 * width, 2 * width, 3), nn.ReLU(), nn.Upsample(scale_factor=2),
            _conv(2 * width, width, 3), nn.ReLU(), _conv(width, 3, 9),
        )  # fmt: skip

    def describe(self, style: Tensor) -> ChannelStatistics:
        """Return statistics of styles, (B, 2 width + 3) each: of feature maps, then of red, green and blue.

        Args:
            style: (B, 3, h, w) in [0, 1].
        """
        maps, colors = channel_statistics(self.down(style)), channel_statistics(style)
        return ChannelStatistics(torch.cat([maps.mean, colors.mean], 1), torch.cat([maps.std, colors.std], 1))

    def paint(self, content: Tensor, statistics: ChannelStatistics) -> Tensor:
        """Return contents, (B, 3, H, W) in [0, 1], painted with the statistics of one style or of one each."""
        of_maps = ChannelStatistics(statistics.mean[:, :-3], statistics.std[:, :-3])
        of_colors = ChannelStatistics(statistics.mean[:, -3:], statistics.std[:, -3:])
        maps = adaptive_instance_norm(self.down(content), of_maps)  # (B, 2 width, H / 2, W / 2)
        painted = self.up(maps)[..., : content.shape[-2], : content.shape[-1]]
        return adaptive_instance_norm(painted, of_colors)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Return the stylized images, unclamped and with their graph, for training; (B, 3, H, W) in [0, 1] each."""
        return self.paint(content, self.describe(style))

    def render_styles(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Paint with the weighted mean of the statistics of all styles, then mix by `alpha`."""
        means, deviations = zip(*map(self.describe, guides.styles), strict=True)  # K of (1 or B, 2 width + 3)
        mixed = ChannelStatistics(_mixed(means, guides.weights), _mixed(deviations, guides.weights))
        return torch.lerp(images, self.paint(images, mixed), controls["alpha"])


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, padding_mode="replicate")  # zeros would darken the rim


def _mixed(parts: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    return torch.stack([share * part for share, part in zip(shares, parts, strict=True)]).sum(0)
