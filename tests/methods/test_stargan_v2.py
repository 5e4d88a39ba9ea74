"""StarGAN v2: the step against the published order written out, what is shared, its clock, resume, what it refuses."""

import copy
import functools
import math
from collections.abc import Iterator
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
from stylebench.functional.gradient_penalty import logits_and_r1
from stylebench.functional.hash_noise import hash_normal
from stylebench.methods.stargan_v2 import StarGANv2
from stylebench.training.resume import spans_its_length
from tests.helpers.players import Calls, fit
from tests.helpers.runs import assert_same_end, newest, stop_at
from tests.helpers.two_processes import SHORT, assert_two_equal_one

DOMAINS = ["flat", "hues-120", "hues-240"]
PX, LATENT = 32, 3
TINY = [
    "model=stargan_v2",
    "model.generator.width=2",
    "model.generator.max_width=3",
    f"model.mapping.latent_dim={LATENT}",
    "model.mapping.style_dim=4",
    "model.mapping.width=5",
    "dataset=procstyle",
    f"dataset.domains=[{','.join(DOMAINS)}]",
    f"dataset.store.size_px={PX}",
    "dataset.store.train_images=12",
    "dataset.store.val_images=4",
    "dataset.store.test_images=4",
    "dataset.batch_size=3",
    "metrics=none",
    "budget.batches=4",
    "budget.evaluate_every=2",
    "budget.validation_images=3",
    "samples=2",
    "logger.every_n_batches=1",
]
PLAYERS = ["generator", "mapping", "style_encoder", "discriminator"]


@functools.cache
def config(*overrides: str) -> dict[str, Any]:
    return compose("train", [*TINY, *overrides])


def make(*overrides: str, **changes: Any) -> StarGANv2:
    """A tiny StarGAN v2 in float64, with some of its settings changed; all networks at the generator's rate.

    Rates beyond 2e-4 make the biases before a norm swing, whose gradient is 0: of what rounding leaves there, weight
    decay asks back rate * decay / epsilon times as much.
    """
    torch.manual_seed(0)
    node = method_node(config(*overrides)["model"])
    optimizers = {name: {**each, "lr": 1e-4} for name, each in node["optimizers"].items()}
    method: StarGANv2 = build({**node, "optimizers": optimizers, "diversity_batches": 4, **changes})
    return method.double()


