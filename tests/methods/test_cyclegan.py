"""CycleGAN: its losses, the whole step against a plain one, who moves, its schedule, resume, and what it refuses."""

import copy
import functools
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.build import build, build_data, build_method, method_class, method_node, open_data
from stylebench.cli.config import compose
from stylebench.commands.evaluate import evaluate
from stylebench.commands.evaluate_table import tables
from stylebench.commands.train import train
from stylebench.data.tasks import UnpairedBatch
from stylebench.files import read_pickle
from stylebench.functional.schedules import EpochDecay
from stylebench.methods.cyclegan import CycleGAN
from stylebench.methods.image_pool import ImagePool
from stylebench.run_folder import RunFolder
from tests.helpers.players import Calls, assert_gradients, fit
from tests.helpers.runs import assert_equal, assert_same_end, newest, rows, stop_at
from tests.helpers.two_processes import SHORT, assert_two_equal_one, run_two

TINY = [
    "model=cyclegan",
    "model.generator.width=4",
    "model.generator.blocks=1",
    "model.discriminator.width=4",
    "model.discriminator.receptive_field_px=16",
    "model/schedule=constant",
    "dataset=procstyle",
    "dataset.store.size_px=16",
    "dataset.store.train_images=12",
    "dataset.store.val_images=4",
    "dataset.store.test_images=4",
    "dataset.batch_size=2",
    "metrics=none",
    "budget.batches=6",
    "budget.evaluate_every=3",
    "budget.validation_images=2",
    "checkpoint.every_n_batches=2",
    "samples=2",
    "logger.every_n_batches=1",
]


@functools.cache
def config(*overrides: str) -> dict[str, Any]:
    return compose("train", [*TINY, *overrides])


def make(**changes: Any) -> CycleGAN:
    """A tiny CycleGAN in float64, with some of its settings changed."""
    torch.manual_seed(0)
    method: CycleGAN = build({**method_node(config()["model"]), **changes})
    return method.double()


def with_betas(player: str, betas: Any) -> dict[str, Any]:
    """The optimizers of the config, one of them with other betas."""
    optimizers = config()["model"]["optimizers"]
    return {**optimizers, player: {**optimizers[player], "betas": betas}}


def batches(count: int, size: int = 16, batch: int = 2) -> list[UnpairedBatch]:
    """Random images in float64."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 2, batch, 3, size, size, generator=generator, dtype=torch.float64)
    return [UnpairedBatch(a, b) for a, b in images]


def networks(method: CycleGAN) -> dict[str, nn.Module]:
    return {
        "model.generator_ab": method.model.generator_ab,
        "model.generator_ba": method.model.generator_ba,
        "discriminator_a": method.discriminator_a,
        "discriminator_b": method.discriminator_b,
    }


def gradients(parts: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Return and clear the gradients of some networks."""
    found = {}
    for part, network in parts.items():
        for name, parameter in network.named_parameters():
            found[f"{part}.{name}"], parameter.grad = parameter.grad, None
    return found  # type: ignore[return-value]


def plain_steps(method: CycleGAN, data: list[UnpairedBatch], pool: int) -> list[dict[str, Tensor]]:
    """Every network called for one batch of images at a time, nothing shared, nothing frozen, images made twice."""
    parts = copy.deepcopy(networks(method))
    ab, ba, judge_a, judge_b = parts.values()
    generators, judges = dict(list(parts.items())[:2]), dict(list(parts.items())[2:])
    optimizers = [
        torch.optim.Adam(itertools.chain(*(part.parameters() for part in player.values())), 2e-4, (0.5, 0.999))
        for player in (generators, judges)
    ]
    pools, steps = (ImagePool(pool, name=0), ImagePool(pool, name=1)), []

    def squares(logits: Tensor, target: float) -> Tensor:
        return F.mse_loss(logits, torch.full_like(logits, target))

    for batch in data:
        a, b = (2 * images - 1 for images in batch)
        before_ab, before_ba = copy.deepcopy(ab), copy.deepcopy(ba)
        loss = squares(judge_b(ab(a)), 1) + squares(judge_a(ba(b)), 1)
        loss = loss + 10 * F.l1_loss(ba(ab(a)), a) + 10 * F.l1_loss(ab(ba(b)), b)
        loss = loss + 5 * F.l1_loss(ba(a), a) + 5 * F.l1_loss(ab(b), b)
        loss.backward()
        gradients(judges)
        optimizers[0].step()
        steps.append(gradients(generators))
        fake_a, fake_b = pools[0](before_ba(b).detach()), pools[1](before_ab(a).detach())
        for judge, real, fake in ((judge_a, a, fake_a), (judge_b, b, fake_b)):
            (0.5 * (squares(judge(real), 1) + squares(judge(fake), 0))).backward()
        optimizers[1].step()
        steps.append(gradients(judges))
    return steps


