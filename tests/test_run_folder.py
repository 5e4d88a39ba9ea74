"""The run folder: its names, how its run ended, and the folders of a whole study, read without torch."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stylebench import locks, run_folder
from stylebench.files import DamagedFileError, is_json, write_json
from stylebench.locks import try_lock
from stylebench.run_folder import LOCK, RunFolder, checkpoint_name, find_runs

HOLD = """
import sys, time
from stylebench.run_folder import RunFolder
with RunFolder(sys.argv[1]).held():
    print("held", flush=True)
    time.sleep(600)
"""
HIDDEN = """
import sys
for name in ("torch", "numpy", "hydra", "omegaconf", "pytorch_lightning"):
    sys.modules[name] = None
from stylebench.run_folder import find_runs
for run in find_runs(sys.argv[1]):
    print(run.path.name, run.status, run.config["seed"])
"""


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat(timespec="seconds")


def made(folder: Path, **facts: Any) -> RunFolder:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "record.json", {"status": "running", "updated": ago(days=1), **facts})
    return RunFolder(folder)


def test_checkpoints_are_ordered_by_their_number(tmp_path: Path) -> None:
    assert checkpoint_name(30) == "batch-000000030.ckpt"
    names = [checkpoint_name(batches) for batches in (999_999_999, 30, 1_000_000_000)]
    (tmp_path / "checkpoints").mkdir()
    for name in (*names, "batch-12.ckpt", "batch-000000040.ckpt.partial", "last.ckpt"):
        (tmp_path / "checkpoints" / name).touch()
    found = RunFolder(tmp_path).checkpoints()
    assert [path.name for path in found] == [names[2], names[0], names[1]]  # by text, 1000000000 would come last
    assert RunFolder(tmp_path / "nowhere").checkpoints() == []


def test_the_config_is_read_from_the_record_else_from_its_own_file(tmp_path: Path) -> None:
    run = made(tmp_path / "old")
    (run.path / "config.yaml").write_text("seed: 3\nmodel:\n  width: 1.0e-3\n")
    assert run.config == {"seed": 3, "model": {"width": 0.001}}
    assert made(tmp_path / "old", config={"seed": 4}).config == {"seed": 4}
    for text in ("- 1", "a: [", "!!python/object/apply:os.system [true]"):
        (made(tmp_path / "old").path / "config.yaml").write_text(text)
        with pytest.raises(DamagedFileError, match=r"config\.yaml is damaged"):
            _ = RunFolder(tmp_path / "old").config
    with pytest.raises(FileNotFoundError):
        _ = RunFolder(tmp_path / "nowhere").config


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(DamagedFileError, match=r"record\.json is damaged"):
        _ = RunFolder(tmp_path).status


@pytest.mark.parametrize(
    ("heartbeat", "seconds", "status"),
    [
        (60.0, 120, "running"),
        (60.0, 181, "killed"),
        (60.0, -(10**7), "running"),  # another clock: a time to come counts as now
        ("unknown", 2 * 3600, "running"),  # an older record tells at checkpoints alone that it is alive
        ("unknown", 3 * 3600 + 1, "killed"),
        (None, 0, "killed"),
    ],
)
def test_killed_is_told_by_the_last_sign_of_life(tmp_path: Path, heartbeat: Any, seconds: int, status: str) -> None:
    known = {} if heartbeat == "unknown" else {"heartbeat_seconds": heartbeat}
    assert made(tmp_path, updated=ago(seconds=seconds), **known).status == status


@pytest.mark.parametrize("updated", [None, "yesterday", "2999-01-01T00:00:00", 3])
def test_a_time_that_is_none_is_no_sign_of_life(tmp_path: Path, updated: Any) -> None:
    assert made(tmp_path, updated=updated).status == "killed"


@pytest.mark.parametrize("status", ["finished", "stopped", "failed"])
def test_an_end_that_is_recorded_stays(tmp_path: Path, status: str) -> None:
    assert made(tmp_path, status=status).status == status


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock of a run whose heartbeat is old."""
    made(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_run_is_killed_once_its_process_is(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    assert RunFolder(tmp_path).status == "running"
    holder.kill()
    holder.wait()
    assert RunFolder(tmp_path).status == "killed"


def test_where_files_have_no_locks_the_process_is_asked_for(
    tmp_path: Path, holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "try_lock", lambda descriptor, exclusive: None)
    assert RunFolder(tmp_path).status == "running"
    monkeypatch.setattr(locks.socket, "gethostname", lambda: "another")
    assert RunFolder(tmp_path).status == "killed"  # of a process on another host nothing is known
    monkeypatch.undo()
    monkeypatch.setattr(locks, "try_lock", lambda descriptor, exclusive: None)
    holder.kill()
    holder.wait()
    assert RunFolder(tmp_path).status == "killed"
    with RunFolder(tmp_path).held():
        assert RunFolder(tmp_path).status == "running"
    assert RunFolder(tmp_path).status == "killed"


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"host": 3, "process": "x"}'])
def test_a_lock_file_that_names_nobody_holds_nothing(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "try_lock", lambda descriptor, exclusive: None)
    run = made(tmp_path)
    (tmp_path / LOCK).write_text(text)
    assert run.status == "killed"


def test_asking_for_the_status_does_not_take_the_lock_away_from_a_run_that_starts(tmp_path: Path) -> None:
    run = made(tmp_path)
    (tmp_path / LOCK).touch()
    asking = (tmp_path / LOCK).open()
    assert try_lock(asking.fileno(), exclusive=False)
    tries = []

    def locked(descriptor: int, *, exclusive: bool) -> bool | None:
        tries.append(found := try_lock(descriptor, exclusive=exclusive))
        asking.close()  # the answer is there
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "try_lock", locked)
        with run.held():
            assert tries == [False, True]
            patch.undo()
            assert RunFolder(tmp_path).status == "running"


