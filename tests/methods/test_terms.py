"""Loss terms: the weighted sum, what is kept of them by phase, and the guard against what is not finite."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import pytest
import torch
from torch import nn

from stylebench.methods.base import Method
from stylebench.methods.terms import NonFiniteLossError


class Game(Method):
    """Three players, one of whose names begins with another's."""

    players: ClassVar[Mapping[str, Sequence[str]]] = {
        "generator": ("generator",), "generator_b": ("generator_b",), "discriminator": ("judges.a", "judges.b"),
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.generator_b = nn.Linear(1, 1), nn.Linear(1, 1)
        self.judges = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})


def log(method: Method, phase: str | None, stage: str = "train", **terms: float) -> None:
    values = {name: torch.tensor(term) for name, term in terms.items()}
    method.log_and_sum(values, dict.fromkeys(values, 1.0), phase=phase, stage=stage)


def test_log_and_sum_weighs_terms_and_layers() -> None:
    method = Method()
    terms = {"content": torch.tensor(2.0), "style": {"shallow": torch.tensor(3.0), "deep": torch.tensor(5.0)}}
    total = method.log_and_sum(terms, {"content": 10.0, "style": 0.5, "unused": 7.0})
    assert float(total) == 10 * 2 + 0.5 * (3 + 5)
    logged = {name: float(value) for name, value in method.latest["train"].items()}
    assert logged == {
        "train/loss/content": 2.0, "train/weighted/content": 20.0,
        "train/loss/style_shallow": 3.0, "train/weighted/style_shallow": 1.5,
        "train/loss/style_deep": 5.0, "train/weighted/style_deep": 2.5,
        "train/loss/style": 8.0, "train/weighted/style": 4.0,
        "train/loss/total": 24.0,
    }  # fmt: skip


def test_log_and_sum_keeps_gradient_in_the_total_only() -> None:
    method, x = Method(), torch.tensor(3.0, requires_grad=True)
    total = method.log_and_sum({"square": x * x}, {"square": 2.0})
    total.backward()
    assert float(x.grad) == 12.0  # type: ignore[arg-type]
    assert not any(value.requires_grad for value in method.latest["train"].values())


def test_log_and_sum_names_a_term_without_weight() -> None:
    with pytest.raises(ValueError, match=r"no weight.*'style'"):
        Method().log_and_sum({"style": torch.tensor(1.0)}, {"content": 1.0})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_check_finite_names_the_term_and_the_first_batch(bad: float) -> None:
    method = Method()
    for batch, style in enumerate([1.0, bad, 1.0, bad]):
        method.batches_before = batch
        method.log_and_sum({"content": torch.tensor(1.0), "style": torch.tensor(style)}, {"content": 1, "style": 1})
    with pytest.raises(NonFiniteLossError, match=r"'style' at batch 2\..*Lower the learning rate or the weight"):
        method.check_finite()


def test_check_finite_is_quiet_on_finite_losses() -> None:
    method = Method()
    method.check_finite()  # before the first batch
    method.log_and_sum({"content": torch.tensor(1.0)}, {"content": 1.0})
    assert method.check_finite() is None  # type: ignore[func-returns-value]


def test_log_and_sum_keeps_the_terms_of_all_players() -> None:
    method = Method()
    method.log_and_sum({"gan": torch.tensor(2.0)}, {"gan": 3.0}, phase="generator")
    method.log_and_sum({"gan": torch.tensor(float("inf"))}, {"gan": 1.0}, phase="discriminator")
    method.log_health({"real_logit": torch.tensor(0.5)})
    assert {name: float(value) for name, value in method.latest["train"].items()} == {
        "train/loss/generator_gan": 2.0, "train/weighted/generator_gan": 6.0, "train/loss/generator_total": 6.0,
        "train/loss/discriminator_gan": float("inf"), "train/weighted/discriminator_gan": float("inf"),
        "train/loss/discriminator_total": float("inf"), "train/health/real_logit": 0.5,
    }  # fmt: skip
    with pytest.raises(NonFiniteLossError, match="'discriminator_gan' at batch 1"):
        method.check_finite()


