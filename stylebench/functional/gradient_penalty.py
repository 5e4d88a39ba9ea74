"""Penalties on a discriminator's gradient with respect to its input, in at least float32 under any autocast.

A penalty is differentiated twice, which `torch.compile` does not support: hand in the plain `forward` of a network
that is compiled in place (`network.forward`, not `network`). Norms are per sample, over channels and positions; the
logits of a sample that has a map of them are summed first.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from stylebench.functional.precision import at_least_float32, float32_island

Critic = Callable[[Tensor], Tensor]


def input_gradient(critic: Critic, images: Tensor) -> Tensor:
    """Differentiate the sum of each sample's logits by its pixels, keeping the graph.

    Args:
        critic: (B, 3, H, W) to (B, ...) logits; the samples must not see each other (no batch norm).
        images: (B, 3, H, W), any real range.

    Returns:
        (B, 3 H W) gradients, at least float32.
    """
    with float32_island(images):
        pixels = at_least_float32(images.detach()).requires_grad_(True)
        (gradient,) = torch.autograd.grad(critic(pixels).sum(), pixels, create_graph=True)
        return gradient.flatten(1)  # (B, 3 H W)


def r1_penalty(critic: Critic, images: Tensor) -> Tensor:
    """Compute half the squared gradient norm at real images (R1), or at generated ones (R2).

    Args:
        critic: see `input_gradient`.
        images: (B, 3, H, W).

    Returns:
        Scalar mean over samples, differentiable by the critic's weights; multiply by gamma.

    Source: Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", eq. 9.
    """
    return input_gradient(critic, images).square().sum(1).mean() / 2


def logits_and_r1(critic: Critic, images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the logits of real images and their R1 penalty by one pass of the critic.

    Args:
        critic: see `input_gradient`.
        images: (B, 3, H, W).

    Returns:
        The (B, ...) logits, at least float32 and with their graph, and the penalty of `r1_penalty`.
    """
    seen: list[Tensor] = []

    def keeping(pixels: Tensor) -> Tensor:
        seen.append(critic(pixels))
        return seen[0]

    penalty = r1_penalty(keeping, images)
    return seen[0], penalty


def interpolate_penalty(critic: Critic, real: Tensor, fake: Tensor, mix: Tensor, center: float = 1.0) -> Tensor:
    """Compute how far gradient norms between real and generated images are from `center`, squared (WGAN-GP).

    Args:
        critic: see `input_gradient`.
        real: (B, 3, H, W).
        fake: (B, 3, H, W), generated; no gradient flows into it.
        mix: (B,) in [0, 1], the share of the real image.
        center: 1 for WGAN-GP, 0 for the zero-centered penalty.

    Returns:
        Scalar mean over samples of (||gradient||_2 - center)^2.

    Source: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", eq. 3.
    """
    share = mix.view(-1, 1, 1, 1).to(real.dtype)
    between = torch.lerp(fake.detach(), real.detach(), share)
    # The norm has a sub-gradient of 0 at 0, where the root of a sum of squares has none.
    norms: Tensor = torch.linalg.vector_norm(input_gradient(critic, between), dim=1)  # (B,)
    return (norms - center).square().mean()