def test_runs_are_found_as_a_stream_and_not_inside_each_other(tmp_path: Path) -> None:
    for name in ("b/1", "b/0", "a", "a/earlier-1", ".hidden/run"):
        made(tmp_path / name, status="finished")
    (tmp_path / "c" / "record.json.d").mkdir(parents=True)
    (tmp_path / "note.txt").touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    stream = find_runs(tmp_path)
    assert next(stream).path == tmp_path / "a"
    made(tmp_path / "b" / "2", status="finished")  # the rest has not been looked at yet
    assert [run.path.relative_to(tmp_path).as_posix() for run in stream] == ["b/0", "b/1", "b/2"]
    assert [run.path for run in find_runs(tmp_path / "a")] == [tmp_path / "a"]
    assert list(find_runs(tmp_path / "nowhere")) == []


def test_a_folder_that_cannot_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b/run", "c"):
        made(tmp_path / name)
    scandir = os.scandir

    def refused(path: Any) -> Any:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(run_folder.os, "scandir", refused)
    assert [run.path.name for run in find_runs(tmp_path)] == ["a", "c"]


def test_runs_are_read_where_torch_is_missing(tmp_path: Path) -> None:
    made(tmp_path / "old", status="finished")
    (tmp_path / "old" / "config.yaml").write_text("seed: 3\n")
    made(tmp_path / "dead", config={"seed": 4})
    command = [sys.executable, "-c", HIDDEN, str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == ["dead killed 4", "old finished 3"]


def test_a_status_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        made(tmp_path / f"{number:02d}", status="finished", config={"seed": number})
    read: list[str] = []
    original = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **how: read.append(path.name) or original(path, **how))
    assert [(run.status, run.config["seed"]) for run in find_runs(tmp_path)] == [
        ("finished", number) for number in range(50)
    ]
    assert read == ["record.json"] * 50


def test_the_record_of_a_run_does_not_name_the_host(tmp_path: Path) -> None:
    run = made(tmp_path)
    with run.held():
        assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()
    assert (tmp_path / LOCK).read_text() == ""


def entry(value: float | None, alias: str = "fd", **details: Any) -> dict[str, Any]:
    return {"value": value, "alias": alias, "shown": "dashboard", **details}


def test_an_evaluation_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = made(tmp_path, metrics={"val-ema": {"fd/n2": entry(1.0)}, "test-ema": {"fd/n2": entry(2.0)}})
    judge = {"name": "judge-1234", "digest": "1234", "width": 8}
    entries = {
        "fd/n2": entry(3.0, network=judge, batches=4), "kd/n2": entry(4.0, network=judge, batches=4),
        "pd/n2": entry(None, network="judge-1234", batches=4),
    }  # fmt: skip
    run.write_evaluation("val-ema", entries, [{"index": 0}], {"batches": 4})
    assert run.sets() == ["test-ema", "val-ema"]
    assert run.values("val-ema") == entries  # and no longer what the older record says
    assert run.values("test-ema") == {"fd/n2": entry(2.0)}
    written = json.loads((tmp_path / "evaluation" / "val-ema" / "values.json").read_text())
    assert written["networks"] == {"judge-1234": judge}
    assert written["entries"]["kd/n2"]["network"] == {"name": "judge-1234"}
    with pytest.raises(FileNotFoundError, match=r"no evaluation 'val'; there are: test-ema, val-ema"):
        run.values("val")


