"""Compare the terms of the same pictures under two statistics: means, and paired differences with their intervals.

python experiments/johnson2016/held_out.py --run R --photos P --controls statistics=source > source.jsonl
python experiments/johnson2016/held_out.py --run R --photos P --controls statistics=paintings > paintings.jsonl
python -m experiments.adabn2016.paired source.jsonl paintings.jsonl
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

from stylebench.statistics.intervals import t_interval

TERMS = ("content", "style")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    print(table(read(options.before), read(options.after)))  # noqa: T201


def read(path: Path) -> dict[str, dict[str, float]]:
    """Return the terms of each picture by its name; the last line, of the means, is left out."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["photo"]: {term: row[term] for term in TERMS} for row in rows if "photo" in row}


def table(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]) -> str:
    """Return the table in Markdown: means, and the difference by picture with Student's 95 % interval.

    Raises:
        ValueError: if the pictures differ.
    """
    if before.keys() != after.keys():
        raise ValueError(f"the pictures differ: {sorted(before.keys() ^ after.keys())}")
    lines = ["| term | before | after | difference (95 %) |", "|---|---|---|---|"]
    for term in TERMS:
        first, second = (np.array([side[name][term] for name in before]) for side in (before, after))
        found = t_interval(second - first)
        low, high = found.bounds or (math.nan, math.nan)
        lines.append(
            f"| {term} | {first.mean():.3f} | {second.mean():.3f} | {found.mean:+.3f} ({low:+.3f} to {high:+.3f}) |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
