"""A discriminator that judges patches: a map of logits, each of which sees a square of the image.

Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, section 3.2.2
and appendix.
"""

import itertools

from torch import Tensor, nn

from stylebench.checks import Size, check_choice, sides, size_text
from stylebench.nn.layers import InstanceNorm, initialize_normal

NORMS = ("batch", "instance", "none")
# side of what a logit sees, in pixels -> convolutions of stride 2
RECEPTIVE_FIELDS = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}
_WIDEST = 8  # times the first width
_SLOPE = 0.2
_LEAST_SIDE = 3  # of the map after the halvings: each of the two layers that follow takes one pixel


class PatchDiscriminator(nn.Module):
    """4x4 convolutions of stride 2, then two of stride 1; for 1 px three 1x1 convolutions.

    Width doubles with every layer up to 8 times the first; no norm after the first layer and the last. Parameters at
    width 64: with batch norm and 6 channels (pairs) 139,585 (16 px), 666,433 (34), 2,768,705 (70), 6,964,033 (142),
    11,159,361 (286); with instance norm, biases and 3 channels 2,764,737 (70).

    Args:
        in_channels: 3 for images, 6 for pairs of input and output.
        receptive_field_px: side of the patch that a logit sees: 1, 16, 34, 70, 142 or 286.
        width: channels after the first layer.
        norm: `batch` (pix2pix), `instance` (CycleGAN, without scale) or `none`.
        biases: whether convolutions before a norm have biases, as the published checkpoints with instance norm do.

    Raises:
        ValueError: if a setting is not one of these.

    Source: section 3.2.2; phillipi/pix2pix, models.lua (layers by receptive field);
        junyanz/pytorch-CycleGAN-and-pix2pix, models/networks.py.
    """

    def __init__(
        self,
        in_channels: int = 3,
        receptive_field_px: int = 70,
        width: int = 64,
        norm: str = "instance",
        biases: bool = False,
    ) -> None:
        super().__init__()
        check_choice("receptive_field_px", receptive_field_px, RECEPTIVE_FIELDS)
        check_choice("norm", norm, NORMS)
        self.receptive_field_px, self.norm = receptive_field_px, norm
        self.halvings = RECEPTIVE_FIELDS[receptive_field_px]

        def stage(inputs: int, outputs: int, size: int, stride: int) -> list[nn.Module]:
            bias = biases or norm == "none"
            layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, size, stride, margin, bias=bias)]
            if norm != "none":
                layers.append(nn.BatchNorm2d(outputs) if norm == "batch" else InstanceNorm(outputs, affine=False))
            return [*layers, nn.LeakyReLU(_SLOPE)]

        size, stride, margin = (4, 2, 1) if self.halvings else (1, 1, 0)
        widths = [width * min(2**layer, _WIDEST) for layer in range(max(self.halvings, 1) + 1)]
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, size, stride, margin),
            nn.LeakyReLU(_SLOPE),
            *(layer for a, b in itertools.pairwise(widths[:-1]) for layer in stage(a, b, size, stride)),
            *stage(widths[-2], widths[-1], size, 1),
            nn.Conv2d(widths[-1], 1, size, 1, margin),
        )
        self.apply(initialize_normal)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) in [-1, 1] to (B, 1, h, w) logits."""
        logits: Tensor = self.layers(images)
        return logits

    def check_size(self, size_px: Size) -> None:
        """Refuse images that are too small to hold a patch.

        Args:
            size_px: side of square images, or height and width.

        Raises:
            ValueError: saying what would do.
        """
        least = _LEAST_SIDE * 2**self.halvings if self.halvings else 1
        shorter = min(sides(size_px))
        if shorter < least:
            usable = [side for side, n in RECEPTIVE_FIELDS.items() if not n or shorter >= _LEAST_SIDE * 2**n]
            raise ValueError(
                f"a discriminator with a receptive field of {self.receptive_field_px} px finds no patch in images of "
                f"{size_text(size_px)} px; use images of {least} px or more, or a receptive_field_px of "
                f"{' or '.join(map(str, usable))}"
            )