@pytest.mark.parametrize(("pool", "count"), [(0, 2), (1, 4)])
def test_steps_equal_those_of_a_plain_implementation(pool: int, count: int) -> None:
    method, data = make(pool=pool), batches(count)
    expected = plain_steps(method, data, pool)
    found = fit(method, data).gradients
    assert len(found) == len(expected) == 2 * count
    for step, right in zip(found, expected, strict=True):
        assert_gradients(step, right)


def test_a_player_leaves_no_gradient_in_the_other() -> None:
    method = make()
    first, second, third, _ = fit(method, batches(2)).gradients
    assert all(gradient is None for name, gradient in first.items() if name.startswith("discriminator"))
    for name, gradient in first.items():  # those of the step before are still there, and nothing is added
        if name.startswith("model"):
            assert torch.equal(second[name], gradient)  # type: ignore[arg-type]
        else:
            assert torch.equal(third[name], second[name])  # type: ignore[arg-type]
    assert all(parameter.requires_grad for parameter in method.parameters())


def test_known_losses() -> None:
    """Gray results, white inputs, logits of 0.5: distances of 1, squares of 1/4."""
    method = make()
    for name, part in networks(method).items():
        last = (part.body if name.startswith("model") else part.layers)[-1]  # type: ignore[union-attr]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.constant_(last.bias, 0.0 if name.startswith("model") else 0.5)  # type: ignore[arg-type]
    white = torch.ones(2, 3, 16, 16, dtype=torch.float64)
    terms, fake_a, fake_b = method.generator_terms(white, white)
    assert {name: term.item() for name, term in terms.items()} == {
        "identity_a": 1.0, "identity_b": 1.0, "gan_ab": 0.25, "gan_ba": 0.25, "cycle_a": 1.0, "cycle_b": 1.0,
    }  # fmt: skip
    assert method.log_and_sum(terms, method.weights, phase="generator").item() == 2 * 5 + 2 * 0.25 + 2 * 10
    judged = method.discriminator_terms(white, white, fake_a.detach(), fake_b.detach())
    assert {name: term.item() for name, term in judged.items()} == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(
    ("changes", "calls", "images"),
    [
        ({}, [2, 2, 2, 2], [6, 6, 6, 6]),
        ({"weight_identity": 0}, [2, 2, 2, 2], [4, 4, 6, 6]),
        ({"weight_gan": 0}, [2, 2, 0, 0], [6, 6, 0, 0]),
        ({"cycles": "forward"}, [1, 2, 2, 2], [4, 6, 6, 6]),
        ({"cycles": "backward"}, [2, 1, 2, 2], [6, 4, 6, 6]),
        ({"cycles": "none", "weight_identity": 0}, [1, 1, 2, 2], [2, 2, 6, 6]),
        ({"weight_cycle": 0}, [1, 1, 2, 2], [4, 4, 6, 6]),
    ],
)
def test_terms_of_weight_zero_are_not_computed(changes: dict[str, Any], calls: list[int], images: list[int]) -> None:
    method = make(**changes)
    parts = networks(method)
    counted = Calls(**parts)
    watch = fit(method, batches(1))
    assert [counted.calls[name] for name in parts] == calls
    assert [counted.images[name] for name in parts] == images
    judged = {"discriminator_a", "discriminator_b"} if calls[2] else set()
    assert watch.moved == [{"model"} | judged]


def test_identity_terms_in_every_other_batch_count_twice() -> None:
    method = make(identity_every=2)
    assert (method.weights["identity_a"], method.turn_batches) == (10.0, 2)
    counted = Calls(ab=method.model.generator_ab)
    fit(method, batches(4))
    assert counted.images["ab"] == 2 * 6 + 2 * 4
    resumed = make(identity_every=2)
    resumed.batches_before = 2
    counted = Calls(ab=resumed.model.generator_ab)
    fit(resumed, batches(1))
    assert counted.images["ab"] == 4


