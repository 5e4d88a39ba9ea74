"""The run record: what it tells of a run, its sessions and its measurements."""

import json
import os
import platform
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from stylebench.run_folder import RunFolder
from stylebench.training.callbacks import run_record
from stylebench.training.callbacks.run_record import RunRecord, source_commit


def test_each_job_of_a_process_measures_its_own_peak_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peak = {"bytes": 9000}  # of the job before

    def reset(device: torch.device) -> None:
        peak["bytes"] = 0

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peak["bytes"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    method: Any = SimpleNamespace(device=torch.device("cuda", 0), batches_done=0, turn_batches=1)
    trainer: Any = SimpleNamespace(
        optimizers=[], world_size=1, precision="32-true", is_global_zero=True, lightning_module=method
    )
    record = RunRecord(tmp_path, {}, batch_size=4)
    record.on_train_start(trainer, method)
    peak["bytes"] = 500
    record.on_train_end(trainer, method)
    assert record.record["peak_memory_bytes"] == 500


class Lived(NamedTuple):
    """A record with a trainer and a method on the CPU around it."""

    record: RunRecord
    trainer: Any
    method: Any

    def train(self, first: int, last: int) -> None:
        self.method.batches_done = first
        self.record.on_train_start(self.trainer, self.method)
        for number in range(first + 1, last + 1):
            self.record.on_train_batch_start(self.trainer, self.method)
            torch.mm(torch.ones(2, 3), torch.ones(3, 4))  # 2 * 2 * 3 * 4 = 48 operations
            self.method.batches_done = number
            self.record.on_train_batch_end(self.trainer, self.method)
        self.record.on_train_end(self.trainer, self.method)


def lived(folder: Path, **settings: Any) -> Lived:
    method: Any = SimpleNamespace(device=torch.device("cpu"), batches_done=0, turn_batches=1)
    optimizer = torch.optim.SGD(nn.Linear(3, 2).parameters(), lr=1.0)
    trainer: Any = SimpleNamespace(
        optimizers=[optimizer, optimizer], world_size=1, precision="32-true", is_global_zero=True,
        lightning_module=method,
    )  # fmt: skip
    return Lived(RunRecord(folder, {"seed": 7}, batch_size=4, **settings), trainer, method)


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "record.json").read_text()))


def test_the_record_tells_what_happened(tmp_path: Path) -> None:
    run = lived(tmp_path)
    run.train(0, 5)
    run.record.write(status="finished", final={"val/loss/total": 1.5})
    facts = read(tmp_path)
    assert (facts["status"], facts["seed"], facts["batches"]) == ("finished", 7, 5)
    assert facts["parameters"] == 8  # 3 x 2 weights and 2 biases, counted once though two optimizers hold them
    assert facts["flops_per_batch"] == 48
    assert facts["peak_memory_bytes"] > 10 * 2**20
    assert facts["images_per_second"] > 0
    assert facts["final"] == {"val/loss/total": 1.5}
    assert facts["devices"] == {"count": 1, "kind": "cpu"}
    assert facts["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_the_record_is_there_from_the_start(tmp_path: Path) -> None:
    run = lived(tmp_path)
    run.record.on_train_start(run.trainer, run.method)
    assert read(tmp_path)["status"] == "running"


def test_an_evaluation_of_a_run_that_still_trains_is_kept(tmp_path: Path) -> None:
    run = lived(tmp_path)
    run.train(0, 1)
    entry = {"value": 1.5, "alias": "psnr", "shown": "dashboard"}
    RunFolder(tmp_path).write_evaluation("test-raw", {"psnr/n1": entry}, [], {"batches": 1})
    run.train(1, 2)
    run.record.write(status="finished")
    assert RunFolder(tmp_path).values("test-raw") == {"psnr/n1": {**entry, "batches": 1}}


def test_evaluations_inside_the_record_of_an_earlier_version_are_kept(tmp_path: Path) -> None:
    metrics = {"test-ema": {"psnr/n1": {"value": 1.5, "alias": "psnr", "shown": "dashboard"}}}
    run = lived(tmp_path, previous={"format": 2, "metrics": metrics})
    run.train(0, 1)
    run.record.write()
    assert RunFolder(tmp_path).values("test-ema") == metrics["test-ema"]
    assert read(tmp_path)["format"] == 3


def test_a_long_stretch_of_batches_shows_that_the_run_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"seconds": 0.0}
    monkeypatch.setattr(run_record.time, "monotonic", lambda: clock["seconds"])
    run = lived(tmp_path, count_flops=False)
    run.record.on_train_start(run.trainer, run.method)
    written = []
    for seconds in (30.0, 61.0, 62.0, 122.0):
        (tmp_path / "record.json").unlink(missing_ok=True)
        clock["seconds"] = seconds
        run.record.on_train_batch_start(run.trainer, run.method)
        run.record.on_train_batch_end(run.trainer, run.method)
        written.append((tmp_path / "record.json").exists())
    assert written == [False, True, False, True]
    assert read(tmp_path)["heartbeat_seconds"] == 60.0
    assert read(tmp_path)["kind"] == "training"


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    run = lived(tmp_path)
    run.trainer.is_global_zero = False
    run.train(0, 2)
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_adds_a_session_and_goes_on_counting(tmp_path: Path) -> None:
    first = lived(tmp_path)
    first.train(0, 5)
    first.record.write(status="stopped")
    before = read(tmp_path)
    second = lived(tmp_path, previous=before)
    second.train(3, 6)  # two batches were lost: the checkpoint is of batch 3
    second.record.write(status="finished")
    facts = read(tmp_path)
    assert [session["from_batch"] for session in facts["sessions"]] == [0, 3]
    assert facts["started"] == before["started"]
    assert facts["train_seconds"] >= before["train_seconds"]
    assert facts["flops_per_batch"] == 48
    assert facts["batches"] == 6


