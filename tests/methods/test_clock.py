"""The batch clock: what it counts, that it survives a checkpoint, and draws by its count alone."""

import statistics

import pytest
import torch

from stylebench.methods.base import Method
from tests.helpers.games import TwoPlayers, fit_players


def test_batches_done_counts_batches_not_optimizer_steps() -> None:
    method = TwoPlayers()
    fit_players(method, 3)
    assert method.batches_done == 3
    assert method.trainer.global_step == 6


def test_batch_counter_survives_a_checkpoint_and_loop_positions_do_not() -> None:
    method, checkpoint = Method(), {"loops": {}}
    method.batches_before = 12
    method.on_save_checkpoint(checkpoint)
    restored = Method()
    restored.on_load_checkpoint(checkpoint)
    assert restored.batches_done == 12
    assert "loops" not in checkpoint


def test_uniform_depends_on_seed_batch_and_place_alone() -> None:
    method = Method()
    first, other = method.uniform(4), method.uniform(4, stream=1)
    assert torch.equal(first, method.uniform(4))
    assert not torch.equal(first, other)
    method.batches_before = 1
    following = method.uniform(4)
    assert not torch.isin(following, first).any()
    method.seed = 1
    assert not torch.isin(method.uniform(4), following).any()
    method.seed = 2**32 - 1  # the largest that there is
    assert not torch.isin(method.uniform(4), following).any()
    many = torch.cat([method.uniform(1000), method.uniform(1000, stream=3)])
    assert 0 <= float(many.min()) <= float(many.max()) < 1
    assert abs(float(many.mean()) - 0.5) < 0.03  # 4.6 standard errors


def test_normal_depends_on_seed_batch_and_place_alone() -> None:
    method = Method()
    first = method.normal(4, 8)
    assert first.shape == (4, 8)
    assert first.dtype == torch.float32
    assert torch.equal(first, method.normal(4, 8))
    assert torch.equal(first[:, :3], method.normal(4, 3))
    assert not torch.isin(method.normal(4, 8, stream=1), first).any()
    method.batches_before = 1
    following = method.normal(4, 8)
    assert not torch.isin(following, first).any()
    method.seed = 1
    assert not torch.isin(method.normal(4, 8), following).any()


def test_normal_draws_are_known_and_independent_of_uniform_ones() -> None:
    method = Method()
    method.seed, method.batches_before = 3, 12
    uniform, normal = method.uniform(4000), method.normal(4000, 1)
    quantiles = torch.tensor([statistics.NormalDist().inv_cdf(max(float(u), 1e-9)) for u in uniform])
    assert abs(float(torch.corrcoef(torch.stack([quantiles, normal[:, 0]]))[0, 1])) < 4 / 4000**0.5
    torch.testing.assert_close(
        method.normal(2, 2), torch.tensor([[0.5186656, -0.6941204], [1.6340300, -0.8068573]]), rtol=0, atol=1e-6
    )


def test_processes_share_the_draws_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As two ranks of a trainer would: each takes its slice of what one process draws."""
    alone, parts = Method(), []
    alone.seed = 5
    alone.batches_before = 7
    for rank in (0, 1):
        method = TwoPlayers()
        fit_players(method, 2)
        method.seed = 5
        method.batches_before = 5
        monkeypatch.setattr(type(method.trainer), "global_rank", rank)
        monkeypatch.setattr(type(method.trainer), "world_size", 2)
        parts.append((method.normal(3, 4, stream=2), method.uniform(3, stream=2)))
    assert torch.equal(torch.cat([normal for normal, _ in parts]), alone.normal(6, 4, stream=2))
    assert torch.equal(torch.cat([uniform for _, uniform in parts]), alone.uniform(6, stream=2))


def test_a_resumed_run_draws_what_it_would_have_drawn() -> None:
    whole, resumed, checkpoint = TwoPlayers(), TwoPlayers(), {}
    drawn: list[torch.Tensor] = []
    whole.on_step = lambda: drawn.append(whole.normal(2, 5))
    fit_players(whole, 4)
    stopped = TwoPlayers()
    fit_players(stopped, 3)
    stopped.on_save_checkpoint(checkpoint)
    resumed.on_load_checkpoint(checkpoint)
    assert torch.equal(resumed.normal(2, 5), drawn[3])


def test_batches_outside_the_trainer_count_and_are_forgotten() -> None:
    method = Method()
    method.batches_before = 3
    with method.counting_apart():
        method.count_batch()
        method.count_batch()
        assert method.batches_done == 5
    assert method.batches_done == 3