def test_schedules_set_both_learning_rates() -> None:
    method = make()
    method.schedule = EpochDecay(4, 2, 2)
    factors = [1, 1, 1 - 1 / 3, 1 - 2 / 3]
    assert fit(method, batches(4)).rates == pytest.approx([2e-4 * factor for factor in factors for _ in range(2)])


@pytest.mark.parametrize("betas", [[0, 0.99], [0.5, 0]])
def test_betas_may_be_whole_numbers(betas: list[float]) -> None:
    method = make(optimizers=with_betas("generator", betas))
    assert fit(method, batches(2)).moved[-1] == {"model", "discriminator_a", "discriminator_b"}
    groups = [optimizer.param_groups[0] for optimizer in method.configure_optimizers()]
    assert all(isinstance(beta, float) for group in groups for beta in group["betas"])


@pytest.mark.parametrize("player", ["generator", "discriminator"])
@pytest.mark.parametrize("betas", [[0.5], [0.5, 1], [0.5, 0.9, 0.9], 0.5, "half", [True, 0.9], [-0.1, 0.9]])
def test_nonsense_betas_are_refused(player: str, betas: Any) -> None:
    with pytest.raises(ValueError, match=rf"optimizers\.{player}\.betas must be two numbers in \[0, 1\)") as refusal:
        make(optimizers=with_betas(player, betas))
    assert str(refusal.value).endswith(f"got {betas!r}")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"weight_cycle": -1}, r"weight_cycle must be a finite number of at least 0, got -1"),
        ({"weight_gan": math.inf}, r"weight_gan must be a finite number of at least 0, got inf"),
        ({"weight_identity": "5"}, r"weight_identity must be a finite number of at least 0, got '5'"),
        ({"objective": "ragan"}, r"objective must be one of vanilla, .*got 'ragan'"),
        ({"cycles": "once"}, r"cycles must be one of both, forward, backward, none, got 'once'"),
        ({"identity_every": 0}, r"identity_every must be a whole number of at least 1, got 0"),
        ({"pool": -1}, r"pool must be a whole number of at least 0, got -1"),
        ({"weight_gan": 0, "weight_cycle": 0}, r"set weight_gan or weight_cycle above 0"),
        ({"weight_gan": 0, "cycles": "none"}, r"set weight_gan or weight_cycle above 0.*cycles=none"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make(**changes)


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["dataset.size_px=14"], r"must be a multiple of 4, got 14; set it to 12 or 16"),
        (["model.discriminator.receptive_field_px=70"], r"no patch in images of 16 px; use images of 24 px or more"),
    ],
)
def test_images_that_do_not_fit_are_refused(overrides: list[str], match: str) -> None:
    settings = config(*overrides)
    data = build_data(settings, open_data(settings))
    with pytest.raises(ValueError, match=match):
        build_method(settings, data)


def test_pools_follow_the_seed_and_keep_the_domains_apart() -> None:
    settings = config("seed=7")
    assert method_class(settings) is CycleGAN
    method: Any = build_method(settings, build_data(settings, open_data(settings)))
    assert (method.pool_a.seed, method.pool_b.seed, method.seed) == (7, 7, 7)
    assert method.pool_a.name != method.pool_b.name
    assert method.pool_a.size == 50


def test_sample_rows_go_there_and_back() -> None:
    method, (batch,) = make(), batches(1)
    rows_ = method.sample_rows(batch)
    assert [tuple(row.shape) for row in rows_] == [(2, 3, 16, 16)] * 6
    assert torch.equal(rows_[0], batch.a)
    assert torch.equal(rows_[3], batch.b)
    translator = method.model
    torch.testing.assert_close(rows_[1].detach(), translator.translate(batch.a))
    torch.testing.assert_close(rows_[2].detach(), translator.translate(rows_[1].detach(), direction="b_to_a"))
    torch.testing.assert_close(rows_[4].detach(), translator.translate(batch.b, direction="b_to_a"))
    assert min(row.min().item() for row in rows_) >= 0


def test_logged_keys() -> None:
    method = make(pool=0)
    fit(method, batches(1))
    method.validation_step(batches(1)[0], 0)
    terms = ["gan_ab", "gan_ba", "cycle_a", "cycle_b", "identity_a", "identity_b"]
    for stage in ("train", "val"):
        expected = {f"{stage}/loss/generator_{term}" for term in [*terms, "total"]} | {f"{stage}/loss/total"}
        assert expected <= set(method.latest[stage])
    health = {f"{figure}_{domain}" for figure in ("real_logit", "fake_logit", "sign_accuracy") for domain in "ab"}
    health |= {"gradient_norm_generator", "gradient_norm_discriminator"}
    assert {f"train/health/{name}" for name in health} <= set(method.latest["train"])
    assert {f"train/loss/discriminator_{name}" for name in ("a", "b", "total")} <= set(method.latest["train"])


