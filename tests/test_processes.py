"""Real processes: killed and resumed, stopped by a signal, two at once, swept, completed by the shell."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from stylebench.files import read_pickle
from stylebench.methods.base import Method
from stylebench.run_folder import checkpoint_files
from tests.helpers import ddp_two_players, ddp_worker
from tests.helpers.processes import command, ended, forked, run_in_two
from tests.helpers.runs import assert_equal, rows
from tests.helpers.tiny import TINY

# Crops at random places beside the flips of TINY: every random choice about data is in play.
LONG = ["budget.batches=60", "budget.evaluate_every=20", "checkpoint.every_n_batches=5", "dataset.resize_px=40"]


def start(arguments: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stylebench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        start_new_session=True,  # a group of its own, as a job of a scheduler is
    )


def finish(arguments: Sequence[str], **environment: str) -> str:
    process = start(arguments, **environment)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def wait_until(condition: Callable[[], bool], alive: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert alive(), "ended too early"
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def newest(folder: Path) -> dict[str, Any]:
    return dict(read_pickle(checkpoint_files(folder / "checkpoints")[0]))


def batches_logged(folder: Path) -> int:
    path = folder / "metrics.csv"
    if not path.exists():
        return 0
    written = [row["train/batches"] for row in rows(folder)]
    return int(written[-1]) if written and written[-1].isdigit() else 0


def assert_same_run(one: Path, other: Path) -> None:
    left, right = newest(one), newest(other)
    for part in ("state_dict", "optimizer_states"):
        assert_equal(left[part], right[part])
    assert_equal(left["stylebench"]["ema"], right["stylebench"]["ema"])
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert ended(forked(command, ["train", *TINY, *LONG, f"run={folder}"])) == 0
    return folder


def kill_and_resume(folder: Path, workers: int, moments: list[Callable[[], bool] | float]) -> None:
    """Start the run, SIGKILL it at each moment (a condition, or seconds after its first log), start it again."""
    arguments = ["train", *TINY, *LONG, f"run={folder}", f"dataset.num_workers={workers}"]
    for moment in moments:
        before = batches_logged(folder)
        process = forked(command, arguments)
        if callable(moment):
            wait_until(moment, process.is_alive)
        else:
            wait_until(lambda before=before: batches_logged(folder) not in (0, before), process.is_alive)
            time.sleep(moment)
        process.kill()
        process.join()
        if batches_logged(folder) >= 60:  # perhaps killed before the last checkpoint: the run below tells
            break
    assert ended(forked(command, arguments)) == 0


def being_written(folder: Path) -> Callable[[], bool]:
    """Tell whether a checkpoint is being written at this moment: its temporary file lies beside the finished ones."""
    return lambda: (folder / "checkpoints").exists() and any((folder / "checkpoints").glob(".*.partial"))


def test_killed_during_a_checkpoint_and_resumed_equals_uninterrupted(uninterrupted: Path, tmp_path: Path) -> None:
    kill_and_resume(tmp_path, 0, [being_written(tmp_path), 0.2])
    assert_same_run(uninterrupted, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_ten_random_moments_and_resumed_equals_uninterrupted(
    workers: int, uninterrupted: Path, tmp_path: Path
) -> None:
    moments: list[Callable[[], bool] | float] = [random.Random(workers).uniform(0, 0.4) for _ in range(9)]
    kill_and_resume(tmp_path, workers, [being_written(tmp_path), *moments])
    assert_same_run(uninterrupted, tmp_path)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_sigterm_leaves_a_checkpoint_a_record_and_exit_code_143(
    workers: int, uninterrupted: Path, tmp_path: Path
) -> None:
    """To the process, or, as `timeout` and some schedulers send it, to its workers as well."""
    few = ["checkpoint.every_n_batches=1000", f"dataset.num_workers={workers}"]
    arguments = ["train", *TINY, *LONG, *few, f"run={tmp_path}"]
    process = start(arguments)
    wait_until(lambda: batches_logged(tmp_path) >= 4, lambda: process.poll() is None)
    os.killpg(process.pid, signal.SIGTERM) if workers else process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["status"] == "stopped"
    assert newest(tmp_path)["stylebench"]["batches"] == record["batches"] < 60
    assert "Traceback" not in output
    assert ended(forked(command, [*arguments, "resume=must"])) == 0
    assert_same_run(uninterrupted, tmp_path)


def run_worker(folder: Path, processes: int, check: bool = True, **environment: str) -> None:
    folder.mkdir()
    trainer = "ddp_cpu" if processes == 2 else "cpu"
    short = ["budget.batches=4", "budget.evaluate_every=2", "budget.validation_images=3", "dataset.store.count=40"]
    overrides = [*TINY, *short, f"trainer={trainer}", "logger.every_n_batches=1"]
    if processes == 2:
        run_in_two(ddp_worker.main, folder, overrides, check=check, **environment)
    else:
        assert ended(forked(ddp_worker.main, folder, overrides)) == 0


def load(path: Path) -> dict[str, torch.Tensor]:
    return dict(read_pickle(path))


def test_ddp_on_two_processes_sees_the_batch_of_one(tmp_path: Path) -> None:
    run_worker(one := tmp_path / "one", 1)
    run_worker(two := tmp_path / "two", 2)
    alone, first, second = load(one / "grad-0.pt"), load(two / "grad-0.pt"), load(two / "grad-1.pt")
    assert_equal(first, second)
    # One ratio of norms over the whole gradient: biases before an instance norm have a gradient of pure rounding.
    gap = torch.cat([(first[name] - alone[name]).flatten() for name in alone]).norm()
    assert gap / torch.cat([gradient.flatten() for gradient in alone.values()]).norm() < 1e-5
    assert_equal(load(two / "end-0.pt"), load(two / "end-1.pt"))
    tables = [rows(folder / "run") for folder in (one, two)]
    assert [row["train/batches"] for row in tables[1]] == ["1", "2", "3", "4"], "logged once"
    for single, double in zip(*tables, strict=True):
        for column in ("train/loss/total", "val/loss/total"):
            assert bool(single[column]) == bool(double[column])
            if single[column]:
                assert float(double[column]) == pytest.approx(float(single[column]), rel=2e-3)
    assert json.loads((two / "run" / "record.json").read_text())["devices"]["count"] == 2


@pytest.mark.slow
def test_a_nan_on_one_process_stops_all_and_is_never_saved(tmp_path: Path) -> None:
    run_worker(tmp_path / "two", 2, check=False, **{ddp_worker.BAD_RANK: "1"})
    record = json.loads((tmp_path / "two" / "run" / "record.json").read_text())
    assert record["status"] == "failed"
    assert "'tv' at batch 3" in record["error"]
    assert newest(tmp_path / "two" / "run")["stylebench"]["batches"] == 2


def test_players_under_ddp_stay_in_step_send_only_their_own_and_draw_as_one_process(tmp_path: Path) -> None:
    run_in_two(ddp_two_players.main, tmp_path)
    first, second = (read_pickle(tmp_path / f"end-{rank}.pt") for rank in (0, 1))
    for game, sent in (
        ("players", [6, 3]),  # 2 x 2 + 2 and 2 + 1 parameters, in turn
        ("styles", [3, 12, 6]),  # the discriminator's 2 + 1, both makers' 2 (2 x 2 + 2), one maker's
    ):
        assert_equal(first[game]["weights"], second[game]["weights"])
        assert first[game]["sent"] == second[game]["sent"] == sent * 3  # three batches
        alone = Method()
        for batch, halves in enumerate(zip(first[game]["drawn"], second[game]["drawn"], strict=True)):
            alone.batches_before = batch
            assert torch.equal(torch.cat(halves), alone.normal(4, 3))


@pytest.mark.slow
def test_a_sweep_runs_the_grid_and_wandb_keeps_its_runs_apart(tmp_path: Path) -> None:
    finish(
        [
            "train",
            "-m",
            *TINY,
            "budget.batches=3",
            "logger=wandb",
            "model.weight_style=1,3",
            "seed=0,1",
            f"run={tmp_path}",
        ],
        WANDB_SILENT="true",
    )
    records = [json.loads((tmp_path / str(job) / "record.json").read_text()) for job in range(4)]
    assert [record["seed"] for record in records] == [0, 1, 0, 1]
    assert {record["status"] for record in records} == {"finished"}
    files = [list((tmp_path / str(job)).rglob("run-*.wandb")) for job in range(4)]
    assert [len(found) for found in files] == [1, 1, 1, 1]
    assert len({found[0].name for found in files}) == 4


@pytest.mark.slow
def test_a_failing_job_does_not_end_the_sweep(tmp_path: Path) -> None:
    process = start(["train", "-m", *TINY, "budget.batches=3", "model.gram_norm=nonsense,relative", f"run={tmp_path}"])
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "nonsense" in output
    assert json.loads((tmp_path / "1" / "record.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_processes_started_apart_need_one_run_folder(tmp_path: Path) -> None:
    process = start(["train", *TINY], TORCHELASTIC_RUN_ID="1", WORLD_SIZE="2", RANK="0", LOCAL_RANK="0")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "run=outputs/" in output


@pytest.mark.slow
def test_torchrun_trains_in_one_folder(tmp_path: Path) -> None:
    launched = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "stylebench",
            "train", *TINY, "budget.batches=3", "dataset.store.count=40", "trainer=ddp_cpu", f"run={tmp_path / 'run'}",
        ],
        capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert launched.returncode == 0, launched.stderr
    assert json.loads((tmp_path / "run" / "record.json").read_text())["devices"]["count"] == 2


@pytest.mark.slow
def test_slurm_tasks_train_in_one_folder(tmp_path: Path) -> None:
    arguments = ["train", *TINY, "budget.batches=3", "dataset.store.count=40", "trainer=ddp_cpu", f"run={tmp_path}"]
    job = {
        "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NODEID": "0", "SLURM_NODELIST": "127.0.0.1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517",
    }  # fmt: skip
    tasks = [start(arguments, **job, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank)) for rank in (0, 1)]
    outputs = [task.communicate(timeout=240)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], outputs
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["status"], record["devices"]["count"]) == ("finished", 2)
