import json

import numpy as np
import pytest
import torch

from stylebench.functional.frechet import frechet_distance_of_features, frechet_floor, simulated_floor
from stylebench.functional.kernel_distance import gaussian_mmd, kernel_distance
from stylebench.functional.manifold import expected_coverage, manifold_scores
from stylebench.metrics.features import FeatureAccumulator, FeatureSet
from stylebench.metrics.sets import FrechetDistance, GaussianMMD, KernelDistance, Manifold, SetMetric

METRICS = [
    FrechetDistance("net"),
    KernelDistance("net", subsets=5, subset_size=30),
    Manifold("net"),
    GaussianMMD("net"),
]


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def moments_only(features: torch.Tensor) -> FeatureSet:
    accumulator = FeatureAccumulator(keep=False)
    accumulator.update(features, torch.arange(len(features)))
    found = accumulator.compute()
    assert found is not None
    return found


def test_values_are_those_of_the_functions() -> None:
    x, y = normal(60, 4, 0), normal(70, 4, 1) + 0.2
    values = {m.stem: {r.variant: r.value for r in m(FeatureSet.of(x), FeatureSet.of(y))} for m in METRICS}
    assert values["fd"] == {"": pytest.approx(frechet_distance_of_features(x, y), rel=1e-12)}
    assert values["kd"] == {"": kernel_distance(x, y, 5, 30).mean}
    assert values["prdc"] == manifold_scores(x, y)[0]._asdict()
    assert values["cd"] == {"": gaussian_mmd(x, y)}


@pytest.mark.parametrize(("n", "d"), [(200, 4), (20, 64)])
def test_moments_and_features_give_one_distance(n: int, d: int) -> None:
    x, y = normal(n, d, 2), normal(n + 5, d, 3) * 1.5
    kept = FrechetDistance("net")(FeatureSet.of(x), FeatureSet.of(y))[0]
    summed = FrechetDistance("net")(moments_only(x), moments_only(y))[0]
    assert summed.value == pytest.approx(kept.value, rel=1e-6)
    assert 0.4 * kept.details["floor"] < summed.details["floor"] < 1.3 * kept.details["floor"]  # no splits of moments


@pytest.mark.parametrize(("n", "formula"), [(200, frechet_floor), (20, simulated_floor)])
def test_the_floor_is_the_formula_or_simulated(n: int, formula: object) -> None:
    x = normal(n, 64, 4)
    spectrum = torch.linalg.eigvalsh(torch.cov(x.double().T)).clamp(min=0)
    found = FrechetDistance("net")(moments_only(x), moments_only(normal(n + 9, 64, 5)))[0].details
    assert found["floor"] == pytest.approx(formula(spectrum, n, n + 9), rel=0.02)  # type: ignore[operator]


def test_split_halves_raise_the_floor_of_heavy_tails() -> None:
    # Sixth-power normals have far heavier tails than the Gaussian that the formula is for.
    x = normal(400, 4, 6) ** 6
    formula = frechet_floor(torch.linalg.eigvalsh(torch.cov(x.double().T)), 400, 400)
    found = FrechetDistance("net")(FeatureSet.of(x), FeatureSet.of(x.flip(0)))[0]
    assert found.details["floor"] > 1.2 * formula
    assert found.details["excess"] == pytest.approx(found.value - found.details["floor"])


def test_a_perfect_model_sits_at_the_floor() -> None:
    excess, floors = [], []
    for i in range(6):
        found = FrechetDistance("net")(FeatureSet.of(normal(400, 16, 10 + i)), FeatureSet.of(normal(400, 16, 50 + i)))
        excess.append(found[0].details["excess"])
        floors.append(found[0].details["floor"])
    assert abs(np.mean(excess)) < 0.1 * np.mean(floors)


def test_the_interval_of_a_kernel_distance_comes_from_blocks() -> None:
    x, y = normal(100, 4, 7), normal(100, 4, 8) + 0.5
    found = KernelDistance("net")(FeatureSet.of(x), FeatureSet.of(y))[0]
    blocks = kernel_distance(x, y).blocks
    half = 2.2621571628 * np.std(blocks, ddof=1) / np.sqrt(10)  # t(.975, 9 degrees of freedom)
    assert found.interval == pytest.approx((found.value - half, found.value + half), rel=1e-8)
    assert KernelDistance("net")(FeatureSet.of(x[:19]), FeatureSet.of(y))[0].interval is None


def test_coverage_stands_beside_its_perfect_value() -> None:
    found = {r.variant: r for r in Manifold("net")(FeatureSet.of(normal(50, 4, 9)), FeatureSet.of(normal(40, 4, 10)))}
    assert found["coverage"].details == {"perfect": expected_coverage(50, 40, 5)}
    assert found["density"].details == {"perfect": 1.0}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.stem)
def test_parts_are_measured_apart_and_averaged(metric: SetMetric) -> None:
    x, y = normal(60, 8, 11), normal(70, 8, 12) * 1.3
    together = metric(FeatureSet.of(x), FeatureSet.of(y), parts=2)
    halves = [metric(FeatureSet.of(x[:, c]), FeatureSet.of(y[:, c])) for c in (slice(0, 4), slice(4, 8))]
    for place, result in enumerate(together):
        assert result.value == pytest.approx(np.mean([half[place].value for half in halves]), rel=1e-12)
        if metric.stem != "fd":
            assert result.interval is None
            continue
        assert result.left_out == pytest.approx(np.mean([half[place].left_out for half in halves], 0), rel=1e-12)
        spread = np.std(result.left_out) * 9**0.5 * 2.2621571628  # t(.975, 9 degrees of freedom)
        assert result.interval == pytest.approx((result.value - spread, result.value + spread), rel=1e-8)


