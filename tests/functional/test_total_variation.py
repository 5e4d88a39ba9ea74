"""Total variation: a known ramp under each convention, an independent reference, gradients."""

import pytest
import torch

from stylebench.functional.total_variation import TV_CONVENTIONS, total_variation

STEP = 0.1


def _ramp() -> torch.Tensor:
    """Make one channel of 3 rows and 4 columns that rises by STEP from column to column."""
    return (torch.arange(4, dtype=torch.float64) * STEP).expand(1, 1, 3, 4).contiguous()


# 3 rows of 3 horizontal differences of 0.1; every vertical one is 0.
#   fast_neural_style: the last row is left out: 6 differences, 1/2 * 6 * 25.5^2.
#   neural_style_pt: 9 differences, 9 * 25.5.
#   lengstrom: mean 25.5^2.
#   crowsonkb: the replicated edge makes 12 of dx, 3 of them 0: mean 9/12 * 0.01. Each diagonal has 4 x 5 differences,
#   of which 4 x 3 are 0.1 (the outer columns are replicas): mean 12/20 * 0.01.
#   2 * (0.0075 / 3 + 2 * 0.006 / 12) = 0.007.
#   magenta: mean 0.01, halved.
RAMP = {
    "fast_neural_style": 0.5 * 6 * 25.5**2,
    "neural_style_pt": 9 * 25.5,
    "lengstrom": 25.5**2,
    "crowsonkb": 0.007,
    "magenta": 0.005,
}


@pytest.mark.parametrize("convention", TV_CONVENTIONS)
def test_total_variation_of_a_ramp(convention: str) -> None:
    value = total_variation(_ramp(), convention)
    torch.testing.assert_close(value, torch.tensor([RAMP[convention]], dtype=torch.float64))


@pytest.mark.parametrize("convention", [name for name in TV_CONVENTIONS if name != "fast_neural_style"])
def test_total_variation_is_the_same_mirrored(convention: str) -> None:
    images = torch.rand(2, 3, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value = total_variation(images, convention)
    for mirrored in (images.flip(2), images.flip(3), images.mT):
        torch.testing.assert_close(total_variation(mirrored, convention), value)


@pytest.mark.parametrize("convention", TV_CONVENTIONS)
def test_total_variation_is_per_sample_shift_free_and_zero_when_flat(convention: str) -> None:
    images = torch.rand(2, 3, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.5
    value = total_variation(images, convention)
    assert value.shape == (2,)
    torch.testing.assert_close(value[1:], total_variation(images[1:], convention))
    torch.testing.assert_close(value, total_variation(images + 0.3, convention))
    assert total_variation(torch.full((1, 3, 4, 4), 0.25), convention).item() == 0


@pytest.mark.parametrize("convention", TV_CONVENTIONS)
def test_total_variation_gradcheck(convention: str) -> None:
    images = torch.rand(2, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda x: total_variation(x, convention), images.requires_grad_())


def test_fast_neural_style_gradient_is_the_one_its_program_writes() -> None:
    # That program adds x - right - and x - below to each pixel and subtracts them from the neighbor, at 255 per unit.
    images = torch.rand(1, 1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (found,) = torch.autograd.grad(total_variation(images, "fast_neural_style").sum(), images)
    pixels, expected = 255 * images.detach(), torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    for row in range(2):
        for column in range(3):
            right = pixels[0, 0, row, column] - pixels[0, 0, row, column + 1]
            below = pixels[0, 0, row, column] - pixels[0, 0, row + 1, column]
            expected[0, 0, row, column] += right + below
            expected[0, 0, row, column + 1] -= right
            expected[0, 0, row + 1, column] -= below
    torch.testing.assert_close(found, 255 * expected)


def test_total_variation_is_a_float32_island() -> None:
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = total_variation(images, "fast_neural_style")
    assert value.dtype == torch.float32
    assert torch.isfinite(value).all()


def test_total_variation_names_what_it_refuses() -> None:
    with pytest.raises(ValueError, match=r"fast_neural_style, .*got 'l2'"):
        total_variation(torch.zeros(1, 3, 4, 4), "l2")
    with pytest.raises(ValueError, match=r"got shape \(1, 3, 1, 4\)"):
        total_variation(torch.zeros(1, 3, 1, 4), "magenta")
