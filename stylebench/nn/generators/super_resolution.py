"""The network that enlarges images.

Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016, section 4.2
and the supplement's table of layers.

Deviations: convolutions pad by reflection instead of by zeros, so that borders show no frame (the transposed
convolutions keep their zeros). By default the network computes what to add to the bicubic enlargement, in gray levels,
and doubles sizes by nearest neighbor; the paper's, `skip=none head=paper upsample=deconv`, makes the whole image and
needs long training.
"""

from torch import Tensor, nn

from stylebench.checks import check_choice, check_whole
from stylebench.functional.bicubic import enlarge
from stylebench.nn.bands import BAND_ROWS, KEEP_BYTES, PerPixel, run_in_bands
from stylebench.nn.heads import HEADS, check_size, enter, leave
from stylebench.nn.layers import OutputConv, ReflectConv, Residual, UpsampleConv, make_norm

SKIPS = ("bicubic", "none")
UPSAMPLES = ("nearest_conv", "deconv")
FACTORS = (2, 4, 8)
BLOCKS = 4
MINIMUM_PX = 5  # the first convolution mirrors 4 pixels


class SuperResolutionNet(nn.Module):
    """Enlarge images: a convolution, four residual blocks at the small size, one doubling after another, a convolution.

    At width 64 with affine norm 401,859 parameters for a factor of 4, 438,915 for 8. The heads are those of
    `nn/heads.py`. With `skip=bicubic` the network computes what to add to the bicubic enlargement: a last output of 0
    adds nothing.

    Args:
        factor: 2, 4 or 8.
        width: channels everywhere (64).
        norm: `batch` (the paper's) or `instance`.
        upsample: `nearest_conv` (nearest neighbor, then a convolution 3x3) or `deconv` (the paper's: transposed
            convolution 3x3 of stride 2, which begins with a checkerboard).
        head: `linear`, `tanh` or `paper`.
        skip: `bicubic`, which learns within minutes, or `none` (the paper's), which needs thousands of batches to copy
            its input.

    Raises:
        ValueError: if an argument is none of these.

    Source: Johnson et al. 2016, supplementary material.
    """

    def __init__(
        self,
        factor: int = 4,
        width: int = 64,
        norm: str = "batch",
        upsample: str = "nearest_conv",
        head: str = "linear",
        skip: str = "bicubic",
    ) -> None:
        super().__init__()
        check_choice("factor", factor, FACTORS)
        check_whole("width", width)
        for name, word, words in (("upsample", upsample, UPSAMPLES), ("head", head, HEADS), ("skip", skip, SKIPS)):
            check_choice(name, word, words)
        self.factor, self.width, self.norm = factor, width, norm
        self.upsample, self.head, self.skip = upsample, head, skip

        def stage(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
            return [convolution, make_norm(norm, width), nn.ReLU(inplace=True)]

        def residual() -> nn.Module:
            last = ReflectConv(width, width, 3)
            return Residual(*stage(ReflectConv(width, width, 3)), last, make_norm(norm, width), crop_px=0)

        def double() -> nn.Conv2d | nn.ConvTranspose2d:
            if upsample == "nearest_conv":
                return UpsampleConv(width, width)
            return nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)

        self.body = nn.Sequential(
            *stage(ReflectConv(3, width, 9)),
            *(residual() for _ in range(BLOCKS)),
            *(layer for _ in range(factor.bit_length() - 1) for layer in stage(double())),
            OutputConv(width, 3, 9, padding_mode="reflect"),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Enlarge images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], at least 5 x 5 pixels.

        Returns:
            (B, 3, factor H, factor W) RGB, [0, 1] with excursions that depend on the head; of the input's type under
            autocast too.

        Raises:
            ValueError: if the shape is another one or a side is shorter than 5 pixels.
        """
        check_size(images, MINIMUM_PX, type(self).__name__)
        maps: Tensor = self.body(enter(images, self.head))
        return self._add(images, leave(maps.to(images.dtype), self.head))

    def in_bands(self, images: Tensor, band_rows: int = BAND_ROWS, keep_bytes: int = KEEP_BYTES) -> Tensor:
        """Enlarge big images: as `forward` in evaluation mode, up to rounding, in a fraction of the memory.

        Args:
            images: as for `forward`.
            band_rows: see `run_in_bands`.
            keep_bytes: see `run_in_bands`.

        Returns:
            (B, 3, factor H, factor W) as from `forward`, without a graph.

        Raises:
            ValueError: as `forward`, or if batch norm is in training mode.
        """
        check_size(images, MINIMUM_PX, type(self).__name__)
        layers = nn.Sequential(
            PerPixel(lambda maps: enter(maps, self.head)),
            self.body,
            PerPixel(lambda maps: leave(maps.to(images.dtype), self.head)),
        )
        made = run_in_bands(layers, images, band_rows, keep_bytes)
        return self._add(images, made)

    def _add(self, images: Tensor, made: Tensor) -> Tensor:
        if self.skip == "none":
            return made
        zero = 0.0 if self.head == "linear" else 0.5  # what a last map of zeros became
        return enlarge(images, self.factor).to(made.dtype) + (made - zero)
