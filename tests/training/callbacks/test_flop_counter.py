"""Counting of operations: products by hand, torch's own counter on a network, and second derivatives."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stylebench.training.callbacks.flop_counter import FlopCounter


def test_products_are_counted_by_their_sizes() -> None:
    with FlopCounter() as counter:
        torch.rand(2, 3) @ torch.rand(3, 5)
    assert counter.total == 2 * 2 * 3 * 5
    torch.rand(2, 3) @ torch.rand(3, 5)
    assert counter.total == 60


def test_a_network_counts_as_by_torch() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 2, 4, 2), nn.Flatten(), nn.Linear(288, 1)
    )
    images = torch.rand(2, 3, 7, 7)
    totals = []
    for counter in (FlopCounter(), FlopCounterMode(display=False)):
        with counter:
            network(images).sum().backward()
        totals.append(counter.total if isinstance(counter, FlopCounter) else counter.get_total_flops())
    assert totals[0] == totals[1] > 0


def test_second_derivatives_are_counted() -> None:
    """The inner gradient costs two products more, and its own backward pass twice as many."""
    network, images = (
        nn.Sequential(nn.Linear(3, 4, bias=False), nn.Softplus(), nn.Linear(4, 1, bias=False)),
        torch.rand(2, 3),
    )
    totals = []
    for penalized in (False, True):
        pixels = images.clone().requires_grad_()
        with FlopCounter() as counter:
            loss = network(pixels).sum()
            if penalized:
                (slope,) = torch.autograd.grad(loss, pixels, create_graph=True)
                loss = loss + slope.square().sum()
            loss.backward()
        totals.append(counter.total)
    assert totals[1] > 1.8 * totals[0]