def batches(count: int, batch: int = 3) -> list[MultiDomainBatch]:
    """Random images in float64, of domains and to domains in turn."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, batch, 3, PX, PX, generator=generator, dtype=torch.float64)
    places = torch.arange(batch)
    return [
        MultiDomainBatch(part[0], (places + n) % 3, part[1], part[2], (2 * places + n + 1) % 3)
        for n, part in enumerate(images)
    ]


def published_steps(method: StarGANv2, data: list[MultiDomainBatch]) -> dict[str, nn.Module]:
    """The published order on copies of the networks: everything made anew, nothing frozen, a fixed lambda schedule."""
    nets: dict[str, nn.Module] = {
        "generator": copy.deepcopy(method.model.generator),
        "mapping": copy.deepcopy(method.model.mapping),
        "style_encoder": copy.deepcopy(method.model.style_encoder),
        "discriminator": copy.deepcopy(method.discriminator),
    }
    adam = {
        name: torch.optim.Adam(net.parameters(), 1e-4, (0.0, 0.99), weight_decay=1e-4) for name, net in nets.items()
    }
    for number, batch in enumerate(data):
        for loss, movers in published_losses(nets, batch, number):
            for optimizer in adam.values():
                optimizer.zero_grad()
            loss.backward()
            for name in movers:
                adam[name].step()
    return nets


def published_losses(
    nets: dict[str, nn.Module], batch: MultiDomainBatch, number: int
) -> Iterator[tuple[Tensor, list[str]]]:
    """The losses of the four phases, each with the networks that it moves."""
    make_image, mapping, encode, judge = nets.values()
    assert batch.reference is not None
    assert batch.other_reference is not None
    x, y, target = 2 * batch.image - 1, batch.domain, batch.target_domain
    references = 2 * batch.reference - 1, 2 * batch.other_reference - 1
    seeds = torch.arange(number * len(x), (number + 1) * len(x))
    latents = [hash_normal(seeds, LATENT, stream).double() for stream in (0, 1)]

    def bce(logits: Tensor, label: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def code(way: str, which: int) -> Tensor:
        found: Tensor = mapping(latents[which], target) if way == "latent" else encode(references[which], target)
        return found

    for way in ("latent", "reference"):
        real = x.clone().requires_grad_()
        out = judge(real, y)
        (slope,) = torch.autograd.grad(out.sum(), real, create_graph=True)
        penalty = 0.5 * slope.square().flatten(1).sum(1).mean()
        with torch.no_grad():
            fake = make_image(x, code(way, 0))
        yield bce(out, 1) + bce(judge(fake, target), 0) + penalty, ["discriminator"]
    for way, movers in (("latent", ["generator", "mapping", "style_encoder"]), ("reference", ["generator"])):
        style = code(way, 0)
        fake = make_image(x, style)
        loss = bce(judge(fake, target), 1) + (encode(fake, target) - style).abs().mean()
        loss = loss - max(0, 1 - number / 4) * (fake - make_image(x, code(way, 1)).detach()).abs().mean()
        yield loss + (make_image(fake, encode(x, y)) - x).abs().mean(), movers


def networks(method: StarGANv2) -> dict[str, nn.Module]:
    model = method.model
    return dict(zip(PLAYERS, [model.generator, model.mapping, model.style_encoder, method.discriminator], strict=True))


@pytest.mark.parametrize("phases", ["official", "exact"])
def test_three_batches_give_the_weights_of_the_published_order(phases: str) -> None:
    method, data = make(phases=phases), batches(3)
    start = {name: copy.deepcopy(net.state_dict()) for name, net in networks(method).items()}
    expected = published_steps(method, data)
    fit(method, data)
    for name, net in networks(method).items():
        for key, right in expected[name].state_dict().items():
            torch.testing.assert_close(net.state_dict()[key], right, rtol=0, atol=1e-10, msg=f"{name}.{key}")
        moved = max(float((net.state_dict()[key] - start[name][key]).abs().max()) for key in start[name])
        assert moved > 1e-4, name


def test_exact_makes_nothing_twice() -> None:
    """Per batch: seven images with four graphs, where the published order makes eight with six (two thrown away)."""
    seen = {}
    for phases in ("official", "exact", "merged"):
        method = make(phases=phases)
        counted = Calls(generator=method.model.generator, style_encoder=method.model.style_encoder)
        fit(method, batches(1))
        seen[phases] = counted
    assert seen["official"].images["generator"] == 8 * 3
    assert seen["exact"].images["generator"] == 7 * 3
    assert seen["merged"].images["generator"] == 6 * 3
    graphs = {phases: sum(counted.with_graph["generator"]) for phases, counted in seen.items()}
    assert graphs == {"official": 6, "exact": 4, "merged": 2}
    assert seen["merged"].images["style_encoder"] == 5 * 3


def test_phases_move_whom_they_name() -> None:
    method = make(phases="exact")
    steps = fit(method, batches(1)).gradients
    groups = [{name.rpartition("model.")[2].split(".")[0] for name, grad in step.items() if grad is not None}
              for step in steps]  # fmt: skip
    others = {"generator", "mapping", "style_encoder"}
    assert groups[0] == groups[1] == {"discriminator"}
    assert others <= groups[2]
    assert len(steps) == 6  # one of each player that a phase moves
    frozen = [name for name, p in method.named_parameters() if not p.requires_grad]
    assert not frozen


def test_known_losses() -> None:
    """A critic that says nothing, an encoder that says 0, a generator that says nothing: white images, codes of 1."""
    method = make()
    for layer in (method.discriminator.heads, method.model.generator.leave[2]):
        nn.init.zeros_(layer.weight)
    nn.init.zeros_(method.model.style_encoder.own.weight)
    white = torch.ones(2, 3, PX, PX, dtype=torch.float64)
    domains = torch.tensor([0, 1])
    given = method.given(MultiDomainBatch(white, domains, white, white, domains))
    codes = torch.ones(2, 4, dtype=torch.float64)
    terms = method.generator_terms(given, method(white, codes), codes, codes, white / 2)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {"gan": math.log(2), "style": 1.0, "cycle": 1.0, "diversity": 0.5}
    )
    judged = method.discriminator_terms(white, domains, white, domains)
    assert {name: term.item() for name, term in judged.items()} == pytest.approx({"gan": 2 * math.log(2), "penalty": 0})


def test_r1_of_a_linear_critic_is_half_its_squared_weight() -> None:
    weight = torch.randn(3 * 4 * 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    logits, penalty = logits_and_r1(lambda pixels: pixels.flatten(1) @ weight, images)
    torch.testing.assert_close(penalty, weight.square().sum() / 2)
    torch.testing.assert_close(logits, images.flatten(1) @ weight)


def test_diversity_falls_to_nothing_over_its_batches() -> None:
    method = make(weight_diversity=2.0)
    weights = []
    for done in (0, 1, 2, 4, 9):
        method.batches_before = done
        weights.append(method.diversity_weight)
    assert weights == [2.0, 1.5, 1.0, 0.0, 0.0]


def test_a_run_is_bound_to_the_length_that_diversity_falls_over() -> None:
    assert spans_its_length(config())
    assert not spans_its_length(config("model.diversity_batches=100"))


def test_without_diversity_no_second_image_is_made() -> None:
    method = make(weight_diversity=0.0)
    counted = Calls(generator=method.model.generator)
    fit(method, batches(1))
    assert counted.images["generator"] == 5 * 3
    assert "train/loss/generator_latent_diversity" not in method.latest["train"]


def test_lazy_r1_takes_steps_of_its_own() -> None:
    method = make(penalty_batches=2, optimizers={**_rates(1e-3)})
    watch = fit(method, batches(3))
    (group,) = method.optimizers()[3].param_groups  # type: ignore[index]
    assert group["lr"] == pytest.approx(1e-3 * 2 / 3)
    assert group["betas"] == pytest.approx((0.0, 0.99 ** (2 / 3)))
    assert len(watch.gradients) == 3 * 6 + 2 * 2  # batches 0 and 2, after each of the discriminator's two phases
    penalty = watch.gradients[1]
    assert penalty["discriminator.heads.weight"] is not None
    assert penalty["discriminator.heads.bias"] is None  # no bias changes a slope


def _rates(lr: float) -> dict[str, Any]:
    return {name: {**node, "lr": lr} for name, node in config()["model"]["optimizers"].items()}


def test_the_mapping_network_goes_slower_than_the_others() -> None:
    rates = {name: node["lr"] for name, node in config()["model"]["optimizers"].items()}
    assert rates == {"generator": 1e-4, "mapping": 1e-6, "style_encoder": 1e-4, "discriminator": 1e-4}
    assert all(node["weight_decay"] == 1e-4 for node in config()["model"]["optimizers"].values())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"phases": "two"}, r"phases must be one of official, exact, merged, got 'two'"),
        ({"penalty_batches": 0}, r"penalty_batches must be a whole number of at least 1, got 0"),
        ({"diversity_batches": 0}, r"diversity_batches must be a whole number of at least 1, got 0"),
        ({"weight_style": -1}, r"weight_style must be a finite number of at least 0, got -1"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make(**changes)


def test_sizes_domains_and_landmarks_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.inference.*size_px must be a power of two.*got 48; use 32 or 64"):
        build(method_node(config("dataset.size_px=48", "dataset.store.size_px=48")["model"]), "model")
    with pytest.raises(ValueError, match=r"high_pass=1 needs a network of facial landmarks.*high_pass=0 works"):
        make("model.generator.high_pass=1")
    settings = config()
    data = build_data(settings, open_data(settings))
    method: Any = build_method(settings, data)
    method.model.labels.domains = ("a", "b", "c")
    with pytest.raises(ValueError, match=r"dataset\.domains are flat, .*the model calls them a, b, c"):
        method.prepare(data.task)


def test_the_latent_may_be_the_style() -> None:
    """Table 1, config D: codes differ by the latents themselves, domains by a learned vector."""
    torch.manual_seed(0)
    node = method_node(
        compose("train", [each for each in TINY if "mapping." not in each] + ["model/mapping=latent"])["model"]
    )
    method: StarGANv2 = build(node)
    assert method.model.generator.style_dim == 16
    latents, domains = torch.randn(2, 16), torch.tensor([0, 2])
    torch.testing.assert_close(method.model.mapping(latents, domains) - method.model.mapping.own[domains], latents)
    assert fit(method.double(), batches(1)).moved == [{"model", "discriminator"}]


def test_sample_rows_show_styles_by_latents_and_by_references() -> None:
    method, (batch,) = make(), batches(1)
    found = method.sample_rows(batch)
    assert [tuple(row.shape) for row in found] == [(3, 3, PX, PX)] * 6
    assert torch.equal(found[0], batch.image)
    assert torch.equal(found[4], batch.reference)  # type: ignore[arg-type]
    assert (found[1] - found[2]).abs().max() > 1e-4
    domains = [DOMAINS[number] for number in batch.target_domain.tolist()]
    shown = torch.stack([method.model.translate(image, domain=name, seed=1)
                         for image, name in zip(batch.image, domains, strict=True)])  # fmt: skip
    torch.testing.assert_close(found[2].clamp(0, 1), shown)


def test_logged_keys() -> None:
    method = make()
    fit(method, batches(1))
    with torch.no_grad():
        method.validation_step(batches(1)[0], 0)
    for guide in ("latent", "reference"):
        made = {f"generator_{guide}_{term}" for term in ("gan", "style", "cycle", "diversity", "total")}
        judged = {f"discriminator_{guide}_{term}" for term in ("gan", "penalty", "total")}
        assert {f"train/loss/{name}" for name in made | judged} <= set(method.latest["train"])
        assert f"val/loss/generator_{guide}_cycle" in method.latest["val"]
    assert "val/loss/total" in method.latest["val"]


def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """Where the diversity weight falls: it is computed from the batch's number, and never stored."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(config(), whole, [])
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 3, RuntimeError("stop"))  # the newest checkpoint is that of batch 2
        with pytest.raises(RuntimeError, match="stop"):
            train(config(), stopped, [])
    train(config("resume=must"), stopped, [])
    assert_same_end(whole, stopped)
    steps = [int(state["state"][0]["step"]) for state in newest(whole)["optimizer_states"]]
    assert steps == [8, 4, 4, 8]  # generator, mapping, style_encoder, discriminator


@pytest.mark.slow
@pytest.mark.parametrize("phases", ["exact", "merged"])
def test_training_on_two_processes_equals_one(tmp_path: Path, phases: str) -> None:
    others = ["generator", "mapping", "style_encoder"]
    steps = {
        "exact": ["discriminator", "discriminator", *others, "generator"],
        "merged": ["discriminator", *others],
    }
    # An epsilon above the rounding in gradients: what rounding leaves in those that are 0 decides no step then.
    calm = [f"+model.optimizers.{player}.eps=1e-4" for player in (*others, "discriminator")]
    # Two styles of an untrained mapping network are nearly one: rounding turns signs in the slope of their difference.
    alike = {"exact": [], "merged": ["model.weight_diversity=0"]}
    overrides = [*TINY, *SHORT, *calm, *alike[phases], "dataset.batch_size=4", f"model.phases={phases}"]
    assert_two_equal_one(tmp_path, overrides, steps[phases] * 4, draws=True)
