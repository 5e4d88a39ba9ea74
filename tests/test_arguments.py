"""The typed words before Hydra reads them."""

import pytest

from stylebench.arguments import before_overrides, expand_experiment
from stylebench.help import experiments


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        (["a=1", "b=2"], ["x=0", "a=1", "b=2"]),
        (["-m", "a=1,2"], ["-m", "x=0", "a=1,2"]),
        (["--cfg", "job", "a=1"], ["--cfg", "job", "x=0", "a=1"]),
        (["--multirun"], ["--multirun", "x=0"]),
        ([], ["x=0"]),
    ],
)
def test_added_overrides_stand_behind_flags_and_before_typed_ones(typed: list[str], whole: list[str]) -> None:
    assert before_overrides(["x=0"], typed) == whole


def test_an_experiment_of_a_sweep_stands_behind_the_flag() -> None:
    name = next(iter(experiments()))
    expanded = expand_experiment(["-m", f"experiment={name}", "seed=0,1"])
    assert expanded[0] == "-m"
    assert expanded[-1] == "seed=0,1"
    assert f"experiment={name}" not in expanded
