"""One folder, one writer: jobs of one second, two jobs on one folder, and one reading of `run=`."""

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from stylebench import locks
from stylebench.checks import UsageError
from stylebench.cli.arguments import given_run
from stylebench.cli.folders import OwnFolder, RunLog
from stylebench.commands.train import train
from stylebench.run_folder import LOCK, RunFolder
from tests.cli.test_main import Run, message, run  # noqa: F401 (a fixture)
from tests.helpers.runs import record
from tests.helpers.tiny import TINY

SHORT = ["budget.batches=1", "budget.evaluate_every=1", "metrics=none", "ema=null"]


def test_two_jobs_of_one_second_get_folders_of_their_own(
    run: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Clock:
        now = staticmethod(lambda: datetime(2026, 11, 20, 10, 0, 0))

    monkeypatch.setattr("hydra.core.utils.datetime", Clock)
    for seed in (0, 5):
        assert run("train", *TINY, *SHORT, f"seed={seed}").code == 0
    folders = sorted((tmp_path / "outputs" / "fast_transfer").iterdir())
    assert [folder.name for folder in folders] == ["2026-11-20_10-00-00", "2026-11-20_10-00-00-2"]
    assert [record(folder)["seed"] for folder in folders] == [0, 5]
    assert record(folders[1])["config"]["run"] == "outputs/fast_transfer/2026-11-20_10-00-00-2"


def test_a_sweep_gets_a_folder_of_its_own_and_holds_it(run: Run, tmp_path: Path) -> None:  # noqa: F811
    with RunFolder(tmp_path / "s").held():
        shown = run("train", "-m", *TINY, *SHORT, "seed=0,1", "run=s")
    assert "s is in use by process " in message(shown)
    assert not (tmp_path / "s").exists()
    assert run("train", "-m", *TINY, *SHORT, "seed=0,1", "run=s").code == 0
    assert [record(tmp_path / "s" / job)["seed"] for job in "01"] == [0, 1]
    with RunFolder(tmp_path / "s").held():
        pass  # it was let go


@pytest.mark.parametrize(("given", "folder"), [("'q,2'", "q,2"), ('"a (1)"', "a (1)"), ("5", "5")])
def test_run_is_read_in_one_way(run: Run, given: str, folder: str, tmp_path: Path) -> None:  # noqa: F811
    assert given_run(["seed=1", f"run={given}"]) == folder
    if folder == "q,2":
        assert run("train", *TINY, *SHORT, f"run={given}").code == 0
        assert run("train", f"run={given}", "budget.batches=2").code == 0
        assert record(tmp_path / folder)["batches"] == 2
        assert not (tmp_path / folder / "earlier-1").exists()


def test_the_second_job_on_a_folder_says_who_holds_it_and_changes_nothing(
    tiny_config: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    import os
    import socket

    folder = tmp_path / "r"
    with RunFolder(folder).held():
        before = {path: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(UsageError, match=rf"in use by process {os.getpid()} on {socket.gethostname()}, since 20"):
            train(tiny_config(), folder, [])
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert not folder.exists()


def test_a_lock_whose_file_was_removed_is_taken_anew(tmp_path: Path) -> None:
    """The first holder removes an empty folder's lock as it goes; the second must not lock what is gone."""
    path, gone, held = tmp_path / LOCK, threading.Event(), threading.Event()

    def first() -> None:
        with locks.held(path):
            held.set()
            gone.wait(5)
            path.unlink()

    thread = threading.Thread(target=first)
    thread.start()
    held.wait(5)
    threading.Timer(0.1, gone.set).start()
    with locks.held(path):
        assert locks.is_held(path)
    thread.join()


def test_a_forked_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    import multiprocessing

    with locks.held(tmp_path / LOCK):
        worker = multiprocessing.get_context("fork").Process(target=threading.Event().wait, args=(20,))
        worker.start()
    try:
        with locks.held(tmp_path / LOCK):  # though the worker lives on
            assert worker.is_alive()
    finally:
        worker.kill()
        worker.join()


def test_the_log_is_written_from_the_beginning_of_the_run(tmp_path: Path) -> None:
    import logging

    path = tmp_path / "train.log"
    with RunLog(path).attached() as log:
        logging.getLogger("a").warning("before")
        assert not path.exists()
        log.begin()
        logging.getLogger("a").warning("after")
        assert path.read_text() == "WARNING: before\nWARNING: after\n"
    with RunLog(path).attached():
        logging.getLogger("a").warning("of a start that failed")
    assert path.read_text() == "WARNING: before\nWARNING: after\n"
    assert OwnFolder  # named by conf/train.yaml
