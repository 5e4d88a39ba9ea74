"""StarGAN: its losses, the whole step against a plain one, whose turn it is, its schedule, resume, what it refuses."""

import copy
import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.build import build, build_data, build_method, method_node, open_data
from stylebench.cli.config import compose
from stylebench.commands.train import train
from stylebench.data.tasks import MultiDomainBatch
from stylebench.functional.hash_noise import hash_uniform
from stylebench.functional.schedules import LinearDecay
from stylebench.methods.stargan import StarGAN
from tests.helpers.players import Calls, assert_gradients, fit
from tests.helpers.runs import assert_same_end, newest, rows, stop_at
from tests.helpers.two_processes import SHORT, assert_two_equal_one

DOMAINS = ["photo", "ink_hatch", "oil_noise"]
TINY = [
    "model=stargan",
    "model.generator.width=4",
    "model.generator.blocks=1",
    "model.discriminator.width=4",
    "model.discriminator.layers=2",
    "model.critic_batches=2",
    "dataset=procstyle",
    f"dataset.domains=[{','.join(DOMAINS)}]",
    "dataset.store.size_px=16",
    "dataset.store.train_images=12",
    "dataset.store.val_images=4",
    "dataset.store.test_images=4",
    "dataset.batch_size=3",
    "metrics=none",
    "budget.batches=6",
    "budget.evaluate_every=3",
    "budget.validation_images=3",
    "checkpoint.every_n_batches=2",
    "samples=2",
    "logger.every_n_batches=1",
]


@functools.cache
def config(*overrides: str) -> dict[str, Any]:
    return compose("train", [*TINY, *overrides])


def make(**changes: Any) -> StarGAN:
    """A tiny StarGAN in float64 at full learning rates, with some of its settings changed."""
    torch.manual_seed(0)
    constant = {"_target_": "stylebench.functional.schedules.Constant"}
    method: StarGAN = build({**method_node(config()["model"]), "schedule": constant, **changes})
    return method.double()


def batches(count: int, batch: int = 3) -> list[MultiDomainBatch]:
    """Random images in float64, of domains and to domains in turn."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, batch, 3, 16, 16, generator=generator, dtype=torch.float64)
    places = torch.arange(batch)
    return [
        MultiDomainBatch(part, (places + n) % 3, None, None, (2 * places + n + 1) % 3) for n, part in enumerate(images)
    ]


def gradients(part: str, network: nn.Module) -> dict[str, Tensor]:
    """Return and clear the gradients of a network."""
    found = {f"{part}.{name}": parameter.grad for name, parameter in network.named_parameters()}
    network.zero_grad(set_to_none=True)
    return found  # type: ignore[return-value]


def plain_steps(method: StarGAN, data: list[MultiDomainBatch], turn: int) -> list[dict[str, Tensor]]:
    """The published step: separate calls, nothing frozen, images made again for the generator's turn."""
    generator, critic = copy.deepcopy(method.model.generator), copy.deepcopy(method.discriminator)
    optimizers = [torch.optim.Adam(network.parameters(), 1e-4, (0.5, 0.999)) for network in (generator, critic)]
    steps = []
    for number, batch in enumerate(data):
        real, count = 2 * batch.image - 1, len(batch.image)
        source, target = (F.one_hot(domain, 3).double() for domain in (batch.domain, batch.target_domain))
        fake = generator(real, target).detach()
        loss = critic(fake)[0].mean() - critic(real)[0].mean() + F.cross_entropy(critic(real)[1], batch.domain)
        mix = hash_uniform(torch.arange(number * count, (number + 1) * count), 1, 1).view(-1, 1, 1, 1)
        between = (mix * real + (1 - mix) * fake).requires_grad_()
        logits = critic(between)[0]
        (slope,) = torch.autograd.grad(logits, between, torch.ones_like(logits), create_graph=True)
        (loss + 10 * ((slope.square().sum((1, 2, 3)).sqrt() - 1) ** 2).mean()).backward()
        optimizers[1].step()
        generator.zero_grad()
        steps.append(gradients("discriminator", critic))
        if (number + 1) % turn == 0:
            fake = generator(real, target)
            loss = -critic(fake)[0].mean() + F.cross_entropy(critic(fake)[1], batch.target_domain)
            (loss + 10 * F.l1_loss(generator(fake, source), real)).backward()
            optimizers[0].step()
            critic.zero_grad()
            steps.append(gradients("model.generator", generator))
    return steps


