"""The discriminator of StarGAN v2: one that is told the domain, by a logit for each.

Choi, Uh, Yoo, Ha, "StarGAN v2: Diverse Image Synthesis for Multiple Domains", CVPR 2020, section 3.1.
"""

from torch import Tensor, nn

from stylebench.checks import Size, check_whole
from stylebench.nn.residual_blocks import Trunk, initialize_he, official_width


class MultiTaskDiscriminator(nn.Module):
    """Halvings to 4 px without a norm, then a real-or-generated logit for every domain.

    20,852,290 parameters with 2 domains, 20,852,803 with 3, at 256 px.

    Args:
        size_px: side of the square images, a power of two, or height and width.
        domains: K.
        width: channels at full resolution; None for the published code's, 2^14 / size_px.
        max_width: most channels.

    Source: appendix; clovaai/stargan-v2, core/model.py.
    """

    def __init__(self, size_px: Size, domains: int, width: int | None = None, max_width: int = 512) -> None:
        super().__init__()
        check_whole("domains", domains)
        self.trunk = Trunk(size_px, official_width(size_px) if width is None else width, max_width)
        self.heads = nn.Linear(self.trunk.features, domains)
        self.apply(initialize_he)

    def forward(self, images: Tensor, domains: Tensor) -> Tensor:
        """Return (B,) logits of (B, 3, H, W) images in [-1, 1] being real ones of these domains, (B,) numbers."""
        return self.of_all(images).gather(1, domains[:, None]).squeeze(1)

    def of_all(self, images: Tensor) -> Tensor:
        """Return (B, K) logits of images being real ones of each domain."""
        logits: Tensor = self.heads(self.trunk(images))
        return logits
