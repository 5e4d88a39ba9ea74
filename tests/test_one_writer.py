"""Real processes on one finished run: killed while a continuation starts, and two at once."""

import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.commands.test_continuation import contents
from tests.helpers.runs import record, rows
from tests.helpers.tiny import TINY
from tests.test_processes import finish, start

SHORT = [*TINY, "budget.evaluate_every=50", "logger.every_n_batches=1", "metrics=none"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "R"
    finish(["train", *SHORT, "budget.batches=2", f"run={folder}"])
    return folder


def begun(folder: Path, before: dict[str, bytes]) -> bool:
    """Tell whether a continuation has written anything: the config comes first, or a whole run goes aside before."""
    if any(folder.glob("earlier-*")):
        return True
    return (folder / "config.yaml").read_bytes() != before["config.yaml"]


@pytest.mark.parametrize("mode", ["auto", "restart"])
def test_a_finished_run_survives_kills_while_a_continuation_starts(mode: str, original: Path, tmp_path: Path) -> None:
    before, line = contents(original), ["budget.batches=5000", f"resume={mode}"]
    shutil.copytree(original, tmp_path / "probe")
    process, started = start(["train", f"run={tmp_path / 'probe'}", *line]), time.monotonic()
    while not begun(tmp_path / "probe", before):
        assert process.poll() is None
        time.sleep(0.02)
    seconds = time.monotonic() - started
    process.kill()
    process.communicate()
    dice, survived = random.Random(mode), 0
    folder = Path(shutil.copytree(original, tmp_path / "R"))
    for _ in range(10):
        process = start(["train", f"run={folder}", *line])
        time.sleep(dice.uniform(0.3, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if begun(folder, before):  # its first batch was trained in time
            shutil.rmtree(folder)
            shutil.copytree(original, folder)
            continue
        survived += 1
        left = {name: data for name, data in contents(folder).items() if "partial" not in name}
        assert left == before
    assert survived >= 3
    assert "use it" in finish(["train", f"run={folder}", "budget.batches=4"])
    assert [row["train/batches"] for row in rows(folder)] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("pair", range(10))
def test_of_two_jobs_on_a_finished_run_one_says_who_holds_it(pair: int, original: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(original, tmp_path / "R"))
    processes = [start(["train", f"run={folder}", "budget.batches=100"]) for _ in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 2], outputs
    holder = processes[codes.index(0)].pid
    errors = [line for line in outputs[codes.index(2)].splitlines() if line.startswith("stylebench: error")]
    assert len(errors) == 1
    assert re.search(rf"R is in use by process {holder} on \S+, since 20\S+; wait", errors[0])
    assert [row["train/batches"] for row in rows(folder)] == [str(number) for number in range(1, 101)]
    assert [session["from_batch"] for session in record(folder)["sessions"]] == [0, 2]
    assert not (folder / "earlier-1").exists()


def test_two_new_jobs_of_one_second_keep_their_rows_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [["train", *SHORT, "budget.batches=3", f"seed={seed}"] for seed in (0, 5)]
    processes = [start(line) for line in lines]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    folders = [Path(re.findall(r"^run folder +(\S+)$", output, re.MULTILINE)[0]) for output in outputs]
    assert len({folder.resolve() for folder in folders}) == 2
    assert [record(folder)["seed"] for folder in folders] == [0, 5]
    for folder in folders:
        assert [row["train/batches"] for row in rows(folder)] == ["1", "2", "3"]
