"""Super-resolution: its losses, what learns, and a run from training to an enlarged picture."""

import copy
import json
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
from stylebench.data.tasks import PairedBatch
from stylebench.files import read_pickle
from stylebench.functional.bicubic import enlarge
from stylebench.inference.export import export
from stylebench.methods.super_resolution import SuperResolution

Built = tuple[SuperResolution, DomainData, PairedBatch]
TINY = [
    "model=super_resolution",
    "dataset=procedural",
    "+dataset.target=leaves",
    "dataset.store.count=12",
    "dataset.store.size_px=48",
    "dataset.size_px=32",
    "dataset.batch_size=2",
    "model.generator.width=8",
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


def steps(method: SuperResolution, batch: PairedBatch, count: int) -> list[float]:
    """Take steps on one batch, without a trainer; return the losses."""
    optimizer, losses = method.configure_optimizers(), []
    for _ in range(count):
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
    """A run of 4 batches, measured at the end of every second."""
    folder = tmp_path_factory.mktemp("super_resolution")
    train(config("metrics=smoke", "metrics.num_images=2"), folder, [])
    return folder


PIXEL = ("model.weight_pixel=1", "model.weight_feature=0")


@pytest.mark.parametrize("weights", [PIXEL, ()], ids=["pixel", "feature"])
def test_super_resolution_overfits_one_image(weights: tuple[str, ...]) -> None:
    network = ("model.generator.factor=2", "model.generator.width=16")
    method, _, batch = build(
        "model.optimizers.generator.lr=0.005", "dataset.batch_size=1", "dataset.size_px=16", *network, *weights
    )
    losses = steps(method, batch, 41)
    assert losses[40] / losses[0] < 0.5


def test_pixel_loss_is_the_mean_squared_difference() -> None:
    method, _, batch = build(*PIXEL)
    terms = method.terms(batch.target + 0.5, batch.target)
    assert terms.keys() == {"pixel"}
    assert float(terms["pixel"]) == pytest.approx(0.25, rel=1e-5)


def test_feature_loss_is_the_squared_difference_of_maps_over_their_entries() -> None:
    method, _, batch = build("model.weight_feature=2")
    other = batch.target.flip(3)
    terms: Any = method.terms(other, batch.target)
    (layer,) = method.layers
    maps = [method.encoder(images, (layer,))[layer] for images in (other, batch.target)]
    expected = (maps[0] - maps[1]).square().sum() / maps[0].numel()
    assert float(terms["feature"][layer]) == pytest.approx(float(expected), rel=1e-5)
    assert layer == "relu2_2"
    total = method.log_and_sum(terms, method.weights)
    assert float(total) == pytest.approx(2 * float(expected), rel=1e-5)  # the terms themselves carry no weight
    same: Any = method.terms(batch.target, batch.target)
    assert float(same["pixel"]) == float(same["feature"][layer]) == 0


def test_pixels_alone_need_no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    method, _, batch = build(*PIXEL)
    monkeypatch.setattr(method.encoder, "forward", lambda *_: pytest.fail("the encoder was run"))
    assert method.training_step(batch, 0).isfinite()


def test_only_the_generator_learns() -> None:
    method, _, batch = build()
    frozen = {name: buffer.clone() for name, buffer in method.encoder.named_buffers()}
    before = copy.deepcopy(method.state_dict())
    steps(method, batch, 3)
    assert all(torch.equal(frozen[name], buffer) for name, buffer in method.encoder.named_buffers())
    assert {name.split(".")[0] for name in before} == {"model"}
    moved = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == set(before)


def test_a_blank_crop_gives_no_gradient() -> None:
    method, _, batch = build("model.generator.norm=instance")
    flat = PairedBatch(torch.full_like(batch.input, 0.5), torch.full_like(batch.target, 0.5))
    method.training_step(flat, 0).backward()
    assert all(float(p.grad.abs().sum()) == 0 for p in method.model.parameters() if p.grad is not None)


def test_sample_rows_are_bicubic_results_and_targets() -> None:
    method, data, _ = build()
    batch = data.task.finish(data.task.fixed(2, "val"))
    rows = method.sample_rows(batch)
    assert torch.equal(rows[0], enlarge(batch.input, 4).clamp(0, 1))
    assert torch.equal(rows[1], method.translate(batch))
    assert torch.equal(rows[2], batch.target)
    assert {row.shape for row in rows} == {batch.target.shape}


def test_half_precision_changes_the_loss_by_its_rounding_alone() -> None:
    """bfloat16 has 8 bits: a part in 256 an operation; losses are float32 islands."""
    method, _, batch = build("model.weight_pixel=1")
    plain = method.training_step(batch, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = method.training_step(batch, 0)
    assert half.dtype == torch.float32
    assert float(half.detach()) == pytest.approx(float(plain.detach()), rel=0.03)


def test_one_key_decides_the_factor() -> None:
    settings = config("model.generator.factor=8")
    assert settings["dataset"]["degradation"] == {"factor": 8, "blur_sigma_px": 1.0}
    assert (
        settings["metrics"]["items"]["psnr_y"]["scale_px"] == settings["metrics"]["items"]["ssim_y"]["border_px"] == 8
    )
    method, _, batch = build("model.generator.factor=8", "dataset.size_px=40")
    assert batch.input.shape == (2, 3, 5, 5)
    assert method(batch.input).shape == batch.target.shape


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (("model.weight_feature=-1",), r"weight_feature must be a finite number of at least 0, got -1"),
        (("model.weight_feature=0",), r"weight_pixel and weight_feature are both 0"),
        (("model.feature_layers=[fire2]",), r"has no \['fire2'\]; choose from conv1_1, relu1_1"),
        (("dataset.degradation.factor=2",), r"degradation\.factor=2, but the network enlarges 4 times; set model\.gen"),
        (("dataset.size_px=34",), r"dataset\.size_px=34 is not a multiple of 4.*set it to 32 or 36"),
        (("+dataset.input=strokes",), r"dataset\.input is set too \(strokes\); drop one: dataset\.input=null"),
        (("+dataset.input=leaves", "dataset.degradation=null"), r"makes its small inputs of the targets: name the"),
        (("model.generator.factor=3",), r"factor must be one of 2, 4, 8, got 3"),
    ],
)
def test_wrong_settings_are_refused(overrides: tuple[str, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build("dataset.size_px=24", *overrides)


def test_a_run_measures_luma_against_targets(finished: Path) -> None:
    record = json.loads((finished / "record.json").read_text())
    assert {"val/psnr_y", "val/ssim_y", "val/psnr", "val/loss/total"} <= set(record["final"])
    assert record["data"]["input"]["name"] == f"{record['data']['target']['name']}_4x_smaller"
    assert record["parameters"] == sum(p.numel() for p in stylebench.load(finished).parameters())


def test_stopped_and_resumed_equals_uninterrupted(finished: Path, tmp_path: Path) -> None:
    measured = ("metrics=smoke", "metrics.num_images=2")
    train(config("budget.batches=2", *measured), tmp_path, [])
    train(config("resume=must", *measured), tmp_path, [])
    left, right = newest(finished), newest(tmp_path)
    assert left["stylebench"]["batches"] == right["stylebench"]["batches"] == 4
    assert all(torch.equal(value, right["state_dict"][name]) for name, value in left["state_dict"].items())
    assert (finished / "metrics.csv").read_text() == (tmp_path / "metrics.csv").read_text()


def test_a_run_loads_exports_and_enlarges(finished: Path, tmp_path: Path) -> None:
    images: Tensor = torch.rand(2, 3, 13, 22, generator=torch.Generator().manual_seed(0))
    expected = stylebench.load(finished).translate(images, match="none")
    assert expected.shape == (2, 3, 52, 88)
    again = stylebench.load(export(finished, tmp_path / "exported"))
    assert torch.equal(again.translate(images, match="none"), expected)
