"""The translator to any domain in any of its styles: a code of the style steers the generator.

Choi, Uh, Yoo, Ha, "StarGAN v2: Diverse Image Synthesis for Multiple Domains", CVPR 2020. The code comes from a seed
(latent-guided) or from pictures of the target domain (reference-guided). Its networks work in [-1, 1], it in [0, 1].
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.functional.hash_noise import hash_normal
from stylebench.functional.pixels import from_signed, to_signed
from stylebench.inference.base import CONTENT, Choice, Control, Picture
from stylebench.inference.translators.base import Guides, Translator
from stylebench.nn.labels import DomainLabels

MOST_SEED = 2**31 - 1
_MEAN_OF = 1024  # latents that a domain's mean code is taken over
_MEAN_STREAM = 1  # of draws, apart from that of the seeds

SEED = Control("seed", 0, MOST_SEED, 0, "which style of the domain, where no reference is given", whole=True)
OTHER_SEED = Control("other_seed", 0, MOST_SEED, 1, "the style at the far end of the mix", whole=True)
BETWEEN = Control("between", 0.0, 1.0, 0.0, "mix of the styles of both seeds: 0 is seed's, 1 other_seed's")
PSI = Control("psi", 0.0, 1.0, 1.0, "truncation: 1 is the style itself, 0 the domain's mean style")
REFERENCE = Picture(
    "reference",
    "a picture of the domain whose style is taken; several are mixed",
    required=False,
    many=True,
    needs=("domain",),
    replaces=("seed", "other_seed", "between"),
)


class StyleCodeTranslator(Translator):
    """A generator, with a mapping network and a style encoder that make its style codes.

    Args:
        generator: builds the network that maps (B, 3, H, W) images in [-1, 1] and (B, S) codes to images.
        mapping: builds, from the number of `domains`, the network of (B, Z) latents and (B,) domains to codes.
        style_encoder: builds, from the number of `domains`, the network of images and domains to codes.
        labels: the domains.

    Raises:
        ValueError: if the generator needs landmarks.
    """

    inputs = (CONTENT, REFERENCE)

    def __init__(
        self,
        generator: Callable[..., nn.Module],
        mapping: Callable[..., nn.Module],
        style_encoder: Callable[..., nn.Module],
        labels: DomainLabels,
    ) -> None:
        super().__init__()
        count = len(labels.domains)
        self.generator, self.labels = generator(), labels
        self.mapping, self.style_encoder = mapping(domains=count), style_encoder(domains=count)
        if high_pass := getattr(self.generator, "high_pass", 0.0):
            raise ValueError(
                f"model.generator.high_pass={high_pass:g} needs a network of facial landmarks, whose weights "
                "(wing.ckpt of the published code) are not part of this package; high_pass=0 works without them"
            )
        names = labels.domains
        self.controls = (
            Choice("domain", names, names[-1], "the domain that pictures go to, and that references are of"),
            SEED,
            OTHER_SEED,
            BETWEEN,
            PSI,
        )

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Translate (B, 3, H, W) in [-1, 1] by (B, S) codes; with the graph, not bounded."""
        output: Tensor = self.generator(images, codes)
        return output

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return (B, 3, H, W) images of the target domain in the style that was asked for."""
        number = self.labels.domains.index(controls["domain"])
        references = guides.pictures.get("reference", ())
        codes = (
            self.codes_of(references, guides.weights, number)
            if references
            else self.codes_by_seed(controls["seed"], controls["other_seed"], controls["between"], number)
        )
        if controls["psi"] < 1.0:
            codes = torch.lerp(self.mean_code(number), codes, controls["psi"])
        return from_signed(self(to_signed(images), codes.expand(len(images), -1)))

    def codes_by_seed(self, seed: float, other_seed: float, between: float, number: int) -> Tensor:
        """Return the code of a seed, (1, S), mixed with that of another by the share `between`."""
        seeds = torch.tensor([int(seed), int(other_seed)], device=self.device)
        codes = self.mapping(self.latents(seeds), torch.full((2,), number, device=self.device))
        return torch.lerp(codes[:1], codes[1:], between)

    def codes_of(self, references: tuple[Tensor, ...], weights: tuple[float, ...], number: int) -> Tensor:
        """Return the mixed code of references, (1 or B, S); of each the middle, at the encoder's size."""
        mixed = torch.zeros(1, device=self.device)
        for weight, shown in zip(weights, map(self._fitted, references), strict=True):
            mixed = mixed + weight * self.style_encoder(shown, torch.full((len(shown),), number, device=self.device))
        return mixed

    def mean_code(self, number: int) -> Tensor:
        """Return the mean code of a domain, (1, S), over a thousand latents."""
        seeds = torch.arange(_MEAN_OF, device=self.device)
        codes: Tensor = self.mapping(self.latents(seeds, _MEAN_STREAM), torch.full_like(seeds, number))
        return codes.mean(0, keepdim=True)

    def latents(self, seeds: Tensor, stream: int = 0) -> Tensor:
        """Return the latents of seeds, (B,) int64: (B, Z)."""
        like = next(self.parameters())
        dim: int = self.mapping.latent_dim  # type: ignore[assignment]
        return hash_normal(seeds, dim, stream).to(like.dtype)

    def _fitted(self, pictures: Tensor) -> Tensor:
        """Return what the style encoder reads, in [-1, 1]: the largest part in the middle of its shape, resized."""
        size: tuple[int, int] = self.style_encoder.trunk.sides  # type: ignore[assignment, union-attr]
        height, width = pictures.shape[-2:]
        scale = min(height / size[0], width / size[1])
        tall, broad = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
        top, left = (height - tall) // 2, (width - broad) // 2
        middle = pictures[..., top : top + tall, left : left + broad]
        if (tall, broad) != size:
            middle = F.interpolate(middle, size, mode="bilinear", antialias=True)
        return to_signed(middle.clamp(0.0, 1.0))
