"""AdaIN: its losses, what learns, its schedule, and a run from training to a loaded model."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import stylebench
from stylebench.build import build_data, build_method, open_data
from stylebench.cli.config import compose
from stylebench.commands.train import train
from stylebench.data.datamodule import DomainData
from stylebench.data.tasks import StyleBatch
from stylebench.files import read_pickle
from stylebench.functional.channel_statistics import adaptive_instance_norm, channel_statistics
from stylebench.inference.export import export
from stylebench.methods.adain import AdaIN
from stylebench.nn.encoders import Encoder

Built = tuple[AdaIN, DomainData, StyleBatch]
TINY = [
    "model=adain",
    "dataset=procedural",
    "dataset.style=leaves",
    "dataset.store.count=12",
    "dataset.store.size_px=48",
    "dataset.size_px=32",
    "dataset.batch_size=2",
    "encoder.exchange_layer=relu3_1",
    "model.style_layers=[relu1_1,relu2_1]",
    "metrics=none",
    "budget.batches=4",
    "budget.evaluate_every=2",
    "budget.validation_images=2",
    "samples=2",
    "logger.every_n_batches=1",
]


def config(*overrides: str) -> dict[str, Any]:
    return compose("train", [*TINY, *overrides])


def build(*overrides: str) -> Built:
    settings = config(*overrides)
    torch.manual_seed(0)
    data = build_data(settings, open_data(settings))
    method: Any = build_method(settings, data)
    return method, data, data.task.finish(data.task.batch(0))


def steps(method: AdaIN, batches: Iterator[StyleBatch]) -> list[float]:
    """Take one step for each batch, without a trainer; return the losses."""
    optimizer, losses = method.configure_optimizers(), []
    for batch in batches:
        loss = method.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def newest(folder: Path) -> dict[str, Any]:
    return dict(read_pickle(sorted((folder / "checkpoints").glob("*.ckpt"))[-1]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 4 batches."""
    folder = tmp_path_factory.mktemp("adain")
    train(config(), folder, [])
    return folder


def test_adain_overfits_one_batch() -> None:
    method, _, batch = build("model.optimizers.decoder.lr=0.003")
    losses = steps(method, iter([batch] * 31))
    assert losses[30] / losses[0] < 0.5


