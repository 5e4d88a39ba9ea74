"""The generator of StarGAN, which is told the target domain.

Choi, Choi, Kim, Ha, Kim, Choo, "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image
Translation", CVPR 2018, appendix 7.2 (tables 4 and 5).

Deviations: instance norm has no running statistics (the published code keeps them and never uses them); any image size
(extended by reflection to a multiple of 4, cropped after; multiples of 4 are untouched).
"""

import torch
from torch import Tensor, nn

from stylebench.checks import check_whole
from stylebench.nn.layers import InstanceNorm, OutputConv, Residual, pad_to_multiple

STRIDE = 4  # two halvings
MINIMUM_PX = 8  # at a quarter of the size a norm needs more than one pixel
SLOPE = 0.01


class StarGANGenerator(nn.Module):
    """Label vectors as constant channels beside the image; two halvings, residual blocks, two doublings.

    Zero padding throughout: it is the image's border that tells the norms of the constant channels, which they would
    take away under reflection. 8,430,528 parameters with 5 label channels, 6 blocks and width 64.

    Args:
        label_channels: length c of the label vectors.
        blocks: residual blocks.
        width: channels at full resolution.

    Source: appendix 7.2, table 4; yunjey/stargan, model.py (no biases, learned scales, zero padding).
    """

    def __init__(self, label_channels: int, blocks: int = 6, width: int = 64) -> None:
        super().__init__()
        for name, value in (("label_channels", label_channels), ("blocks", blocks), ("width", width)):
            check_whole(name, value)

        def stage(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
            return [convolution, InstanceNorm(convolution.out_channels), nn.ReLU(inplace=True)]

        def residual(channels: int) -> nn.Module:
            first, second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
            return Residual(*stage(first), second, InstanceNorm(channels), crop_px=0)

        self.body = nn.Sequential(
            *stage(nn.Conv2d(3 + label_channels, width, 7, padding=3, bias=False)),
            *stage(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False)),
            *stage(nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False)),
            *(residual(4 * width) for _ in range(blocks)),
            *stage(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False)),
            *stage(nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False)),
            OutputConv(width, 3, 7, padding_mode="constant", bias=False),
        )

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Translate images.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            labels: (B, c) label vectors of the target domains.

        Returns:
            (B, 3, H, W) in (-1, 1), of the input's type under autocast too.

        Raises:
            ValueError: if a side is too short.
        """
        height, width = images.shape[-2:]
        if min(height, width) < MINIMUM_PX:
            raise ValueError(
                f"the generator needs images of at least {MINIMUM_PX} x {MINIMUM_PX} px, got {height} x {width}; "
                "enlarge the image"
            )
        padded = pad_to_multiple(images, STRIDE)
        channels = labels.to(images.dtype)[:, :, None, None].expand(-1, -1, *padded.shape[-2:])  # (B, c, H, W)
        maps = self.body(torch.cat([padded, channels], 1))
        return maps.to(images.dtype).tanh()[..., :height, :width]  # type: ignore[no-any-return]
