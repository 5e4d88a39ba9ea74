"""Human ratings of stylized pictures: reading `ratings.csv`, and how far a metric agrees with them.

One row a rating, with the columns `content, style, output, rater` and either `score` (a number, more is better), or
`pair_id` and `winner` (the two rows of one comparison share `pair_id`; `winner` is 1 on the chosen output, 0 on the
other). Paths are relative to the file. `experiments/metrics/ratings.md` tells how to convert other tables, among them
the two public sets.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylebench.statistics.agreement import kendall
from stylebench.statistics.intervals import Interval, t_interval, wilson

COLUMNS = ("content", "style", "output", "rater")


@dataclass(frozen=True)
class Rating:
    """A person's mark for one output, or one side of a choice between two.

    Attributes:
        content: path of the content picture.
        style: path of the style picture.
        output: path of the stylized one.
        rater: who judged.
        score: the mark; None in a comparison.
        pair_id: the comparison; None for a mark.
        winner: whether this output was chosen; None for a mark.
    """

    content: Path
    style: Path
    output: Path
    rater: str
    score: float | None = None
    pair_id: str | None = None
    winner: bool | None = None


def read_ratings(path: Path) -> list[Rating]:
    """Read a file of ratings.

    Args:
        path: the CSV file; UTF-8, with or without a byte order mark.

    Returns:
        The ratings, in the order of the file.

    Raises:
        FileNotFoundError: if the file, or a picture that it names, is missing.
        ValueError: naming line and column of what does not fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of ratings at {path}; expected a CSV file with {', '.join(COLUMNS)}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = set(reader.fieldnames or ())
        scored, compared = "score" in names, {"pair_id", "winner"} <= names
        missing = [name for name in COLUMNS if name not in names]
        if missing or scored == compared:
            raise ValueError(
                f"{path} has the columns {', '.join(reader.fieldnames or ()) or 'none'}; expected "
                f"{', '.join(COLUMNS)} and either score, or pair_id and winner"
            )
        ratings = [_rating(path, reader.line_num, row, scored) for row in reader]
    if not ratings:
        raise ValueError(f"{path} holds no rating, only a header; add a line for each")
    if compared:
        _check_pairs(path, ratings)
    return ratings


def _rating(path: Path, line: int, row: Mapping[str, str | None], scored: bool) -> Rating:
    def cell(name: str) -> str:
        text = (row.get(name) or "").strip()
        if not text:
            raise ValueError(f"{path}, line {line}: {name} is empty; every rating needs one")
        return text

    def picture(name: str) -> Path:
        found = path.parent / cell(name)
        if not found.is_file():
            raise FileNotFoundError(
                f"{path}, line {line}: {name} is {cell(name)}, which is not a file; paths are relative to the CSV file"
            )
        return found

    content, style, output = picture("content"), picture("style"), picture("output")
    if scored:
        return Rating(content, style, output, cell("rater"), score=_number(path, line, cell("score")))
    if cell("winner") not in ("0", "1"):
        raise ValueError(f"{path}, line {line}: winner is {cell('winner')!r}; expected 1 (chosen) or 0")
    chosen = cell("winner") == "1"
    return Rating(content, style, output, cell("rater"), pair_id=cell("pair_id"), winner=chosen)


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}, line {line}: score is {text!r}; expected a finite number")
    return value


def _check_pairs(path: Path, ratings: list[Rating]) -> None:
    sides: dict[str | None, list[Rating]] = defaultdict(list)
    for rating in ratings:
        sides[rating.pair_id].append(rating)
    for pair, both in sides.items():
        if sorted(bool(rating.winner) for rating in both) != [False, True]:
            raise ValueError(
                f"{path}: the comparison {pair} has {len(both)} rows with {sum(bool(r.winner) for r in both)} winners; "
                "expected two rows, one of them chosen"
            )
        one, other = both
        if (one.content, one.style, one.rater) != (other.content, other.style, other.rater):
            raise ValueError(
                f"{path}: the two rows of comparison {pair} differ in content, style or rater; expected one person's "
                "choice between two outputs for one content and style"
            )


def score_agreement(ratings: list[Rating], metric: Mapping[Path, float], larger_is_better: bool) -> Interval:
    """Return Kendall's tau-b between mean marks and a metric within each (content, style), averaged.

    Args:
        ratings: marks.
        metric: its value by output path.
        larger_is_better: direction of the metric.

    Returns:
        The mean tau with its interval over (content, style) groups of at least two outputs that people tell apart.

    Raises:
        ValueError: if there is no such group, or an output has no value.
    """
    marks = _mean_marks(ratings)
    sign = 1.0 if larger_is_better else -1.0
    taus = []
    for outputs in _groups(ratings).values():
        if len(outputs) > 1:
            ours = [sign * _value(metric, output) for output in outputs]
            tau = kendall([marks[output] for output in outputs], ours)
            if not math.isnan(tau):
                taus.append(tau)
    if not taus:
        raise ValueError("no content and style has two outputs with different marks, so there is no order to agree on")
    return t_interval(taus)


