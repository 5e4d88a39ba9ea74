"""What a finished run says of itself: how short it was, and whether untouched contents do better."""

from pathlib import Path
from typing import Any

import pytest

from stylebench.commands.outlook import against_untouched, of_short_run
from stylebench.files import write_json
from tests.cli.test_main import Run, run  # noqa: F401 (a fixture)
from tests.helpers.runs import record
from tests.helpers.tiny import TINY

PSNR, FD, KD = "val/psnr", "val/fd_x", "val/kd_x"
RECORD: dict[str, Any] = {
    "untouched": {
        PSNR: {"value": 20.0, "larger_is_better": True},
        FD: {"value": 3.0, "larger_is_better": False},
        KD: {"value": 0.5, "larger_is_better": False},
    }
}


def config(batches: int, **model: Any) -> dict[str, Any]:
    return {"budget": {"batches": batches}, "model": model}


def test_a_tenth_of_the_plan_is_short_and_says_how_to_go_on() -> None:
    said = of_short_run(config(200), 200, "run=R", 40_000)
    assert said is not None
    assert said.startswith("200 of 40,000 batches")
    assert said.endswith("stylebench train run=R budget.batches=40000")
    assert of_short_run(config(4000), 4000, "run=R", 40_000) is not None
    assert of_short_run(config(4001), 4001, "run=R", 40_000) is None
    assert of_short_run(config(200), 40_000, "run=R", 40_000) is None  # asked for less than the run has
    ends = of_short_run(config(200, schedule={"batches": 200}), 200, "run=R", 40_000)  # its learning rate is 0 by now
    assert ends is not None
    assert "run=R" not in ends


@pytest.mark.parametrize(
    ("metrics", "named"),
    [
        ({PSNR: 19.0, FD: 4.0, KD: 0.4}, ["psnr", "fd_x"]),
        ({PSNR: 20.0, FD: 3.0, KD: 0.5}, ["psnr", "fd_x", "kd_x"]),  # the contents, given back
        ({PSNR: 19.0}, ["psnr"]),
        ({PSNR: 21.0, FD: 4.0, KD: 0.4}, []),
        ({PSNR: 21.0, FD: 4.0}, []),  # as many say this as that
        ({"val/loss/total": 1.0}, []),
    ],
)
def test_most_metrics_decide_whether_untouched_contents_do_better(metrics: dict[str, float], named: list[str]) -> None:
    said = against_untouched(metrics, RECORD)
    assert [name for name in ("psnr", "fd_x", "kd_x") if name in (said or "")] == named


def test_a_record_of_an_earlier_version_says_nothing() -> None:
    assert against_untouched({PSNR: 1.0}, {}) is None


def test_the_summary_of_a_run_names_its_length_and_ends_as_the_values_say(run: Run) -> None:  # noqa: F811
    line = [*TINY, "metrics=track", "metrics.num_images=2", "dataset.size_px=48", "budget.batches=1", "run=R"]
    shown = run("train", *line)
    assert shown.code == 0, shown
    assert "short run   1 of 40,000 batches" in shown.out
    final, kept = record(Path("R"))["final"], record(Path("R"))["untouched"]
    assert "val/style_compact_judge" in final.keys() & kept.keys()
    for gain, ends in ((1, "use it "), (-1, "not yet")):
        for key, entry in kept.items():
            entry["value"] = final[key] - (gain if entry["larger_is_better"] else -gain)
        write_json(Path("R/record.json"), {**record(Path("R")), "untouched": kept})
        again = run("train", "run=R")  # it has its batches: nothing is measured again
        assert again.out.splitlines()[-1].startswith(ends)
        assert "short run   1 of" in again.out
