import math

import numpy as np
import pytest
import torch

from stylebench.functional.manifold import expected_coverage, manifold_scores


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def textbook(real: np.ndarray, fake: np.ndarray, k_pr: int, k_dc: int) -> tuple[float, float, float, float]:
    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    def radius(x: np.ndarray, k: int) -> np.ndarray:
        return np.sort(distances(x, x), axis=1)[:, k]  # place 0 is the sample itself

    between = distances(real, fake)
    precision = (between <= radius(real, k_pr)[:, None]).any(0).mean()
    recall = (between <= radius(fake, k_pr)[None]).any(1).mean()
    density = (between < radius(real, k_dc)[:, None]).sum(0).mean() / k_dc
    coverage = (between.min(1) < radius(real, k_dc)).mean()
    return float(precision), float(recall), float(density), float(coverage)


@pytest.mark.parametrize(("n", "m"), [(60, 80), (90, 40)])
def test_equals_the_definitions(n: int, m: int) -> None:
    real, fake = normal(n, 4, 0), 0.8 * normal(m, 4, 1) + 0.3
    assert tuple(manifold_scores(real, fake)[0]) == pytest.approx(
        textbook(real.double().numpy(), fake.double().numpy(), 3, 5), rel=1e-12
    )


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = normal(70, 4, 2), normal(50, 4, 3)
    whole = manifold_scores(real, fake)
    monkeypatch.setattr("stylebench.functional.manifold._BLOCK", 16)
    assert manifold_scores(real, fake) == whole


def test_one_law() -> None:
    scores, repeats = manifold_scores(normal(2000, 16, 4), normal(2000, 16, 5))
    assert repeats == (0, 0)
    assert scores.density == pytest.approx(1, abs=0.05)
    assert scores.coverage == pytest.approx(expected_coverage(2000, 2000), abs=0.01)


def test_expected_coverage_is_a_ratio_of_binomials() -> None:
    assert expected_coverage(2000, 2000) == pytest.approx(1 - math.comb(1999, 5) / math.comb(3999, 5), rel=1e-12)
    assert expected_coverage(10_000, 10_000) == pytest.approx(0.9688, abs=5e-5)


def test_far_away() -> None:
    assert tuple(manifold_scores(normal(50, 4, 6), normal(50, 4, 7) + 1e3)[0]) == (0, 0, 0, 0)


def test_the_same_images_are_covered() -> None:
    real = normal(50, 4, 8)
    assert manifold_scores(real, real.clone())[0].coverage == 1


def test_a_set_of_repeated_images_is_precise_and_recalled_by_itself() -> None:
    # Every sample has k equal neighbors, so every radius is 0: only a rim that counts as inside gives 1.
    pictures = normal(3, 4, 9).repeat(10, 1)
    scores, repeats = manifold_scores(pictures, pictures)
    assert (scores.precision, scores.recall) == (1, 1)
    assert (scores.density, scores.coverage) == (0, 0)  # Naeem et al. have "less than"
    assert repeats == (30, 30)


def test_a_collapsed_generator_has_no_recall() -> None:
    real = normal(50, 4, 12)
    scores, repeats = manifold_scores(real, real[:1].repeat(20, 1))
    assert scores.precision == 1  # its one picture is a real one
    assert scores.recall == 1 / 50  # of all real ones that one alone is equal to it
    assert repeats == (0, 20)


def test_a_sample_on_the_rim_is_inside() -> None:
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0], [40.0], [80.0]])  # radii of k = 3: 3, 2, 2, 3, 39, 78
    scores, _ = manifold_scores(real, torch.tensor([[-3.0], [-3.5], [200.0], [-4.0]]), k_density=1)
    assert scores.precision == 1 / 4  # -3 is 3 away from 0, and more than 2 from 1


def test_a_far_offset_changes_nothing() -> None:
    real, fake = normal(60, 4, 10).double(), normal(60, 4, 11).double()
    assert manifold_scores(real + 1e4, fake + 1e4) == manifold_scores(real, fake)


def test_too_few_images() -> None:
    with pytest.raises(ValueError, match="more than 5 real images"):
        manifold_scores(normal(5, 4, 0), normal(50, 4, 1))
    with pytest.raises(ValueError, match="more than 3 generated"):
        manifold_scores(normal(50, 4, 0), normal(3, 4, 1))
    with pytest.raises(ValueError, match="one extractor"):
        manifold_scores(normal(50, 4, 0), normal(50, 5, 1))