@pytest.mark.parametrize(("turn", "steps"), [(1, 4), (2, 3)])
def test_steps_equal_those_of_a_plain_implementation(turn: int, steps: int) -> None:
    method, data = make(critic_batches=turn), batches(2)
    expected = plain_steps(method, data, turn)
    found = fit(method, data).gradients
    assert len(found) == len(expected) == steps
    for step, right in zip(found, expected, strict=True):
        assert_gradients(step, right)


def test_a_player_leaves_no_gradient_in_the_other() -> None:
    method = make(critic_batches=1)
    first, second, third, _ = fit(method, batches(2)).gradients
    assert all(gradient is None for name, gradient in first.items() if name.startswith("model"))
    for name, gradient in first.items():
        if name.startswith("discriminator"):
            assert torch.equal(second[name], gradient)  # type: ignore[arg-type]
        else:
            assert torch.equal(third[name], second[name])  # type: ignore[arg-type]
    assert all(parameter.requires_grad for parameter in method.parameters())


def test_known_losses() -> None:
    """Gray results of white images, a critic that says nothing: a slope of 0, and each of 3 domains as likely."""
    method = make()
    for layer in (method.model.generator.body[-1], method.discriminator.source, method.discriminator.domain):
        nn.init.zeros_(layer.weight)
    white, source = torch.ones(2, 3, 16, 16, dtype=torch.float64), torch.tensor([0, 1])
    fake = method(white, source)
    terms = method.generator_terms(white, source, fake, source)
    assert {name: term.item() for name, term in terms.items()} == {
        "gan": 0.0, "class": pytest.approx(math.log(3)), "reconstruction": 1.0,
    }  # fmt: skip
    assert method.log_and_sum(terms, method.weights, phase="generator").item() == pytest.approx(10 + math.log(3))
    judged = method.discriminator_terms(white, source, fake.detach())
    assert {name: term.item() for name, term in judged.items()} == {
        "gan": 0.0, "penalty": 1.0, "class": pytest.approx(math.log(3)),
    }  # fmt: skip


def test_the_generator_moves_in_every_fifth_batch() -> None:
    method = make(critic_batches=5)
    counted = Calls(generator=method.model.generator, critic=method.discriminator)
    moved = fit(method, batches(10)).moved
    assert [number for number, who in enumerate(moved, 1) if "model" in who] == [5, 10]
    assert all("discriminator" in who for who in moved)
    # one translation a batch, and the way back in two of them; real and generated images in one call
    assert counted.calls == {"generator": 12, "critic": 12}
    assert counted.images == {"generator": 36, "critic": 10 * 6 + 2 * 3}
    assert counted.with_graph["generator"] == [False] * 4 + [True, True] + [False] * 4 + [True, True]
    assert method.turn_batches == 5


def test_turns_go_by_the_batches_of_the_whole_run() -> None:
    resumed = make(critic_batches=5)
    resumed.batches_before = 3
    moved = fit(resumed, batches(3)).moved
    assert ["model" in who for who in moved] == [False, True, False]


def test_schedules_set_both_learning_rates() -> None:
    method = make(critic_batches=1)
    method.schedule = LinearDecay(4, 0.5)
    assert fit(method, batches(4)).rates == pytest.approx([1e-4 * factor for factor in (1, 1, 1, 1, 1, 1, 0.5, 0.5)])


