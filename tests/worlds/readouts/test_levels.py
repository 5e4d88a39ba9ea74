"""Levels of brightness and grids of blocks."""

import math

import pytest
import torch
import torch.nn.functional as F

from stylebench.worlds.readouts import edge_energy, grid_excess, log_levels


@pytest.mark.parametrize("count", [1, 2, 8, 64])
def test_equally_frequent_levels_count_as_many(count: int) -> None:
    levels = (torch.arange(64) % count + 0.5) / count
    assert log_levels(levels.expand(3, 64, 64)).tolist() == pytest.approx([math.log(count)] * 3, abs=1e-5)


def blocks(side: float, size: int = 64, offset: int = 0) -> torch.Tensor:
    """Return random blocks, (1, size, size)."""
    places = ((torch.arange(size) + offset) / side).long()
    values = torch.rand(size, size, generator=torch.Generator().manual_seed(0))
    return values[places][:, places][None]


@pytest.mark.parametrize("side", [2, 3, 5, 8])
@pytest.mark.parametrize("offset", [0, 1])
def test_blocks_lie_wholly_on_their_grid(side: int, offset: int) -> None:
    assert grid_excess(edge_energy(blocks(side, offset=offset)), side).item() == pytest.approx(1, abs=1e-5)


def test_blocks_of_a_broken_side_lie_on_their_grid() -> None:
    assert grid_excess(edge_energy(blocks(2.5)), 2.5).item() > 0.98


def test_grown_blocks_are_found_only_if_growth_is_allowed() -> None:
    energy = edge_energy(blocks(5))
    assert grid_excess(energy, 4.0, 1.5).item() > 0.9
    assert grid_excess(energy, 4.0).item() < 0.5


def test_a_smooth_picture_has_no_grid() -> None:
    noise = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(noise, 5, 1, 2)[:, 0]
    assert grid_excess(edge_energy(smooth), 4.0).abs().max() < 0.15


def test_edge_energy_is_squared_differences() -> None:
    picture = torch.tensor([[[0.0, 1.0], [0.0, 3.0]]])
    assert edge_energy(picture).tolist() == [[[1 + 9], [0 + 4]]]


def test_a_constant_picture_has_no_edges() -> None:
    assert grid_excess(edge_energy(torch.ones(1, 16, 16)), 4.0).item() < 0