def test_only_the_decoder_learns() -> None:
    method, _, batch = build()
    frozen = {name: buffer.clone() for name, buffer in method.named_buffers()}
    before = copy.deepcopy(method.state_dict())
    steps(method, iter([batch] * 3))
    assert frozen.keys() >= {"model.encoder.mean"}
    assert all(torch.equal(frozen[name], buffer) for name, buffer in method.named_buffers())
    assert {name.split(".")[1] for name, _ in method.named_parameters()} == {"decoder"}
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert all(not torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert not method.encoder.training


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_are_those_of_the_paper(reduction: str) -> None:
    """Each term from its definition, with numbers of the tensors alone."""
    method, _, batch = build(f"model.style_reduction={reduction}")
    content, style = batch
    assert content is not None
    assert style is not None
    encoder, tap = method.encoder, "relu3_1"
    target = adaptive_instance_norm(
        encoder(content, [tap])[tap], channel_statistics(encoder(style, [tap])[tap])
    )  # (B, C, 8, 8)
    stylized = method.model.decoder(target)
    maps, style_maps = (encoder(images, ["relu1_1", "relu2_1", tap]) for images in (stylized, style))
    terms = method.terms(content, style)
    torch.testing.assert_close(terms["content"], (maps[tap] - target).square().mean())
    for layer in ("relu1_1", "relu2_1"):
        differences = [
            statistic(maps[layer].flatten(2)) - statistic(style_maps[layer].flatten(2))
            for statistic in (lambda x: x.mean(2), lambda x: (x.var(2, correction=0) + 1e-5).sqrt())
        ]  # (B, C) each
        squares = differences[0].square() + differences[1].square()
        expected = squares.mean() if reduction == "mean" else squares.sum(1).mean()
        torch.testing.assert_close(terms["style"][layer], expected)
    torch.testing.assert_close(method(content, style), stylized)


def test_the_decoder_of_every_transfer_has_the_same_target(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    original = AdaIN._compare

    def watching(self: AdaIN, image: Tensor, target: Tensor, statistics: Any) -> Any:
        seen.append(target)
        return original(self, image, target, statistics)

    monkeypatch.setattr(AdaIN, "_compare", watching)
    for transfer in ("adain", "concat"):
        method, _, batch = build(f"model.transfer={transfer}")
        assert method.training_step(batch, 0).isfinite()
    assert torch.equal(*seen)
    assert not seen[0].requires_grad  # t is a constant


def test_each_image_is_encoded_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    method, _, batch = build()
    seen: list[tuple[str, ...]] = []
    original = Encoder.forward

    def counting(self: Encoder, images: Tensor, layers: Any) -> Any:
        seen.append(tuple(layers))
        return original(self, images, layers)

    monkeypatch.setattr(Encoder, "forward", counting)
    method.training_step(batch, 0)
    every = ("relu1_1", "relu2_1", "relu3_1")
    assert seen == [every, ("relu3_1",), every]  # styles, contents, results


def test_reconstruction_of_styles_is_an_option() -> None:
    plain, _, batch = build()
    method, _, _ = build("model.weight_reconstruction=0.5", "model.weight_style=4")
    assert set(plain.terms(*batch)) == {"content", "style"}
    terms = method.terms(*batch)
    assert set(terms) == {"content", "style", "reconstruction_content", "reconstruction_style"}
    assert method.weights["reconstruction_content"] == 0.5
    assert method.weights["reconstruction_style"] == 2.0  # both losses keep their ratio
    # the style's own features are its target: what AdaIN makes of a style with itself
    own = method.terms(batch.style, batch.style)
    torch.testing.assert_close(own["reconstruction_content"], own["content"], rtol=1e-4, atol=1e-4)


def test_logged_keys() -> None:
    method, _, batch = build()
    terms = ["content", "style", "style_relu1_1", "style_relu2_1"]
    for stage, step in (("train", method.training_step), ("val", method.validation_step)):
        step(batch, 0)
        expected = {f"{stage}/{kind}/{term}" for kind in ("loss", "weighted") for term in terms}
        assert set(method.latest[stage]) == expected | {f"{stage}/loss/total"}


def test_sample_rows_are_contents_styles_and_results() -> None:
    method, data, _ = build()
    batch = data.task.finish(data.task.fixed(2, "val"))
    rows = method.sample_rows(batch)
    assert [tuple(row.shape) for row in rows] == [tuple(batch.content.shape)] * 3
    assert torch.equal(rows[0], batch.content)
    assert torch.equal(rows[1], batch.style)
    assert torch.equal(rows[2], method.translate(batch))


def test_half_precision_changes_the_loss_by_its_rounding_alone() -> None:
    """bfloat16 has 8 bits: a part in 256 an operation; statistics and losses are float32 islands."""
    method, _, batch = build()
    plain = method.training_step(batch, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = method.training_step(batch, 0)
    assert half.dtype == torch.float32
    assert float(half.detach()) == pytest.approx(float(plain.detach()), rel=0.03)


def test_one_style_picture_may_have_one_color() -> None:
    method, _, batch = build()
    flat = torch.full_like(batch.style, 0.5)
    loss = method.training_step(StyleBatch(flat, flat), 0)
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters())


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("model.weight_style=-1", r"weight_style must be a finite number of at least 0, got -1"),
        ("model.schedule.decay=-1", r"model\.schedule: decay must be a finite number of at least 0, got -1"),
        ("model.style_reduction=max", r"style_reduction must be one of mean, sum, got 'max'"),
        ("model.style_layers=[relu1_1,fire2]", r"has no \['fire2'\]; choose from conv1_1, relu1_1"),
        ("model.transfer=swap", "transfer must be one of adain, concat"),
    ],
)
def test_wrong_settings_are_refused(override: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build(override)


def test_learning_rate_falls_with_the_batches(tmp_path: Path) -> None:
    train(config("model.schedule.decay=1", "model.optimizers.decoder.lr=0.6", "metrics=none"), tmp_path, [])
    lines = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    column = lines[0].index("train/lr/optimizer")
    # 0.6 / (1 + t) for t = 0, 1, 2, 3 batches done
    assert [float(line[column]) for line in lines[1:] if line[column]] == pytest.approx([0.6, 0.3, 0.2, 0.15])


def test_paper_schedule() -> None:
    method, _, _ = build("model.schedule.decay=5e-5")
    rates = [1e-4 * method.schedule.factor(batches) for batches in (0, 20_000, 80_000, 160_000)]
    assert rates == pytest.approx([1e-4, 5e-5, 2e-5, 1.1111e-5], rel=1e-4)


def test_stopped_and_resumed_equals_uninterrupted(finished: Path, tmp_path: Path) -> None:
    train(config("budget.batches=2"), tmp_path, [])
    train(config("resume=must"), tmp_path, [])
    left, right = newest(finished), newest(tmp_path)
    assert left["stylebench"]["batches"] == right["stylebench"]["batches"] == 4
    assert all(torch.equal(value, right["state_dict"][name]) for name, value in left["state_dict"].items())
    assert left["optimizer_states"][0]["param_groups"] == right["optimizer_states"][0]["param_groups"]
    assert (finished / "metrics.csv").read_text() == (tmp_path / "metrics.csv").read_text()


def test_checkpoints_hold_the_decoder_alone(finished: Path) -> None:
    checkpoint = newest(finished)
    assert {name.split(".")[1] for name in checkpoint["state_dict"]} == {"decoder"}
    assert {name.split(".")[0] for name in checkpoint["stylebench"]["ema"]["networks"]["model"]} == {"decoder"}
    record = json.loads((finished / "record.json").read_text())
    assert record["encoder"]["name"].startswith("compact-")
    assert record["parameters"] == sum(value.numel() for value in checkpoint["state_dict"].values())


def test_a_run_loads_and_exports(finished: Path, tmp_path: Path) -> None:
    images = torch.rand(2, 3, 37, 45, generator=torch.Generator().manual_seed(0))
    style = torch.rand(3, 40, 33, generator=torch.Generator().manual_seed(1))
    loaded = stylebench.load(finished)
    expected = loaded.translate(images, style=style, alpha=0.7)
    again = stylebench.load(export(finished, tmp_path / "exported"))
    assert torch.equal(again.translate(images, style=style, alpha=0.7), expected)
    encoded = loaded.encode_styles(style)
    assert torch.equal(loaded.translate(images, style=encoded, alpha=0.7), expected)


def changed_encoder(finished: Path, target: Path, weights: str, digest: str) -> Path:
    """A checkpoint that names other weights of its encoder."""
    checkpoint = newest(finished)
    checkpoint["stylebench"]["config"]["model"]["inference"]["encoder"]["weights"] = weights
    checkpoint["stylebench"]["record"]["encoder"]["digest"] = digest
    torch.save(checkpoint, target)
    return target


def test_missing_weights_of_the_encoder_are_named(finished: Path, tmp_path: Path) -> None:
    path = changed_encoder(finished, tmp_path / "a.ckpt", "/nowhere/weights.pth", "ab" * 32)
    with pytest.raises(FileNotFoundError, match=r"a\.ckpt needs the weights .*SHA-256 abab.*no file /nowhere/weights"):
        stylebench.load(path)


def test_other_weights_of_the_encoder_are_refused(finished: Path, tmp_path: Path) -> None:
    path = changed_encoder(finished, tmp_path / "a.ckpt", "shipped", "ab" * 32)
    with pytest.raises(ValueError, match=r"trained with encoder weights of SHA-256 abab.*the ones found have 4a5d639a"):
        stylebench.load(path)
