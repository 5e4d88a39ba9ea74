import math

import numpy as np
import pytest
from scipy import stats

from stylebench.statistics.agreement import (
    cliffs_delta,
    grade_agreement,
    holm,
    images_needed,
    kendall,
    order_agreement,
    resolution,
    selectivity,
    sign_flip_test,
    spread,
)


def test_kendall_counts_pairs() -> None:
    # of three pairs two agree and one does not: (2 - 1) / 3
    assert kendall([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
    assert math.isnan(kendall([1, 1, 1], [1, 2, 3]))


def test_kendall_is_scipys_with_ties() -> None:
    x, y = np.random.default_rng(0).integers(0, 4, size=(2, 30))
    assert kendall(x, y) == pytest.approx(float(stats.kendalltau(x, y).statistic))


def test_order_agreement_takes_styles_as_units() -> None:
    rungs = np.arange(5.0)
    values = np.stack([np.stack([rungs, rungs]), np.stack([rungs, -rungs]), np.zeros((2, 5))])
    found = order_agreement(values, rungs)
    assert found.mean == pytest.approx((1 + 0 + 0) / 3)
    assert found.design == "n=3"


def test_order_agreement_is_scipys_on_every_sample() -> None:
    values = np.random.default_rng(4).integers(0, 4, size=(3, 2, 6)).astype(float)
    rungs = np.array([0.0, 1.0, 1.0, 2.0, 3.0, 4.0])
    taus = [[float(stats.kendalltau(row, rungs).statistic) for row in style] for style in values]
    assert order_agreement(values, rungs).mean == pytest.approx(float(np.mean(taus)))


def test_a_value_without_a_place_is_no_order() -> None:
    with pytest.raises(ValueError, match="finite values only"):
        kendall([1.0, math.nan, 2.0], [1, 2, 3])
    with pytest.raises(ValueError, match="finite values only"):
        order_agreement(np.full((2, 1, 3), math.nan), [1, 2, 3])
    with pytest.raises(ValueError, match="a truth a rung"):
        order_agreement(np.zeros((2, 1, 3)), [1, 2])


def test_selectivity_is_the_difference_of_absolute_taus() -> None:
    # (1 + .8) / 2 - (.2 + .4) / 2
    assert selectivity([1.0, -0.8], [-0.2, 0.4]) == pytest.approx(0.6)
    with pytest.raises(ValueError, match="both axes"):
        selectivity([1.0], [])


def test_spread_is_relative_to_the_range() -> None:
    assert spread([[1.0, 1.2, 0.5], [1.0, 1.2, 0.5]], span=-2) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="range other than 0"):
        spread([[1.0, 2.0]], span=0)


def test_exact_permutation() -> None:
    # all ten differences positive: only the two constant sign patterns reach the sum
    assert sign_flip_test(np.arange(1, 11)) == pytest.approx(2 / 1024)
    assert sign_flip_test([1.0, -1.0]) == 1.0


def test_sampled_permutation_is_near_the_t_test() -> None:
    x = 0.5 + np.random.default_rng(1).normal(size=30)
    assert sign_flip_test(x) == pytest.approx(float(stats.ttest_1samp(x, 0).pvalue), abs=0.01)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_resolution_finds_the_first_step() -> None:
    generator = np.random.default_rng(2)
    values = 0.01 * generator.normal(size=(12, 4)) + np.array([0, 0, 1, 2])
    assert resolution(values) == 1
    assert resolution(generator.normal(size=(12, 4))) is None


def test_resolution_needs_units_that_can_show_it() -> None:
    # eight styles: the least p is 2 / 2^8, eight pairs make it 8 x 2 / 256 = .0625; nine styles make .03125
    values = np.arange(9.0) + 0.01 * np.random.default_rng(5).normal(size=(9, 9))
    with pytest.raises(ValueError, match="at least 9 styles"):
        resolution(values[:8])
    assert resolution(values) == 0


def test_images_needed_grows_with_noise() -> None:
    truth = np.arange(6.0)
    generator = np.random.default_rng(3)
    quiet, loud = (truth + noise * generator.normal(size=(64, 6)) for noise in (0.1, 3.0))
    few, many = images_needed(quiet, truth), images_needed(loud, truth)
    assert few == 1
    assert many is not None
    assert many > 4
    assert images_needed(-loud, truth) is None


def test_cliffs_delta() -> None:
    assert cliffs_delta([2, 3], [0, 1]) == 1
    assert cliffs_delta([1, 1], [0, 1]) == pytest.approx(0.5)


def test_grade_agreement() -> None:
    found = grade_agreement([0.1, 0.5, 0.7, 0.9, 0.95], [0.2, 0.4, 0.6, 0.8, 0.9])
    assert found.mean == pytest.approx(1)
    assert found.bounds == pytest.approx((1, 1))
    mixed = grade_agreement([0.1, 0.5, 0.7, 0.9, 0.95], [0.4, 0.2, 0.6, 0.9, 0.8])
    low, high = mixed.bounds or (1, 0)
    assert low < mixed.mean <= high
    with pytest.raises(ValueError, match="equal ones have no order"):
        grade_agreement([0.5, 0.5, 0.5], [0.1, 0.2, 0.3])
