"""pix2pix: its losses, the whole step against a plain one, who moves, its modes, resume, and what it refuses."""

import copy
import functools
import math
import operator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import stylebench
from stylebench.build import build, method_node, open_data
from stylebench.cli.config import compose
from stylebench.commands.train import train
from stylebench.data.degradation import Degradation
from stylebench.data.tasks import PairedBatch, Task
from stylebench.functional.schedules import Constant, EpochDecay
from stylebench.inference.export import export
from stylebench.inference.translators.paired import PairedTranslator
from stylebench.methods.pix2pix import Pix2Pix
from stylebench.nn.generators.resnet import ResNetGenerator
from stylebench.nn.generators.unet import UNetGenerator
from stylebench.training.resume import fingerprint
from tests.helpers.players import Calls, assert_gradients, fit
from tests.helpers.runs import assert_same_end, newest, rows, stop_at
from tests.helpers.two_processes import SHORT, assert_two_equal_one

UNET = "inference.generator"
QUIET = {f"{UNET}.dropout": "none"}
BOTTLENECK = {f"{UNET}.bottleneck_norm": True}
ALONE = {"conditional": False, "discriminator.in_channels": 3}
TINY = [
    "model=pix2pix",
    "model.generator.width=4",
    "model.discriminator.width=4",
    "model.discriminator.receptive_field_px=16",
    "model/schedule=constant",
    "dataset=procstyle",
    "dataset.store.size_px=16",
    "dataset.store.train_images=12",
    "dataset.store.val_images=4",
    "dataset.store.test_images=4",
    "metrics=none",
    "budget.batches=6",
    "budget.evaluate_every=3",
    "budget.validation_images=2",
    "checkpoint.every_n_batches=2",
    "samples=2",
    "logger.every_n_batches=1",
]
L1 = {"weight_gan": 0}
GAN = {"weight_l1": 0}


@functools.cache
def config(*overrides: str) -> dict[str, Any]:
    return compose("train", [*TINY, *overrides])


def changed(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of nested settings with other values at dotted keys; composing again costs a second."""
    settings = copy.deepcopy(settings)
    for key, value in changes.items():
        *path, last = key.split(".")
        functools.reduce(operator.getitem, path, settings)[last] = value
    return settings


def make(changes: dict[str, Any] | None = None) -> Pix2Pix:
    """A tiny pix2pix in float64, with some settings of `model` changed."""
    torch.manual_seed(0)
    method: Pix2Pix = build(method_node(changed(config()["model"], changes or {})))
    return method.double()


@functools.cache
def data_task() -> Task:
    return open_data(config()).task


def prepared(changes: dict[str, Any], size_px: int = 16, batch_size: int = 1) -> Pix2Pix:
    """A method that has looked at data of this size."""
    task = copy.copy(data_task())
    task.size_px, task.batch_size = size_px, batch_size
    method = make({"inference.generator.size_px": size_px, **changes})
    method.prepare(task)
    return method


def batches(count: int, batch: int = 1) -> list[PairedBatch]:
    """Random images in float64."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 2, batch, 3, 16, 16, generator=generator, dtype=torch.float64)
    return [PairedBatch(source, target) for source, target in images]


def fitting(method: Pix2Pix, data: list[PairedBatch]) -> Any:
    """Train without a task, as if it had been prepared."""
    method._size_px, method._batch_size = data[0].input.shape[-1], len(data[0].input)
    return fit(method, data)


def gradients(part: str, network: nn.Module) -> dict[str, Tensor]:
    """Return and clear the gradients of a network."""
    found = {}
    for name, parameter in network.named_parameters():
        found[f"{part}.{name}"], parameter.grad = parameter.grad, None
    return found  # type: ignore[return-value]


def plain_steps(method: Pix2Pix, data: list[PairedBatch], conditional: bool) -> list[dict[str, Tensor]]:
    """Nothing shared, nothing frozen: the image is made again for the generator's step."""
    generator, judge = copy.deepcopy((method.model.generator, method.discriminator))
    optimizers = [torch.optim.Adam(part.parameters(), 2e-4, (0.5, 0.999)) for part in (generator, judge)]
    steps = []

    def entropy(source: Tensor, image: Tensor, real: float) -> Tensor:
        logits = judge(torch.cat([source, image], 1) if conditional else image)
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real))

    for batch in data:
        source, target = (2 * images - 1 for images in batch)
        loss = 0.5 * (entropy(source, generator(source).detach(), 0) + entropy(source, target, 1))
        loss.backward()
        optimizers[1].step()
        steps.append(gradients("discriminator", judge))
        fake = generator(source)
        (entropy(source, fake, 1) + 100 * F.l1_loss(fake, target)).backward()
        gradients("discriminator", judge)
        optimizers[0].step()
        steps.append(gradients("model.generator", generator))
    return steps


