"""Grades from made-up values, with the rules' own numbers."""

import json

import numpy as np
import pytest

from stylebench.grading import GameFacts, grade, make_card
from stylebench.grading.grade import Values, gain, partner_of
from stylebench.grading.ladders import CONTENT, DISTRIBUTION, LADDERS, OWN, STYLE, TARGET, truth_for


def climbed(*rungs: float, styles: int = 8, samples: int = 3) -> list[Values]:
    """Return values that rise alike in all samples, with an offset each."""
    return [np.array(rungs)[None] + np.arange(samples)[:, None] * 10.0 for _ in range(styles)]


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({}, "A"),
        ({"tau": 0.89}, "B"),
        ({"tau": 0.69}, "C"),
        ({"tau": None}, "ungraded"),
        ({"selective": 0.29}, "B"),
        ({"selective": None}, "B"),
        ({"still": 0.06}, "B"),
        ({"still": 0.16}, "C"),
        ({"still": None}, "A"),
        ({"game": GameFacts(gains={"2": 0.9, "4": 0.2})}, "A"),
        ({"game": GameFacts(gains={"4": 0.21})}, "B"),
        ({"game": GameFacts(gains={"4": 0.51})}, "C"),
        ({"game": GameFacts(gains={"4": 0.51}, partner="rand_ms")}, "B"),
        ({"game": GameFacts(others=("style_x", 0.51))}, "C"),
        ({"game": GameFacts(gains={"4": 0.1}, others=("style_x", 0.51))}, "A"),
        ({"game": GameFacts(edits={"jpeg": 0.21})}, "C"),
        ({"game": GameFacts(edits={"palette_swap": 0.9})}, "C"),
        ({"game": GameFacts(edits={"palette_swap": 0.9, "jpeg": 0.2}), "color_only": True}, "A"),
    ],
)
def test_rules(facts: dict[str, object], wanted: str) -> None:
    good: dict[str, object] = {"tau": 0.9, "selective": 0.3, "still": 0.05, "game": GameFacts()}
    letter, why = grade(**{**good, **facts})  # type: ignore[arg-type]
    assert letter == wanted
    assert bool(why) == (wanted != "A")


def test_interval_of_tau_is_over_styles_also_where_a_ladder_leaves_styles_out() -> None:
    rising, falling = np.array([[0.0, 0.2, 0.5, 0.8, 1.0]]), np.array([[1.0, 0.8, 0.5, 0.2, 0.0]])
    first = [rising, rising, falling, rising]
    second = [array[:, :4] for array in (rising, falling, falling, rising)]
    card = make_card("m", DISTRIBUTION, "w", {"L1": first, "L9": second}, 1.0, GameFacts())
    by_style = np.array([1.0, 0.0, -1.0, 1.0])  # means of both ladders
    half = 3.182446 * by_style.std(ddof=1) / 2  # Student, 3 degrees of freedom, sqrt(4)
    assert card.tau == pytest.approx((0.25, 0.25 - half, 0.25 + half), abs=1e-5)
    absent = np.zeros((0, 4))
    partly = make_card("m", DISTRIBUTION, "w", {"L1": first, "L9": [absent, absent, *second[2:]]}, 1.0, GameFacts())
    assert partly.tau is not None
    shares = np.array([0.5, 0.5, -1.5, 0.5]) / 4 / 2 + np.array([0.0, 0.0, -1.0, 1.0]) / 2 / 2
    half = 3.182446 * (4 * shares).std(ddof=1) / 2
    assert partly.tau == pytest.approx((0.25, 0.25 - half, 0.25 + half), abs=1e-5)
    assert partly.ladders["L9"]["styles"] == 2


def test_card_of_a_perfect_style_metric() -> None:
    values = {
        "L1": climbed(0.0, 0.2, 0.5, 0.8, 1.0), "L16": climbed(1.0, 0.9, 0.8, 0.6), "L6": climbed(1.0, 1.0, 1.0, 1.0),
        "L14": climbed(1.0, 0.98, 1.01, 1.0),
    }  # fmt: skip
    card = make_card("m", STYLE, "w", values, span=1.0, game=GameFacts(gains={"4": 0.1}), missing={"L8": "not here"})
    assert card.tau == (1.0, 1.0, 1.0)
    assert card.selectivity == 1.0  # |1| on its own ladders less |0| where it is constant
    assert card.spread == pytest.approx(0.02)  # |0.98 - 1| over a range of 1
    assert card.grade == "A"
    assert card.resolution == 0
    assert card.images_needed == 1
    assert card.ladders["L8"] == {"left_out": "not here"}
    assert card.ladders["L17"]["spread"] == 0.1
    assert json.loads(json.dumps(card.to_dict()))["tau"] == [1.0, 1.0, 1.0]


def test_a_metric_without_a_range_is_no_metric() -> None:
    card = make_card("m", STYLE, "w", {"L1": climbed(0.0, 0.2, 0.5, 0.8, 1.0)}, span=-0.1, game=GameFacts())
    assert card.grade == "C"
    assert "ends of its axis" in card.why[0]


def test_ladders_that_step_away_from_the_target_prove_nothing_for_distances_to_it() -> None:
    values = {key: climbed(0.0, 1.0, 2.0, 3.0) for key in ("L2", "L3", "L4", "L8")}
    card = make_card("psnr", TARGET, "w", values, span=1.0, game=GameFacts())
    assert card.grade == "ungraded"
    assert all(facts["circular"] for facts in card.ladders.values())


def test_samples_without_a_value_are_left_out() -> None:
    values = {"L1": climbed(0.0, 0.2, 0.5, 0.8, 1.0)}
    values["L1"][0][0, 2] = np.nan
    values["L1"][1][:] = np.nan
    card = make_card("m", STYLE, "w", values, span=1.0, game=GameFacts())
    assert card.ladders["L1"]["styles"] == 7
    assert card.tau is not None
    assert card.tau[0] == 1.0


def test_truth_depends_on_what_a_metric_claims() -> None:
    assert truth_for(LADDERS["L16"], STYLE) == (-1.0, -1.125, -1.25, -1.5)
    assert truth_for(LADDERS["L16"], STYLE, doses=True) == (1.0, 1.125, 1.25, 1.5)
    assert truth_for(LADDERS["L10"], STYLE) == (0.0, 1.0)
    assert truth_for(LADDERS["L10"], CONTENT) == (0.0, -1.0)
    assert truth_for(LADDERS["L10"], TARGET) is None
    assert truth_for(LADDERS["L14"], DISTRIBUTION) is None
    for axis, names in OWN.items():
        assert all(truth_for(LADDERS[name], axis) is not None for name in names)


def test_gain_and_partner() -> None:
    # From 1 toward 3, a change to 2 goes half the way; without a way there is nothing to gain.
    assert gain(np.array([1.0]), np.array([2.0]), np.array([3.0])) == 0.5
    assert gain(np.array([1.0]), np.array([2.0]), np.array([1.0])) is None
    assert gain(np.array([1.0]), np.array([2.0]), np.array([0.0])) is None  # finds the content better than the target
    origins = {"judge": "procedural", "compact": "procedural", "random": "random", "photos": "natural"}
    transfer = {"compact": 0.0, "random": 0.2, "photos": 0.1}
    assert partner_of(transfer, origins, "judge") == "photos"
    assert partner_of({"compact": 0.0, "random": 0.21}, origins, "judge") is None