def test_betas_may_be_whole_numbers() -> None:
    optimizers = config()["model"]["optimizers"]
    method = make(optimizers={player: {**node, "betas": [0, 0.99]} for player, node in optimizers.items()})
    assert fit(method, batches(2)).moved == [{"discriminator"}, {"model", "discriminator"}]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"critic_batches": 0}, r"critic_batches must be a whole number of at least 1, got 0"),
        ({"critic_batches": 2.5}, r"critic_batches must be a whole number of at least 1, got 2\.5"),
        ({"weight_penalty": -1}, r"weight_penalty must be a finite number of at least 0, got -1"),
        ({"weight_class": math.nan}, r"weight_class must be a finite number of at least 0, got nan"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make(**changes)


def test_nonsense_betas_are_refused() -> None:
    optimizers = config()["model"]["optimizers"]
    with pytest.raises(ValueError, match=r"optimizers\.generator\.betas must be two numbers.*got \[0\.5, 2\]"):
        make(optimizers={player: {**node, "betas": [0.5, 2]} for player, node in optimizers.items()})


def test_images_and_domains_that_do_not_fit_are_refused() -> None:
    settings = config()
    data = build_data(settings, open_data(settings))
    method: Any = build_method(settings, data)
    assert method.model.labels.domains == data.task.roles == tuple(DOMAINS)
    assert (data.task.batch(0).keys()) == {"image", "domain", "target_domain"}  # references are not rendered
    method.model.labels.domains = ("a", "b", "c")
    with pytest.raises(
        ValueError, match=r"dataset\.domains are photo, .*the model calls them a, b, c; give them names"
    ):
        method.prepare(data.task)
    with pytest.raises(
        ValueError, match=r"size_px must be a multiple of 4, .*got 14; use images of 12 or 16 px, or fewer layers"
    ):
        build(method_node(config("dataset.size_px=14")["model"]))


def test_sample_rows_go_to_every_domain() -> None:
    method, (batch,) = make(), batches(1)
    found = method.sample_rows(batch)
    assert [tuple(row.shape) for row in found] == [(3, 3, 16, 16)] * 4
    assert torch.equal(found[0], batch.image)
    for row, name in zip(found[1:], DOMAINS, strict=True):
        torch.testing.assert_close(row.detach(), method.model.translate(batch.image, domain=name))


def test_a_batch_goes_to_targets_of_its_own_or_to_the_one_that_is_given() -> None:
    method, (batch,) = make(), batches(1)
    wanted = [DOMAINS[number] for number in batch.target_domain.tolist()]
    each = torch.stack(
        [method.model.translate(image, domain=name) for image, name in zip(batch.image, wanted, strict=True)]
    )
    torch.testing.assert_close(method.translate(batch, domain=wanted), each)
    given = method.translate(batch, domain="photo")
    assert torch.equal(given, method.model.translate(batch.image, domain="photo"))


def test_logged_keys() -> None:
    method = make(critic_batches=1)
    fit(method, batches(1))
    method.validation_step(batches(1)[0], 0)
    for stage in ("train", "val"):
        terms = {f"{stage}/loss/generator_{term}" for term in ("gan", "class", "reconstruction", "total")}
        assert terms | {f"{stage}/loss/total"} <= set(method.latest[stage])
    judged = {f"train/loss/discriminator_{term}" for term in ("gan", "penalty", "class", "total")}
    health = {"real_logit", "fake_logit", "sign_accuracy", "gradient_norm_generator", "gradient_norm_discriminator"}
    assert judged | {f"train/health/{name}" for name in health} <= set(method.latest["train"])


def test_stargan_overfits_one_batch() -> None:
    """The way there and back: 0.26 of the error is left, while the critic tells the domains apart."""
    method = make().float()
    (batch,) = batches(1)
    real = F.interpolate(2 * batch.image[..., :4, :4].float() - 1, 16, mode="bilinear")
    optimizer = torch.optim.Adam(method.parameters(), 0.01)
    seen: list[tuple[float, float]] = []
    for _ in range(40):
        fake = method(real, batch.target_domain)
        terms = method.generator_terms(real, batch.domain, fake, batch.target_domain)
        told = method.model.labels.classification_loss(method.discriminator(real)[1], batch.domain)
        optimizer.zero_grad()
        (10 * terms["reconstruction"] + told).backward()
        optimizer.step()
        seen.append((terms["reconstruction"].item(), told.item()))
    assert seen[-1][0] / seen[0][0] < 0.4
    assert seen[-1][1] / seen[0][1] < 0.1


def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """Stopped between two turns of the generator, in the falling half of the schedule."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(config("checkpoint.every_n_batches=3"), whole, [])
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 5, RuntimeError("stop"))  # the newest checkpoint is that of batch 3
        with pytest.raises(RuntimeError, match="stop"):
            train(config("checkpoint.every_n_batches=3"), stopped, [])
    train(config("checkpoint.every_n_batches=3", "resume=must"), stopped, [])
    assert_same_end(whole, stopped)
    steps = [int(state["state"][0]["step"]) for state in newest(whole)["optimizer_states"]]
    assert steps == [3, 6]
    for key in (key for key in rows(whole)[0] if key.startswith("train/lr/")):
        values = [float(row[key]) for row in rows(whole) if row[key]]
        assert values == pytest.approx([1e-4 * factor for factor in (1, 1, 1, 1, 2 / 3, 1 / 3)])


@pytest.mark.slow
def test_training_on_two_processes_equals_one(tmp_path: Path) -> None:
    turns = ["discriminator", "discriminator", "generator"] * 2
    assert_two_equal_one(tmp_path, [*TINY, *SHORT, "dataset.batch_size=4"], turns, draws=True)
