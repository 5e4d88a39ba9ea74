"""Gradient penalties: linear critics, an independent formula, no NaN at zero, float32 islands, compiled networks."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.functional.gradient_penalty import Critic, input_gradient, interpolate_penalty, r1_penalty

PIXELS = 3 * 4 * 4


def images(batch: int = 2, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(batch, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def linear(weight: Tensor) -> Critic:
    return lambda pixels: pixels.flatten(1) @ weight


def weight_of_norm(norm: float) -> Tensor:
    weight = torch.randn(PIXELS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return (weight * (norm / weight.norm())).requires_grad_()


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Softplus(), nn.Conv2d(4, 1, 3)).to(dtype)  # (B, 1, 2, 2)


def penalties(critic: Critic, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    real, fake, mix = images(dtype=dtype), images(seed=1, dtype=dtype), torch.tensor([0.25, 0.8])
    return {"r1": r1_penalty(critic, real), "wgan_gp": interpolate_penalty(critic, real, fake, mix)}


def test_r1_of_a_linear_critic_is_half_its_squared_norm() -> None:
    weight = weight_of_norm(3.0)
    value = r1_penalty(linear(weight), images())
    assert value.item() == pytest.approx(0.5 * 3.0**2, rel=1e-12)
    value.backward()
    torch.testing.assert_close(weight.grad, weight.detach())  # of ||w||^2 / 2


@pytest.mark.parametrize(("center", "expected"), [(1.0, (3.0 - 1.0) ** 2), (0.0, 3.0**2)])
def test_wgan_gp_of_a_linear_critic(center: float, expected: float) -> None:
    value = interpolate_penalty(linear(weight_of_norm(3.0)), images(), images(seed=1), torch.rand(2), center)
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_maps_of_logits_are_summed_per_sample() -> None:
    """Four logits that are all alike have four times the gradient of one, whatever the size of the batch."""
    weight = weight_of_norm(1.0)

    def map_critic(pixels: Tensor) -> Tensor:
        return linear(weight)(pixels).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)

    for batch in (1, 5):
        assert r1_penalty(map_critic, images(batch)).item() == pytest.approx(0.5 * 16, rel=1e-12)
        value = interpolate_penalty(map_critic, images(batch), images(batch, 1), torch.rand(batch))
        assert value.item() == pytest.approx((4.0 - 1.0) ** 2, rel=1e-12)


def test_the_penalty_looks_between_real_and_generated_images() -> None:
    """The mix is the share of the real image; neither gets a gradient."""
    seen: list[Tensor] = []

    def critic(pixels: Tensor) -> Tensor:
        seen.append(pixels.detach().clone())
        return pixels.square().flatten(1).sum(1)

    real, fake = images().requires_grad_(), images(seed=1).requires_grad_()
    value = interpolate_penalty(critic, real, fake, torch.tensor([1.0, 0.25]))
    torch.testing.assert_close(seen[0], torch.stack([real[0], 0.25 * real[1] + 0.75 * fake[1]]).detach())
    assert value.requires_grad
    assert torch.autograd.grad(value, [real, fake], allow_unused=True) == (None, None)


@pytest.mark.parametrize("center", [0.0, 1.0])
def test_a_gradient_of_zero_gives_no_nan(center: float) -> None:
    weight = torch.zeros(PIXELS, dtype=torch.float64, requires_grad=True)
    for value in (
        interpolate_penalty(linear(weight), images(), images(seed=1), torch.rand(2), center),
        r1_penalty(linear(weight), images()),
    ):
        (gradient,) = torch.autograd.grad(value, weight)
        assert torch.equal(gradient, torch.zeros_like(gradient))


def plain_penalties(critic: nn.Module) -> dict[str, Tensor]:
    """Both penalties one image at a time, from their definitions."""
    squares, distances = [], []
    for real, fake, share in zip(images(), images(seed=1), [0.25, 0.8], strict=True):
        share = float(torch.tensor(share))  # as float32 has it
        for pixels, found in ((real, squares), (share * real + (1 - share) * fake, distances)):
            pixels = pixels[None].clone().requires_grad_()
            logits = critic(pixels)
            (gradient,) = torch.autograd.grad(logits, pixels, torch.ones_like(logits), create_graph=True)
            total = sum(entry**2 for entry in gradient.flatten())
            found.append(total if found is squares else (total**0.5 - 1) ** 2)
    return {"r1": sum(squares) / 4, "wgan_gp": sum(distances) / 2}


@pytest.mark.parametrize("kind", ["r1", "wgan_gp"])
def test_penalties_and_their_gradients_are_those_of_the_definitions(kind: str) -> None:
    critic = network()
    found, expected = penalties(critic)[kind], plain_penalties(critic)[kind]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    weights = list(critic.parameters())[:3]  # the last bias moves no gradient
    for left, right in zip(torch.autograd.grad(found, weights), torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-12)


def test_penalties_pass_gradcheck() -> None:
    """With respect to the weights: this differentiates the inner gradient numerically."""
    critic = network()
    weight = critic[0].weight.detach().clone().requires_grad_()

    def with_weight(kind: str) -> Callable[[Tensor], Tensor]:
        def critic_of(weight: Tensor) -> Critic:
            return lambda pixels: critic[1:](F.conv2d(pixels, weight, critic[0].bias, padding=1))

        return lambda weight: penalties(critic_of(weight))[kind]

    for kind in ("r1", "wgan_gp"):
        assert torch.autograd.gradcheck(with_weight(kind), (weight,), fast_mode=True)


def test_the_inner_gradient_is_differentiable() -> None:
    gradient = input_gradient(lambda pixels: pixels.pow(3).flatten(1).sum(1), images())
    assert gradient.shape == (2, PIXELS)
    torch.testing.assert_close(gradient, 3 * images().square().flatten(1))
    assert gradient.requires_grad


def test_penalties_are_float32_under_autocast() -> None:
    critic = network(torch.float32)
    expected = penalties(critic, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert critic(images(dtype=torch.float32)).dtype == torch.bfloat16
        found = penalties(critic, torch.float32)
    for kind, value in found.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[kind])


def test_bfloat16_images_are_widened_first() -> None:
    critic = network(torch.float32)
    assert r1_penalty(critic, images().bfloat16()).dtype == torch.float32


def test_the_penalty_works_beside_a_compiled_network() -> None:
    plain = network(torch.float32)
    compiled = copy.deepcopy(plain)
    compiled.compile(backend="aot_eager")
    real, fake, mix = images(dtype=torch.float32), images(seed=1, dtype=torch.float32), torch.tensor([0.25, 0.8])
    for critic in (plain, compiled):
        loss = critic(fake).mean() - critic(real).mean()
        (loss + 10 * interpolate_penalty(critic.forward, real, fake, mix)).backward()
    for left, right in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(right.grad, left.grad, rtol=1e-5, atol=1e-6)
