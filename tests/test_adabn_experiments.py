"""The table of a generator's terms under two statistics: known means and intervals."""

import json
from pathlib import Path

import pytest

from experiments.adabn2016.paired import read, table


def written(path: Path, contents: list[float]) -> Path:
    rows = [{"photo": str(number), "content": value, "style": 2.0} for number, value in enumerate(contents)]
    path.write_text("\n".join(json.dumps(row) for row in [*rows, {"photos": len(rows), "content": 9.0}]))
    return path


def test_differences_are_paired_by_picture(tmp_path: Path) -> None:
    before, after = written(tmp_path / "a", [1.0, 5.0]), written(tmp_path / "b", [1.9, 6.1])
    _, _, content, style = table(read(before), read(after)).splitlines()
    # half a width: 12.706 standard errors of 0.1
    assert content == "| content | 3.000 | 4.000 | +1.000 (-0.271 to +2.271) |"
    assert style == "| style | 2.000 | 2.000 | +0.000 (+0.000 to +0.000) |"


def test_other_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'1'"):
        table(read(written(tmp_path / "a", [1.0, 2.0])), read(written(tmp_path / "b", [1.0])))
