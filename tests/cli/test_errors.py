"""Which errors are worded for the user, and how."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stylebench.checks import UsageError, closest
from stylebench.cli.errors import explain, is_expected, is_usage
from stylebench.commands.stylize.pictures import choose_device


def caught(work: Callable[[], Any]) -> BaseException:
    try:
        work()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize("error", [ValueError("bad"), FileNotFoundError("no file"), FloatingPointError("NaN")])
def test_errors_about_input_are_for_the_user(error: Exception) -> None:
    assert is_expected(error)
    assert not is_usage(error)
    assert explain(error) == str(error)


@pytest.mark.parametrize(
    "error", [KeyError("x"), RuntimeError("x"), TypeError("x"), NotImplementedError(), IndexError()]
)
def test_faults_of_the_program_keep_their_traceback(error: Exception) -> None:
    assert not is_expected(caught(raising(error)))


def test_what_this_package_raises_itself_is_for_the_user() -> None:
    assert is_expected(caught(lambda: choose_device("cuda:99")))


def test_a_full_disk_is_recognized_behind_what_torch_makes_of_it() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    outer = RuntimeError("PytorchStreamWriter failed writing file data/0")
    outer.__context__ = full
    assert is_expected(outer)
    assert "no space left on the disk" in explain(outer)
    assert "run=" in explain(full)


def test_an_error_that_leads_back_to_itself_ends() -> None:
    inner, outer = RuntimeError("inner"), RuntimeError("outer")
    inner.__context__, outer.__cause__ = outer, inner
    assert not is_expected(inner)


def test_a_missing_package_says_how_to_install_it() -> None:
    assert is_expected(ModuleNotFoundError("Requirement 'wandb' not met. HINT: Try running `pip install -U wandb`"))
    assert not is_expected(ModuleNotFoundError("No module named 'stylebench.nonsense'"))


def test_memory_names_the_keys_that_need_less() -> None:
    assert "dataset.batch_size" in explain(MemoryError("out of memory."))


def test_os_errors_read_as_text() -> None:
    error = caught(Path("/nonexistent/file").read_bytes)
    assert explain(error) == "No such file or directory: /nonexistent/file"


def test_closest_suggests_or_stays_silent() -> None:
    assert closest("modle", ["model", "trainer"]) == " (did you mean 'model'?)"
    assert closest("xyz", ["model", "trainer"]) == ""


def test_usage_errors() -> None:
    assert is_usage(UsageError("x"))
    assert is_expected(UsageError("x"))
