"""The generator of StarGAN v2, which is told the style of the target.

Choi, Uh, Yoo, Ha, "StarGAN v2: Diverse Image Synthesis for Multiple Domains", CVPR 2020, section 3.1 and appendix; the
high-pass skip and its masks are in the published code alone (clovaai/stargan-v2, core/model.py).

Deviation: any image size (extended by reflection to what the halvings divide, cropped after).
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.checks import Size, check_number, check_optional_whole, check_whole
from stylebench.nn.layers import InstanceNorm, pad_to_multiple
from stylebench.nn.residual_blocks import (
    SLOPE,
    ResidualBlock,
    StyledBlock,
    channel_widths,
    generator_halvings,
    initialize_he,
    official_width,
)

_EDGES = ((-1.0, -1.0, -1.0), (-1.0, 8.0, -1.0), (-1.0, -1.0, -1.0))
_MASK_OF = {2: 1, 4: 1, 8: 0}  # which mask serves the map that is so many times smaller than the image


class StarGANv2Generator(nn.Module):
    """Halvings to 16 px with instance norm, doublings whose norms take scale and shift from the style. Not bounded.

    33,892,995 parameters at 256 px; 43,467,395 with the high-pass skip.

    Args:
        size_px: side of the images that it is trained on, a power of two, or height and width: says how often they are
            halved.
        style_dim: length S of a style code.
        width: channels at full resolution; None for the published code's, 2^14 / size_px.
        max_width: most channels.
        high_pass: divisor of the high-pass filter by which details of the input skip the bottleneck (1 for CelebA-HQ);
            0 for none. It needs masks of facial landmarks, halves once more, and its styled blocks add no input.

    Raises:
        ValueError: if a setting is out of its range.
    """

    def __init__(
        self,
        size_px: Size,
        style_dim: int = 64,
        width: int | None = None,
        max_width: int = 512,
        high_pass: float = 0.0,
    ) -> None:
        super().__init__()
        check_whole("style_dim", style_dim)
        check_optional_whole("width", width)
        self.high_pass = check_number("high_pass", high_pass)
        halvings = generator_halvings(size_px) + (self.high_pass > 0)
        widths = channel_widths(halvings, official_width(size_px) if width is None else width, max_width)
        self.style_dim, self.stride = style_dim, 2**halvings
        pairs, deepest = list(itertools.pairwise(widths)), widths[-1]
        skip = not self.high_pass
        self.enter = nn.Conv2d(3, widths[0], 3, 1, 1)
        self.encode = nn.ModuleList(
            [ResidualBlock(a, b, norm=True, halve=True) for a, b in pairs]
            + [ResidualBlock(deepest, deepest, norm=True, halve=False) for _ in range(2)]
        )
        self.decode = nn.ModuleList(
            [StyledBlock(deepest, deepest, style_dim, double=False, skip=skip) for _ in range(2)]
            + [StyledBlock(b, a, style_dim, double=True, skip=skip) for a, b in reversed(pairs)]
        )
        self.leave = nn.Sequential(InstanceNorm(widths[0]), nn.LeakyReLU(SLOPE), nn.Conv2d(widths[0], 3, 1))
        if self.high_pass:
            kernel = torch.tensor(_EDGES) / self.high_pass
            self.register_buffer("edges", kernel, persistent=False)
        self.apply(initialize_he)

    def forward(self, images: Tensor, styles: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Translate images.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            styles: (B, S) style codes of the target domains.
            masks: of the high-pass skip, two of (B, 1, h, w) in [0, 1]: where the details of a map of an eighth of the
                size are kept, and where those of a quarter and a half are.

        Returns:
            (B, 3, H, W), around [-1, 1] but not bounded, of the input's type under autocast too.

        Raises:
            ValueError: if the codes have another length, or the masks of the high-pass skip are missing.
        """
        if styles.shape != (len(images), self.style_dim):
            raise ValueError(f"expected styles of shape ({len(images)}, {self.style_dim}), got {tuple(styles.shape)}")
        if self.high_pass and masks is None:
            raise ValueError(
                f"high_pass={self.high_pass:g} needs masks of facial landmarks, two of (B, 1, h, w), for each batch; "
                "none were given. high_pass=0 works without them"
            )
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, self.stride)
        maps, kept = self.enter(padded), {}
        for block in self.encode:
            if (scale := padded.shape[-1] // maps.shape[-1]) in _MASK_OF and self.high_pass:
                kept[scale] = maps
            maps = block(maps)
        for block in self.decode:
            maps = block(maps, styles)
            if (scale := padded.shape[-1] // maps.shape[-1]) in kept and block.doubles:
                assert masks is not None
                maps = maps + self._details(masks[_MASK_OF[scale]], kept[scale])
        return self.leave(maps)[..., :height, :width].to(images.dtype)  # type: ignore[no-any-return]

    def _details(self, mask: Tensor, maps: Tensor) -> Tensor:
        """Return the high-pass part of a masked map, channel by channel."""
        resized = F.interpolate(mask.to(maps.dtype), maps.shape[-2:], mode="bilinear")
        kernel = self.edges.to(maps.dtype).expand(maps.shape[1], 1, 3, 3)  # type: ignore[operator]
        return F.conv2d(resized * maps, kernel, padding=1, groups=maps.shape[1])
