"""Strategies in whole runs: stopped and resumed, on two processes, and what a run says of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import stylebench
from stylebench.cli.config import compose
from stylebench.commands.train import train
from stylebench.files import read_pickle
from stylebench.inference.classifier import NetworkClassifier
from tests.helpers import ddp_translation
from tests.helpers.ddp_translation import watching
from tests.helpers.processes import run_in_two
from tests.helpers.runs import assert_equal, assert_same_end, newest, rows, stop_at
from tests.helpers.two_processes import FIRST_STEP, FOUR_BATCHES, gap
from tests.methods.test_classifier import TINY

SHORT = ["dataset.batch_size=8", "budget.batches=6", "budget.evaluate_every=3", "checkpoint.every_n_batches=2"]
AUTODIAL = ["adaptation=autodial", "adaptation.alpha=0.75", "adaptation.lr_factor=100"]
SETTINGS = {
    "autodial": AUTODIAL,
    "dsbn": ["adaptation=dsbn", "adaptation.recalibrate=average"],
    "dann": ["adaptation=dann", "adaptation.width=8", "model/schedule=inverse_power"],
    "tent": ["adaptation=tent", "adaptation.batch_size=4"],
    "adabn": ["adaptation=adabn"],
    "pred_bn": ["adaptation=pred_bn", "adaptation.batch_size=3"],
    "alpha_bn": ["adaptation=alpha_bn"],
}
EVER = ("autodial", "dann")  # what they hold in training, the others hold, too


def config(name: str, *more: str) -> dict[str, Any]:
    return compose("train", [*TINY, *SHORT, *SETTINGS[name], *more])


def cases() -> list[Any]:
    return [pytest.param(name, marks=[] if name in EVER else [pytest.mark.slow]) for name in SETTINGS]


@pytest.mark.parametrize("name", cases())
def test_stopped_and_resumed_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    """Weights, alpha and its entropy, the statistics of both domains, the optimizer, and every figure."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(config(name), whole, [])
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 5, RuntimeError("stop"))  # the newest checkpoint is that of batch 4
        with pytest.raises(RuntimeError, match="stop"):
            train(config(name), stopped, [])
    train(config(name, "resume=must"), stopped, [])
    assert_same_end(whole, stopped)
    check_run(name, whole)


def check_run(name: str, run: Path) -> None:
    """It says what the strategy did, and loads with it."""
    evaluated = [row for row in rows(run) if row["val/accuracy/target"]]
    assert len(evaluated) == 2
    model = stylebench.load(run)
    assert isinstance(model, NetworkClassifier)
    assert model.adaptation.name == name
    if name == "autodial":
        alphas = {key: each for key, each in newest(run)["state_dict"].items() if key.endswith(".alpha")}
        assert len(alphas) == 4
        for key, alpha in alphas.items():
            column = f"val/alpha/{key.removeprefix('model.network.').removesuffix('.alpha')}"
            assert float(evaluated[-1][column]) == pytest.approx(float(alpha), rel=1e-6)
            assert 0.5 <= float(alpha) <= 1.0
        assert len({float(alpha) for alpha in alphas.values()}) > 1
        with Image.open(run / "alpha.png") as picture:
            assert picture.size > (640, 320)
        assert {"train/loss/entropy", "val/target_entropy", "val/target_largest_class"} <= set(rows(run)[0])
    if name == "dann":
        assert {"train/loss/domain", "val/domain_accuracy"} <= set(rows(run)[0])
    if name == "dsbn":
        state = newest(run)["state_dict"]
        layer = "model.network.layers.2"
        assert not torch.equal(state[f"{layer}.weight"], state[f"{layer}.target_weight"])
        assert not torch.equal(state[f"{layer}.source_mean"], state[f"{layer}.target_mean"])


@pytest.mark.parametrize("name", ["autodial", pytest.param("dsbn", marks=pytest.mark.slow)])
def test_two_processes_that_share_moments_equal_one(name: str, tmp_path: Path) -> None:
    overrides = [
        *TINY, *SHORT, *SETTINGS[name], "adaptation.sync_moments=true", "adaptation.propagate=sequential",
        "adaptation.recalibrate=exact", "budget.batches=4", "budget.evaluate_every=4",
        "logger.every_n_batches=1",
    ]  # fmt: skip
    run_in_two(ddp_translation.main, tmp_path, [*overrides, "trainer=ddp_cpu"])
    first, second = (dict(read_pickle(tmp_path / f"seen-{rank}.pt")) for rank in (0, 1))
    with watching() as alone:
        train(compose("train", overrides), tmp_path / "one", overrides)
    assert_equal(first["gradients"], second["gradients"])
    assert_equal(first["end"], second["end"])
    assert len(first["gradients"]) == 4
    for batch, (found, expected) in enumerate(zip(first["gradients"], alone["gradients"], strict=True)):
        assert gap(found, expected) < (FOUR_BATCHES if batch else FIRST_STEP)
    assert gap(first["end"][0], alone["end"][0]) < FOUR_BATCHES
    both, one = (newest(tmp_path / run)["state_dict"] for run in ("run", "one"))
    for key in (key for key in one if key.endswith(("_mean", "_variance"))):  # over all images of a domain
        torch.testing.assert_close(both[key], one[key], rtol=FOUR_BATCHES, atol=FOUR_BATCHES)
    for single, double in zip(rows(tmp_path / "one"), rows(tmp_path / "run"), strict=True):
        for column in ("train/loss/total", "val/accuracy/source", "val/accuracy/target"):
            assert double[column] == "" or float(double[column]) == pytest.approx(float(single[column]), rel=1e-4)