def test_cyclegan_overfits_one_pair() -> None:
    """Without discriminators the images come back from the other domain: 0.16 of the error is left, 0.09 after 80."""
    method = make(weight_gan=0).float()
    smooth = [F.interpolate(images.float(), 16, mode="bilinear") for images in batches(1, size=4, batch=1)[0]]
    optimizer = torch.optim.Adam(method.player_parameters("generator"), 0.01)
    cycles = []
    for _ in range(40):
        terms, _, _ = method.generator_terms(2 * smooth[0] - 1, 2 * smooth[1] - 1)
        optimizer.zero_grad()
        method.log_and_sum(terms, method.weights, phase="generator").backward()
        optimizer.step()
        cycles.append((terms["cycle_a"] + terms["cycle_b"]).item())
    assert cycles[-1] / cycles[0] < 0.25


def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """Weights, averages, both optimizers, pools that exchange images, and a falling learning rate."""
    overrides = ("model.pool=2", "model/schedule=linear")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(config(*overrides), whole, [])
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 5, RuntimeError("stop"))  # the newest checkpoint is that of batch 4
        with pytest.raises(RuntimeError, match="stop"):
            train(config(*overrides), stopped, [])
    train(config(*overrides, "resume=must"), stopped, [])
    assert_same_end(whole, stopped)
    state = newest(whole)["state_dict"]
    assert [state[f"pool_{domain}._extra_state"] for domain in "ab"] == [{"seen": 12}] * 2
    rates = [key for key in rows(whole)[0] if key.startswith("train/lr/")]
    assert len(rates) == 2
    for key in rates:
        values = [float(row[key]) for row in rows(whole) if row[key]]
        assert values == pytest.approx([2e-4 * factor for factor in (1, 1, 1, 1, 2 / 3, 1 / 3)])


def test_batch_norm_is_refused_as_samples_share_calls() -> None:
    with pytest.raises(ValueError, match="batch norm would mix; use norm=instance or norm=none"):
        make(discriminator_a={**config()["model"]["discriminator_a"], "norm": "batch"})


@pytest.mark.slow
def test_training_on_two_processes_equals_one(tmp_path: Path) -> None:
    """Without pools: of these each process has its own."""
    assert_two_equal_one(tmp_path, [*TINY, *SHORT, "model.pool=0"], ["generator", "discriminator"] * 4)


@pytest.mark.slow
def test_processes_fill_pools_of_their_own(tmp_path: Path) -> None:
    first, second = run_two(tmp_path, [*TINY, *SHORT, "model.pool=1"])
    assert_equal(first["end"], second["end"])
    checkpoint = read_pickle(max((tmp_path / "run" / "checkpoints").glob("*.ckpt")))
    assert checkpoint["state_dict"]["pool_a._extra_state"] == {"seen": 4}  # one image of each batch of two


def test_a_run_is_measured_in_the_direction_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "run"
    measured = ["dataset.store.val_images=6", "dataset.store.test_images=6", "metrics=none", "budget.batches=2"]
    pair = ["dataset.a=ink_hatch", "dataset.b=oil_noise", "model.weight_identity=0"]
    train(compose("train", [*TINY, *measured, *pair, "budget.evaluate_every=2"]), folder, [])
    chosen = [f"run={folder}", "metrics=smoke", "metrics.num_images=5", "metrics.scenes=3", "save_images=true"]
    there = evaluate(compose("evaluate", chosen))
    final = RunFolder(folder).final()
    back = evaluate({**compose("evaluate", chosen), "controls": {"direction": "b_to_a"}})
    assert (list(there.sets), list(back.sets)) == (["test-ema"], ["test-ema-direction=b_to_a"])
    assert back.record.keys() == there.record.keys()
    assert tables(back.sets, back.means).startswith("test-ema-direction=b_to_a\n")
    run = RunFolder(folder)
    assert run.final() == final
    assert run.values("test-ema-direction=b_to_a")["psnr/nearest4/n3"]["controls"] == {"direction": "b_to_a"}
    saved = [sorted(path.name for path in run.set_folder(name).glob("*.png")) for name in (*there.sets, *back.sets)]
    assert saved == [[f"{place:06d}.png" for place in range(5)]] * 2
