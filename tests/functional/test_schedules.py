"""Learning-rate schedules: their tables, and that they are functions of the batch alone."""

import itertools
from typing import Any

import pytest

from stylebench.functional.schedules import (
    Constant,
    EpochDecay,
    InverseDecay,
    InversePower,
    LinearDecay,
    Schedule,
    SubtractiveDecay,
)

BATCHES = 266_800  # 200 epochs of 1334
OFFICIAL = SubtractiveDecay(start=100_000, every=1000, amount=1e-5)


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0, 1.0), (99, 1.0), (100, 1 - 1 / 101), (150, 1 - 51 / 101), (199, 1 - 100 / 101)]
)
def test_epoch_decay_in_its_first_and_last_batch(epoch: int, factor: float) -> None:
    schedule = EpochDecay(BATCHES, 100, 100)
    for batches in (1334 * epoch, 1334 * (epoch + 1) - 1):
        assert schedule.factor(batches) == pytest.approx(factor, rel=1e-12)


def test_epoch_decay_spans_a_run_of_any_length() -> None:
    """Of 10 batches over 4 epochs, 1 of them constant: epochs begin at batch 0, 3 (2.5), 5 and 8 (7.5)."""
    schedule = EpochDecay(10, 1, 3)
    assert [schedule.factor(n) for n in range(10)] == [1, 1, 1, 0.75, 0.75, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert EpochDecay(10, 4, 0).factor(9) == 1.0


@pytest.mark.parametrize(("batches", "factor"), [(0, 1.0), (50, 1.0), (75, 0.5), (99, 0.02), (100, 0.0), (101, 0.0)])
def test_linear_decay(batches: int, factor: float) -> None:
    assert LinearDecay(100, 0.5).factor(batches) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize(("share", "factors"), [(0.0, [1.0, 0.75, 0.25]), (1.0, [1.0, 1.0, 1.0])])
def test_linear_decay_all_or_nothing(share: float, factors: list[float]) -> None:
    assert [LinearDecay(4, share).factor(batches) for batches in (0, 1, 3)] == factors


def test_linear_decay_that_never_falls_survives_its_end() -> None:
    """A profile goes on behind the end of the run."""
    assert LinearDecay(4, 1.0).factor(9) == 1.0


@pytest.mark.parametrize(
    ("batches", "factor"),
    [(0, 1.0), (100_000, 1.0), (100_999, 1.0), (101_000, 1 - 1e-5), (150_000, 1 - 5e-4), (200_000, 0.999)],
)
def test_official_stargan_hardly_decays(batches: int, factor: float) -> None:
    assert OFFICIAL.factor(batches) == pytest.approx(factor, rel=1e-12)


def test_subtractive_decay_ends_at_zero() -> None:
    assert SubtractiveDecay(0, 1, 0.4).factor(9) == 0.0


def test_inverse_decay() -> None:
    assert [InverseDecay(5e-5).factor(t) for t in (0, 20_000, 80_000)] == pytest.approx([1, 0.5, 0.2])


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(),
        EpochDecay(100, 1, 1),
        LinearDecay(100, 0.5),
        OFFICIAL,
        InverseDecay(0.1),
        InversePower(100, 10, 0.75),
    ],
)
def test_factors_never_rise_nor_leave_their_range(schedule: Schedule) -> None:
    factors = [schedule.factor(batches) for batches in range(100)]
    assert factors[0] == 1.0
    assert all(0 <= later <= earlier for earlier, later in itertools.pairwise(factors))


@pytest.mark.parametrize(
    ("kind", "numbers", "message"),
    [
        (EpochDecay, (10, 0, 0), "no epochs"),
        (EpochDecay, (0, 1, 1), "batches must be a whole number of at least 1"),
        (LinearDecay, (10, 3.0), r"constant_share must be a number in \[0, 1\], got 3"),
        (SubtractiveDecay, (0, 0, 0.1), "every must be a whole number of at least 1"),
        (SubtractiveDecay, (0, 1, 2.0), r"amount must be a number in \[0, 1\], got 2"),
    ],
)
def test_schedules_that_cannot_work_are_refused(kind: Any, numbers: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(*numbers)
