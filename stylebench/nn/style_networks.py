"""Where StarGAN v2's style codes come from: a mapping network from latents, a style encoder from pictures.

Choi, Uh, Yoo, Ha, "StarGAN v2: Diverse Image Synthesis for Multiple Domains", CVPR 2020, section 3.1. Each has a head
for every domain, of which an image's own is computed alone.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.checks import Size, check_whole
from stylebench.nn.residual_blocks import Trunk, initialize_he, official_width


class DomainLinear(nn.Module):
    """A linear layer for each of K domains; a row goes through that of its own domain.

    Args:
        domains: K.
        inputs: length of a row.
        outputs: length of a result.
    """

    def __init__(self, domains: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(domains, outputs, inputs).normal_(0.0, math.sqrt(2 / inputs)))
        self.bias = nn.Parameter(torch.zeros(domains, outputs))

    def forward(self, rows: Tensor, domains: Tensor) -> Tensor:
        """Map (B, inputs) to (B, outputs), by (B,) numbers of domains."""
        return torch.baddbmm(self.bias[domains, :, None], self.weight[domains], rows[:, :, None]).squeeze(2)


class MappingNetwork(nn.Module):
    """Latent vectors to style codes of a domain: four shared layers, then four of the domain's own.

    2,438,272 parameters with 2 domains, 3,259,072 with 3.

    Args:
        domains: K.
        latent_dim: length Z of a latent vector.
        style_dim: length S of a style code.
        width: of the hidden layers.

    Source: appendix; clovaai/stargan-v2, core/model.py.
    """

    def __init__(self, domains: int, latent_dim: int = 16, style_dim: int = 64, width: int = 512) -> None:
        super().__init__()
        sizes = {"domains": domains, "latent_dim": latent_dim, "style_dim": style_dim, "width": width}
        for name, value in sizes.items():
            check_whole(name, value)
        self.latent_dim, self.style_dim = latent_dim, style_dim
        inputs = [latent_dim, width, width, width]
        self.shared = nn.Sequential(*(part for n in inputs for part in (nn.Linear(n, width), nn.ReLU())))
        self.own = nn.ModuleList(DomainLinear(domains, width, outputs) for outputs in (width, width, width, style_dim))
        self.shared.apply(initialize_he)

    def forward(self, latents: Tensor, domains: Tensor) -> Tensor:
        """Map (B, Z) latents to (B, S) codes of these domains, (B,) numbers.

        Raises:
            ValueError: if the latents have another length.
        """
        if latents.ndim != 2 or latents.shape[1] != self.latent_dim:
            raise ValueError(f"expected latents of shape (B, {self.latent_dim}), got {tuple(latents.shape)}")
        codes: Tensor = self.shared(latents)
        for place, layer in enumerate(self.own):
            codes = layer(codes if place == 0 else F.relu(codes), domains)
        return codes


class LatentAsStyle(nn.Module):
    """A latent itself as the style code, with a learned vector of the domain added: the paper's ablation, config D.

    Args:
        domains: K.
        latent_dim: length Z of a latent vector, and of a style code.

    Source: Choi et al. 2020, table 1, "latent code injection"; what is learned there of the domain is not said.
    """

    def __init__(self, domains: int, latent_dim: int = 16) -> None:
        super().__init__()
        check_whole("domains", domains)
        self.latent_dim = self.style_dim = check_whole("latent_dim", latent_dim)
        self.own = nn.Parameter(torch.empty(domains, latent_dim).normal_())

    def forward(self, latents: Tensor, domains: Tensor) -> Tensor:
        """Map (B, Z) latents to (B, Z) codes of these domains, (B,) numbers."""
        return latents + self.own[domains]


class StyleEncoder(nn.Module):
    """The style code of a picture, by the head of its domain.

    20,916,928 parameters with 2 domains, 20,949,760 with 3, at 256 px.

    Args:
        size_px: side of the square images, a power of two, or height and width.
        domains: K.
        style_dim: length S of a code.
        width: channels at full resolution; None for the published code's, 2^14 / size_px.
        max_width: most channels.

    Source: appendix; clovaai/stargan-v2, core/model.py.
    """

    def __init__(
        self, size_px: Size, domains: int, style_dim: int = 64, width: int | None = None, max_width: int = 512
    ) -> None:
        super().__init__()
        check_whole("domains", domains)
        check_whole("style_dim", style_dim)
        self.trunk = Trunk(size_px, official_width(size_px) if width is None else width, max_width)
        self.own = DomainLinear(domains, self.trunk.features, style_dim)
        self.trunk.apply(initialize_he)

    def forward(self, images: Tensor, domains: Tensor) -> Tensor:
        """Map (B, 3, H, W) in [-1, 1] of these domains, (B,) numbers, to (B, S) codes."""
        codes: Tensor = self.own(self.trunk(images), domains)
        return codes
