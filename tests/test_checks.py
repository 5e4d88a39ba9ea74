"""What a setting may be, and what is said where it is something else."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stylebench.checks import (
    UsageError,
    check_choice,
    check_number,
    check_optional_whole,
    check_switch,
    check_whole,
    closest,
    nearest_multiples,
    read_name,
    read_path,
    read_paths,
)


@pytest.mark.parametrize(("value", "least"), [(1, 1), (7, 1), (0, 0), (-2, -3)])
def test_whole_numbers_in_range_are_returned(value: int, least: int) -> None:
    assert check_whole("layers", value, least) == value
    assert check_optional_whole("layers", value, least) == value


@pytest.mark.parametrize("value", ["x", 0, -1, 1.0, math.nan, True, False, [1]])
def test_other_values_are_no_whole_number(value: Any) -> None:
    with pytest.raises(ValueError, match="layers must be a whole number of at least 1, got") as caught:
        check_whole("layers", value)
    assert str(caught.value).endswith(f"got {value!r}")
    with pytest.raises(ValueError, match="or null, got"):
        check_optional_whole("layers", value)


def test_a_whole_number_may_be_left_out_only_where_it_is_optional() -> None:
    assert check_optional_whole("tile_px", None) is None
    with pytest.raises(ValueError, match="tile_px must be a whole number of at least 1, got None"):
        check_whole("tile_px", None)


@pytest.mark.parametrize("value", [0, 0.0, 2, 1e-9, 1e300])
def test_numbers_in_range_are_returned(value: float) -> None:
    assert check_number("weight", value) == value


@pytest.mark.parametrize("value", [-1e-9, math.inf, math.nan, True, "1", None])
def test_other_values_are_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"weight must be a finite number of at least 0, got") as caught:
        check_number("weight", value)
    assert str(caught.value).endswith(f"got {value!r}")


@pytest.mark.parametrize("value", [-0.1, 1.1, math.inf, math.nan])
def test_numbers_beyond_a_range_are_refused(value: float) -> None:
    assert (check_number("share", 0, 0, 1), check_number("share", 1.0, 0, 1)) == (0, 1)
    with pytest.raises(ValueError, match=r"share must be a number in \[0, 1\]"):
        check_number("share", value, 0, 1)


def test_one_of_several_values_is_returned() -> None:
    assert check_choice("norm", "batch", ("batch", "instance")) == "batch"
    assert check_choice("depth", 16, {16: "a", 19: "b"}) == 16
    assert check_choice("skip", True, (True, False)) is True


@pytest.mark.parametrize("value", ["Batch", None, 1, ["batch"]])
def test_other_values_are_none_of_the_choices(value: Any) -> None:
    with pytest.raises(ValueError, match="norm must be one of batch, instance, got") as caught:
        check_choice("norm", value, ("batch", "instance"))
    assert str(caught.value).endswith(f"got {value!r}")


def test_a_switch_is_no_number() -> None:
    with pytest.raises(ValueError, match="factor must be one of 1, 2, 4, got True"):
        check_choice("factor", True, (1, 2, 4))
    assert check_switch("packed", False) is False
    for value in (0, 1, "true", None):
        with pytest.raises(ValueError, match="packed must be true or false"):
            check_switch("packed", value)


@pytest.mark.parametrize(("number", "of", "expected"), [(13, 4, "12 or 16"), (3, 8, "8"), (255, 256, "256")])
def test_the_multiples_around_a_number(number: int, of: int, expected: str) -> None:
    assert nearest_multiples(number, of) == expected


def test_the_word_that_was_meant() -> None:
    assert closest("lenght", ["width", "length"]) == " (did you mean 'length'?)"
    assert closest("xyz", ["width"]) == ""


def test_checks_need_no_torch() -> None:
    code = "import sys, stylebench.checks; raise SystemExit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a b/c", "a b/c"),
        ("'a b'", "a b"),
        ('"a"', "a"),
        ("'", "'"),
        (2020, "2020"),
        (Path("a"), "a"),
        ("prior@x", "prior@x"),
    ],
)
def test_names_are_read_as_they_are_meant(value: Any, expected: str) -> None:
    assert read_name("input", value) == expected


@pytest.mark.parametrize("value", [True, 0.5, {}, {"a": 1}, [], ["a"], ["a", "b"], "", "  ", "''", None])
def test_what_names_nothing_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"^input takes "):
        read_name("input", value)


def test_home_folders_and_lists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    assert read_path("input", "~/a/") == "/home/me/a/"
    assert read_paths("style", ["~/a", "b"]) == ["/home/me/a", "b"]
    assert (read_paths("style", None), read_paths("style", []), read_paths("style", "c")) == ([], [], ["c"])
    with pytest.raises(UsageError, match=r"^style\[1\] takes a path"):
        read_paths("style", ["a", True])
    with pytest.raises(UsageError, match=r"^input=~nobody-here/a"):
        read_path("input", "~nobody-here/a")
    (tmp_path / "~nobody-here").mkdir()
    assert read_path("input", "~nobody-here") == "~nobody-here"
