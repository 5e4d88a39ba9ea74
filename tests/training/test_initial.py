"""Weights to start from: which networks get them, and what is said where they do not fit."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stylebench.build import build, method_node, owners
from stylebench.commands.train import train
from stylebench.files import file_digest
from stylebench.inference.loading import read_checkpoint
from stylebench.methods.base import Method
from stylebench.training.initial import check_init, initialize
from tests.helpers.runs import record

RUNS = Path(__file__).parents[1] / "frozen" / "runs"


def kept(name: str) -> dict[str, Any]:
    (path,) = (RUNS / name / "run" / "checkpoints").glob("*.ckpt")
    return read_checkpoint(path)


def method_of(checkpoint: dict[str, Any], **model: Any) -> Method:
    config = copy.deepcopy(checkpoint["stylebench"]["config"])
    for key, value in model.items():
        config["model"][key] = value
    torch.manual_seed(7)
    built: Method = build(method_node(config["model"]), "model", owners=owners(config))
    return built


def state(method: Method, prefix: str) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in method.state_dict().items() if key.startswith(prefix)}


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in tensors.items() if key.startswith(prefix)}


def test_all_networks_of_a_run_are_taken() -> None:
    checkpoint = kept("pix2pix")
    method = method_of(checkpoint)
    facts = initialize(method, str(RUNS / "pix2pix" / "run"))
    assert facts["networks"] == ["generator", "discriminator"]
    (path,) = (RUNS / "pix2pix" / "run" / "checkpoints").glob("*.ckpt")
    assert (facts["digest"], facts["weights"]) == (file_digest(path), "raw")
    for prefix in ("model.generator.", "discriminator."):
        assert equal(state(method, prefix), part(checkpoint["state_dict"], prefix))


@pytest.mark.parametrize("source", ["run", "export"])
def test_named_networks_alone_are_taken_and_an_export_has_but_the_model(source: str) -> None:
    checkpoint = kept("pix2pix")
    method = method_of(checkpoint)
    before = state(method, "discriminator.")
    path = str(RUNS / "pix2pix" / source)
    facts = initialize(method, {"path": path, "networks": ["generator"]} if source == "run" else path)
    assert facts["networks"] == ["generator"]
    assert equal(state(method, "model.generator."), part(checkpoint["state_dict"], "model.generator."))
    assert equal(state(method, "discriminator."), before)


def test_the_moving_average_is_taken_where_there_is_one_and_no_pool() -> None:
    checkpoint = kept("cyclegan")
    method = method_of(checkpoint)
    pool = state(method, "pool_a.images")
    facts = initialize(method, str(RUNS / "cyclegan" / "run"))
    assert facts["networks"] == ["generator_ab", "generator_ba", "discriminator_a", "discriminator_b"]
    assert facts["weights"] == "ema"
    average = checkpoint["stylebench"]["ema"]["networks"]["model"]
    found = {key.removeprefix("model."): value for key, value in state(method, "model.").items()}
    assert equal(found, average)
    assert not equal(state(method, "model."), part(checkpoint["state_dict"], "model."))
    assert equal(state(method, "discriminator_a."), part(checkpoint["state_dict"], "discriminator_a."))
    assert equal(state(method, "pool_a.images"), pool)


def test_what_does_not_fit_is_named() -> None:
    method = method_of(kept("pix2pix"))
    before = state(method, "")
    with pytest.raises(
        ValueError, match=r"no network is on both sides: .* holds decoder, and pix2pix trains generator"
    ):
        initialize(method, str(RUNS / "adain" / "run"))
    with pytest.raises(ValueError, match=r"critic is not on both sides: .* holds generator, discriminator"):
        initialize(method, {"path": str(RUNS / "pix2pix" / "run"), "networks": ["critic"]})
    with pytest.raises(ValueError, match=r"init: generator of .* does not fit: .* is not there"):
        initialize(method, str(RUNS / "fast_transfer" / "run"))
    checkpoint = kept("fast_transfer")
    generator = checkpoint["stylebench"]["config"]["model"]["generator"]
    larger = {**generator, "width": 2 * generator["width"]}
    inference = {**checkpoint["stylebench"]["config"]["model"]["inference"], "generator": larger}
    wider = method_of(checkpoint, generator=larger, inference=inference)
    narrow, wide = generator["width"], 2 * generator["width"]
    with pytest.raises(ValueError, match=rf"has \({narrow}, 3, 9, 9\) in place of \({wide}, 3, 9, 9\)"):
        initialize(wider, str(RUNS / "fast_transfer" / "run"))
    assert equal(state(method, ""), before)
    with pytest.raises(FileNotFoundError, match="nothing at nowhere"):
        initialize(method, "nowhere")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    checkpoint = kept("pix2pix")
    key = next(iter(part(checkpoint["state_dict"], "discriminator.")))
    checkpoint["state_dict"][key].view(-1)[0] = float("nan")
    torch.save(checkpoint, tmp_path / "spoiled.ckpt")
    with pytest.raises(ValueError, match=rf"is not finite: {key.removeprefix('discriminator.')}"):
        initialize(method_of(kept("pix2pix")), str(tmp_path / "spoiled.ckpt"))


@pytest.mark.parametrize("setting", [3, [], {"networks": ["a"]}, {"path": "a", "weights": "raw"}, {"path": 3}])
def test_a_setting_of_another_kind_is_refused(setting: Any) -> None:
    with pytest.raises(ValueError, match=r"init is a path, or \{path: <path>, networks: "):
        check_init(setting)
    with pytest.raises(ValueError, match=r"init\.networks must be a list of names, got 'generator'"):
        check_init({"path": "a", "networks": "generator"})


def test_a_run_starts_from_weights_and_goes_on_without_their_file(
    tmp_path: Path, tiny_config: Callable[..., dict[str, Any]]
) -> None:
    short = ["metrics=none", "budget.batches=1", "budget.evaluate_every=1"]
    train(tiny_config(*short), tmp_path / "first", [])
    rate = "model.optimizers.generator.lr=0"  # so that the weights stay what they were
    start = [*short, rate, f"init={tmp_path / 'first'}"]
    train(tiny_config(*start), tmp_path / "second", [])
    (first,) = (tmp_path / "first" / "checkpoints").glob("*.ckpt")
    (second,) = (tmp_path / "second" / "checkpoints").glob("*.ckpt")
    assert record(tmp_path / "second")["init"]["digest"] == file_digest(first)
    average = read_checkpoint(first)["stylebench"]["ema"]["networks"]["model"]
    trained = {key.removeprefix("model."): value for key, value in read_checkpoint(second)["state_dict"].items()}
    assert equal(trained, average)
    with pytest.raises(ValueError, match=r"init: digest \w{12} -> \w{12}.*resume=restart"):
        train(tiny_config(*short, rate, "budget.batches=2", f"init={second}"), tmp_path / "second", [])
    shutil.rmtree(tmp_path / "first")
    train(tiny_config(*start, "budget.batches=2"), tmp_path / "second", [])
    assert record(tmp_path / "second")["batches"] == 2
    assert record(tmp_path / "second")["init"]["networks"] == ["generator"]