@pytest.mark.parametrize(("conditional", "batch"), [(True, 1), (False, 1), (True, 3)])
def test_steps_equal_those_of_a_plain_implementation(conditional: bool, batch: int) -> None:
    method, data = make(QUIET if conditional else QUIET | ALONE), batches(2, batch)
    expected = plain_steps(method, data, conditional)
    found = fitting(method, data).gradients
    assert len(found) == len(expected) == 4
    for step, right in zip(found, expected, strict=True):
        assert_gradients(step, right)


def test_the_discriminator_moves_first_and_neither_leaves_gradients_in_the_other() -> None:
    method = make()
    first, second, third, _ = fitting(method, batches(2)).gradients
    assert all(gradient is None for name, gradient in first.items() if name.startswith("model"))
    for name, gradient in second.items():
        assert gradient is not None, name
        if name.startswith("discriminator"):  # those of its own step are still there, and nothing is added
            assert torch.equal(gradient, first[name])
        else:
            assert torch.equal(third[name], gradient)
    assert all(parameter.requires_grad for parameter in method.parameters())


@pytest.mark.parametrize(
    ("changes", "calls", "moved"),
    [
        ({}, [1, 3], {"model", "discriminator"}),
        (GAN, [1, 3], {"model", "discriminator"}),
        (L1, [1, 0], {"model"}),
    ],
)
def test_images_are_made_once_and_judged_apart(changes: dict[str, Any], calls: list[int], moved: set[str]) -> None:
    method = make(changes)
    counted = Calls(generator=method.model.generator, discriminator=method.discriminator)
    watch = fitting(method, batches(1, batch=2))
    assert [counted.calls["generator"], counted.calls["discriminator"]] == calls
    assert [counted.images["generator"], counted.images["discriminator"]] == [2 * count for count in calls]
    assert watch.moved == [moved]


def test_known_losses() -> None:
    """Black against white is 2 in [-1, 1]; a logit of 0 costs log 2 in every term."""
    method = make()
    nn.init.zeros_(method.discriminator.layers[-1].weight)  # type: ignore[arg-type]
    white = torch.ones(2, 3, 16, 16, dtype=torch.float64)
    terms = method.generator_terms(white, white, -white)
    assert terms["l1"].item() == 2.0
    assert terms["gan"].item() == pytest.approx(math.log(2), rel=1e-7)
    total = method.log_and_sum(terms, method.weights, phase="generator")
    assert total.item() == pytest.approx(200 + math.log(2), rel=1e-7)
    judged = method.discriminator_terms(white, white, -white)
    assert judged["gan"].item() == pytest.approx(2 * math.log(2), rel=1e-7)
    same = method.generator_terms(white, white, white)
    assert same["l1"].item() == 0


def test_the_discriminator_s_loss_is_halved() -> None:
    method = make()
    fitting(method, batches(1))
    latest = method.latest["train"]
    assert torch.equal(latest["train/loss/discriminator_total"], 0.5 * latest["train/loss/discriminator_gan"])


def test_a_conditional_discriminator_sees_the_input() -> None:
    (batch,) = batches(1)
    other = batch.input.flip(3)
    method = make()
    assert not torch.equal(method.judge(batch.input, batch.target), method.judge(other, batch.target))
    method = make(ALONE)
    assert torch.equal(method.judge(batch.input, batch.target), method.judge(other, batch.target))


@pytest.mark.parametrize(("conditional", "channels"), [(True, 3), (False, 6)])
def test_channels_must_fit(conditional: bool, channels: int) -> None:
    with pytest.raises(ValueError, match=rf"built for {channels}; set discriminator\.in_channels={9 - channels}"):
        make({"conditional": conditional, "discriminator.in_channels": channels})


