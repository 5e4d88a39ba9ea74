"""MyMethodTranslator: one network for any style, which a picture gives when the network is used.

Paper: none yet. Write here: authors, "title", venue and year, and which sections are implemented.

What stands here works: a small network looks at the style picture and says which mean and standard deviation each
channel of another one's feature map takes (as in Ghiasi, Lee, Kudlur, Dumoulin, Shlens, "Exploring the structure of a
real-time, arbitrary neural artistic stylization network", BMVC 2017). Its neighbor is
`inference/translators/adain.py`. This file is all that a trained model needs: it imports no training.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.functional.channel_statistics import ChannelStatistics, adaptive_instance_norm
from stylebench.inference.base import CONTENT, Control, Picture
from stylebench.inference.translators.base import Guides
from stylebench.inference.translators.style import COLOR, STYLE_SCALE, StyleTranslator


class MyMethodTranslator(StyleTranslator):
    """Paint a content with the channel statistics that a style picture asks for.

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
        self.style = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 4 * width),
        )  # fmt: skip
        self.down = nn.Sequential(
            nn.Conv2d(3, width, 9, 1, 4, padding_mode="replicate"), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1)
        )
        self.up = nn.Sequential(
            nn.ReLU(), nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.ReLU(), nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, 3, 9, 1, 4, padding_mode="replicate"),
        )  # fmt: skip

    def describe(self, style: Tensor) -> ChannelStatistics:
        """Return the statistics that a style asks for; (B, 3, h, w) pictures in [0, 1]."""
        mean, spread = self.style(style).chunk(2, dim=1)  # (B, 2 width) each
        return ChannelStatistics(mean, F.softplus(spread))

    def paint(self, content: Tensor, statistics: ChannelStatistics) -> Tensor:
        """Return contents, (B, 3, H, W) in [0, 1], painted with statistics of one style or of one each."""
        maps = adaptive_instance_norm(self.down(content), statistics)  # (B, 2 width, H / 2, W / 2)
        return torch.sigmoid(self.up(maps))[..., : content.shape[-2], : content.shape[-1]]

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Return the stylized images with their graph, for training; (B, 3, H, W) in [0, 1] each."""
        return self.paint(content, self.describe(style))

    def render_styles(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Paint with the weighted mean of the statistics of all styles, then mix by `alpha`."""
        means, deviations = zip(*map(self.describe, guides.styles), strict=True)  # K of (1 or B, 2 width) each
        mixed = ChannelStatistics(_mixed(means, guides.weights), _mixed(deviations, guides.weights))
        return torch.lerp(images, self.paint(images, mixed), controls["alpha"])


def _mixed(parts: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    return torch.stack([share * part for share, part in zip(shares, parts, strict=True)]).sum(0)