def test_a_failed_first_batch_leaves_the_counting_mode(tmp_path: Path) -> None:
    run = lived(tmp_path)
    run.record.on_train_start(run.trainer, run.method)
    run.record.on_train_batch_start(run.trainer, run.method)
    run.record.on_exception(run.trainer, run.method, RuntimeError())
    assert run.record._counter is None
    run.record.on_exception(run.trainer, run.method, RuntimeError())  # and again


def test_compiled_runs_are_not_counted(tmp_path: Path) -> None:
    run = lived(tmp_path, count_flops=False)
    run.train(0, 2)
    assert run.record.record["flops_per_batch"] is None


def test_the_clock_stands_still_outside_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"seconds": 0.0}
    monkeypatch.setattr(run_record.time, "perf_counter", lambda: now["seconds"])
    run = lived(tmp_path, count_flops=False)
    run.record.on_train_start(run.trainer, run.method)
    for _ in range(2):
        run.record.on_train_batch_start(run.trainer, run.method)
        now["seconds"] += 1.0
        run.record.on_train_batch_end(run.trainer, run.method)
        run.record.on_validation_start(run.trainer, run.method)
        now["seconds"] += 100.0
    run.record.on_train_end(run.trainer, run.method)
    assert run.record.record["train_seconds"] == 2.0
    assert run.record.record["images_per_second"] == 4.0


def test_a_metric_that_is_no_number_cannot_spoil_the_file(tmp_path: Path) -> None:
    run = lived(tmp_path)
    run.record.write(status="running")
    with pytest.raises(ValueError, match="JSON"):
        run.record.write(metrics={"x": float("nan")})
    assert read(tmp_path)["status"] == "running"


def test_the_commit_is_that_of_the_checkout_and_none_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "stylebench" / "training" / "callbacks"
    package.mkdir(parents=True)
    monkeypatch.setattr(run_record, "__file__", str(package / "run_record.py"))
    assert source_commit() is None
    environment = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for line in ("init -q", "commit -q --allow-empty -m first"):
        subprocess.run(["git", "-C", str(tmp_path), *line.split()], check=True, env={**os.environ, **environment})
    commit = source_commit()
    assert commit is not None
    assert re.fullmatch(r"[0-9a-f]{40}", commit)
    (tmp_path / "file").write_text("")
    subprocess.run(["git", "-C", str(tmp_path), "add", "file"], check=True)
    assert source_commit() == commit + "+"
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no git
    assert source_commit() is None


def test_the_machine_is_described_without_its_name() -> None:
    assert platform.node() not in json.dumps(run_record.machine())