def test_the_total_is_the_sum_of_the_first_players_phases() -> None:
    method = Game()
    for stage in ("train", "val"):
        log(method, "discriminator", stage, gan=7.0)
        assert f"{stage}/loss/total" not in method.latest[stage]
        log(method, "generator_latent", stage, gan=2.0, style=1.0)
        assert float(method.latest[stage][f"{stage}/loss/total"]) == 3.0
        log(method, "generator_b", stage, gan=50.0)  # another player's, though its name begins like the first's
        log(method, "generator_reference", stage, gan=4.0)
        log(method, "generator_latent", stage, gan=10.0)  # the next batch's
        assert float(method.latest[stage][f"{stage}/loss/total"]) == 14.0
        names = {"discriminator_gan", "generator_latent_gan", "generator_b_gan", "generator_reference_gan"}
        totals = {"discriminator_total", "generator_latent_total", "generator_b_total", "generator_reference_total"}
        expected = {f"{stage}/loss/{name}" for name in names | totals | {"total"}}
        expected |= {f"{stage}/weighted/{name}" for name in names}
        assert set(method.latest[stage]) == expected  # of the newest `generator_latent`, no `style` is left


def test_terms_of_one_phase_replace_their_own_alone() -> None:
    method = Game()
    log(method, "generator", gan=1.0, cycle=2.0)
    log(method, "generator_b", gan=3.0)
    method.log_health({"logit": torch.tensor(4.0)})
    log(method, "generator", gan=5.0)
    assert {name: float(value) for name, value in method.latest["train"].items() if "weighted" not in name} == {
        "train/loss/total": 5.0, "train/loss/generator_b_gan": 3.0, "train/loss/generator_b_total": 3.0,
        "train/health/logit": 4.0, "train/loss/generator_gan": 5.0, "train/loss/generator_total": 5.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "keys"),
    [
        ("generator", r"Lower model\.optimizers\.generator\.lr or the weight"),
        ("generator_latent", r"Lower model\.optimizers\.generator\.lr or the weight"),
        ("discriminator", r"Lower model\.optimizers\.discriminator\.lr or the weight"),
        (None, r"generator\.lr or model\.optimizers\.generator_b\.lr or model\.optimizers\.discriminator\.lr or the"),
    ],
)
def test_a_bad_term_is_blamed_on_the_learning_rate_of_its_player(phase: str | None, keys: str) -> None:
    method = Game()
    log(method, phase, gan=float("nan"))
    with pytest.raises(NonFiniteLossError, match=keys):
        method.check_finite()


def test_bad_weights_are_blamed_on_the_learning_rate_of_their_player() -> None:
    method, plain = Game(), Method()
    method.check_weights_finite()
    method.judges["b"].weight.data.fill_(float("inf"))
    with pytest.raises(
        NonFiniteLossError, match=r"judges\.b\.weight\. .*Lower model\.optimizers\.discriminator\.lr, or"
    ):
        method.check_weights_finite()
    plain.network = nn.Linear(1, 1)
    plain.network.bias.data.fill_(float("nan"))
    with pytest.raises(NonFiniteLossError, match=r"network\.bias\. .*Lower the learning rate, or"):
        plain.check_weights_finite()


def test_logging_for_another_stage_or_none_leaves_training_alone() -> None:
    method = Method()
    terms = {"content": torch.tensor(2.0), "style": {"a": torch.tensor(3.0), "b": torch.tensor(float("inf"))}}
    with method.logging_for("val"):
        method.log_and_sum(terms, {"content": 1.0, "style": 1.0})
        method.log_health({"logit": torch.tensor(1.0)})
    assert set(method.latest["val"]) == {
        *(f"val/{kind}/{name}" for kind in ("loss", "weighted") for name in ("content", "style", "style_a", "style_b")),
        "val/loss/total",
    }
    before = dict(method.latest["val"])
    with method.logging_for(None):
        terms = {"content": torch.tensor(2.0), "style": {"a": torch.tensor(3.0), "b": torch.tensor(5.0)}}
        assert float(method.log_and_sum(terms, {"content": 10.0, "style": 0.5})) == 24.0
        method.log_health({"logit": torch.tensor(1.0)})
    assert (method.latest["val"], method.latest["train"], method.stage) == (before, {}, "train")
    method.check_finite()
