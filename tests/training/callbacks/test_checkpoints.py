"""Checkpoints: when they are written, which stay, and that reading one restores every random state."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from stylebench.files import DamagedFileError
from stylebench.methods.base import Method
from stylebench.methods.terms import NonFiniteLossError
from stylebench.run_folder import checkpoint_files
from stylebench.training.callbacks.checkpoints import AtomicCheckpointIO, Checkpoints

HEADER = {"version": "0", "config": {"seed": 1}, "record": {}}


class Stage:
    """A callback, a method whose counter the test moves, and a trainer that saves through the project's writer."""

    def __init__(self, folder: Path, *, every: int = 10, keep: int = 2, evaluate: int = 20, batches: int = 45) -> None:
        self.method = Method()
        self.callback = Checkpoints(
            folder, every_n_batches=every, keep=keep, evaluate_every=evaluate, batches=batches, header=HEADER
        )
        self.trainer: Any = SimpleNamespace(
            lightning_module=self.method, is_global_zero=True, world_size=1, save_checkpoint=self.save
        )
        self.evaluate, self.batches = evaluate, batches

    def contents(self) -> dict[str, Any]:
        checkpoint: dict[str, Any] = {"state_dict": {}, "loops": {}}
        self.method.on_save_checkpoint(checkpoint)
        self.callback.on_save_checkpoint(self.trainer, self.method, checkpoint)
        return checkpoint

    def save(self, path: Path) -> None:
        AtomicCheckpointIO().save_checkpoint(self.contents(), path)

    def train(self, first: int, last: int) -> None:
        """Pass batches first + 1 .. last, with an evaluation and an epoch's end where they are due."""
        for done in range(first + 1, last + 1):
            self.method.batches_before = done
            self.callback.on_train_batch_end(self.trainer, self.method)
            if done % self.evaluate == 0 or done == self.batches:
                self.callback.on_validation_end(self.trainer, self.method)
                self.callback.on_train_epoch_end(self.trainer, self.method)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_newest_stay(tmp_path: Path) -> None:
    stage = Stage(tmp_path, keep=2)
    stage.train(0, 30)
    assert names(tmp_path) == ["batch-000000020.ckpt", "batch-000000030.ckpt"]


def test_the_end_of_a_run_is_saved_off_the_grid(tmp_path: Path) -> None:
    stage = Stage(tmp_path, keep=9)
    stage.train(0, 45)
    assert names(tmp_path) == [f"batch-{done:09d}.ckpt" for done in (10, 20, 30, 40, 45)]


def test_a_checkpoint_of_an_evaluation_is_written_after_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, keep=9)
    stage.train(0, 40)
    evaluated = {
        path.stem[-2:]: AtomicCheckpointIO().load_checkpoint(path)["stylebench"]["evaluated_at"]
        for path in checkpoint_files(tmp_path)
    }
    assert evaluated == {"10": 0, "20": 20, "30": 20, "40": 40}


def test_other_processes_remove_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path, keep=1)
    stage.trainer.is_global_zero = False
    stage.train(0, 20)
    assert len(names(tmp_path)) == 2


def test_files_are_sorted_by_batches_and_strangers_left_alone(tmp_path: Path) -> None:
    for name in ("batch-000000009.ckpt", "batch-1000000000.ckpt", "batch-000000010.ckpt", "batch-last.ckpt", "x.ckpt"):
        (tmp_path / name).write_text("")
    found = [path.name for path in checkpoint_files(tmp_path)]
    assert found == ["batch-1000000000.ckpt", "batch-000000010.ckpt", "batch-000000009.ckpt"]


def test_a_file_holds_what_a_reader_needs_and_no_loop_positions(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.train(0, 10)
    checkpoint = AtomicCheckpointIO().load_checkpoint(tmp_path / "batch-000000010.ckpt")
    entry = checkpoint["stylebench"]
    assert (entry["format"], entry["version"], entry["batches"], entry["config"]) == (2, "0", 10, {"seed": 1})
    assert entry["ema"] is None
    assert "loops" not in checkpoint


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_random_states_are_restored(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    np.random.seed(5)  # noqa: NPY002
    np.random.randn()  # noqa: NPY002 (leaves a second normal number in store)
    stage.train(0, 10)
    expected = draw(), float(np.random.randn())  # noqa: NPY002
    draw()
    later = Stage(tmp_path)
    checkpoint = AtomicCheckpointIO().load_checkpoint(tmp_path / "batch-000000010.ckpt")
    later.method.on_load_checkpoint(checkpoint)
    later.callback.on_load_checkpoint(later.trainer, later.method, checkpoint)
    later.callback.on_train_start(later.trainer, later.method)
    assert (draw(), float(np.random.randn())) == expected  # noqa: NPY002
    assert later.method.batches_done == 10


def interrupted(stage: Stage, error: BaseException) -> None:
    stage.callback.on_exception(stage.trainer, stage.method, error)


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), RuntimeError()])
def test_an_interruption_between_batches_is_saved(tmp_path: Path, error: BaseException) -> None:
    stage = Stage(tmp_path)
    stage.train(0, 7)
    interrupted(stage, error)
    assert names(tmp_path) == ["batch-000000007.ckpt"]


def test_an_interruption_right_after_a_checkpoint_adds_none(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.train(0, 10)
    before = (tmp_path / "batch-000000010.ckpt").stat().st_mtime_ns
    interrupted(stage, KeyboardInterrupt())
    assert (tmp_path / "batch-000000010.ckpt").stat().st_mtime_ns == before


def test_nothing_is_saved_before_the_first_batch_or_inside_an_update(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    interrupted(stage, KeyboardInterrupt())
    stage.train(0, 7)
    stage.method.mid_update = True
    interrupted(stage, KeyboardInterrupt())
    assert names(tmp_path) == []


def test_one_of_several_processes_saves_only_when_all_were_told_to_stop(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.trainer.world_size = 2
    stage.train(0, 7)
    interrupted(stage, RuntimeError())
    assert names(tmp_path) == []
    interrupted(stage, SystemExit())
    assert names(tmp_path) == ["batch-000000007.ckpt"]


def test_a_non_finite_loss_is_never_saved(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.train(0, 9)
    stage.method.log_and_sum({"style": torch.tensor(float("nan"))}, {"style": 1.0})
    with pytest.raises(NonFiniteLossError, match="'style' at batch 10"):
        stage.train(9, 10)
    interrupted(stage, NonFiniteLossError())
    assert names(tmp_path) == []


def test_a_write_that_fails_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, writer = tmp_path / "batch-000000010.ckpt", AtomicCheckpointIO()
    writer.save_checkpoint({"x": torch.ones(2)}, path)
    before = path.read_bytes()

    def broken(checkpoint: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("the disk went away")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="the disk went away"):
        writer.save_checkpoint({"x": torch.zeros(2)}, path)
    assert names(tmp_path) == [path.name]
    assert path.read_bytes() == before


class Touch:
    """What a hostile file would make a careless reader run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("weights_only", [None, True, False])
def test_reading_runs_nothing_whatever_lightning_asks_for(tmp_path: Path, weights_only: bool | None) -> None:
    torch.save({"x": Touch(tmp_path / "sentinel")}, tmp_path / "hostile.ckpt")
    with pytest.raises(DamagedFileError, match="cannot be read as tensors and plain values"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "hostile.ckpt", weights_only=weights_only)
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize(("every", "keep"), [(0, 1), (1, 0)])
def test_numbers_below_one_are_refused(every: int, keep: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"checkpoint\.(every_n_batches|keep) must be a whole number of at least 1"):
        Stage(tmp_path, every=every, keep=keep)
