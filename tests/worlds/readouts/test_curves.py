"""Curves over strength and their inverse."""

import torch

from stylebench.worlds.readouts import content_curves, invert_curves, repeated_share, rising

NODES = torch.linspace(0, 1.5, 7)


def test_inverse_gives_back_nodes_and_goes_on_in_lines() -> None:
    curves = torch.stack([NODES.square() + NODES, 2 * NODES], 1)
    for node in range(7):
        assert torch.allclose(invert_curves(curves[node], curves, NODES), NODES[node].expand(2), atol=1e-6)
    assert torch.allclose(invert_curves(torch.tensor([0.0, 4.0]), curves, NODES), torch.tensor([0.0, 2.0]), atol=1e-6)
    below = invert_curves(torch.tensor([-0.3125, -1.0]), curves, NODES)  # the first slopes are 1.25 and 2
    assert torch.allclose(below, torch.tensor([-0.25, -0.5]), atol=1e-6)


def test_inverse_is_linear_between_nodes() -> None:
    curves = torch.tensor([0.0, 1.0, 3.0])[:, None]
    assert invert_curves(torch.tensor([2.0]), curves, torch.tensor([0.0, 0.5, 1.0])).item() == 0.75


def test_rising_curves_stay_and_others_rise_at_least_half_as_fast() -> None:
    mean = NODES.clone()
    falling = torch.stack([NODES, 0.5 - 0.2 * NODES, NODES + 0.4 * torch.tensor([0, 1, -1, 1, -1, 1, 0.0])], 1)
    risen = rising(falling, mean)
    assert torch.allclose(risen[:, 0], NODES, atol=1e-6)
    assert (risen.diff(dim=0) >= 0.5 * mean.diff()[:, None] - 1e-6).all()


def test_deviations_that_repeat_are_trusted_and_noise_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 7, 400, generator=generator)
    own = torch.randn(1, 7, 400, generator=generator)
    assert repeated_share(noise).mean() < 0.1
    assert repeated_share(own.expand(2, -1, -1)).min() == 1
    # Deviations of variance 1 under noise of variance 1, halved by two draws: 1 / (1 + 1/2).
    assert (repeated_share(own + noise) - 2 / 3).abs().max() < 0.12


def test_own_curves_are_shrunk_to_the_mean() -> None:
    samples = torch.stack([NODES + 0.2, NODES - 0.2], 1)[None]  # (1, 7, 2)
    curves = content_curves(samples, NODES, torch.full((7,), 0.5))
    assert torch.allclose(curves, torch.stack([NODES + 0.1, NODES - 0.1], 1))
