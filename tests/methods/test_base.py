"""What methods share: the weighted sum, the non-finite guard, and one player's update."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from stylebench.methods.base import Method, NonFiniteLossError
from stylebench.methods.checks import refuse_judges
from stylebench.nn.encoders import CompactEncoder, JudgeEncoder


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
        method._batches_before = batch
        method.log_and_sum({"content": torch.tensor(1.0), "style": torch.tensor(style)}, {"content": 1, "style": 1})
    with pytest.raises(NonFiniteLossError, match=r"'style' at batch 2\..*model.optimizer.lr"):
        method.check_finite()


def test_check_finite_is_quiet_on_finite_losses() -> None:
    method = Method()
    method.check_finite()  # before the first batch
    method.log_and_sum({"content": torch.tensor(1.0)}, {"content": 1.0})
    assert method.check_finite() is None  # type: ignore[func-returns-value]


@pytest.fixture(scope="module")
def judge() -> JudgeEncoder:
    pictures = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    return JudgeEncoder("random", ["mix5"], ["stem"], "mix5", calibration=pictures)


REFUSAL = r"compact_judge only scores what others trained.*such as encoder=compact$"


@pytest.mark.parametrize(
    "wrap",
    [lambda judge: judge, lambda judge: nn.ModuleList([judge]), lambda judge: nn.Sequential(nn.Sequential(judge))],
)
def test_method_refuses_the_judge_at_any_depth(wrap: Any, judge: JudgeEncoder) -> None:
    with pytest.raises(ValueError, match=REFUSAL):
        Method().encoder = wrap(judge)


def test_method_refuses_the_judge_that_came_in_later(judge: JudgeEncoder) -> None:
    method = Method()
    method.losses = nn.ModuleList()
    method.losses.append(judge)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    method.training_step = lambda *_: None  # type: ignore[method-assign]
    method.configure_optimizers = lambda: torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=REFUSAL):
        trainer.fit(method, DataLoader(TensorDataset(torch.zeros(1, 2))))


def test_refusing_judges_looks_at_classes_and_leaves_all_else() -> None:
    with pytest.raises(ValueError, match=REFUSAL):
        refuse_judges(JudgeEncoder)
    for other in (CompactEncoder, nn.Linear, nn.Linear(1, 1), print, Method()):
        refuse_judges(other)


class TwoPlayers(Method):
    """A toy game: both players move once a batch, the first clipped."""

    players: ClassVar[Mapping[str, Sequence[str]]] = {"first": ("first",), "second": ("second",)}

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 1)
        self.norms: list[float] = []
        self.left_over: list[bool] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        with self.moving("first"):
            self.update("first", 1e3 * self.second(self.first(batch[0])).square().mean(), clip_norm=0.1)
        self.norms.append(
            float(nn.utils.get_total_norm([p.grad for p in self.first.parameters() if p.grad is not None]))
        )
        self.left_over.append(any(p.grad is not None for p in self.second.parameters()))
        with self.moving("second"):
            self.update("second", self.second(self.first(batch[0]).detach()).mean())

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.first.parameters(), lr=0.1), torch.optim.SGD(self.second.parameters(), lr=0.1)]


def fit_two_players(method: TwoPlayers, batches: int) -> None:
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(method, DataLoader(TensorDataset(torch.randn(batches, 2)), batch_size=1))


def test_update_moves_one_player_and_clips_its_gradient() -> None:
    torch.manual_seed(0)
    method = TwoPlayers()
    before = [p.clone() for p in method.parameters()]
    fit_two_players(method, 1)
    assert all(not torch.equal(old, new) for old, new in zip(before, method.parameters(), strict=True))
    assert method.norms == [pytest.approx(0.1, rel=1e-4)]
    assert method.left_over == [False]


def test_batches_done_counts_batches_not_optimizer_steps() -> None:
    method = TwoPlayers()
    fit_two_players(method, 3)
    assert method.batches_done == 3
    assert method.trainer.global_step == 6


def test_batch_counter_survives_a_checkpoint_and_loop_positions_do_not() -> None:
    method, checkpoint = Method(), {"loops": {}}
    method._batches_before = 12
    method.on_save_checkpoint(checkpoint)
    restored = Method()
    restored.on_load_checkpoint(checkpoint)
    assert restored.batches_done == 12
    assert "loops" not in checkpoint


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


def test_log_and_sum_keeps_the_terms_of_all_players() -> None:
    method = Method()
    method.log_and_sum({"gan": torch.tensor(2.0)}, {"gan": 3.0}, player="generator")
    method.log_and_sum({"gan": torch.tensor(float("inf"))}, {"gan": 1.0}, player="discriminator")
    method.log_health({"real_logit": torch.tensor(0.5)})
    assert {name: float(value) for name, value in method.latest["train"].items()} == {
        "train/loss/generator_gan": 2.0, "train/weighted/generator_gan": 6.0, "train/loss/generator_total": 6.0,
        "train/loss/discriminator_gan": float("inf"), "train/weighted/discriminator_gan": float("inf"),
        "train/loss/discriminator_total": float("inf"), "train/health/real_logit": 0.5,
    }  # fmt: skip
    with pytest.raises(NonFiniteLossError, match="'discriminator_gan' at batch 1"):
        method.check_finite()


def test_uniform_depends_on_seed_batch_and_place_alone() -> None:
    method = Method()
    first, other = method.uniform(4), method.uniform(4, stream=1)
    assert torch.equal(first, method.uniform(4))
    assert not torch.equal(first, other)
    method._batches_before = 1
    following = method.uniform(4)
    assert not torch.isin(following, first).any()
    method.seed = 1
    assert not torch.isin(method.uniform(4), following).any()
    method.seed = 2**32 - 1  # the largest that there is
    assert not torch.isin(method.uniform(4), following).any()
    many = torch.cat([method.uniform(1000), method.uniform(1000, stream=3)])
    assert 0 <= float(many.min()) <= float(many.max()) < 1
    assert abs(float(many.mean()) - 0.5) < 0.03  # 4.6 standard errors