@pytest.mark.parametrize(
    ("d", "n", "m", "shift", "least"),
    [(8, 100, 100, 0.3, 0.9), (4, 60, 60, 0.0, 0.95), (40, 24, 14, 0.5, 0.9)],
    ids=["apart", "alike", "fewer images than features"],
)
def test_the_interval_of_a_frechet_distance_covers_its_average(
    d: int, n: int, m: int, shift: float, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    floor = frechet_floor(torch.ones(d), n, m)
    monkeypatch.setattr(FrechetDistance, "_floor", lambda *_: floor)  # the exact one, which takes no time
    metric = FrechetDistance("net")
    found = [
        metric(FeatureSet.of(normal(n, d, 2 * i)), FeatureSet.of(normal(m, d, 2 * i + 1) + shift))[0]
        for i in range(100)
    ]
    values = [result.value for result in found]
    bounds = np.array([result.interval for result in found])
    covered = (bounds[:, 0] <= np.mean(values)) & (np.mean(values) <= bounds[:, 1])
    assert covered.mean() >= least  # 95 %; two standard errors of a share of 100 are 4.4 points
    assert np.diff(bounds).mean() < 7 * np.std(values)  # 3.9 at the best; wider where the sets are alike, or few
    if (
        min(n, m) > d
    ):  # less the floor, what lies between the distributions: their means, as their covariances are equal
        excess, distance = bounds - floor, d * shift**2
        assert ((excess[:, 0] <= distance) & (distance <= excess[:, 1])).mean() >= least - 0.05  # an expansion


def test_blocks_are_left_out_of_both_sets() -> None:
    x, y = normal(40, 4, 17), normal(30, 4, 18) * 1.5
    found = FrechetDistance("net")(FeatureSet.of(x), FeatureSet.of(y))[0]
    generator = np.random.Generator(np.random.PCG64(0))
    parts = [np.array_split(generator.permutation(len(rows)), 10) for rows in (x, y)]
    expected = [
        frechet_distance_of_features(*(torch.from_numpy(np.delete(rows.numpy(), part, 0)) for rows, part in pair))
        for pair in (((x, one), (y, two)) for one, two in zip(*parts, strict=True))
    ]
    assert found.left_out == pytest.approx(expected, rel=1e-9)
    assert found.details["design"] == "10 blocks"


def test_too_few_images_or_moments_alone_give_no_interval_of_a_frechet_distance() -> None:
    x, y = normal(40, 4, 17), normal(30, 4, 18)
    for pair in ((FeatureSet.of(x), FeatureSet.of(y[:9])), (moments_only(x), moments_only(y))):
        found = FrechetDistance("net")(*pair)[0]
        assert (found.interval, "design" in found.details) == (None, False)
    assert FrechetDistance("net")(FeatureSet.of(x), FeatureSet.of(y[:10]))[0].interval is not None


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.stem)
def test_results_are_plain_numbers_and_repeat(metric: SetMetric) -> None:
    sets = FeatureSet.of(normal(60, 4, 13)), FeatureSet.of(normal(70, 4, 14))
    for first, again in zip(metric(*sets), metric(*sets), strict=True):
        assert first == again
        json.dumps([first.value, first.interval, dict(first.details)], allow_nan=False)


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric.keeps], ids=lambda metric: metric.stem)
def test_what_compares_features_says_that_moments_are_too_little(metric: SetMetric) -> None:
    with pytest.raises(ValueError, match="keep=True"):
        metric(moments_only(normal(60, 4, 15)), moments_only(normal(60, 4, 16)))


@pytest.mark.parametrize(("n", "m"), [(25, 25), (100, 100), (200, 100), (390, 390), (2000, 2000)])
def test_floor_is_what_two_samples_of_one_law_show(n: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrechetDistance, "_without_blocks", lambda *_: ())  # intervals take as long again
    spectrum = torch.arange(1, 401).reciprocal().sqrt()
    found = [
        FrechetDistance("net")(
            FeatureSet.of(normal(n, 400, 2 * i) * spectrum), FeatureSet.of(normal(m, 400, 2 * i + 1) * spectrum)
        )[0]
        for i in range(2)
    ]
    shown, floor = sum(r.value for r in found), sum(r.details["floor"] for r in found)
    assert 0.97 < floor / shown < 1.3  # never much too low, so that a perfect model has no excess


def test_repeated_images_are_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    real, collapsed = normal(20, 4, 8), normal(1, 4, 9).repeat(12, 1)
    found = {result.variant: result for result in Manifold("net")(FeatureSet.of(real), FeatureSet.of(collapsed))}
    for name in ("precision", "recall"):
        assert found[name].details == {"protocol": 2, "zero_radii": {"reference": 0, "generated": 12}}
    assert "12 of 12 generated images" in caplog.text
    caplog.clear()
    Manifold("net")(FeatureSet.of(real), FeatureSet.of(real + 0.1))
    assert not caplog.text
