"""The command that grades metrics: its table, and how far the grades of two worlds agree."""

from pathlib import Path

import numpy as np
import pytest

from experiments.metrics.grade import compare, main, read, write
from stylebench.grading import Card, GameFacts, make_card


def cards(slips: list[int]) -> list[Card]:
    """Return cards of metrics that each exchange some neighbors of a ladder of five rungs."""
    made = []
    for number, slip in enumerate(slips):
        row = np.array([[0.0, 1.0, 2.0, 3.0, 4.0]])
        row[:, : slip + 1] = row[:, : slip + 1][:, ::-1]
        game = GameFacts(gains={"4": 0.1}, edits={"jpeg": 0.05})
        made.append(make_card(f"metric_{number}", "style", "w", {"L1": [row] * 8}, 1.0, game))
    return made


def test_table_and_agreement(tmp_path: Path) -> None:
    write(cards([0, 1, 2, 3]), tmp_path / "a")
    write(cards([0, 1, 2, 3]), tmp_path / "b")
    table = (tmp_path / "a" / "table.md").read_text().splitlines()
    assert len(table) == 2 + 4
    assert table[2].startswith("| `metric_0` | style | B | 1.00 [1.00, 1.00] |")
    assert "0.05 jpeg" in table[2]
    assert [card["name"] for card in read(tmp_path / "a")] == [f"metric_{i}" for i in range(4)]
    found = compare(tmp_path / "a", tmp_path / "b")
    assert "all: 1 [" in found
    assert "same grade: 4 of 4" in found


def test_cards_need_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--world", "procstyle"])
    assert "--output" in capsys.readouterr().err
