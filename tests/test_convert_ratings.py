"""Tables of ratings made up in the two layouts that public sets have, and what the importer reads from them."""

from pathlib import Path

import pytest

from experiments.metrics.convert_ratings import Plan, convert, main
from stylebench.statistics.ratings import choice_agreement, read_ratings, score_agreement

MARKS = {"content": "photo", "style": "painting", "output": "result", "rater": "worker", "score": "mark"}
CHOICES = {"content": "photo", "style": "painting", "first": "left", "second": "right", "winner": "choice"}


def table(folder: Path, *lines: str) -> Path:
    pictures = folder / "pictures"
    pictures.mkdir()
    for name in ("c", "s", "o1", "o2", "o3"):
        (pictures / f"{name}.png").touch()
    source = folder / "table.csv"
    source.write_text("\n".join(lines) + "\n")
    return source


def test_marks_keep_their_order(tmp_path: Path) -> None:
    source = table(
        tmp_path, "id,photo,painting,result,worker,mark", "1,c.png,s.png,o1.png,a,1", "2,c.png,s.png,o2.png,a,2",
        "3,c.png,s.png,o3.png,a,3"
    )  # fmt: skip
    target = tmp_path / "out" / "ratings.csv"
    assert convert(source, target, Plan(MARKS, tmp_path / "pictures")) == 0
    ratings = read_ratings(target)
    assert [rating.score for rating in ratings] == [1, 2, 3]
    metric = {rating.output: float(rating.output.stem[1]) for rating in ratings}
    metric[ratings[0].output] = 2.5  # o1 between o2 and o3: two of three pairs are in order, (2 - 1) / 3
    assert score_agreement(ratings, metric, larger_is_better=True).mean == pytest.approx(1 / 3)


def test_a_choice_becomes_two_rows_and_a_tie_none(tmp_path: Path) -> None:
    source = table(
        tmp_path, "photo,painting,left,right,choice,worker", "c.png,s.png,o1.png,o2.png,L,a",
        "c.png,s.png,o2.png,o3.png,R,b", "c.png,s.png,o1.png,o3.png,tie,b"
    )  # fmt: skip
    target = tmp_path / "ratings.csv"
    plan = Plan({**CHOICES, "rater": "worker"}, tmp_path / "pictures", ("L", "R"))
    assert convert(source, target, plan) == 1
    ratings = read_ratings(target)
    assert [(r.output.name, r.rater, r.winner) for r in ratings] == [
        ("o1.png", "a", True), ("o2.png", "a", False), ("o2.png", "b", False), ("o3.png", "b", True)
    ]  # fmt: skip
    metric = {rating.output: float(rating.output.stem[1]) for rating in ratings}
    assert choice_agreement(ratings, metric, larger_is_better=True).mean == pytest.approx(1 / 2)


def test_prompts_in_place_of_contents_are_kept_apart(tmp_path: Path) -> None:
    source = table(tmp_path, "photo,painting,result,mark", '"a fox, red",s.png,o1.png,1', "a cow,s.png,o2.png,2")
    target = tmp_path / "ratings.csv"
    columns = {ours: theirs for ours, theirs in MARKS.items() if ours != "rater"}
    convert(source, target, Plan(columns, tmp_path / "pictures", texts=True))
    first, second = read_ratings(target)
    assert (first.content.read_text(), second.content.read_text()) == ("a fox, red", "a cow")
    assert first.rater == "mean"


def test_the_command_converts(tmp_path: Path) -> None:
    source = table(tmp_path, "photo,painting,left,right,choice", "c.png,s.png,o1.png,o2.png,B")
    target = tmp_path / "ratings.csv"
    columns = [f"{ours}={theirs}" for ours, theirs in CHOICES.items()]
    main([str(source), str(target), "--columns", *columns, "--images", str(tmp_path / "pictures"), "--wins", "A", "B"])
    assert [rating.winner for rating in read_ratings(target)] == [False, True]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({**MARKS, "score": "stars"}, "no column stars; it has photo, painting, result, worker, mark"),
        ({"content": "photo", "score": "mark"}, "for marks or"),
        (CHOICES, "no column choice, left, right"),
    ],
)
def test_columns_that_do_not_fit_are_named(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    source = table(tmp_path, "photo,painting,result,worker,mark", "c.png,s.png,o1.png,a,1")
    with pytest.raises(ValueError, match=message):
        convert(source, tmp_path / "ratings.csv", Plan(columns, tmp_path / "pictures", ("L", "R")))


def test_choices_need_to_know_who_won(tmp_path: Path) -> None:
    source = table(tmp_path, "photo,painting,left,right,choice", "c.png,s.png,o1.png,o2.png,B")
    with pytest.raises(ValueError, match="choices need wins"):
        convert(source, tmp_path / "ratings.csv", Plan(CHOICES, tmp_path / "pictures"))
    with pytest.raises(ValueError, match="holds no rating"):  # neither word is in the table
        convert(source, tmp_path / "ratings.csv", Plan(CHOICES, tmp_path / "pictures", ("L", "R")))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no table at"):
        convert(tmp_path / "none.csv", tmp_path / "ratings.csv", Plan(MARKS))
    source = table(tmp_path, "photo,painting,result,worker,mark", "c.png,s.png,gone.png,a,1")
    with pytest.raises(FileNotFoundError, match=r"line 2: output is pictures/gone\.png"):
        convert(source, tmp_path / "ratings.csv", Plan(MARKS, tmp_path / "pictures"))
