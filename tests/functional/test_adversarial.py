"""Losses of discriminators and generators: known answers on hand-made logits, directions, float32 islands."""

import math

import pytest
import torch
from torch import Tensor

from stylebench.functional.adversarial import (
    OBJECTIVES,
    check_objective,
    discriminator_loss,
    generator_loss,
    logit_figures,
)

REAL, FAKE = torch.tensor([[2.0, -1.0]], dtype=torch.float64), torch.tensor([[0.5, -3.0]], dtype=torch.float64)


def softplus(x: float) -> float:
    return math.log(1 + math.exp(x))


# objective -> (discriminator, generator) for real logits 2, -1 and generated ones 0.5, -3: means of two by hand.
#   lsgan: ((2-1)^2 + (-1-1)^2)/2 + (0.25 + 9)/2 = 2.5 + 4.625; (0.25 + 16)/2.
#   hinge: (relu(-1) + relu(2))/2 + (relu(1.5) + relu(-2))/2 = 1 + 0.75; -(0.5 - 3)/2.
#   wgan: -1.25 - 0.5; 1.25.
DISCRIMINATOR = (softplus(-2) + softplus(1)) / 2 + (softplus(0.5) + softplus(-3)) / 2
KNOWN = {
    "vanilla": (DISCRIMINATOR, (softplus(-0.5) + softplus(3)) / 2),
    "saturating": (DISCRIMINATOR, -(softplus(0.5) + softplus(-3)) / 2),
    "lsgan": (7.125, 8.125),
    "hinge": (1.75, 1.25),
    "wgan": (-1.75, 1.25),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_of_hand_made_logits(objective: str) -> None:
    discriminator, generator = KNOWN[objective]
    assert float(discriminator_loss(REAL, FAKE, objective)) == pytest.approx(discriminator, rel=1e-12)
    assert float(generator_loss(FAKE, objective)) == pytest.approx(generator, rel=1e-12)


def test_lsgan_half_way_between_its_targets() -> None:
    half = torch.full((2, 1, 3, 3), 0.5)
    assert float(generator_loss(half, "lsgan")) == 0.25
    assert float(discriminator_loss(half, half, "lsgan")) == 0.5


def test_vanilla_at_zero_is_twice_the_logarithm_of_two() -> None:
    zero = torch.zeros(3, dtype=torch.float64)
    assert float(discriminator_loss(zero, zero, "vanilla")) == pytest.approx(2 * math.log(2), rel=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_real_and_generated_logits_may_differ_in_number(objective: str) -> None:
    """Each part is a mean of its own."""
    one = discriminator_loss(REAL, FAKE, objective)
    torch.testing.assert_close(discriminator_loss(REAL.repeat(3, 1), FAKE, objective), one)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_players_pull_in_opposite_directions(objective: str) -> None:
    """At undecided logits descent raises the real ones, lowers the generated ones; the generator raises its own."""
    middle = 0.5 if objective == "lsgan" else 0.0
    real, fake = (torch.full((4,), middle, requires_grad=True) for _ in range(2))
    discriminator_loss(real, fake, objective).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    fake.grad = None
    generator_loss(fake, objective).backward()
    assert (fake.grad < 0).all()


def test_the_saturating_generator_hardly_learns_when_it_is_found_out() -> None:
    def slope(objective: str) -> float:
        logit = torch.tensor([-8.0], requires_grad=True)
        generator_loss(logit, objective).backward()
        return abs(float(logit.grad))  # type: ignore[arg-type]

    assert slope("saturating") < 1e-3
    assert slope("vanilla") > 0.999


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_are_right(objective: str) -> None:
    real, fake = (tensor.clone().requires_grad_() for tensor in (REAL + 0.1, FAKE + 0.1))
    assert torch.autograd.gradcheck(lambda r, f: discriminator_loss(r, f, objective), (real, fake))
    assert torch.autograd.gradcheck(lambda f: generator_loss(f, objective), (fake,))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_are_float32_under_autocast(objective: str) -> None:
    """A logit in bfloat16 is rounded once, by the network; the loss of it is that of the rounded number, exactly."""
    real, fake = REAL.bfloat16() + 0.3, FAKE.bfloat16() - 0.3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = [discriminator_loss(real, fake, objective), generator_loss(fake, objective)]
    expected = [discriminator_loss(real.float(), fake.float(), objective), generator_loss(fake.float(), objective)]
    assert [loss.dtype for loss in losses] == [torch.float32] * 2
    assert [float(loss) for loss in losses] == [float(loss) for loss in expected]


def test_an_unknown_objective_is_refused() -> None:
    assert check_objective("hinge") == "hinge"
    with pytest.raises(ValueError, match=r"objective must be one of vanilla, .*wgan, got 'relativistic'"):
        check_objective("relativistic")


@pytest.mark.parametrize(("objective", "share"), [("vanilla", (1 / 2 + 1 / 2) / 2), ("lsgan", (1 / 2 + 1 / 1) / 2)])
def test_logit_figures(objective: str, share: float) -> None:
    """Real 2 and -1: one of two is right. Generated 0.2 and -3: one of two is below 0, both are below 0.5."""
    fake = torch.tensor([0.2, -3.0], requires_grad=True)
    figures: dict[str, Tensor] = logit_figures(REAL, fake, objective)
    assert {name: float(value) for name, value in figures.items()} == {
        "real_logit": 0.5, "fake_logit": pytest.approx(-1.4), "sign_accuracy": share,
    }  # fmt: skip
    assert not any(value.requires_grad for value in figures.values())
