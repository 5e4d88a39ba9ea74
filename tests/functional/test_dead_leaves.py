"""Dead-leaves pictures: deterministic, natural in their statistics, careful with the global random state."""

import numpy as np
import pytest
import torch

from stylebench.functional.dead_leaves import dead_leaves


def test_dead_leaves_repeats_and_a_longer_series_extends_a_shorter() -> None:
    long, short = dead_leaves(3, 32, seed=5), dead_leaves(2, 32, seed=5)
    assert long.shape == (3, 3, 32, 32)
    assert long.dtype == torch.uint8
    assert torch.equal(long[:2], short)
    assert not torch.equal(dead_leaves(2, 32, seed=6), short)
    assert not torch.equal(short[0], short[1])


def test_dead_leaves_leaves_the_global_random_state_alone() -> None:
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    dead_leaves(1, 16, seed=0)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@pytest.mark.parametrize(
    ("count", "size_px", "seed", "name"), [(0, 32, 0, "count"), (1, 7, 0, "size_px"), (1, 8, -1, "seed")]
)
def test_dead_leaves_names_the_number_that_is_too_small(count: int, size_px: int, seed: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} >= "):
        dead_leaves(count, size_px, seed)


def test_dead_leaves_resemble_photographs_in_brightness_contrast_chroma_and_edges() -> None:
    # Photographs of 256 px have mean 0.46, deviation 0.26, chroma deviation 0.09, and differences of neighbors with a
    # kurtosis of 14 (Gaussian noise: 3); the bounds are wide because the pictures are few.
    pictures = dead_leaves(12, 96, seed=0).double().div(255)
    gray = pictures.mean(1)
    steps = (gray[..., 1:] - gray[..., :-1]).flatten()
    assert 0.35 < gray.mean() < 0.65
    assert 0.15 < gray.std() < 0.35
    assert 0.05 < (pictures - gray[:, None]).std() < 0.15
    assert steps.pow(4).mean() / steps.pow(2).mean() ** 2 > 8
