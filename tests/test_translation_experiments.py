"""Experiments on CycleGAN: the ceiling's Gram distance, and the matching of learned colors."""

from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from experiments.cyclegan2017.ceiling import gram_loss, region_grams
from experiments.cyclegan2017.mapping import assignment
from experiments.stargan_v2_2020.cost import Counter
from stylebench.build import build
from stylebench.cli.config import compose


def test_region_grams_of_constant_maps_are_known() -> None:
    """Channels of 2 and 3 have products of 4, 6 and 9 wherever they are looked at, halved by the two channels."""
    maps = torch.tensor([2.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    regions = torch.zeros(1, 3, 4, 4)
    regions[0, 0, :2], regions[0, 1] = 1.0, 1.0
    grams = region_grams(maps, regions)
    expected = torch.tensor([[2.0, 3.0], [3.0, 4.5]])
    torch.testing.assert_close(grams, torch.stack([expected, expected, torch.zeros(2, 2)])[None])


def test_the_gram_loss_is_a_share_that_small_regions_leave_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    images, others = torch.rand(2, 1, 3, 32, 32, generator=generator)
    encoder: Any = build(compose("train", ["model=cyclegan", "dataset=procstyle"])["encoder"])
    regions = torch.zeros(1, 2, 32, 32)
    regions[0, 0, :16] = 1.0
    assert float(gram_loss(encoder, images, images, regions)) == 0.0
    found = float(gram_loss(encoder, images, 0.2 * others, regions))
    assert 0 < found <= 1
    regions[0, 1, -2:, -2:] = 1.0  # 4 pixels
    assert float(gram_loss(encoder, images, 0.2 * others, regions)) == pytest.approx(found)


@pytest.mark.parametrize("permutation", [[0, 1, 2, 3, 4, 5], [5, 0, 1, 2, 3, 4], [4, 3, 2, 1, 0, 5]])
def test_colors_are_matched_one_to_one(permutation: list[int]) -> None:
    angles = np.arange(6) * np.pi / 3
    wanted = 0.5 + 0.3 * np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], 1)
    found, misfit = assignment(wanted[permutation] + 0.01, wanted)
    assert found == permutation
    assert misfit == pytest.approx(0.01 * 3**0.5 / 0.3)  # neighbors on a circle of six lie a radius apart


def test_operations_and_bytes_of_tensors_without_numbers_are_counted() -> None:
    with FakeTensorMode(), Counter() as counter:
        left, right = torch.empty(2, 3), torch.empty(3, 5)
        product = left @ right
        assert (counter.total, counter.peak) == (2 * 2 * 3 * 5, 4 * (6 + 15 + 10))
        del left, right
        other = product.view(-1)  # the same memory
        large = torch.empty(1000)
        assert counter.peak == 4 * (10 + 1000)
        del large
        assert len(torch.cat([other, torch.empty(200)])) == 210
        assert counter.peak == 4 * (10 + 1000)
