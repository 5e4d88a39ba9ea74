"""Players: one or several networks move by a loss, and nothing else does."""

import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch.utils.data import DataLoader, TensorDataset

from tests.helpers.games import Styles, TwoPlayers, fit_players


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
