"""Runs and exports that commit 77a0089 wrote: they load, stylize, evaluate and go on to the numbers of then.

On the machine that wrote them (`runs/made_with.json`: libraries and processor) every number is the same bit for bit.
Elsewhere convolutions add in another order. What that changes was measured with kernels for another processor
(ATEN_CPU_CAPABILITY=default, ONEDNN_MAX_CPU_ISA=SSE41): no pixel; values and columns by 7e-4 of themselves, and by 0.03
where a picture was optimized; the weights by 0.03 of two batches' update. An optimizer that has lost its moments puts
the weights off by 0.7 to 1.7 of it. Biases are left out there: before a norm their gradient is rounding alone.
"""

import json
import logging
import math
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import stylebench
from stylebench.cli.main import main
from stylebench.shipped import options
from tests.frozen import cases, findings, renamed
from tests.frozen.make_fixtures import LARGEST_BYTES, MADE_WITH, RUNS, rounding, weights_of

PICTURE_LEVELS = 3  # by which a pixel may differ elsewhere, of 255
VALUES_SHARE = 0.005  # by which a value or column may differ elsewhere, relative to itself
OPTIMIZED_SHARE = 0.15  # the same where a picture was optimized: L-BFGS chooses its steps by what it saw before
UPDATE_SHARE = 0.2  # of the norm of two batches' update that the weights may differ by elsewhere
GONE = pytest.mark.skip("the method was removed since")
# Averages of weights have statistics of batch norm of their own now, where they had those of the last batch.
WITH_BATCH_NORM = ("super_resolution",)
OWN_STATISTICS = re.compile(r"stylebench\.ema\..*\.(running_mean|running_var|num_batches_tracked)")
EVERY = pytest.mark.parametrize(
    "method", [pytest.param(name, marks=() if name in options("model") else GONE) for name in cases.CASES]
)
LAST, LONGER = f"batch-{cases.FIXTURE_BATCHES:09d}.ckpt", f"batch-{cases.FIXTURE_LONGER:09d}.ckpt"
Command = Callable[[list[str]], None]


@pytest.fixture(scope="module")
def exact() -> bool:
    """Tell whether this machine rounds as the one that wrote the runs."""
    made_with = json.loads(MADE_WITH.read_text(encoding="utf-8"))
    return {"commit": made_with["commit"], **rounding()} == made_with


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute on one thread, as the old code did: two add in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Return a function that runs a command line in a folder with the pictures of the old runs."""
    cases.draw_data(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    before = list(logging.getLogger().handlers)

    def call(words: list[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["stylebench", *words])
        main()

    yield call
    for handler in set(logging.getLogger().handlers) - set(before):  # Hydra's, with files of this test
        logging.getLogger().removeHandler(handler)
        handler.close()


def assert_near(method: str, old: findings.Findings, new: findings.Findings, exact: bool) -> None:
    """Check that both have the same names, and values that are the same but for rounding."""
    if exact:
        assert findings.differences(old, new) == []
        return
    share = OPTIMIZED_SHARE if cases.CASES[method].untrained else VALUES_SHARE
    numbers, others = _numbers_apart(old)
    new_numbers, new_others = _numbers_apart(new)
    assert new_others == others
    assert new_numbers == pytest.approx(numbers, rel=share, abs=1e-6)


def _numbers_apart(found: findings.Findings) -> tuple[dict[str, float], findings.Findings]:
    numbers = {name: value for name, value in found.items() if isinstance(value, float)}
    return numbers, {name: value for name, value in found.items() if name not in numbers}


@EVERY
def test_an_old_run_and_its_export_make_the_same_picture(
    method: str, run_command: Command, tmp_path: Path, exact: bool
) -> None:
    shutil.copytree(RUNS / method, tmp_path / "old")
    expected = findings.read_picture(RUNS / method / "stylized.png").int()
    for source in ("run", "export"):
        words = cases.stylize_command(method, f"old/{source}", f"{source}.png")
        run_command(renamed.translate_command(words, method))
        away = (findings.read_picture(tmp_path / f"{source}.png").int() - expected).abs().max()
        assert away <= (0 if exact else PICTURE_LEVELS)
    loaded = [stylebench.load(tmp_path / "old" / source).state_dict() for source in ("run", "export")]
    assert findings.differences(*loaded) == []


@EVERY
def test_an_old_run_has_the_same_values(method: str, run_command: Command, tmp_path: Path, exact: bool) -> None:
    shutil.copytree(RUNS / method / "run", tmp_path / "runs" / method)
    words = cases.evaluate_command(method, "values.json", "smoke")
    run_command(renamed.translate_command(words, method))
    expected = findings.value_findings(RUNS / method / "values.json", method)
    assert_near(method, expected, findings.value_findings(tmp_path / "values.json"), exact)


@EVERY
@pytest.mark.parametrize("words", ["of the record", pytest.param("typed", marks=pytest.mark.slow)])
def test_an_old_run_goes_on_to_the_same_weights(
    method: str, words: str, run_command: Command, tmp_path: Path, exact: bool
) -> None:
    """`resume=must`: a run that started over would come to the same weights."""
    run = tmp_path / ("runs" if words == "typed" else "resumed") / method
    shutil.copytree(RUNS / method / "run", run)
    longer = [f"budget.batches={cases.FIXTURE_LONGER}", "resume=must"]
    if words == "typed":
        typed = cases.merged(cases.train_command(method, compared=False)[1:], longer)
        run_command(renamed.translate_command(["train", *typed], method))
    else:
        run_command(cases.resume_command(method, *longer))
    found = weights_of(run / "checkpoints" / LONGER)
    stored = load_file(RUNS / method / "resumed.safetensors")
    expected = {renamed.translate(name, renamed.CHECKPOINT, method): value for name, value in stored.items()}
    before = weights_of(RUNS / method / "run" / "checkpoints" / LAST, method)
    assert found.keys() == expected.keys() == before.keys()
    for name in [name for name in expected if OWN_STATISTICS.fullmatch(name)]:
        del found[name], expected[name], before[name]
    if exact:
        assert findings.differences(expected, found) == []
    else:
        assert distance(found, expected) <= UPDATE_SHARE * distance(expected, before)
    columns = findings.read_columns(RUNS / method / "resumed.csv")
    old = {renamed.translate(name, renamed.COLUMNS, method, "/"): cells for name, cells in columns.items()}
    new = findings.read_columns(run / "metrics.csv")
    assert old.keys() == new.keys()
    scored_otherwise = [name for name in new if name.startswith("val/") and method in WITH_BATCH_NORM]
    for name in scored_otherwise:
        del old[name], new[name]
    assert_near(method, by_cell(old), by_cell(new), exact)


def distance(these: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    """Return the Euclidean distance of two sets of weights, over kernels and matrices."""
    kernels = [name for name, value in these.items() if name.endswith(".weight") and value.ndim > 1]
    return math.sqrt(sum(float((these[name].double() - others[name].double()).square().sum()) for name in kernels))


def by_cell(columns: dict[str, list[str]]) -> findings.Findings:
    """Return the cells of columns by name and row, as numbers."""
    return {
        f"{name}, row {row}": float(cell) if cell else None
        for name, cells in columns.items()
        for row, cell in enumerate(cells)
    }


def test_the_kept_runs_are_small_and_name_no_machine() -> None:
    files = [path for path in RUNS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LARGEST_BYTES
    for path in files:
        content = path.read_bytes()
        assert not [folder for folder in (b"/tmp", b"/home", b"/root", b"/work", b"/Users") if folder in content], path
