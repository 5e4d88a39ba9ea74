import math

import numpy as np
import pytest
import torch

from stylebench.functional.kernel_distance import gaussian_mmd, gaussian_mmd_floor, kernel_distance, polynomial_mmd


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_point_masses() -> None:
    # k(0, 0) = 1, k(1, 1) = (4/4 + 1)^3 = 8, k(0, 1) = 1: 1 + 8 - 2
    assert polynomial_mmd(torch.zeros(3, 4), torch.ones(5, 4)) == pytest.approx(7, rel=1e-12)


def test_equals_the_sums_written_out() -> None:
    x, y = normal(7, 3, 0).numpy(), normal(6, 3, 1).numpy()

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within_x = sum(kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / (7 * 6)
    within_y = sum(kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / (6 * 5)
    cross = sum(kernel(a, b) for a in x for b in y) / (7 * 6)
    expected = within_x + within_y - 2 * cross
    assert polynomial_mmd(torch.tensor(x), torch.tensor(y)) == pytest.approx(expected, rel=1e-12)


def test_shifted_normals() -> None:
    # E (1 + x y)^3 = 1 + 3 m m' + 3 s s' + t t' with moments m, s = 1 + m^2, t = 3 m + m^3: 4 + 1*1... gives 22 in all
    assert polynomial_mmd(normal(4000, 1, 2), normal(4000, 1, 3) + 1) == pytest.approx(22, abs=3)


def test_unbiased_under_the_null() -> None:
    values = np.array([polynomial_mmd(normal(200, 8, 2 * i), normal(200, 8, 2 * i + 1)) for i in range(600)])
    assert abs(values.mean()) < 3 * values.std(ddof=1) / math.sqrt(600)


def test_negative_values_stay() -> None:
    x = normal(500, 8, 9)
    assert polynomial_mmd(x, x) < 0  # the cross term keeps its diagonal


def test_seed_decides_and_order_does_not() -> None:
    x, y = normal(90, 4, 4), normal(80, 4, 5)
    first, again, other = (kernel_distance(x, y, 10, 30, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.mean != other.mean
    assert first.full == pytest.approx(polynomial_mmd(x.flip(0), y[torch.randperm(80)]), rel=1e-10)


def test_a_subset_of_everything_is_the_full_estimate() -> None:
    found = kernel_distance(normal(40, 4, 6), normal(40, 4, 7))
    assert found.mean == found.full
    assert found.subset_std == 0
    assert len(found.blocks) == 10


def test_subsets_and_blocks_are_estimates_of_their_own_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylebench.functional.kernel_distance._BLOCK", 16)  # sums over several blocks of rows
    x, y = normal(90, 4, 8), normal(70, 4, 9) + 0.3
    found = kernel_distance(x, y, subsets=4, subset_size=30, blocks=3, seed=5)
    generator = np.random.Generator(np.random.PCG64(5))
    drawn = [[generator.choice(len(z), 30, replace=False) for z in (x, y)] for _ in range(4)]
    split = [np.array_split(generator.permutation(len(z)), 3) for z in (x, y)]
    values = [polynomial_mmd(x[a], y[b]) for a, b in drawn]
    assert found.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert found.subset_std == pytest.approx(np.std(values), rel=1e-12)
    assert found.blocks == pytest.approx([polynomial_mmd(x[a], y[b]) for a, b in zip(*split, strict=True)], rel=1e-12)


def test_too_few_for_blocks() -> None:
    assert kernel_distance(normal(19, 4, 6), normal(40, 4, 7)).blocks == ()


def test_orthogonal_unit_vectors() -> None:
    # k within = 1, |a - b|^2 = 2, k between = exp(-2 / 200): 1000 (2 - 2 e^-0.01)
    a, b = torch.tensor([[1.0, 0.0]]).repeat(3, 1), torch.tensor([[0.0, 1.0]]).repeat(4, 1)
    assert gaussian_mmd(a, b) == pytest.approx(1000 * (2 - 2 * math.exp(-0.01)), rel=1e-9)


def test_gaussian_floor_is_what_samples_show() -> None:
    def unit(seed: int, n: int = 60) -> torch.Tensor:
        return torch.nn.functional.normalize(normal(n, 16, seed), dim=1)

    values = [gaussian_mmd(unit(2 * i), unit(2 * i + 1, 40)) for i in range(400)]
    assert np.mean(values) == pytest.approx(gaussian_mmd_floor(unit(999, 3000), 60, 40), rel=0.02)


def test_one_image_is_too_few() -> None:
    with pytest.raises(ValueError, match="at least two images"):
        polynomial_mmd(torch.zeros(1, 4), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="one extractor"):
        gaussian_mmd(torch.zeros(3, 4), torch.zeros(3, 5))


def test_counts_must_make_sense() -> None:
    with pytest.raises(ValueError, match="subset_size >= 2"):
        kernel_distance(torch.zeros(4, 4), torch.zeros(4, 4), subset_size=1)
