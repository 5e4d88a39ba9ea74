"""Turn any table of human ratings into the `ratings.csv` that `stylebench.statistics.ratings` reads.

Marks, one a row, or comparisons, both outputs in one row:

    python -m experiments.metrics.convert_ratings marks.csv out/ratings.csv --images pictures \
        --columns content=photo style=painting output=result rater=worker score=mark
    python -m experiments.metrics.convert_ratings choices.csv out/ratings.csv --images pictures \
        --columns content=photo style=painting first=left second=right winner=choice rater=worker --wins L R
"""

import argparse
import csv
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from stylebench.statistics.ratings import read_ratings

_log = logging.getLogger(__name__)

MARKS = {"content", "style", "output", "score"}
CHOICES = {"content", "style", "first", "second", "winner"}
NOBODY = "mean"  # the rater of a set that gives mean marks only


class Plan(NamedTuple):
    """How a table is read.

    Attributes:
        columns: the table's column for each of ours: `content, style, output, score`, or `content, style, first,
            second, winner`; `rater` if there is one.
        images: folder that the table's paths are relative to; None for the table's own.
        wins: what the table's winner column says if the first, and if the second output was chosen; rows that say
            something else, such as a tie, are left out.
        texts: whether contents are texts (prompts), which are written beside the ratings, and not paths.
    """

    columns: Mapping[str, str]
    images: Path | None = None
    wins: tuple[str, str] | None = None
    texts: bool = False


def convert(source: Path, target: Path, plan: Plan) -> int:
    """Write `target` from a table and check it by reading it.

    Args:
        source: a CSV file with a header; UTF-8.
        target: the file to write.
        plan: how the table is read.

    Returns:
        How many rows were left out, because neither output was chosen.

    Raises:
        FileNotFoundError: if the table, or a picture that it names, is missing.
        ValueError: if columns do not fit the table or our format.
    """
    scored = _check(source, plan)
    target.parent.mkdir(parents=True, exist_ok=True)
    header = ["content", "style", "output", "rater", *(["score"] if scored else ["pair_id", "winner"])]
    left_out = 0
    with source.open(encoding="utf-8-sig", newline="") as file, target.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(header)
        for number, row in enumerate(csv.DictReader(file), start=1):
            written = list(_rows(row, str(number), source, target, plan))
            writer.writerows(written)
            left_out += not written
    read_ratings(target)
    return left_out


def _check(source: Path, plan: Plan) -> bool:
    """Check the plan against our format and the table; tell whether it holds marks."""
    if not source.is_file():
        raise FileNotFoundError(f"there is no table at {source}; give a CSV file with a header")
    ours = set(plan.columns) - {"rater"}
    if ours not in (MARKS, CHOICES):
        raise ValueError(
            f"columns name {', '.join(sorted(plan.columns)) or 'nothing'}; expected {', '.join(sorted(MARKS))} for "
            f"marks or {', '.join(sorted(CHOICES))} for choices, and rater if there is one"
        )
    with source.open(encoding="utf-8-sig", newline="") as file:
        present = csv.DictReader(file).fieldnames or []
    missing = sorted(set(plan.columns.values()) - set(present))
    if missing:
        raise ValueError(f"{source} has no column {', '.join(missing)}; it has {', '.join(present) or 'none'}")
    if ours == CHOICES and plan.wins is None:
        raise ValueError("choices need wins: what the winner column says for the first and for the second output")
    return ours == MARKS


def _rows(row: Mapping[str, str], number: str, source: Path, target: Path, plan: Plan) -> Iterator[list[str]]:
    """Yield our rows for one of the table's: one for a mark, two for a choice, none for a tie."""
    cells = {ours: (row[theirs] or "").strip() for ours, theirs in plan.columns.items()}
    images = source.parent if plan.images is None else plan.images

    def path(name: str) -> str:
        file = _text(cells[name], target) if plan.texts and name == "content" else images / cells[name]
        return Path(os.path.relpath(file, target.parent)).as_posix()

    shared = [path("content"), path("style")]
    rater = cells.get("rater", NOBODY)
    if "score" in cells:
        yield [*shared, path("output"), rater, cells["score"]]
    elif plan.wins is not None and cells["winner"] in plan.wins:
        first_won = cells["winner"] == plan.wins[0]
        yield [*shared, path("first"), rater, number, str(int(first_won))]
        yield [*shared, path("second"), rater, number, str(int(not first_won))]


def _text(text: str, target: Path) -> Path:
    file = target.parent / "texts" / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def main(arguments: list[str] | None = None) -> None:
    """Convert a table from the command line."""
    parser = argparse.ArgumentParser(description="Turn a table of human ratings into ratings.csv.")
    parser.add_argument("source", type=Path, help="the table, a CSV file with a header")
    parser.add_argument("target", type=Path, help="the file to write")
    parser.add_argument("--columns", nargs="+", required=True, metavar="OURS=THEIRS", help="see the module's docstring")
    parser.add_argument("--images", type=Path, help="folder that paths are relative to; default: the table's")
    parser.add_argument("--wins", nargs=2, metavar=("FIRST", "SECOND"), help="what the winner column says for either")
    parser.add_argument("--texts", action="store_true", help="contents are texts (prompts), not pictures")
    options = parser.parse_args(arguments)
    pairs = [pair.partition("=") for pair in options.columns]
    if not all(ours and theirs for ours, _, theirs in pairs):
        parser.error(f"--columns expects OURS=THEIRS, got {' '.join(options.columns)}")
    columns = {ours: theirs for ours, _, theirs in pairs}
    wins = tuple(options.wins) if options.wins else None
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    left_out = convert(options.source, options.target, Plan(columns, options.images, wins, options.texts))
    _log.info("wrote %s; %d rows without a winner were left out", options.target, left_out)


if __name__ == "__main__":
    main()
