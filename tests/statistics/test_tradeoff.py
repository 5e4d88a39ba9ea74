import numpy as np
import pytest

from stylebench.statistics.tradeoff import Anchors, gap_closed, hypervolume, pareto_front, trade_off, worse_of


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([(1, 0), (0, 1)], 0),
        ([(0.5, 0.5)], 0.25),
        ([(0.8, 0.2), (0.5, 0.5), (0.2, 0.8)], 0.37),   # slices along x: .2 x .8 + .3 x .5 + .3 x .2
        ([(0.8, 0.2), (0.5, 0.5), (0.2, 0.8), (0.4, 0.4)], 0.37),   # a dominated point adds nothing
    ],
)  # fmt: skip
def test_hypervolume(points: list[tuple[float, float]], area: float) -> None:
    assert hypervolume(points) == pytest.approx(area)


def test_hypervolume_grows_with_points_and_is_the_share_of_dominated_ones() -> None:
    generator = np.random.default_rng(0)
    points = generator.random((12, 2))
    areas = [hypervolume(points[:count]) for count in range(1, 13)]
    assert areas == sorted(areas)
    probes = generator.random((200_000, 2))
    share = (probes[:, None] < points).all(2).any(1).mean()
    assert areas[-1] == pytest.approx(share, abs=5e-3)


def test_front_keeps_one_of_equal_points() -> None:
    assert pareto_front([(0.2, 0.8), (0.5, 0.5), (0.5, 0.5), (0.4, 0.5), (0.5, 0.3)]) == [0, 1]


def test_anchors_map_identity_and_copy() -> None:
    anchors = Anchors(content_identity=0, content_random=0.8, style_identity=0.6, style_real=0.2)
    assert anchors.content_utility([0, 0.4, 0.8, 1.0]) == pytest.approx([1, 0.5, 0, 0])
    assert anchors.style_utility([0.6, 0.4, 0.2, 0.0]) == pytest.approx([0, 0.5, 1, 1])
    assert worse_of([0.2, 0.9], [0.4, 0.5]) == pytest.approx([0.2, 0.5])


def test_a_metric_that_tells_nothing_apart_makes_no_axis() -> None:
    with pytest.raises(ValueError, match="style anchors must lie apart"):
        Anchors(content_identity=0, content_random=1, style_identity=0.3, style_real=0.3)


def test_trade_off_of_a_known_curve() -> None:
    ratios = [0.01, 0.1, 1, 10, 100]
    style = np.array([[0, 0.25, 0.5, 0.75, 1.0]] * 3)
    found = trade_off(ratios, 1 - style, style)
    assert found.knee == 1
    assert found.balance == pytest.approx(0.5)
    assert found.style_range == pytest.approx(1)
    assert found.responsiveness.mean == pytest.approx(1)
    assert found.slope.mean == pytest.approx(0.25)  # a quarter a decade
    assert found.auc == pytest.approx(hypervolume(np.stack([1 - style[0], style[0]], 1)))


def test_a_ratio_without_effect_has_no_responsiveness() -> None:
    found = trade_off([1, 10, 100], np.full((4, 3), 0.9), np.full((4, 3), 0.3))
    assert found.responsiveness.mean == 0
    assert found.style_range == 0


def test_ratios_must_ascend() -> None:
    with pytest.raises(ValueError, match="ascending"):
        trade_off([1, 100, 10], np.zeros((2, 3)), np.zeros((2, 3)))


def test_gap_closed_at_its_ends() -> None:
    generator = np.random.default_rng(1)
    trivial, ceiling = 0.1 * generator.random((2, 8)), 1 + 0.1 * generator.random(8)
    base = trivial[trivial.mean(1).argmax()]
    nothing, everything = gap_closed(base, trivial, ceiling), gap_closed(ceiling, trivial, ceiling)
    assert nothing is not None
    assert nothing.mean == pytest.approx(0, abs=1e-12)
    assert everything is not None
    assert everything.mean == pytest.approx(1)
    half = gap_closed((base + ceiling) / 2, trivial, ceiling)
    assert half is not None
    assert half.mean == pytest.approx(0.5)
    lower = gap_closed(-(base + ceiling) / 2, -trivial, -ceiling, larger_is_better=False)
    assert lower is not None
    assert lower.mean == pytest.approx(0.5)


def test_no_gap_to_close() -> None:
    same = np.linspace(0, 1, 6)
    assert gap_closed(same, [same], same) is None
    wobbly = same + np.array([1, -1, 1, -1, 1, -0.9])
    assert gap_closed(same, [same], wobbly) is None
