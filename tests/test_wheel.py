"""The wheel: what it carries, and that an installation without the checkout trains."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.tiny import TINY

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def run(*command: str, folder: Path, **environment: str) -> str:
    """Run a command in a folder, without anything that would bring the checkout onto its path."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    done = subprocess.run(
        command, cwd=folder, env={**inherited, "OMP_NUM_THREADS": "1", **environment}, capture_output=True, text=True,
        check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of the files that git knows, away from the checkout and its build leftovers."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source), folder=target)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone, without its dependencies, into a folder."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    run(*pip, str(wheel), folder=target)
    return target


def test_wheel_carries_configs_and_type_marker_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    configs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert {f"stylebench/{name}" for name in configs} <= names
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "stylebench").rglob("*.py")}
    weights = {path.relative_to(ROOT).as_posix() for path in (ROOT / "stylebench").rglob("*.safetensors")}
    assert sources | weights | {"stylebench/py.typed"} <= names
    assert not [name for name in names if "test" in name or name.endswith((".jpg", ".pth", ".ckpt"))]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"stylebench"}


# The checkout is an editable install of the environment: its finder is taken out, and the wheel's folder put first.
WITHOUT_CHECKOUT = """
import sys
root, target = sys.argv[1:3]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in f"{getattr(f, '__module__', '')}{f!r}"]
sys.path[:] = [target, *(p for p in sys.path if p not in ("", root) and "__editable__" not in p)]
import stylebench
assert stylebench.__file__.startswith(target), stylebench.__file__
from stylebench.cli.main import main
for line in sys.argv[3:]:
    sys.argv = ["stylebench", *line.split()]
    main()
assert not [m.__file__ for m in list(sys.modules.values())
            if (getattr(m, "__file__", None) or "").startswith((root + "/stylebench", root + "/conf"))]
"""


def test_installed_wheel_trains_paints_and_lists_from_another_folder(installed: Path, tmp_path: Path) -> None:
    lines = [
        "--help", "train --help", "list models", "list experiments",
        f"train {' '.join(TINY)} budget.batches=2 run=out", "export run=out output=exported",
        "train run=out budget.batches=3",
    ]  # fmt: skip
    environment = {"STYLEBENCH_CACHE": str(tmp_path / "cache")}
    shown = run(
        sys.executable, "-c", WITHOUT_CHECKOUT, str(ROOT), str(installed), *lines, folder=tmp_path, **environment
    )
    assert "fast_transfer" in shown
    assert "quickstart/procstyle" in shown
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert (record["status"], record["batches"], record["commit"]) == ("finished", 3, None)
    assert (tmp_path / "exported" / "model.safetensors").exists()
