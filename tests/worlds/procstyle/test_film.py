"""The response from exposure to display values."""

import pytest
import torch

from stylebench.worlds.procstyle.film import expose, respond


def test_middle_gray_stays_and_has_slope_1() -> None:
    assert float(respond(torch.tensor(0.5))) == 0.5
    step = torch.tensor([0.49, 0.51], dtype=torch.float64)
    assert float(respond(step).diff()) == pytest.approx(0.02, rel=1e-3)


def test_known_value() -> None:
    # u = 2 * 1 - 1 = 1: 1/2 + 1 / (2 * 2^(1/4)) = 0.5 + 0.5 * 0.8408964
    assert float(respond(torch.tensor(1.0, dtype=torch.float64))) == pytest.approx(0.9204482, abs=1e-7)


def test_order_is_kept_far_beyond_black_and_white() -> None:
    shown = respond(torch.linspace(-1, 2, 301, dtype=torch.float64))
    assert bool((shown.diff() > 0).all())
    assert 0 < float(shown.min()) < float(shown.max()) < 1


def test_expose_inverts() -> None:
    for display in (0.02, 0.3, 0.5, 0.77, 0.98):
        assert float(respond(torch.tensor(expose(display), dtype=torch.float64))) == pytest.approx(display, abs=1e-12)


@pytest.mark.parametrize("display", [0.0, 1.0, -0.2, float("nan")])
def test_values_that_cannot_be_shown(display: float) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, got .*; choose one within"):
        expose(display)
