"""Two real processes train two players as one process does, and each player sends its own gradients alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylebench.cli.config import compose
from stylebench.commands.train import train
from stylebench.files import read_pickle
from tests.helpers import ddp_translation
from tests.helpers.ddp_translation import watching
from tests.helpers.processes import run_in_two
from tests.helpers.runs import assert_equal, rows

SHORT = ["budget.batches=4", "budget.evaluate_every=2", "checkpoint.every_n_batches=2"]
# Sums over a batch of two halves and over a whole one differ in their order: float32 rounding of 6e-8 an operation,
# through some twenty layers and, for the penalty, their second derivatives.
FIRST_STEP = 1e-5
# From there Adam divides by the size of the gradient, so that rounding in small ones counts as much as in large ones:
# 5e-6 was measured in gradients, 2e-5 in weights.
FOUR_BATCHES = 1e-4


def run_two(folder: Path, overrides: list[str]) -> list[dict[str, Any]]:
    run_in_two(ddp_translation.main, folder, [*overrides, "trainer=ddp_cpu"])
    return [dict(read_pickle(folder / f"seen-{rank}.pt")) for rank in (0, 1)]


def gap(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """One ratio of norms over all parameters of a player."""
    assert found.keys() == expected.keys()
    difference = torch.cat([(found[name] - expected[name]).flatten() for name in expected]).norm()
    return float(difference / torch.cat([tensor.flatten() for tensor in expected.values()]).norm())


def assert_two_equal_one(folder: Path, overrides: list[str], players: list[str], *, draws: bool = False) -> None:
    """Compare every step; `players` names whose step each of them is, `draws` tells whether it draws numbers."""
    first, second = run_two(folder, overrides)
    with watching() as alone:
        train(compose("train", overrides), folder / "one", overrides)
    assert_equal(first["gradients"], second["gradients"])
    assert_equal(first["end"], second["end"])
    assert len(first["gradients"]) == len(alone["gradients"]) == len(players)
    sizes: list[int] = []
    for player, found, expected in zip(players, first["gradients"], alone["gradients"], strict=True):
        assert {name.startswith("model") for name in found} == {player != "discriminator"}
        tolerance = FOUR_BATCHES if player in players[: len(sizes)] else FIRST_STEP
        sizes.append(sum(gradient.numel() for gradient in expected.values()))
        difference = gap(found, expected)
        assert difference < tolerance, f"{player}, step {len(sizes)}: {difference}"
    assert first["sent"] == second["sent"] == alone["sent"]
    assert sum(first["sent"]) == sum(sizes)  # of those who move, and no more
    assert gap(first["end"][0], alone["end"][0]) < FOUR_BATCHES
    for single, double in zip(rows(folder / "one"), rows(folder / "run"), strict=True):
        for column in (name for name in single if name.endswith("total")):
            if single[column] and double[column]:
                assert float(double[column]) == pytest.approx(float(single[column]), rel=FOUR_BATCHES), column
    assert bool(alone["mix"]) == draws
    halves = [torch.cat(parts) for parts in zip(first["mix"], second["mix"], strict=True)]
    assert_equal(halves, alone["mix"])