def test_rows_come_back_to_the_last_bit(tmp_path: Path) -> None:
    run = made(tmp_path)
    rows = [
        {"index": 0, "content_id": 'a, "b"\nc', "style_id": "", "seed": 7, "psnr/n2": np.float64(0.1) + 0.2},
        {"index": 1, "content_id": "\u00e9", "style_id": "s", "seed": 7, "psnr/n2": float("nan"), "ssim/n1": 1e-300},
    ]
    run.write_evaluation("test-raw", {}, rows, {})
    assert run.rows("test-raw") == [
        {"index": "0", "content_id": 'a, "b"\nc', "style_id": "", "seed": "7", "psnr/n2": 0.1 + 0.2, "ssim/n1": None},
        {"index": "1", "content_id": "\u00e9", "style_id": "s", "seed": "7", "psnr/n2": None, "ssim/n1": 1e-300},
    ]
    (tmp_path / "evaluation" / "test-raw" / "rows.csv").write_text("index,content_id,style_id,seed\n")
    with pytest.raises(DamagedFileError, match=r"rows\.csv was not written with the values\.json"):
        run.rows("test-raw")  # such as after a stop between the two files
    with pytest.raises(FileNotFoundError):
        run.rows("val-raw")


@pytest.mark.parametrize("value", ["/data/a.png", "../../../up", "x" * 300, "a\0b", "50%", "\u00e9" * 80])
def test_a_control_with_any_text_names_a_set_of_one_folder(tmp_path: Path, value: str) -> None:
    run = made(tmp_path)
    folder = run.write_evaluation(f"test-ema-style={value}", {"fd/n2": entry(1.0)}, [], {})
    assert folder.parent == tmp_path / "evaluation"
    assert run.sets() == [f"test-ema-style={value}"]
    assert run.values(f"test-ema-style={value}") == {"fd/n2": entry(1.0)}


def test_plain_names_are_folders_as_they_are(tmp_path: Path) -> None:
    for name in ("val-ema-photo-to-oil_noise", "test-ema-direction=b_to_a"):
        assert RunFolder(tmp_path).set_folder(name).name == name


def test_final_takes_evaluations_of_the_last_weights(tmp_path: Path) -> None:
    run = made(tmp_path, status="finished", batches=10, final={"val/fd": 1.0, "val/loss": 9.0})
    run.write_means("test", "ema", 5, {"test/fd": 2.0})  # of an earlier checkpoint
    assert run.final() == {"val/fd": 1.0, "val/loss": 9.0}
    run.write_means("test", "ema", 10, {"test/fd": 3.0})
    run.write_means("val", "raw", 10, {"val/fd": 4.0})
    run.write_means("val", "ema", 10, {"val/fd": 5.0})
    assert run.final() == {"val/fd": 5.0, "val/loss": 9.0, "test/fd": 3.0}


def test_the_manifest_lists_the_images_of_these_weights(tmp_path: Path) -> None:
    run = made(tmp_path)
    path = run.set_folder("test-ema") / "manifest.json"
    images = {"000000.png": {"content": "a", "style": None}}
    run.write_evaluation("test-ema", {}, [], {"batches": 4}, images)
    assert json.loads(path.read_text()) == {"batches": 4, "images": images}
    run.write_evaluation("test-ema", {}, [], {"batches": 4})  # again, without saving them
    assert json.loads(path.read_text()) == {"batches": 4, "images": images}
    run.write_evaluation("test-ema", {}, [], {"batches": 5})
    assert json.loads(path.read_text()) == {"batches": 5, "images": {}}


def test_a_listing_with_final_values_reads_two_files_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        run = made(tmp_path / f"{number:02d}", status="finished", batches=4, final={"val/fd": 1.0})
        run.write_evaluation("test-ema", {"fd/n2": entry(2.0)}, [{"index": 0}], {})
        run.write_means("test", "ema", 4, {"test/fd": float(number)})
    read: list[str] = []
    original = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **how: read.append(path.name) or original(path, **how))
    assert [(run.status, run.final()["test/fd"]) for run in find_runs(tmp_path)] == [
        ("finished", float(number)) for number in range(50)
    ]
    assert read == ["record.json", "means-test-ema.json"] * 50


def test_what_json_cannot_hold_is_told(tmp_path: Path) -> None:
    assert is_json({"a": [1, 0.5, "x", None, True], "b": {}})
    assert not is_json({"a": [float("inf")]})  # a config with it stands in config.yaml alone
    assert not is_json({"a": tmp_path})