def test_validation_is_in_the_model_s_mode_and_changes_nothing() -> None:
    method, (batch,) = make(), batches(1)
    fitting(method, batches(2))
    method.eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    with torch.no_grad():
        method.validation_step(batch, 0)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert not any(part.training for part in method.modules())
    expected = (method.translate(batch) - batch.target).abs().mean() * 2
    torch.testing.assert_close(method.latest["val"]["val/loss/generator_l1"], expected)
    assert {"val/loss/generator_gan", "val/loss/generator_total", "val/loss/total"} <= set(method.latest["val"])
    # the discriminator's term is that of training mode, with the statistics of this batch
    fake, method = 2 * method.translate(batch) - 1, method.train()
    right = F.softplus(-method.judge(2 * batch.input - 1, fake)).mean()
    found = method.latest["val"]["val/loss/generator_gan"]
    torch.testing.assert_close(found, right.detach())


def test_logged_health() -> None:
    method = make()
    fitting(method, batches(1))
    names = {"real_logit", "fake_logit", "sign_accuracy", "gradient_norm_generator", "gradient_norm_discriminator"}
    assert {f"train/health/{name}" for name in names} <= set(method.latest["train"])
    assert {f"train/loss/generator_{name}" for name in ("l1", "gan", "total")} <= set(method.latest["train"])


def test_sample_rows_are_inputs_results_and_targets() -> None:
    method, (batch,) = make(), batches(1, batch=2)
    found = method.sample_rows(batch)
    assert torch.equal(found[0], batch.input)
    assert torch.equal(found[1], method.translate(batch))
    assert torch.equal(found[2], batch.target)


def test_any_network_can_be_the_generator() -> None:
    method = make()
    method.model = PairedTranslator(nn.Identity())
    (batch,) = batches(1)
    torch.testing.assert_close(method.translate(batch), batch.input, atol=1e-6, rtol=0)
    method.model = PairedTranslator(ResNetGenerator(blocks=1, width=4)).double()
    method.prepare(data_task())
    assert fitting(method, batches(1)).moved == [{"model", "discriminator"}]


