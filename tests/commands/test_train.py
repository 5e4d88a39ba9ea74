"""A run from config to folder: what it leaves, and that stopping and resuming changes nothing."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.utilities.exceptions import SIGTERMException

from stylebench.commands.train import train
from stylebench.files import read_pickle
from stylebench.methods.fast_transfer import FastTransfer
from stylebench.methods.terms import NonFiniteLossError
from stylebench.run_folder import RunFolder
from stylebench.training.callbacks.metric_log import MetricLog
from tests.helpers.runs import assert_same_end, newest, record, rows, stop_at

Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_config: Make) -> Path:
    """A run of 6 batches, evaluated every 3."""
    folder = tmp_path_factory.mktemp("finished")
    train(tiny_config(), folder, [])
    return folder


def test_run_folder_holds_what_was_promised(finished: Path) -> None:
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert names == {
        ".lock", "config.yaml", "metrics.csv", "record.json",
        "samples/batch-000000003.png", "samples/batch-000000006.png",
        "checkpoints/batch-000000003.ckpt", "checkpoints/batch-000000006.ckpt", "evaluation/val-ema/values.json",
        "evaluation/val-ema/rows.csv", "evaluation/val-ema/manifest.json",
    }  # fmt: skip
    run = RunFolder(finished)
    assert (run.status, run.record["kind"]) == ("finished", "training")
    assert run.record["config"] == yaml.safe_load((finished / "config.yaml").read_text())


def test_metrics_have_batch_one_every_second_and_the_evaluations(finished: Path) -> None:
    table = rows(finished)
    assert [row["train/batches"] for row in table] == ["1", "2", "3", "4", "6"]
    assert [bool(row["train/loss/total"]) for row in table] == [True, True, False, True, True]
    assert [bool(row["val/loss/total"]) for row in table] == [False, False, True, False, True]


def test_logged_total_is_the_weighted_sum(finished: Path) -> None:
    row = {name: float(value) for name, value in rows(finished)[-1].items()}
    parts = sum(row[f"train/weighted/{term}"] for term in ("content", "style", "tv"))
    assert row["train/loss/total"] == pytest.approx(parts, rel=1e-5)


def test_record_says_what_ran(finished: Path) -> None:
    facts = record(finished)
    assert (facts["status"], facts["batches"], facts["seed"]) == ("finished", 6, 0)
    assert facts["encoder"]["weights"] == "random"
    assert facts["data"]["content"]["count"] == 12
    assert facts["flops_per_batch"] > 0
    assert facts["parameters"] == 28_467  # johnson_modern of width 4
    assert math.isfinite(facts["final"]["val/loss/total"])


def test_encoder_is_in_no_checkpoint(finished: Path) -> None:
    assert {name.split(".")[0] for name in newest(finished)["state_dict"]} == {"model"}


@pytest.mark.parametrize("batch", [1, 3, 4])
@pytest.mark.parametrize("error", [SIGTERMException(), KeyboardInterrupt(), RuntimeError("out of memory")])
def test_stopped_and_resumed_equals_uninterrupted(
    batch: int, error: BaseException, finished: Path, tmp_path: Path, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, batch, error)
        with pytest.raises((SystemExit, RuntimeError)) as caught:
            train(tiny_config(), tmp_path, [])
    if isinstance(error, SIGTERMException):
        assert caught.value.code == 143  # type: ignore[union-attr]
    assert record(tmp_path)["status"] == ("failed" if isinstance(error, RuntimeError) else "stopped")
    assert newest(tmp_path)["stylebench"]["batches"] == batch
    train(tiny_config("resume=must"), tmp_path, [])
    assert_same_end(finished, tmp_path)
    assert record(tmp_path)["status"] == "finished"


def test_a_stop_during_an_evaluation_makes_up_for_it(
    finished: Path, tmp_path: Path, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: FastTransfer, batch: Any, batch_idx: int) -> None:
        raise SIGTERMException

    with monkeypatch.context() as patch:
        patch.setattr(FastTransfer, "validation_step", interrupted)
        with pytest.raises(SystemExit):
            train(tiny_config(), tmp_path, [])
    assert newest(tmp_path)["stylebench"]["batches"] == 3
    train(tiny_config("resume=must"), tmp_path, [])
    assert_same_end(finished, tmp_path)


def test_a_stop_during_the_last_evaluation_redoes_it(
    finished: Path, tmp_path: Path, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = FastTransfer.validation_step

    def interrupted(self: FastTransfer, batch: Any, batch_idx: int) -> None:
        if self.batches_done == 6:
            raise SIGTERMException
        original(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(FastTransfer, "validation_step", interrupted)
        with pytest.raises(SystemExit):
            train(tiny_config(), tmp_path, [])
    assert newest(tmp_path)["stylebench"]["batches"] == 3
    train(tiny_config("resume=must"), tmp_path, [])
    assert_same_end(finished, tmp_path)


def test_a_kill_between_the_last_checkpoint_and_the_record_is_made_good(tmp_path: Path, tiny_config: Make) -> None:
    train(tiny_config("budget.batches=3"), tmp_path, [])
    unfinished = {**record(tmp_path), "status": "running", "final": {}}
    (tmp_path / "record.json").write_text(json.dumps(unfinished))
    train(tiny_config("budget.batches=3"), tmp_path, [])
    assert record(tmp_path)["status"] == "finished"
    assert record(tmp_path)["final"]["val/loss/total"] == float(rows(tmp_path)[-1]["val/loss/total"])


def test_other_data_under_the_same_name_is_not_continued_on(tmp_path: Path, tiny_config: Make) -> None:
    train(tiny_config("budget.batches=3"), tmp_path, [])
    path = tmp_path / "checkpoints" / "batch-000000003.ckpt"
    checkpoint = read_pickle(path)
    checkpoint["stylebench"]["record"]["data"]["content"]["digest"] = "0" * 64
    torch.save(checkpoint, path)
    before = (tmp_path / "metrics.csv").read_text()
    with pytest.raises(ValueError, match=r"dataset\.content: digest 000000000000 -> .*run="):
        train(tiny_config(), tmp_path, [])
    assert (tmp_path / "metrics.csv").read_text() == before


def test_an_infinite_gradient_of_a_finite_loss_is_never_saved(
    tmp_path: Path, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poison(self: MetricLog, trainer: pl.Trainer, method: Any, optimizer: torch.optim.Optimizer) -> None:
        if method.batches_done == 5:
            next(iter(method.model.parameters())).grad.fill_(float("inf"))

    monkeypatch.setattr(MetricLog, "on_before_optimizer_step", poison)
    with pytest.raises(NonFiniteLossError, match=r"weights are not finite after batch 6: model\."):
        train(tiny_config(), tmp_path, [])
    assert newest(tmp_path)["stylebench"]["batches"] == 3


def test_a_finished_run_extended_equals_one_long_run(tmp_path: Path, tiny_config: Make) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    train(tiny_config("budget.batches=4"), short, [])  # ends off the evaluation grid of 3
    train(tiny_config("budget.batches=7"), short, [])
    train(tiny_config("budget.batches=7"), long, [])
    assert_same_end(short, long)


def test_a_finished_run_is_not_trained_again(finished: Path, tiny_config: Make) -> None:
    before = (finished / "record.json").read_text()
    result = train(tiny_config(), finished, [])
    assert result.batches == 6
    assert result.metrics["train/loss/total"] == float(rows(finished)[-1]["train/loss/total"])
    assert (finished / "record.json").read_text() == before


def test_the_stream_of_batches_does_not_depend_on_workers(finished: Path, tmp_path: Path, tiny_config: Make) -> None:
    train(tiny_config("dataset.num_workers=2"), tmp_path, [])
    assert_same_end(finished, tmp_path)


def test_an_exception_inside_an_update_is_not_saved(
    tmp_path: Path, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: torch.optim.Adam, closure: Callable[[], Any]) -> None:
        closure()
        raise RuntimeError("half a step")

    with monkeypatch.context() as patch:
        patch.setattr(FastTransfer, "optimizer_step", lambda self, e, b, opt, closure: failing(opt, closure))
        with pytest.raises(RuntimeError, match="half a step"):
            train(tiny_config(), tmp_path, [])
    assert not list((tmp_path / "checkpoints").glob("*")) if (tmp_path / "checkpoints").exists() else True


def test_a_nan_loss_stops_the_run_names_the_term_and_writes_no_checkpoint(
    tmp_path: Path, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = FastTransfer.terms

    def spoiled(self: FastTransfer, *args: Any) -> Any:
        terms = dict(original(self, *args))
        return {**terms, "tv": terms["tv"] * float("nan")} if self.batches_done >= 4 else terms

    monkeypatch.setattr(FastTransfer, "terms", spoiled)
    with pytest.raises(NonFiniteLossError, match="'tv' at batch 5"):
        train(tiny_config(), tmp_path, [])
    assert newest(tmp_path)["stylebench"]["batches"] == 3
    assert record(tmp_path)["status"] == "failed"
    assert "'tv' at batch 5" in record(tmp_path)["error"]


def test_several_style_images_are_refused_with_the_way_to_pick_one(tmp_path: Path, tiny_config: Make) -> None:
    with pytest.raises(ValueError, match=r"one style image.*has 12.*dataset\.style="):
        train(tiny_config("dataset.style=leaves"), tmp_path, [])


def test_an_unwritable_run_folder_is_refused_before_any_work(tmp_path: Path, tiny_config: Make) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionError, match=r"cannot write to the folder.*name another one"):
        train(tiny_config(), tmp_path / "file" / "run", [])


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("budget.batches=0", r"budget\.batches.*at least 1, got 0"),
        ("seed=-1", "seed must be"),
        ("samples=0", "samples must be"),
        ("logger.every_n_batches=0", r"every_n_batches must be"),
        ("checkpoint.keep=0", r"checkpoint\.keep"),
        ("ema.decay=1.5", r"ema\.decay must be in \[0, 1\)"),
        ("model.gram_norm=cosine", "cosine"),
        ("model.style_layers=[relu9_9]", "relu9_9"),
        ("model.generator.norm=layer", "layer"),
    ],
)
def test_bad_values_are_named(override: str, match: str, tmp_path: Path, tiny_config: Make) -> None:
    with pytest.raises(ValueError, match=match):
        train(tiny_config(override), tmp_path, [])


def test_compile_and_channels_last_are_switches_that_train(tmp_path: Path, tiny_config: Make) -> None:
    train(tiny_config("channels_last=true", "trainer.precision=bf16-mixed"), tmp_path, [])
    assert record(tmp_path)["precision"] == "bf16-mixed"
