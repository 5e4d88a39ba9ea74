"""Hatching: strokes at their spacing and angle, in the tones they belong to."""

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.functional.hash_noise import hash_uniform
from stylebench.worlds.filters.hatching import hatching

SEEDS = torch.tensor([4, 9])
PLAIN = {"wobble": 0.0, "ink": (0.0, 0.0, 0.0), "paper": (1.0, 1.0, 1.0)}


def test_white_stays_paper(pictures: Tensor) -> None:
    drawn = hatching(torch.ones_like(pictures), seeds=SEEDS, paper=(0.9, 0.8, 0.7))
    torch.testing.assert_close(drawn[:, :, 0, 0], torch.tensor([(0.9, 0.8, 0.7)] * 2))
    assert drawn.flatten(2).std(2).max() < 1e-6


def test_one_layer_on_black_equals_the_distance_to_its_lines() -> None:
    black = torch.zeros(2, 3, 64, 80)
    drawn = hatching(black, seeds=SEEDS, spacing=24.0, angles=(30.0,), line_width=8.0, **PLAIN)
    rows, columns = np.mgrid[:64, :80]
    for index, phase in enumerate(hash_uniform(SEEDS, 1, 1, stream=20)[:, 0, 0].double().numpy()):
        lines = (rows * np.cos(np.pi / 6) - columns * np.sin(np.pi / 6)) / 6 + phase
        distance = np.abs(lines % 1 - 0.5) * 6
        # Tone 0 is 0.5 below the layer's limit, which is more than the range of tapering: strokes have full width.
        expected = 1 - np.clip(1 + 0.5 - distance, 0, 1)
        np.testing.assert_allclose(drawn[index, 0].numpy(), expected, atol=2e-4)


@pytest.mark.parametrize(("level", "layers"), [(0.85, 0), (0.7, 1), (0.5, 2), (0.3, 3), (0.1, 4)])
def test_a_tone_has_the_strokes_of_all_brighter_tones(level: float, layers: int) -> None:
    gray = torch.full((1, 3, 128, 128), level)
    settings = {"spacing": 32.0, "line_width": 6.0, "softness": 0.01, **PLAIN}
    drawn = hatching(gray, seeds=SEEDS[:1], **settings)[0, 0]
    angles = (90.0, 0.0, -45.0, 45.0)
    # Each layer alone on black; the drawing is the darkest of those that belong to the tone.
    phases = hash_uniform(SEEDS[:1], 1, 4, stream=20)[0, 0].double().numpy()
    rows, columns = np.mgrid[:128, :128]
    ink = np.zeros((128, 128))
    for angle, phase in list(zip(np.radians(angles), phases, strict=True))[4 - layers :]:
        lines = (rows * np.cos(angle) - columns * np.sin(angle)) / 16 + phase
        ink = np.maximum(ink, np.clip(1.5 + 0.5 - np.abs(lines % 1 - 0.5) * 16, 0, 1))
    np.testing.assert_allclose(1 - drawn.numpy(), ink, atol=5e-4)


def test_seeds_move_the_strokes_but_not_the_tone() -> None:
    gray = torch.full((2, 3, 128, 128), 0.4)
    first, second = hatching(gray, seeds=SEEDS).unbind(0)
    assert (first - second).abs().mean() > 0.1
    torch.testing.assert_close(first.mean((1, 2)), second.mean((1, 2)), atol=0.02, rtol=0)


def test_hatching_of_strength_zero_is_the_picture(pictures: Tensor) -> None:
    assert torch.equal(hatching(pictures, 0.0, seeds=SEEDS), pictures)
