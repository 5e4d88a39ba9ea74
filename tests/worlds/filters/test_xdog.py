"""Ink drawings: constants stay constant, values equal the formula."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.functional.color import color_plane
from stylebench.worlds.filters.xdog import extended_dog, xdog

SEEDS = torch.tensor([4, 9])


@pytest.mark.parametrize("flow", [0.0, 30.0])
@pytest.mark.parametrize("level", [0.0, 0.4, 0.69, 1.0])
def test_xdog_of_a_constant_is_constant(level: float, flow: float) -> None:
    drawn = xdog(torch.full((1, 3, 20, 26), level), seeds=SEEDS[:1], grain=0.0, flow=flow)
    tone = 1 + np.tanh(10 * min(level - 0.7, 0))
    ink, paper = np.array((0.12, 0.11, 0.14)), np.array((0.94, 0.92, 0.86))
    expected = color_plane(ink + (paper - ink) * tone, drawn).expand_as(drawn)
    torch.testing.assert_close(drawn, expected, atol=2e-4, rtol=0)  # a gain of 20 also lifts rounding errors


def test_extended_dog_equals_scipy(pictures: Tensor, reference: Any) -> None:
    brightness = pictures[:, :1]
    found = extended_dog(brightness, sigma_px=0.8, ratio=1.6, gain=12, threshold=0.6, slope=4, flow_px=0)
    for index, plane in enumerate(brightness[:, 0].double().numpy()):
        sharp = 13 * reference.blur(plane, 0.8) - 12 * reference.blur(plane, 1.28)
        expected = np.where(sharp >= 0.6, 1, 1 + np.tanh(4 * (sharp - 0.6)))
        np.testing.assert_allclose(found[index, 0].numpy(), expected, atol=2e-4)


def test_smoothing_along_edges_leaves_a_straight_edge_and_joins_a_dashed_one(two_tones: Tensor) -> None:
    settings = {"sigma_px": 1.0, "ratio": 1.6, "gain": 5.0, "threshold": 1.5, "slope": 0.5}
    straight = two_tones[:, :1]
    torch.testing.assert_close(
        extended_dog(straight, flow_px=4.0, **settings),
        extended_dog(straight, flow_px=0, **settings),
        atol=1e-3,
        rtol=0,
    )
    dashed = straight.clone()
    dashed[:, :, ::3] = 0.7 * dashed[:, :, ::3]
    along = [extended_dog(dashed, flow_px=reach, **settings)[..., 5:-5, 16].std() for reach in (0, 4.0)]
    assert along[1] < 0.6 * along[0]


def test_grain_darkens_the_paper_by_at_most_its_weight(pictures: Tensor) -> None:
    smooth = xdog(pictures, seeds=SEEDS, grain=0.0)
    grained = xdog(pictures, seeds=SEEDS, grain=0.2)
    assert (grained <= smooth + 1e-6).all()
    assert (smooth - grained).max() <= 0.2 * 0.94
    assert (smooth - grained).std() > 0.01


def test_xdog_blends_and_goes_on_beyond_one(pictures: Tensor) -> None:
    assert torch.equal(xdog(pictures, 0.0, seeds=SEEDS), pictures)
    full, more = (xdog(pictures, strength, seeds=SEEDS, gain=0.0) for strength in (1.0, 1.5))
    torch.testing.assert_close(more, pictures + 1.5 * (full - pictures))