def choice_agreement(ratings: list[Rating], metric: Mapping[Path, float], larger_is_better: bool) -> Interval:
    """Return the share of comparisons whose winner a metric predicts, with Wilson's interval.

    Pairs on which people are split evenly over raters, or on which the metric is equal, are undecided and left out.
    """
    votes: dict[tuple[Path, Path], int] = defaultdict(int)
    for outputs, _, vote in _votes(ratings):
        votes[outputs] += vote
    sign = 1.0 if larger_is_better else -1.0
    decided = right = 0
    for (first, second), majority in votes.items():
        difference = sign * (_value(metric, first) - _value(metric, second))
        if majority and difference:
            decided += 1
            right += (majority > 0) == (difference > 0)
    if not decided:
        raise ValueError("no comparison is decided by both the raters and the metric")
    return wilson(right, decided)


def rater_agreement(ratings: list[Rating], seed: int = 0, splits: int = 100) -> float:
    """Return how far raters agree among themselves: tau-b between the mean marks of random halves of them.

    The split-half figure is what a metric can at best be expected to reach.

    Args:
        ratings: marks of at least two raters.
        seed: of the halves.
        splits: random halves to average over.

    Raises:
        ValueError: for fewer than two raters.
    """
    raters = sorted({rating.rater for rating in ratings})
    if len(raters) < 2:
        raise ValueError(f"agreement among raters needs at least two of them, got {len(raters)}")
    generator = np.random.Generator(np.random.PCG64(seed))
    taus = []
    for _ in range(splits):
        half = set(generator.permutation(raters)[: len(raters) // 2].tolist())
        marks = [_mean_marks([r for r in ratings if (r.rater in half) is side]) for side in (True, False)]
        for outputs in _groups(ratings).values():
            common = [output for output in outputs if all(output in part for part in marks)]
            if len(common) > 1:
                taus.append(kendall([marks[0][o] for o in common], [marks[1][o] for o in common]))
    found = [tau for tau in taus if not math.isnan(tau)]
    if not found:
        raise ValueError("no content and style has two outputs that both halves of the raters marked differently")
    return float(np.mean(found))


def chooser_agreement(ratings: list[Rating], seed: int = 0, splits: int = 100) -> float:
    """Return how far raters agree on choices: the share of pairs on which the majorities of random halves are one.

    Args:
        ratings: comparisons, some pairs of outputs judged by at least two raters.
        seed: of the halves.
        splits: random halves to average over.

    Raises:
        ValueError: if no pair of outputs has a majority in both halves of its raters.
    """
    votes: dict[tuple[Path, Path], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for (first, second), rater, vote in _votes(ratings):
        votes[first, second][rater] += vote
    generator = np.random.Generator(np.random.PCG64(seed))
    shared = [np.array(list(by_rater.values())) for by_rater in votes.values() if len(by_rater) > 1]
    alike = decided = 0
    for _ in range(splits):
        for counts in shared:
            shuffled = generator.permutation(counts)
            half = len(shuffled) // 2
            both = np.sign([shuffled[:half].sum(), shuffled[half:].sum()])
            decided += bool(both.all())
            alike += bool(both.all() and both[0] == both[1])
    if not decided:
        raise ValueError("no pair of outputs was decided by two raters or more, so their agreement is not known")
    return alike / decided


def _votes(ratings: list[Rating]) -> list[tuple[tuple[Path, Path], str, int]]:
    """Return each comparison as (outputs in order of their names), rater, 1 if the first was chosen, else -1."""
    votes = []
    for pair in _pairs(ratings).values():
        won, lost = sorted(pair, key=lambda rating: not rating.winner)
        first, second = sorted((won.output, lost.output))
        votes.append(((first, second), won.rater, 1 if won.output == first else -1))
    return votes


def _mean_marks(ratings: list[Rating]) -> dict[Path, float]:
    marks: dict[Path, list[float]] = defaultdict(list)
    for rating in ratings:
        if rating.score is None:
            raise ValueError(
                "expected marks (a score column), got comparisons; use choice_agreement and chooser_agreement"
            )
        marks[rating.output].append(rating.score)
    return {output: float(np.mean(values)) for output, values in marks.items()}


def _groups(ratings: list[Rating]) -> dict[tuple[Path, Path], list[Path]]:
    groups: dict[tuple[Path, Path], dict[Path, None]] = defaultdict(dict)
    for rating in ratings:
        groups[rating.content, rating.style][rating.output] = None
    return {key: list(outputs) for key, outputs in groups.items()}


def _pairs(ratings: list[Rating]) -> dict[str, list[Rating]]:
    pairs: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        if rating.pair_id is None:
            raise ValueError(
                "expected comparisons (pair_id and winner), got marks; use score_agreement and rater_agreement"
            )
        pairs[rating.pair_id].append(rating)
    return pairs


def _value(metric: Mapping[Path, float], output: Path) -> float:
    if output not in metric:
        raise ValueError(f"the metric has no value for {output}; evaluate every rated output")
    return metric[output]
