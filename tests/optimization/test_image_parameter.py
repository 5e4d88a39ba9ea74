"""A picture as the variable of an optimizer, and the loop over it: counting, bounds, line searches cut short."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from stylebench.optimization.gatys import Evaluation, Progress, minimize
from stylebench.optimization.image_parameter import ImageParameter, Settings

LBFGS = partial(
    torch.optim.LBFGS, lr=1.0, history_size=10, line_search_fn="strong_wolfe", max_iter=10000, max_eval=100000,
    tolerance_grad=0.0, tolerance_change=0.0,
)  # fmt: skip
ADAM = partial(torch.optim.Adam, lr=0.05)


class Rosenbrock:
    """A curved valley over pairs of pixels: line searches need several evaluations in it."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.best = float("inf")

    def __call__(self, image: Tensor, step: int) -> Evaluation:
        self.calls.append(step)
        pixels = image.detach().requires_grad_()
        first, second = pixels[..., ::2], pixels[..., 1::2]
        total = ((1 - first).square() + 100 * (second - first.square()).square()).sum()
        (gradient,) = torch.autograd.grad(total, pixels)
        self.best = min(self.best, total.item())
        return Evaluation(total.detach(), gradient, {"valley": total.detach()})


def start(value: float = 0.1, size: tuple[int, int] = (4, 6)) -> Tensor:
    return torch.full((1, 3, *size), value, dtype=torch.float64)


@pytest.mark.parametrize("minimizer", [LBFGS, ADAM], ids=["lbfgs", "adam"])
@pytest.mark.parametrize("evaluations", [1, 7, 40])
def test_every_evaluation_is_counted_and_no_more_are_made(minimizer: Any, evaluations: int) -> None:
    objective, seen = Rosenbrock(), list[Progress]()
    minimize(ImageParameter(Settings(minimizer, "none"), start()), objective, evaluations, seen.append)
    assert objective.calls == list(range(1, evaluations + 1))
    assert [(part.evaluation, part.evaluations) for part in seen] == [(i, evaluations) for i in objective.calls]


def test_a_search_that_ends_in_the_middle_leaves_the_best_point() -> None:
    for evaluations in range(2, 30):
        objective = Rosenbrock()
        parameter = ImageParameter(Settings(LBFGS, "none"), start())
        minimize(parameter, objective, evaluations)
        reached = Rosenbrock()(parameter.image, 0).total.item()
        assert reached <= objective.best + 1e-12


def test_lbfgs_finds_the_minimum() -> None:
    parameter = ImageParameter(Settings(LBFGS, "none"), start())
    minimize(parameter, Rosenbrock(), 120)
    assert torch.allclose(parameter.image, torch.ones(()).double(), atol=1e-5)  # the valley's end: (1, 1)


class Far:
    """Pulls every pixel to 2, beyond the bounds, and remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []

    def __call__(self, image: Tensor, step: int) -> Evaluation:
        self.seen.append((float(image.min()), float(image.max())))
        return Evaluation((image - 2).square().sum(), 2 * (image - 2), {})


@pytest.mark.parametrize("minimizer", [LBFGS, ADAM], ids=["lbfgs", "adam"])
@pytest.mark.parametrize("bounds", ["clamp", "sigmoid"])
def test_bounds_hold_at_every_evaluation(minimizer: Any, bounds: str) -> None:
    objective = Far()
    parameter = ImageParameter(Settings(minimizer, bounds, low=0.2, high=0.9), start(0.5))
    minimize(parameter, objective, 60)
    beyond = 0.0 if bounds == "clamp" else 0.03 * 0.7
    assert all(low >= 0.2 - beyond and high <= 0.9 + beyond for low, high in objective.seen)
    assert float(parameter.image.min()) > 0.8
    assert float(parameter.image.max()) <= 0.9
    free = ImageParameter(Settings(minimizer, "none", low=0.2, high=0.9), start(0.5))
    minimize(free, objective, 60)
    assert objective.seen[-1][1] > 0.9
    assert float(free.image.max()) <= 0.9  # clamped at the end


def test_sigmoid_gradient_is_that_of_the_variable() -> None:
    parameter = ImageParameter(Settings(ADAM, "sigmoid"), start(0.3))
    grads: list[Tensor] = []

    def objective(image: Tensor, step: int) -> Evaluation:
        variable = parameter.variable.detach().clone().requires_grad_()
        ((1.06 * variable.sigmoid() - 0.03) ** 3).sum().backward()  # 0.03 wider at both ends
        assert variable.grad is not None
        grads.append(variable.grad)
        return Evaluation((image**3).sum(), 3 * image**2, {})

    minimize(parameter, objective, 1)
    assert parameter.variable.grad is not None
    assert torch.allclose(parameter.variable.grad, grads[0], atol=1e-12)


def test_moments_of_adam_go_up_the_ladder() -> None:
    parameter = ImageParameter(Settings(ADAM, "none"), start(size=(4, 6)))
    minimize(parameter, Rosenbrock(), 5)
    bigger = parameter.enlarged((8, 12))
    state = bigger.optimizer.state[bigger.variable]
    before = parameter.optimizer.state[parameter.variable]
    assert float(state["step"]) == 5
    assert state["exp_avg"].shape == (1, 3, 8, 12)
    assert torch.allclose(state["exp_avg"].mean(), before["exp_avg"].mean(), rtol=0.05)
    assert float(state["exp_avg_sq"].min()) >= 0
    assert bigger.image.shape == (1, 3, 8, 12)
    minimize(bigger, Rosenbrock(), 1)
    assert float(bigger.optimizer.state[bigger.variable]["step"]) == 6


def test_lbfgs_starts_anew_at_another_size() -> None:
    parameter = ImageParameter(Settings(LBFGS, "none"), start(size=(4, 6)))
    minimize(parameter, Rosenbrock(), 10)
    bigger = parameter.enlarged((8, 12))
    assert not bigger.optimizer.state[bigger.variable]
    minimize(bigger, Rosenbrock(), 5)


def test_history_shrinks_above_512_px() -> None:
    def history(side: int) -> int:
        optimizer = ImageParameter(Settings(partial(LBFGS, history_size=100), "none"), torch.zeros(1, 1, side, side))
        return int(optimizer.optimizer.param_groups[0]["history_size"])

    # 100 pairs up to 512^2; at 1024^2 a quarter of them; at 4096^2 100 / 64, but never fewer than 5
    assert [history(side) for side in (64, 512, 1024, 4096)] == [100, 100, 25, 5]


def test_bounds_follow_from_the_optimizer() -> None:
    assert Settings(LBFGS, "auto").chosen == "sigmoid"
    assert Settings(ADAM, "auto").chosen == "clamp"
    assert Settings(LBFGS, "clamp").chosen == "clamp"


def test_unknown_bounds() -> None:
    with pytest.raises(ValueError, match="bounds must be one of auto, none, clamp, sigmoid, got 'box'"):
        Settings(ADAM, "box")