@pytest.mark.parametrize(("changes", "left"), [(L1, 0.2), ({}, 0.5)], ids=["l1", "l1_cgan"])
def test_pix2pix_overfits_one_pair(changes: dict[str, Any], left: float) -> None:
    rates = {f"optimizers.{player}.lr": 0.01 for player in ("generator", "discriminator")}
    method = make({**QUIET, **changes, **rates}).float()
    smooth = torch.rand(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    batch = PairedBatch(*(F.interpolate(images, 16, mode="bilinear") for images in smooth))

    def error() -> float:
        return (method.translate(batch) - batch.target).abs().mean().item()

    before = error()
    fitting(method, [batch] * 40)
    assert error() / before < left


@pytest.mark.parametrize("betas", [[0, 0.99], [0.5, 0]])
def test_betas_may_be_whole_numbers(betas: list[float]) -> None:
    method = make({"optimizers.generator.betas": betas})
    assert fitting(method, batches(2)).moved[-1] == {"model", "discriminator"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"weight_l1": -1}, r"weight_l1 must be a finite number of at least 0, got -1"),
        ({"weight_gan": math.inf}, r"weight_gan must be a finite number of at least 0, got inf"),
        ({"weight_gan": 0, "weight_l1": 0}, r"weight_gan and weight_l1 are both 0"),
        ({"objective": "ragan"}, r"objective must be one of vanilla, .*got 'ragan'"),
        ({"conditional": "yes"}, r"conditional must be true or false, got 'yes'"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make(changes)


@pytest.mark.parametrize(
    ("changes", "shape", "match"),
    [
        ({}, (14, 1), r"size_px must be a multiple of 16 for at least 4 levels, .*got 14; use images of 16 px"),
        ({f"{UNET}.levels": 5}, (16, 1), r"size_px must be a multiple of 32 for 5 levels, .*got 16; use images of 32"),
        ({f"{UNET}.size_px": 32}, (16, 1), r"must be a multiple of 32, got 16; set it to 32"),
        ({"discriminator.receptive_field_px": 70}, (16, 1), r"finds no patch in images of 16 px"),
        (BOTTLENECK, (16, 1), r"1x1 px at dataset\.size_px=16, and batch norm of 1 image.*bottleneck_norm=false"),
        (BOTTLENECK | {f"{UNET}.norm": "instance"}, (16, 2), r"instance norm takes all of it.*bottleneck_norm=false"),
        (BOTTLENECK, (16, 2), r"eval_mode=train_stats_dropout would normalize each image alone.*use eval"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it(
    changes: dict[str, Any], shape: tuple[int, int], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        prepared(changes, *shape)


def test_a_norm_of_the_innermost_map_may_be_had_where_it_works() -> None:
    larger = prepared(BOTTLENECK | {f"{UNET}.levels": 3})  # a map of 2x2 px
    assert larger.model.generator.levels == 3
    method = prepared(BOTTLENECK | {"inference.eval_mode": "eval"}, batch_size=2)
    assert fit(method, batches(1, batch=2)).moved == [{"model", "discriminator"}]
    # what is refused would stop in the first step
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        method.train().model.generator(batches(1)[0].input)


def test_a_device_s_share_of_the_batch_is_checked() -> None:
    method = prepared(BOTTLENECK | {"inference.eval_mode": "eval"}, batch_size=2)
    method._batch_size = 1  # a device's share is that of the batch here
    with pytest.raises(ValueError, match="batch norm of 1 image on a device"):
        fit(method, batches(1))


def test_unpaired_data_are_refused_with_those_that_serve() -> None:
    settings = compose("train", ["model=pix2pix", "dataset=horse2zebra"])
    with pytest.raises(ValueError, match=r"serves the tasks unpaired.*needs the task paired; choose one of .*facades"):
        open_data(settings)


def test_inputs_made_of_targets_are_refused() -> None:
    task: Any = copy.copy(data_task())
    task.degradation = Degradation(4, 1.0)
    with pytest.raises(ValueError, match=r"degradation=null and name dataset\.input, or choose model=super_resolution"):
        make().prepare(task)


def test_presets_and_fingerprints() -> None:
    given = ["model=pix2pix", "dataset=facades"]
    default, paper = compose("train", given), compose("train", [*given, "model/schedule=constant"])
    assert default["ema"] is None
    assert default["dataset"]["batch_size"] == 1
    assert build(default["model"]["schedule"]) == EpochDecay(default["budget"]["batches"], 100, 100)
    assert build(paper["model"]["schedule"]) == Constant()
    assert default["model"]["inference"]["generator"]["size_px"] == 256
    others: dict[str, Any] = {
        "model.eval_mode": "eval",
        f"model.{UNET}.skips": False,
        "model.weight_l1": 10.0,
        "model.discriminator.receptive_field_px": 16,
        "dataset.size_px": 128,
    }
    prints = [fingerprint(default), fingerprint(paper)]
    prints += [fingerprint(changed(default, {key: value})) for key, value in others.items()]
    assert len(set(prints)) == len(prints)


def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """Weights, running statistics, both optimizers, the dropout of training, and a falling learning rate."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(config("model/schedule=linear"), whole, [])
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 5, RuntimeError("stop"))  # the newest checkpoint is that of batch 4
        with pytest.raises(RuntimeError, match="stop"):
            train(config("model/schedule=linear"), stopped, [])
    train(config("model/schedule=linear", "resume=must"), stopped, [])
    assert_same_end(whole, stopped)
    rates = [key for key in rows(whole)[0] if key.startswith("train/lr/")]
    assert len(rates) == 2
    for key in rates:
        values = [float(row[key]) for row in rows(whole) if row[key]]
        assert values == pytest.approx([2e-4 * factor for factor in (1, 1, 1, 1, 2 / 3, 1 / 3)])
    check_use(whole, tmp_path / "exported")


def check_use(run: Path, target: Path) -> None:
    """A run loads and exports, with its mode and its control."""
    images = torch.rand(2, 3, 20, 25, generator=torch.Generator().manual_seed(0))
    loaded = stylebench.load(run)
    assert isinstance(loaded.generator, UNetGenerator)
    assert [control.name for control in loaded.controls] == ["noise_seed"]
    expected = loaded.translate(images, noise_seed=4)
    assert torch.equal(stylebench.load(export(run, target)).translate(images, noise_seed=4), expected)
    names = {name.split(".")[0] for name in newest(run)["state_dict"]}
    assert names == {"model", "discriminator"}


@pytest.mark.slow
def test_training_on_two_processes_equals_one(tmp_path: Path) -> None:
    """With its dropout, but without batch norm: of each process that sees its own half of the batch."""
    norms = ["model.generator.norm=instance", "model.discriminator.norm=instance", "dataset.batch_size=2"]
    assert_two_equal_one(tmp_path, [*TINY, *SHORT, *norms], ["discriminator", "generator"] * 4)
