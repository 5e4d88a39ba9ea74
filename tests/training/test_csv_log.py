"""The CSV logger: exact numbers, stable columns, and a file that a resume can continue."""

import csv
from pathlib import Path

import pytest

from stylebench.run_folder import BATCHES
from stylebench.training.csv_log import CSVLog


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_log_writes_numbers_that_read_back_exactly(tmp_path: Path) -> None:
    value = 0.1 + 0.2  # not 0.3: shortest text that gives the same float64
    CSVLog(tmp_path).log_metrics({"train/loss/total": value}, step=1)
    assert float(read(tmp_path)[0]["train/loss/total"]) == value


def test_csv_log_first_column_is_the_batch(tmp_path: Path) -> None:
    log = CSVLog(tmp_path)
    log.log_metrics({"a": 1.0, BATCHES: 3}, step=3)
    assert (tmp_path / "metrics.csv").read_text() == f"{BATCHES},a\n3,1.0\n"


def test_csv_log_merges_metrics_of_one_batch_into_one_row(tmp_path: Path) -> None:
    log = CSVLog(tmp_path)
    log.log_metrics({"a": 1.0}, step=1)
    log.log_metrics({"b": 2.0}, step=1)
    log.log_metrics({"a": 3.0}, step=2)
    assert read(tmp_path) == [{BATCHES: "1", "a": "1.0", "b": "2.0"}, {BATCHES: "2", "a": "3.0", "b": ""}]


def test_csv_log_refuses_to_go_back(tmp_path: Path) -> None:
    log = CSVLog(tmp_path)
    log.log_metrics({"a": 1.0}, step=5)
    with pytest.raises(ValueError, match=r"row of batch 5.*got 4"):
        log.log_metrics({"a": 1.0}, step=4)


def test_csv_log_rewind_drops_later_rows_and_columns_that_only_they_had(tmp_path: Path) -> None:
    log = CSVLog(tmp_path)
    for batch in (10, 20, 30):
        log.log_metrics({"a": float(batch)}, step=batch)
    log.log_metrics({"val/b": 1.0}, step=30)
    again = CSVLog(tmp_path)
    before = (tmp_path / "metrics.csv").read_bytes()
    again.rewind(20, keep_evaluation=True)
    again.log_metrics({"a": 20.0, "val/c": 2.0}, step=20)
    assert (tmp_path / "metrics.csv").read_bytes() == before  # until the session begins
    again.begin()
    assert read(tmp_path) == [{BATCHES: "10", "a": "10.0", "val/c": ""}, {BATCHES: "20", "a": "20.0", "val/c": "2.0"}]
    again.log_metrics({"a": 31.0}, step=31)
    assert read(tmp_path)[-1] == {BATCHES: "31", "a": "31.0", "val/c": ""}


def test_csv_log_rewind_survives_a_line_that_a_kill_cut_off(tmp_path: Path) -> None:
    log = CSVLog(tmp_path)
    log.log_metrics({"a": 1.0, "b": 2.0}, step=1)
    log.log_metrics({"a": 1.0, "b": 2.0}, step=2)
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-5])
    again = CSVLog(tmp_path)
    again.rewind(1, keep_evaluation=True)
    again.begin()
    assert read(tmp_path) == [{BATCHES: "1", "a": "1.0", "b": "2.0"}]


def test_csv_log_rewind_can_forget_an_evaluation_that_a_longer_run_would_not_have_made(tmp_path: Path) -> None:
    log = CSVLog(tmp_path)
    log.log_metrics({"train/a": 1.0}, step=25)
    log.log_metrics({"val/a": 1.0}, step=25)
    again = CSVLog(tmp_path)
    again.rewind(25, keep_evaluation=False)
    again.begin()
    assert read(tmp_path) == [{BATCHES: "25", "train/a": "1.0"}]


def test_csv_log_last_values_take_the_newest_finite_one(tmp_path: Path) -> None:
    log = CSVLog(tmp_path)
    log.log_metrics({"a": 1.0, "b": 5.0}, step=1)
    log.log_metrics({"a": 2.0, "b": float("nan")}, step=2)
    assert log.last_values() == {"a": 2.0, "b": 5.0}
