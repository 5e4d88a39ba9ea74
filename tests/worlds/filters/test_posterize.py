"""Cartoons: brightness in steps, dark lines beside edges."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylebench.functional.color import luma
from stylebench.worlds.filters.posterize import outlines, posterize_edges, soft_quantize
from stylebench.worlds.filters.smoothing import bilateral_blur


def test_soft_quantize_is_flat_between_transitions_and_steep_in_them() -> None:
    # Of 8 steps, a flat piece lies around (k + 1/2) / 8 and a transition at k / 8.
    values = torch.tensor((0.5, 1.5, 1.3, 1.7, 2.0, 2.05)) / 8
    expected = (0.5, 1.5, 1.5, 1.5, 2.0, 2 + 0.5 * np.tanh(0.5))
    torch.testing.assert_close(
        soft_quantize(values, 8, 10) * 8, torch.tensor(expected, dtype=torch.float32), atol=4e-3, rtol=0
    )


def test_soft_quantize_joins_its_pieces_and_rises() -> None:
    values = torch.linspace(0, 1, 20001)
    steps = soft_quantize(values, 5, 10).diff()
    assert steps.min() > -1e-4  # neighboring transitions meet within tanh's tail
    assert steps.max() < 5.01 / 20000  # never steeper than slope / 2


def test_outlines_equal_scipy(pictures: Tensor, reference: Any) -> None:
    found = outlines(pictures[:, :1], 1.1, 0.02)
    for index, plane in enumerate(pictures[:, 0].double().numpy()):
        difference = reference.blur(plane, 1.76) - reference.blur(plane, 1.1)
        np.testing.assert_allclose(found[index, 0], np.tanh(np.maximum(difference / 0.02 - 1, 0)), atol=1e-4)


def test_outlines_lie_on_the_dark_side_only(two_tones: Tensor) -> None:
    edge = outlines(luma(two_tones), 1.0, 0.01)[0, 0]
    assert edge[:, 11:13].min() > 0.3
    assert edge[:, 13:].max() == 0


def test_posterize_edges_equals_its_formula(pictures: Tensor) -> None:
    scale = 32 / 256
    smooth = bilateral_blur(pictures, 24 * scale, 0.08, 2).double()
    gray = luma(smooth)
    nearest = (gray * 6).round()
    for strength, amount, excess in ((0.6, 0.6, 1.0), (1.5, 1.0, 1.5)):
        steps = (nearest + 0.5 * torch.tanh(9 * excess * (gray * 6 - nearest))) / 6
        drawn = steps + (1 + 0.5 * excess) * (smooth - gray)
        mixed = (pictures + amount * (drawn - pictures)).clamp(0, 1)
        edge = outlines(gray, 16 * scale, 0.01)
        expected = mixed * (1 - (strength * 0.8 * edge).clamp(max=1))
        found = posterize_edges(
            pictures, strength, levels=6.0, slope=9.0, smoothing=24.0, edge_sigma=16.0, edge_threshold=0.01,
            edge_amount=0.8, vividness=0.5,
        )  # fmt: skip
        torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)


def test_few_levels_leave_few_brightnesses(pictures: Tensor) -> None:
    drawn = luma(posterize_edges(pictures, levels=3.0, edge_amount=0.0, slope=200.0, vividness=0.0, smoothing=0.0))
    middles = torch.tensor((1.0, 3.0, 5.0)) / 6
    # Chroma may leave the screen's range, which moves brightness; most pixels don't.
    near = (drawn[..., None] - middles).abs().amin(-1) < 0.01
    assert near.double().mean() > 0.8


def test_posterize_edges_of_strength_zero_is_the_picture(pictures: Tensor) -> None:
    torch.testing.assert_close(posterize_edges(pictures, 0.0), pictures, atol=1e-6, rtol=0)
