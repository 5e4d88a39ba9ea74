"""When a part of a style can be read, and up to which strength, on curves made up for it."""

import pytest
import torch
from torch import Tensor

from stylebench.worlds.strength.calibration import STRENGTHS, Calibration, calibrate, distinct

NODES = torch.tensor(STRENGTHS)


def samples(curve: Tensor, noise: float = 0.02, contents: int = 40, own: float = 0.0) -> Tensor:
    """Return (2, L, B) values around a curve: noise, and deviations of contents of their own."""
    generator = torch.Generator().manual_seed(0)
    deviations = own * torch.randn(1, 1, contents, generator=generator) * NODES[:, None]
    return curve[:, None] + deviations + noise * torch.randn(2, len(NODES), contents, generator=generator)


def calibrated(values: Tensor) -> Calibration | None:
    return calibrate(values, torch.ones(values.shape[2], dtype=torch.bool))


@pytest.mark.parametrize("curve", [NODES, NODES.square(), NODES.sqrt(), 1 - (1 - NODES / 1.5).square()])
def test_rising_curves_are_followed(curve: Tensor) -> None:
    calibration = calibrated(samples(curve, noise=0.01))
    assert calibration is not None
    assert calibration.highest >= 1.25
    values = samples(curve, noise=0.005)[0]
    curves, rise = calibration.curves(samples(curve, noise=0.01))
    assert rise.all()
    for node, strength in enumerate(STRENGTHS[: len(calibration.mean)]):
        assert calibration.strengths(values[node], curves).mean().item() == pytest.approx(strength, abs=0.03)


def test_a_curve_that_levels_off_is_followed_up_to_there() -> None:
    calibration = calibrated(samples(NODES.clamp(max=1), noise=0.005))
    assert calibration is not None
    assert calibration.highest == 1


@pytest.mark.parametrize(
    "curve",
    [
        torch.minimum(NODES, 2 - NODES),  # falls beyond 1
        (2 * NODES).clamp(max=1),  # doesn't rise up to 1
        torch.minimum(2 * NODES, 1.5 - NODES),  # falls before
        0 * NODES,
    ],
)
def test_other_curves_are_not_read(curve: Tensor) -> None:
    assert calibrated(samples(curve, noise=0.005)) is None


def test_noise_beyond_a_tenth_in_strength_is_not_read() -> None:
    assert calibrated(samples(NODES, noise=0.07)) is not None
    assert calibrated(samples(NODES, noise=0.14)) is None


def test_too_few_contents_are_not_read() -> None:
    readable = torch.arange(40) < 19
    assert calibrate(samples(NODES), readable) is None
    assert calibrate(samples(NODES), ~readable) is not None
    assert calibrate(samples(NODES)[..., :1], readable[:1]) is None


def test_contents_are_read_by_curves_of_their_own() -> None:
    values = samples(NODES, noise=0.01, own=0.2)
    calibration = calibrated(values)
    assert calibration is not None
    curves, _ = calibration.curves(values)
    unseen = NODES[4] + (values.mean(0)[12] - NODES[12]) / NODES[12] * NODES[4]  # what each shows at strength 0.5
    own = calibration.strengths(unseen, curves)
    common = calibration.strengths(unseen, calibration.mean[:, None].expand(-1, 40))
    assert (own - 0.5).abs().max() < 0.05
    assert (common - 0.5).abs().max() > 0.1


def test_contents_whose_curve_falls_are_told() -> None:
    values = samples(NODES, noise=0.001)
    values[:, 6:, 0] = values[:, 6:7, 0]
    calibration = calibrated(values)
    assert calibration is not None
    assert calibration.curves(values)[1].tolist() == [False] + [True] * 39


def test_a_change_counts_if_it_is_visible_and_three_times_its_spread() -> None:
    visible, deviation = torch.tensor([True, True, False]), torch.tensor([0.33, 0.34, 0.0])
    assert distinct(visible, deviation).tolist() == [True, False, False]
