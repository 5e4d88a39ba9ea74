"""Players: one or several networks move by a loss, and nothing else does."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from stylebench.methods.base import Method

SGD = partial(torch.optim.SGD, lr=0.1)


class TwoPlayers(Method):
    """A toy game: both players move once a batch, the first clipped."""

    players: ClassVar[Mapping[str, Sequence[str]]] = {"first": ("first",), "second": ("second",)}

    def __init__(self) -> None:
        super().__init__(optimizers={"first": SGD, "second": SGD})
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 1)
        self.norms: list[float] = []
        self.left_over: list[bool] = []
        self.on_step: Callable[[], None] = lambda: None

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.on_step()
        with self.moving("first"):
            self.update(1e3 * self.second(self.first(batch[0])).square().mean(), clip_norm=0.1)
        self.norms.append(
            float(nn.utils.get_total_norm([p.grad for p in self.first.parameters() if p.grad is not None]))
        )
        self.left_over.append(any(p.grad is not None for p in self.second.parameters()))
        with self.moving("second"):
            self.update(self.second(self.first(batch[0]).detach()).mean())


def fit_players(method: Method, batches: int, **settings: Any) -> None:
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, **settings,
    )  # fmt: skip
    loader = DataLoader(TensorDataset(torch.randn(batches, 2)), batch_size=1)
    trainer.fit(method, loader, loader)


def test_update_moves_one_player_and_clips_its_gradient() -> None:
    torch.manual_seed(0)
    method = TwoPlayers()
    before = [p.clone() for p in method.parameters()]
    fit_players(method, 1)
    assert all(not torch.equal(old, new) for old, new in zip(before, method.parameters(), strict=True))
    assert method.norms == [pytest.approx(0.1, rel=1e-4)]
    assert method.left_over == [False]


def test_moving_freezes_the_other_players_and_restores_them() -> None:
    method = TwoPlayers()
    method.second.bias.requires_grad_(False)

    def fail_while_moving() -> None:
        with method.moving("first"):
            assert all(p.requires_grad for p in method.first.parameters())
            assert not any(p.requires_grad for p in method.second.parameters())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_while_moving()
    assert method.second.weight.requires_grad
    assert not method.second.bias.requires_grad


class Styles(Method):
    """A game with a phase of two players, then one of them alone; one weight of a player never has a gradient."""

    players: ClassVar[Mapping[str, Sequence[str]]] = {
        "generator": ("generator",), "style_encoder": ("style_encoder",), "discriminator": ("discriminator",),
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__(optimizers=dict.fromkeys(self.players, SGD))
        torch.manual_seed(0)
        self.generator, self.style_encoder, self.discriminator = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)
        self.style_encoder.lazy = nn.Parameter(torch.ones(2))
        self.seen: list[set[str]] = []
        self.moved: list[set[str]] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        with self.moving("discriminator"):
            self.move({"gan": self.discriminator(self.generator(batch[0]).detach()).square().mean()})
        with self.moving("generator", "style_encoder", phase="generator_latent"):
            made = self.generator(self.style_encoder(batch[0]))
            self.move({"gan": self.discriminator(made).square().mean(), "style": (made - batch[0]).square().mean()})
        with self.moving("generator", phase="generator_reference"):
            self.move({"gan": self.discriminator(self.generator(self.style_encoder(batch[0]))).square().mean()})

    def move(self, terms: dict[str, Tensor]) -> None:
        before = {name: weight.detach().clone() for name, weight in self.named_parameters()}
        for weight in self.parameters():
            weight.grad = None
        self.update(self.log_and_sum(terms, {"gan": 1.0, "style": 2.0}))
        self.seen.append({name.split(".")[0] for name, weight in self.named_parameters() if weight.grad is not None})
        changed = {name for name, weight in self.named_parameters() if not torch.equal(weight, before[name])}
        self.moved.append({name.split(".")[0] for name in changed})
        assert "style_encoder.lazy" not in changed


PHASES = [{"discriminator"}, {"generator", "style_encoder"}, {"generator"}]


def test_a_phase_moves_exactly_its_players() -> None:
    method = Styles()
    fit_players(method, 2)
    assert method.seen == PHASES * 2  # who had a gradient
    assert method.moved == PHASES * 2
    assert all(weight.requires_grad for weight in method.parameters())
    assert method.phase is None


def test_a_phase_of_two_players_takes_the_step_of_a_plain_loop() -> None:
    method, plain = Styles(), Styles()
    torch.manual_seed(1)
    fit_players(method, 3)
    torch.manual_seed(1)
    judges = torch.optim.SGD(plain.discriminator.parameters(), 0.1)
    makers = torch.optim.SGD([*plain.generator.parameters(), *plain.style_encoder.parameters()], 0.1)
    painter = torch.optim.SGD(plain.generator.parameters(), 0.1)
    for (batch,) in DataLoader(TensorDataset(torch.randn(3, 2)), batch_size=1):
        for optimizer, loss in (
            (judges, lambda x: plain.discriminator(plain.generator(x)).square().mean()),
            (makers, lambda x: plain.discriminator(plain.generator(plain.style_encoder(x))).square().mean()
                + 2 * (plain.generator(plain.style_encoder(x)) - x).square().mean()),
            (painter, lambda x: plain.discriminator(plain.generator(plain.style_encoder(x))).square().mean()),
        ):  # fmt: skip
            plain.zero_grad(set_to_none=True)
            loss(batch).backward()
            optimizer.step()
    for (name, found), expected in zip(method.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: name + text)


def test_terms_and_norms_are_logged_by_phase() -> None:
    method = Styles()
    fit_players(method, 1)
    latest = {name: float(value) for name, value in method.latest["train"].items() if "weighted" not in name}
    assert set(latest) == {
        "train/loss/discriminator_gan", "train/loss/discriminator_total", "train/health/gradient_norm_discriminator",
        "train/loss/generator_latent_gan", "train/loss/generator_latent_style", "train/loss/generator_latent_total",
        "train/health/gradient_norm_generator_latent_generator",
        "train/health/gradient_norm_generator_latent_style_encoder", "train/loss/generator_reference_gan",
        "train/loss/generator_reference_total", "train/health/gradient_norm_generator_reference", "train/loss/total",
    }  # fmt: skip
    both = latest["train/loss/generator_latent_total"] + latest["train/loss/generator_reference_total"]
    assert latest["train/loss/total"] == pytest.approx(both)


def test_a_phase_without_a_name_is_called_after_its_players() -> None:
    method = Styles()
    with method.moving("generator", "style_encoder"):
        method.log_and_sum({"gan": torch.tensor(1.0)}, {"gan": 1.0})
    assert "train/loss/generator_style_encoder_gan" in method.latest["train"]
    assert "train/loss/total" in method.latest["train"]


def test_validation_runs_the_step_for_its_terms_and_moves_nothing() -> None:
    method = Styles()
    before = [weight.detach().clone() for weight in method.parameters()]
    with torch.no_grad():
        method.validation_step([torch.ones(1, 2)], 0)
    assert method.moved == [set()] * 3
    assert all(map(torch.equal, before, method.parameters()))
    assert method.latest["train"] == {}
    names = {name.removeprefix("val/loss/") for name in method.latest["val"] if name.startswith("val/loss/")}
    assert {"discriminator_gan", "generator_latent_style", "generator_reference_total", "total"} <= names


@pytest.mark.parametrize("growth", [1, 2000])
def test_players_of_one_phase_move_alike_when_the_scale_of_gradients_changes(growth: int) -> None:
    """In 16 bits the first player's step may double the scale that the second one's gradients still have."""
    method, plain = Styles(), Styles()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=growth)
    torch.manual_seed(1)
    fit_players(method, 2, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    torch.manual_seed(1)
    fit_players(plain, 2)
    start = dict(Styles().named_parameters())
    for (name, found), expected in zip(method.named_parameters(), plain.parameters(), strict=True):
        moved, wanted = found - start[name], expected - start[name]
        assert (moved - wanted).norm() <= 0.03 * wanted.norm(), name  # float16 has 11 bits; a wrong scale halves it


def test_update_outside_of_a_phase_and_unknown_players_are_refused() -> None:
    method = Styles()
    with pytest.raises(RuntimeError, match=r"inside `with self\.moving"):
        method.update(torch.tensor(1.0))
    for players in (("generator", "critic"), ()):
        refused = pytest.raises(ValueError, match="players of Styles, generator, style_encoder, discriminator; got")
        with refused, method.moving(*players):
            pass


def test_another_function_may_take_the_step() -> None:
    method, seen = Styles(), []
    step = method.stepping_by(lambda players, loss, clip: seen.append((players, float(loss), clip)))
    with step, method.moving("generator", "style_encoder"):
        method.update(torch.tensor(3.0), clip_norm=0.5)
    assert seen == [(("generator", "style_encoder"), 3.0, 0.5)]
    assert method._step is None
