"""What is concluded from measured threads: which samples count, the medians, the choice."""

import json
import time
from pathlib import Path

import pytest

from experiments.threads.measure import (
    busy_seconds,
    choose,
    environment,
    medians,
    others_share,
    own_seconds,
    read,
    table,
)


def row(variant: str, situation: str, rate: float, others: float = 0.0, kind: str = "network") -> dict[str, object]:
    return {"kind": kind, "variant": variant, "situation": situation, "steps_per_second": rate, "others": others}


def test_others_have_what_is_not_ours() -> None:
    assert others_share(busy=5, own=4, seconds=2, cores=2) == 0.25  # one second of four
    assert others_share(busy=3.9, own=4, seconds=2, cores=2) == 0  # counters tick


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the counters are those of Linux")
def test_own_work_is_counted_as_own() -> None:
    own, busy = own_seconds(), busy_seconds()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    assert own_seconds() - own == pytest.approx(0.3, abs=0.05)
    assert busy_seconds() - busy >= 0.25  # ticks of 0.01 s


def test_settings_replace_those_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    found = environment({"GOMP_SPINCOUNT": "10000"})
    assert {name: found[name] for name in found if name.startswith(("OMP_", "GOMP_"))} == {
        "OMP_NUM_THREADS": "2",
        "GOMP_SPINCOUNT": "10000",
    }


def test_medians_leave_disturbed_samples_out() -> None:
    rows = [row("default", "alone", rate) for rate in (1, 2, 9)] + [row("default", "alone", 100, others=0.2)]
    assert medians(rows, others=0.1) == {("network", "alone", "default"): 2}
    assert medians(rows, others=1) == {("network", "alone", "default"): 5.5}


def test_the_choice_is_the_best_on_a_busy_machine_that_is_fast_enough_alone() -> None:
    speeds = {
        "alone": {"default": 20.0, "passive": 18.3, "spin 10000": 18.5, "spin 20000": 19.0},
        "two busy loops": {"default": 6.0, "passive": 30.0, "spin 10000": 9.0, "spin 20000": 8.0},
        "three at once": {"default": 3.0, "passive": 30.0, "spin 10000": 5.0, "spin 20000": 5.5},
    }
    assert choose(speeds) == "spin 10000"  # 9 x 5 = 45 > 44; passive has 0.915 of the default's speed alone
    speeds["alone"]["passive"] = 18.41
    assert choose(speeds) == "passive"


def test_the_table_of_two_checkouts_ends_with_their_ratios(tmp_path: Path) -> None:
    rates = {"alone": (10, 9.5), "two busy loops": (4, 6), "three at once": (2, 4)}
    rows = [
        row(name, s, rate, kind="compare") for s, pair in rates.items() for name, rate in zip("ab", pair, strict=True)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    assert table(read(path), others=0.1).splitlines() == [
        "| compare | alone | two busy loops | three at once |",
        "|---|---|---|---|",
        "| a | 10.00 | 4.00 | 2.00 |",
        "| b | 9.50 | 6.00 | 4.00 |",
        "",
        "b over a: 0.95 alone, 1.50 two busy loops, 2.00 three at once",
    ]
