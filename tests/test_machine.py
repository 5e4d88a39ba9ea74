import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stylebench.machine import SPIN_COUNT, WAIT_VARIABLES, core_count, thread_settings
from stylebench.training.callbacks import run_record

ROOT = Path(__file__).resolve().parents[1]
# What a command and the processes that it starts find in the environment, and whether torch was there before.
PROBE = """
import json, multiprocessing, os, subprocess, sys
import stylebench.cli.main
from stylebench.machine import thread_settings

def show(arguments):
    read = "import os; print(os.environ.get('GOMP_SPINCOUNT'))"
    started = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=True).stdout.strip()
    with multiprocessing.get_context("fork").Pool(1) as forked, multiprocessing.get_context("spawn").Pool(1) as spawned:
        workers = [pool.apply(os.getenv, ("GOMP_SPINCOUNT",)) for pool in (forked, spawned)]
    print(json.dumps({"set": thread_settings(), "inherited": [started, *workers], "torch": "torch" in sys.modules}))

stylebench.cli.main.HANDLERS["list"] = show
sys.argv = ["stylebench", *sys.argv[1:]]
stylebench.cli.main.main()
"""


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", *WAIT_VARIABLES)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**bare, **environment},
    )  # fmt: skip


def test_a_command_and_its_processes_spin_briefly_and_torch_comes_later() -> None:
    seen = json.loads(python(PROBE, "list", "models").stdout)
    assert seen == {"set": {"GOMP_SPINCOUNT": SPIN_COUNT}, "inherited": [SPIN_COUNT] * 3, "torch": False}


@pytest.mark.parametrize("name", WAIT_VARIABLES)
def test_what_the_user_set_stays(name: str) -> None:
    assert json.loads(python(PROBE, "list", "models", **{name: "7"}).stdout)["set"] == {name: "7"}


def test_the_library_changes_no_environment() -> None:
    code = (
        "import os; before = dict(os.environ)\n"
        "import stylebench, stylebench.cli.main, stylebench.machine; stylebench.load\n"
        "assert dict(os.environ) == before"
    )
    python(code)


def test_torch_runs_the_tests_with_the_setting() -> None:
    shown = python("import tests.conftest", OMP_DISPLAY_ENV="VERBOSE").stderr
    if "GOMP_" not in shown:
        pytest.skip("this torch has another OpenMP runtime than GNU's")
    assert re.findall(r"GOMP_SPINCOUNT = '(\d+)'", shown) == [SPIN_COUNT]


def test_the_record_names_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", *WAIT_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    assert thread_settings() == {}
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")
    assert run_record.machine()["thread_settings"] == {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "10000"}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to a core")
def test_cores_are_those_that_the_process_may_use() -> None:
    core = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{core}]); from stylebench.machine import core_count; print(core_count())"
    )
    assert python(code).stdout.strip() == "1"
    assert core_count() == len(os.sched_getaffinity(0))
