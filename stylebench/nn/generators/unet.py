"""The U-Net of paired translation: images in [-1, 1] to images in [-1, 1] of the same size.

Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, section 3.2.1
and appendix: `C64-C128-C256-C512-C512-C512-C512-C512`, then the way back with skips.

The paper uses the network as it was trained, on one image at a time: batch norm normalizes by the image's own
statistics (`nn.normalization.using(network, "image")` has a batch of any size do so), and dropout, the only noise,
stays on (`nn.seeded_dropout`).

Deviations: no bias but in the last convolution, as the published code sets them to 0 before every step; any image size
(extended by reflection to a multiple of 2^levels, cropped after; multiples are untouched).
"""

import torch
from torch import Tensor, nn

from stylebench.checks import (
    Size,
    check_choice,
    check_optional_whole,
    check_size,
    check_whole,
    nearest_multiples,
    sides,
)
from stylebench.nn.layers import InstanceNorm, initialize_normal, pad_to_multiple
from stylebench.nn.seeded_dropout import SeededDropout

NORMS = ("batch", "instance")
DROPOUTS = ("paper", "code", "none")
MOST_LEVELS = 8
_FEWEST_LEVELS = 4  # that a size alone may lead to: with fewer an output pixel sees little of the image
_WIDEST = 8  # times the first width
_SLOPE = 0.2
_DROPPED = 0.5  # share of the entries
_PAPER_DROPS = 3  # innermost outputs of the decoder with dropout
_CODE_DROPS_FROM = 5  # level; the innermost one has none


class UNetGenerator(nn.Module):
    """4x4 convolutions that halve an image level by level, transposed ones that double it, skips between equal sizes.

    Leaky ReLUs come before a convolution of the encoder, ReLUs before one of the decoder. Channels double with every
    level up to 8 times the first. Parameters at width 64 with norm: 54,413,955 (8 levels), 41,828,995 (7: 128 px),
    29,244,035 (6: 64 px); without skips 39,075,459 (8 levels).

    Args:
        size_px: side of the training crops, or height and width; it decides the levels.
        levels: halvings; None for as many as `size_px` allows, at most 8: 8 from 256 px on, 7 for 128 px, 6 for 64 px.
        width: channels of the first level.
        norm: `batch` (the paper's) or `instance` (with learned scales).
        skips: whether the decoder sees the encoder's maps; without them it is the paper's encoder-decoder.
        dropout: outputs of the decoder with dropout: `paper` (the three innermost, levels 8, 7, 6), `code` (5 up to the
            innermost but one, levels 7, 6, 5) or `none`.
        bottleneck_norm: whether the innermost map is normalized too, as in the paper's first release. One of 1x1 px
            loses all it holds by that, if an image is normalized alone.

    Raises:
        ValueError: if a setting is none of these, or the size cannot be halved as often.

    Source: section 3.2.1 and appendix; phillipi/pix2pix, models.lua and train.lua (dropout of `paper`, biases);
        junyanz/pytorch-CycleGAN-and-pix2pix, models/networks.py (dropout of `code`, no norm of the innermost map).
    """

    def __init__(
        self,
        size_px: Size = 256,
        levels: int | None = None,
        width: int = 64,
        norm: str = "batch",
        skips: bool = True,
        dropout: str = "paper",
        bottleneck_norm: bool = False,
    ) -> None:
        super().__init__()
        check_choice("norm", norm, NORMS)
        check_choice("dropout", dropout, DROPOUTS)
        check_whole("width", width)
        self.levels = _levels(size_px, levels)
        self.norm, self.skips, self.dropout, self.bottleneck_norm = norm, skips, dropout, bottleneck_norm
        widths = [width * min(2**level, _WIDEST) for level in range(self.levels)]
        inputs = [(2 if skips else 1) * channels for channels in widths[:-1]] + widths[-1:]
        numbers = range(2, self.levels + 1)
        self.encoder = nn.ModuleList(
            [
                nn.Conv2d(3, width, 4, 2, 1, bias=False),
                *(self._down(level, widths[level - 2], widths[level - 1]) for level in numbers),
            ]
        )
        self.decoder = nn.ModuleList(
            [
                *(self._up(level, inputs[level - 1], widths[level - 2]) for level in reversed(numbers)),
                nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(inputs[0], 3, 4, 2, 1)),
            ]
        )
        self.apply(initialize_normal)

    @property
    def multiple(self) -> int:
        """What divides both sides of an image that is not extended."""
        return int(2**self.levels)

    def forward(self, images: Tensor) -> Tensor:
        """Translate images.

        Args:
            images: (B, 3, H, W) in [-1, 1], both sides more than half of 2^levels px.

        Returns:
            (B, 3, H, W) in (-1, 1), of the input's type under autocast too.

        Raises:
            ValueError: if a side is too short to be mirrored up to a multiple of 2^levels.
        """
        height, width = images.shape[-2:]
        least = self.multiple // 2 + 1
        if min(height, width) < least:
            raise ValueError(
                f"this U-Net halves images {self.levels} times and needs sides of at least {least} px, which it "
                f"extends to a multiple of {self.multiple}; got {height} x {width}: enlarge the image"
            )
        maps, kept = pad_to_multiple(images, self.multiple), []
        for stage in self.encoder:
            maps = stage(maps)  # (B, c, H / 2^level, W / 2^level)
            kept.append(maps)
        maps = kept.pop()
        for stage in self.decoder:
            maps = stage(maps)  # (B, c, H / 2^(level - 1), W / 2^(level - 1))
            if kept:
                skip = kept.pop()
                maps = torch.cat([maps, skip], 1) if self.skips else maps
        return maps.to(images.dtype).tanh()[..., :height, :width]

    def _down(self, level: int, inputs: int, outputs: int) -> nn.Module:
        layers: list[nn.Module] = [nn.LeakyReLU(_SLOPE), nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)]
        if level < self.levels or self.bottleneck_norm:
            layers.append(self._norm(outputs))
        return nn.Sequential(*layers)

    def _up(self, level: int, inputs: int, outputs: int) -> nn.Module:
        paper = level > self.levels - _PAPER_DROPS
        code = _CODE_DROPS_FROM <= level < self.levels
        dropped = {"paper": paper, "code": code, "none": False}[self.dropout]
        layers = [nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), self._norm(outputs)]
        return nn.Sequential(*layers, *([SeededDropout(_DROPPED, stream=level)] if dropped else []))

    def _norm(self, channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels) if self.norm == "batch" else InstanceNorm(channels)


def _levels(size_px: Size, levels: int | None) -> int:
    """Return the number of levels, checked against the size."""
    size = sides(check_size("size_px", size_px))
    check_optional_whole("levels", levels, 2)
    allowed = min((side & -side).bit_length() - 1 for side in size)  # how often 2 divides the sides
    wanted = min(MOST_LEVELS, allowed) if levels is None else levels
    if wanted > allowed or (levels is None and wanted < _FEWEST_LEVELS):
        multiple = 2 ** (_FEWEST_LEVELS if levels is None else levels)
        odd = next(side for side in size if side % multiple)
        raise ValueError(
            f"size_px must be a multiple of {multiple} for {'at least ' if levels is None else ''}"
            f"{multiple.bit_length() - 1} levels, which each halve images, got {odd}; use images of "
            f"{nearest_multiples(odd, multiple)} px, or another number of levels"
        )
    return wanted
