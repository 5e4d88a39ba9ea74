"""Blank images: they would end a training with instance norm, and must not."""

import torch
from torch import Tensor

from stylebench.functional.flat import detach_flat
from stylebench.nn.generators.johnson import JohnsonModern


def gradients(network: JohnsonModern, images: Tensor, guarded: bool) -> list[Tensor]:
    outputs = network(images)
    # A loss that sees position, as features with zero padding do: a constant one would hide the explosion.
    position = torch.linspace(0, 1, images.shape[-1], dtype=images.dtype)
    (((detach_flat(outputs, images) if guarded else outputs) - position) ** 2).mean().backward()
    found = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    network.zero_grad()
    return found


def test_a_blank_image_explodes_without_the_guard_and_not_with_it() -> None:
    torch.manual_seed(0)
    network, blank = JohnsonModern(width=8), torch.ones(1, 3, 32, 32)
    assert not all(bool(gradient.abs().max() < 1e8) for gradient in gradients(network, blank, guarded=False))
    assert all(bool((gradient == 0).all()) for gradient in gradients(network, blank, guarded=True))


def test_the_other_images_keep_their_gradient() -> None:
    torch.manual_seed(0)
    network = JohnsonModern(width=4).double()
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    with_blank = torch.cat([images, torch.full_like(images[:1], 0.5)])
    expected = gradients(network, images, guarded=False)
    found = gradients(network, with_blank, guarded=True)
    for one, other in zip(expected, found, strict=True):  # the mean is over three images instead of two
        torch.testing.assert_close(other * 3 / 2, one, rtol=1e-9, atol=1e-15)


def test_one_pixel_is_enough_to_pass() -> None:
    inputs = torch.zeros(2, 3, 4, 4)
    inputs[1, 2, 3, 3] = 1 / 255
    outputs = torch.ones(2, 3, 4, 4, requires_grad=True)
    detach_flat(outputs, inputs).sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.sum((1, 2, 3)).tolist() == [0.0, 48.0]


def test_values_are_unchanged() -> None:
    outputs = torch.rand(2, 3, 4, 4)
    assert torch.equal(detach_flat(outputs, torch.zeros(2, 3, 4, 4)), outputs)
