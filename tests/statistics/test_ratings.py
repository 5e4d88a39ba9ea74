from pathlib import Path

import pytest

from stylebench.statistics.ratings import (
    choice_agreement,
    chooser_agreement,
    rater_agreement,
    read_ratings,
    score_agreement,
)


def write(folder: Path, header: str, *rows: str) -> Path:
    for name in ("c", "s", "o1", "o2", "o3"):
        (folder / f"{name}.png").touch()
    path = folder / "ratings.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def scores(folder: Path, **marks: tuple[float, ...]) -> Path:
    rows = [f"c.png,s.png,{o}.png,r{i},{mark}" for o, values in marks.items() for i, mark in enumerate(values)]
    return write(folder, "content,style,output,rater,score", *rows)


def test_agreement_with_marks(tmp_path: Path) -> None:
    ratings = read_ratings(scores(tmp_path, o1=(1, 2), o2=(3, 4), o3=(5, 3)))
    # means 1.5 < 3.5 < 4: a metric that swaps the last two orders two pairs of three alike
    metric = {tmp_path / "o1.png": 0.1, tmp_path / "o2.png": 0.9, tmp_path / "o3.png": 0.5}
    assert score_agreement(ratings, metric, larger_is_better=True).mean == pytest.approx(1 / 3)
    assert score_agreement(ratings, metric, larger_is_better=False).mean == pytest.approx(-1 / 3)


def test_agreement_with_choices(tmp_path: Path) -> None:
    rows = ["c.png,s.png,o1.png,a,p1,1", "c.png,s.png,o2.png,a,p1,0", "c.png,s.png,o3.png,b,p2,0"]
    rows += ["c.png,s.png,o1.png,b,p2,1", "c.png,s.png,o2.png,a,p3,1", "c.png,s.png,o3.png,a,p3,0"]
    ratings = read_ratings(write(tmp_path, "content,style,output,rater,pair_id,winner", *rows))
    metric = {tmp_path / "o1.png": 3.0, tmp_path / "o2.png": 1.0, tmp_path / "o3.png": 2.0}
    found = choice_agreement(ratings, metric, larger_is_better=True)
    assert found.mean == pytest.approx(2 / 3)  # o1 over o2, o1 over o3 predicted; o2 over o3 not
    assert found.design == "2 of 3"


def test_raters_that_agree_and_that_do_not(tmp_path: Path) -> None:
    alike = read_ratings(scores(tmp_path, o1=(1, 1, 2, 1), o2=(2, 2, 3, 2), o3=(5, 5, 4, 5)))
    assert rater_agreement(alike) == 1
    apart = read_ratings(scores(tmp_path, o1=(1, 3), o2=(2, 2), o3=(3, 1)))
    assert rater_agreement(apart) == -1


def choices(folder: Path, *winners: tuple[str, str]) -> Path:
    """One comparison a rater between o1 and o2: who judged, and what won."""
    rows = [
        f"c.png,s.png,{output}.png,{rater},p{number},{int(output == won)}"
        for number, (rater, won) in enumerate(winners)
        for output in ("o1", "o2")
    ]
    return write(folder, "content,style,output,rater,pair_id,winner", *rows)


def test_choosers_that_agree_and_that_do_not(tmp_path: Path) -> None:
    assert chooser_agreement(read_ratings(choices(tmp_path, ("a", "o1"), ("b", "o1"), ("c", "o1")))) == 1
    assert chooser_agreement(read_ratings(choices(tmp_path, ("a", "o1"), ("b", "o2")))) == 0
    with pytest.raises(ValueError, match="two raters or more"):
        chooser_agreement(read_ratings(choices(tmp_path, ("a", "o1"))))


def test_a_comparison_is_one_persons_choice_for_one_content(tmp_path: Path) -> None:
    rows = ["c.png,s.png,o1.png,a,p,1", "c.png,s.png,o2.png,b,p,0"]
    with pytest.raises(ValueError, match="comparison p differ in content, style or rater"):
        read_ratings(write(tmp_path, "content,style,output,rater,pair_id,winner", *rows))


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = scores(tmp_path, o1=(1,), o2=(2,))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_ratings(path)) == 2


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("content,style,output,rater", "c.png,s.png,o1.png,a", "either score, or pair_id and winner"),
        ("content,style,output,rater,score", "c.png,s.png,o1.png,a,good", "line 2: score is 'good'"),
        ("content,style,output,rater,score", "c.png,s.png,o1.png,,3", "line 2: rater is empty"),
        ("content,style,output,rater,pair_id,winner", "c.png,s.png,o1.png,a,p,yes", "line 2: winner is 'yes'"),
        ("content,style,output,rater,pair_id,winner", "c.png,s.png,o1.png,a,p,1", "two rows, one of them chosen"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, header: str, row: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_ratings(write(tmp_path, header, row))


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "content,style,output,rater,score", "c.png,s.png,gone.png,a,3")
    with pytest.raises(FileNotFoundError, match=r"line 2: output is gone\.png"):
        read_ratings(path)


def test_an_output_without_a_value_is_named(tmp_path: Path) -> None:
    ratings = read_ratings(scores(tmp_path, o1=(1,), o2=(2,)))
    with pytest.raises(ValueError, match=r"no value for .*o1\.png"):
        score_agreement(ratings, {}, larger_is_better=True)
