import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import _compute_fid

from stylebench.functional.frechet import (
    frechet_distance,
    frechet_distance_of_features,
    frechet_floor,
    moments,
    simulated_floor,
)


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tensor(*rows: object) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_one_dimension() -> None:
    # (0 - 3)^2 + (sqrt 1 - sqrt 4)^2 = 9 + 1
    assert frechet_distance(tensor(0), tensor([1]), tensor(3), tensor([4])) == pytest.approx(10, rel=1e-12)


def test_commuting_covariances() -> None:
    # |(1, 2)|^2 + (2 - 1)^2 + (3 - 4)^2 = 5 + 1 + 1
    one, two = torch.diag(tensor(4, 9)), torch.diag(tensor(1, 16))
    assert frechet_distance(tensor(0, 0), one, tensor(1, 2), two) == pytest.approx(7, rel=1e-12)


def test_covariances_that_do_not_commute() -> None:
    # tr A + tr B - 2 sqrt(tr AB + 2 sqrt det AB), in two dimensions
    found = frechet_distance(tensor(0, 0), tensor([2, 1], [1, 2]), tensor(0, 0), torch.diag(tensor(1, 3)))
    assert found == pytest.approx(0.5166852264521, rel=1e-11)


@pytest.mark.parametrize(("n", "tolerance"), [(100, 1e-8), (10, 1e-5)])
def test_equals_torchmetrics_and_scipy(n: int, tolerance: float) -> None:
    x, y = normal(n, 32, 0), normal(n + 3, 32, 1) @ torch.diag(torch.linspace(0.5, 2, 32, dtype=torch.float64)) + 0.3
    one, two = moments(x), moments(y)
    theirs = float(_compute_fid(one.mean, one.covariance, two.mean, two.covariance))
    root = scipy.linalg.sqrtm((one.covariance @ two.covariance).numpy()).real
    textbook = float(
        ((one.mean - two.mean) ** 2).sum() + one.covariance.trace() + two.covariance.trace() - 2 * np.trace(root)
    )
    for ours in (frechet_distance(*one, *two), frechet_distance_of_features(x, y)):
        assert ours == pytest.approx(theirs, rel=tolerance)
        assert ours == pytest.approx(textbook, rel=tolerance)


def test_both_forms_agree_below_the_dimension() -> None:
    x, y = normal(20, 64, 2), normal(500, 64, 3) * 1.5  # the larger one enters by its triangular factor
    assert frechet_distance_of_features(x, y) == pytest.approx(frechet_distance(*moments(x), *moments(y)), rel=1e-7)


def test_symmetry_scale_and_rotation() -> None:
    x, y = normal(60, 8, 4), 2 * normal(70, 8, 5) + 1
    rotation = torch.linalg.qr(normal(8, 8, 6)).Q
    value = frechet_distance_of_features(x, y)
    assert frechet_distance_of_features(x, x) == pytest.approx(0, abs=1e-8)
    assert frechet_distance_of_features(y, x) == pytest.approx(value, rel=1e-8)
    assert frechet_distance_of_features(x @ rotation, y @ rotation) == pytest.approx(value, rel=1e-8)
    assert frechet_distance_of_features(3 * x, 3 * y) == pytest.approx(9 * value, rel=1e-8)


def test_floor_of_a_sphere() -> None:
    # (1/n1 + 1/n2) (d + (d^2 + d) / 4)
    assert frechet_floor(torch.ones(64), 2000, 2000) == pytest.approx(0.001 * (64 + (64**2 + 64) / 4), rel=1e-12)


def test_floor_is_what_samples_show() -> None:
    values = [frechet_distance_of_features(normal(2000, 64, 2 * i), normal(2000, 64, 2 * i + 1)) for i in range(8)]
    assert np.mean(values) == pytest.approx(frechet_floor(torch.ones(64), 2000, 2000), rel=0.04)


def test_simulated_floor_lies_below_the_formula_for_few_samples() -> None:
    spectrum = torch.arange(1, 65, dtype=torch.float64).reciprocal()
    spectrum *= 100 / spectrum.sum()
    simulated = simulated_floor(spectrum, 32, 32, draws=40)
    pairs = [
        frechet_distance_of_features(
            normal(32, 64, 100 + i) * spectrum.sqrt(), normal(32, 64, 300 + i) * spectrum.sqrt()
        )
        for i in range(40)
    ]
    assert simulated == pytest.approx(np.mean(pairs), rel=0.05)
    assert simulated < 0.97 * frechet_floor(spectrum, 32, 32)


@pytest.mark.parametrize("call", [lambda x: frechet_distance_of_features(x, x), moments])
def test_one_image_is_too_few(call: object) -> None:
    with pytest.raises(ValueError, match="at least two images"):
        call(torch.zeros(1, 4))  # type: ignore[operator]


def test_widths_must_agree() -> None:
    with pytest.raises(ValueError, match="one extractor for both"):
        frechet_distance_of_features(torch.zeros(3, 4), torch.zeros(3, 5))


def test_a_covariance_that_is_none_is_refused() -> None:
    bad = torch.diag(tensor(-1, 1))
    with pytest.raises(ValueError, match="not positive semi-definite"):
        frechet_distance(tensor(0, 0), bad, tensor(0, 0), bad)


def test_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance(tensor(0, float("nan")), torch.eye(2), tensor(0, 0), torch.eye(2))


@pytest.mark.parametrize("n", [301, 320, 400])
def test_nearly_singular_covariances_keep_their_digits(n: int) -> None:
    scale = torch.logspace(0, -8, 300, dtype=torch.float64)
    x, y = normal(n, 300, 7) * scale, normal(n, 300, 8) * scale * 1.05
    parts = [(part - part.mean(0)) / (n - 1) ** 0.5 for part in (x, y)]
    root = torch.linalg.svdvals(parts[0] @ parts[1].mT).sum()  # no covariance is formed
    exact = (x.mean(0) - y.mean(0)).square().sum() + sum(part.square().sum() for part in parts) - 2 * root
    assert frechet_distance(*moments(x), *moments(y)) == pytest.approx(float(exact), rel=1e-10)
