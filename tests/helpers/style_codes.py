"""A tiny translator by style codes."""

from functools import partial

import torch

from stylebench.inference.translators.style_code import StyleCodeTranslator
from stylebench.nn.generators.stargan_v2 import StarGANv2Generator
from stylebench.nn.labels import DomainLabels
from stylebench.nn.style_networks import MappingNetwork, StyleEncoder

PX = 32


def tiny_style_translator() -> StyleCodeTranslator:
    """Return one of two domains, `cat` and `dog`, for crops of 32 px; latents have 3 numbers, codes 4."""
    torch.manual_seed(0)
    made = StyleCodeTranslator(
        partial(StarGANv2Generator, PX, style_dim=4, width=3, max_width=4),
        partial(MappingNetwork, latent_dim=3, style_dim=4, width=5),
        partial(StyleEncoder, PX, style_dim=4, width=3, max_width=4),
        DomainLabels(["cat", "dog"]),
    )
    return made.eval()
