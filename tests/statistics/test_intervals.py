import numpy as np
import pytest
from scipy import stats

from stylebench.statistics.intervals import (
    crossed_interval,
    fieller,
    jackknife_interval,
    seeded_interval,
    smallest_effect,
    t_interval,
    two_way_bootstrap,
    wilson,
)


@pytest.mark.parametrize(("n", "multiplier"), [(3, 2.484), (5, 1.241), (10, 0.715)])
def test_t_multipliers(n: int, multiplier: float) -> None:
    values = np.random.default_rng(n).normal(size=n)
    found = t_interval(values)
    assert found.half_width == pytest.approx(multiplier * values.std(ddof=1), rel=1e-3)
    assert found.bounds == pytest.approx((values.mean() - found.half_width, values.mean() + found.half_width))


def test_one_value_has_no_interval() -> None:
    found = t_interval([3.0])
    assert (found.mean, found.bounds, found.design) == (3.0, None, "n=1")
    assert "no interval" in str(found)


def test_satterthwaite() -> None:
    found = crossed_interval([[1, 2, 4], [2, 4, 5], [6, 5, 9]])
    assert found.mean == pytest.approx(4.2222, abs=1e-4)
    assert found.df == pytest.approx(3.3554, abs=1e-4)
    assert found.half_width == pytest.approx(4.6308, abs=1e-4)


def test_grid_without_effects_falls_to_the_error() -> None:
    # Rows and columns have mean 0, so both main effects vanish: V = MS_E / 4 with MS_E = 4 / 1
    found = crossed_interval([[1, -1], [-1, 1]])
    assert found.df == 1
    assert found.half_width == pytest.approx(float(stats.t.ppf(0.975, 1)) * 1.0)


def test_a_missing_cell_is_named() -> None:
    with pytest.raises(ValueError, match=r"first at \(1, 0\)"):
        crossed_interval([[1, 2], [np.nan, 3]])


def test_one_style_leaves_the_contents() -> None:
    assert crossed_interval([[1.0, 2.0, 4.0]]) == t_interval([1.0, 2.0, 4.0])


def _covered(a: int, b: int, repetitions: int = 2000) -> float:
    generator = np.random.default_rng(a * 1000 + b)
    style = generator.normal(size=(repetitions, a, 1))
    content = 0.3**0.5 * generator.normal(size=(repetitions, 1, b))
    grids = style + content + 0.5**0.5 * generator.normal(size=(repetitions, a, b))
    hits = 0
    for grid in grids:
        low, high = crossed_interval(grid).bounds or (0, 0)
        hits += low <= 0 <= high
    return hits / repetitions


@pytest.mark.parametrize("design", [(3, 20), (4, 6), (8, 20), (24, 48)])
def test_crossed_intervals_cover(design: tuple[int, int]) -> None:
    assert 0.92 <= _covered(*design) <= 0.98


def test_seeded_intervals_cover() -> None:
    generator = np.random.default_rng(7)
    hits = 0
    for _ in range(600):
        parts = [generator.normal(size=shape) for shape in ((3, 1, 1), (1, 4, 1), (1, 1, 6), (3, 4, 6))]
        low, high = seeded_interval(0.5 * parts[0] + parts[1] + 0.5 * parts[2] + 0.7 * parts[3]).bounds or (0, 0)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 600 <= 0.99


def test_one_seed_is_the_crossed_grid() -> None:
    grid = np.random.default_rng(1).normal(size=(4, 5))
    assert seeded_interval(grid[None]) == crossed_interval(grid)


def test_wilson() -> None:
    assert wilson(24, 24).low == pytest.approx(0.862, abs=5e-4)
    with pytest.raises(ValueError, match="successes <= count"):
        wilson(3, 2)


def test_fieller_contains_the_ratio_and_refuses_a_denominator_near_zero() -> None:
    generator = np.random.default_rng(3)
    denominator = 2 + 0.2 * generator.normal(size=12)
    found = fieller(0.5 * denominator, denominator)
    assert found is not None
    assert found.bounds == pytest.approx((0.5, 0.5), abs=1e-9)
    assert fieller([1.0, 1.2, 0.8], [-1.0, 1.0, 0.1]) is None


def test_fieller_covers() -> None:
    generator = np.random.default_rng(4)
    hits = 0
    for _ in range(1000):
        found = fieller(1 + generator.normal(size=8), 4 + generator.normal(size=8))
        hits += found is None or (found.low or 0) <= 0.25 <= (found.high or 0)
    assert 0.93 <= hits / 1000 <= 0.97


def test_bootstrap_needs_twenty_styles() -> None:
    with pytest.raises(ValueError, match="at least 20 styles"):
        two_way_bootstrap(np.zeros((19, 4)), np.mean)
    grid = np.random.default_rng(5).normal(size=(24, 12))
    found = two_way_bootstrap(grid, lambda y: float(y.mean()), repetitions=400)
    assert found.mean == pytest.approx(grid.mean())
    assert found == two_way_bootstrap(grid, lambda y: float(y.mean()), repetitions=400)


def test_jackknife_of_a_mean_is_the_standard_error() -> None:
    values = np.random.default_rng(6).normal(size=20)
    without = [(values.sum() - value) / 19 for value in values]
    found = jackknife_interval(float(values.mean()), without)
    assert found.half_width == pytest.approx(t_interval(values).half_width)


@pytest.mark.parametrize(("pairs", "effect"), [(3, 3.264), (5, 1.682), (10, 0.996)])
def test_power(pairs: int, effect: float) -> None:
    assert smallest_effect(pairs) == pytest.approx(effect, abs=1e-3)
