"""The discriminator of StarGAN, which also names the domain it sees.

Choi, Choi, Kim, Ha, Kim, Choo, "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image
Translation", CVPR 2018, appendix 7.2 (table 5).
"""

from torch import Tensor, nn

from stylebench.checks import Size, check_size, nearest_multiples, sides
from stylebench.nn.generators.stargan import SLOPE


class StarGANDiscriminator(nn.Module):
    """Six halvings without a norm, then two heads: a map of real-or-generated logits, and a logit for each class.

    44,762,048 parameters for 128 px, 5 classes and width 64.

    Args:
        size_px: side of the square images it is made for, or height and width.
        classes: logits of the domain classifier.
        layers: halvings; the width doubles with each.
        width: channels after the first.

    Raises:
        ValueError: if the images cannot be halved that often.

    Source: appendix 7.2, table 5; yunjey/stargan, model.py (LeakyReLU 0.01).
    """

    def __init__(self, size_px: Size, classes: int, layers: int = 6, width: int = 64) -> None:
        super().__init__()
        size = sides(check_size("size_px", size_px))
        for side in size:
            if side % 2**layers:
                raise ValueError(
                    f"size_px must be a multiple of {2**layers}, since {layers} layers halve images that often, got "
                    f"{side}; use images of {nearest_multiples(side, 2**layers)} px, or fewer layers"
                )
        widths = [width * 2**layer for layer in range(layers)]
        trunk: list[nn.Module] = []
        for inputs, outputs in zip([3, *widths[:-1]], widths, strict=True):
            trunk += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        self.trunk = nn.Sequential(*trunk)
        self.source = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.domain = nn.Conv2d(widths[-1], classes, (size[0] // 2**layers, size[1] // 2**layers), bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 3, H, W) in [-1, 1] to (B, 1, h, w) logits of being real and (B, classes) domain logits."""
        maps = self.trunk(images)  # (B, C, h, w)
        return self.source(maps), self.domain(maps).flatten(1)
