"""Processes that bring shares of their own, of any size, come to the statistics of all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from stylebench.adaptation.adabn import recalibrate
from stylebench.files import read_pickle
from tests.helpers.processes import run_in_several

SHARES = {"uneven": ((0, 31), (31, 45)), "one without": ((0, 45), (45, 45)), "three": ((0, 7), (7, 40), (40, 45))}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.SyncBatchNorm(4), nn.ReLU(),
        nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5),
    )  # fmt: skip


def images() -> Tensor:
    return 3 + 2 * torch.randn(45, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def take(shares: str, folder: Path) -> None:
    """Run by each of the processes."""
    distributed.init_process_group("gloo")
    start, end = SHARES[shares][distributed.get_rank()]
    found = {}
    for propagate in ("sequential", "batch"):
        batches = list(images()[start:end].split(end - start)) if end > start else []
        report = recalibrate(network(), batches, propagate=propagate)
        assert report.images == 45
        found[propagate] = {name: list(each) for name, each in report.statistics.items()}
    torch.save(found, folder / f"{distributed.get_rank()}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("shares", list(SHARES))
def test_processes_come_to_the_statistics_of_one(shares: str, tmp_path: Path) -> None:
    count = len(SHARES[shares])
    run_in_several(count, take, shares, tmp_path)
    first, *others = (dict[str, Any](read_pickle(tmp_path / f"{rank}.pt")) for rank in range(count))
    parts = [images()[start:end] for start, end in SHARES[shares] if end > start]
    for propagate, layers in first.items():
        alone = recalibrate(network(), parts, propagate=propagate).statistics
        for name, statistics in layers.items():
            for place, (found, expected) in enumerate(zip(statistics, alone[name], strict=True)):
                assert all(torch.equal(found, other[propagate][name][place]) for other in others)
                torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
