"""Names of styles, and the prior behind the numbered ones."""

import json
from collections import Counter

import pytest

from stylebench.worlds.filterstyle import FILTERS, NAMED_STYLES, PHOTO, POOLS, make_style, parse_style, prior_style


@pytest.mark.parametrize(
    ("name", "style", "strength"),
    [
        ("photo", PHOTO, 1.0),
        ("xdog", NAMED_STYLES["xdog"], 1.0),
        ("halftone@0.5", NAMED_STYLES["halftone"], 0.5),
        ("kuwahara@0", NAMED_STYLES["kuwahara"], 0.0),
        ("prior-17", prior_style(17, "prior"), 1.0),
        ("val-3@1.5", prior_style(3, "val"), 1.5),
        ("hidden-3", prior_style(3, "hidden"), 1.0),
    ],
)
def test_names_are_read(name: str, style: object, strength: float) -> None:
    assert parse_style(name) == (style, strength)


@pytest.mark.parametrize("name", ["", "sketch", "prior", "prior-", "prior--1", "test-3", "Xdog", "prior-1.5", "@1"])
def test_unknown_names_are_refused_with_a_list(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"no style .* there are photo, palette_map, .*pixel_art, prior-<number>, val-"
    ):
        parse_style(name)


@pytest.mark.parametrize("name", ["xdog@", "xdog@1.6", "xdog@-0.1", "xdog@nan", "xdog@strong", "photo@1@1"])
def test_bad_strengths_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"strength in \[0, 1.5\] after the @ of"):
        parse_style(name)


def test_24_consecutive_numbers_hold_three_of_each_filter() -> None:
    for pool in POOLS:
        counts = Counter(prior_style(number, pool).filter for number in range(5, 29))
        assert counts == dict.fromkeys(FILTERS, 3)


def test_pools_and_numbers_give_different_styles() -> None:
    styles = [prior_style(number, pool) for pool in POOLS for number in range(240)]
    settings = [style for style in styles if style.filter != "pixel_art"]  # which has few values to choose from
    assert len(set(settings)) == len(settings)
    assert prior_style(0, "prior") == prior_style(0, "prior")


def test_the_prior_changes_what_a_style_looks_like() -> None:
    # Every parameter that the prior draws takes many values, palettes and papers included.
    for offset, name in enumerate(FILTERS):
        drawn = [prior_style(offset + 8 * turn, "prior") for turn in range(30)]
        defaults = NAMED_STYLES[name].parameters
        values = {key: {style.parameters[key] for style in drawn} for key in defaults}
        varied = [key for key in defaults if len(values[key]) >= 4]
        assert len(varied) >= min(3, len(defaults) - 1), (name, varied)


@pytest.mark.parametrize(
    ("number", "pool", "message"),
    [
        (0, "test", "pool of prior, val, hidden, compact, judge; got 'test'"),
        (-1, "val", "number >= 0 of a style in the pool val, got -1"),
    ],
)
def test_what_the_prior_refuses(number: int, pool: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prior_style(number, pool)


def test_an_unknown_style_says_that_a_strength_may_follow() -> None:
    with pytest.raises(
        ValueError, match=r", each with @<strength> in \[0, 1\.5\] after it if wanted, such as (\S+)$"
    ) as caught:
        parse_style("watercolour")
    style, strength = parse_style(str(caught.value).rsplit(" ", 1)[1])
    assert (style.filter, strength) == ("watercolor", 0.5)


def test_styles_are_written_as_plain_json() -> None:
    for style in (PHOTO, *NAMED_STYLES.values(), *(prior_style(number, "prior") for number in range(16))):
        record = style.to_dict()
        assert json.loads(json.dumps(record)) == record
        assert record["filter"] == style.filter
        assert set(record["parameters"]) == set(style.parameters)


def test_named_styles_have_the_defaults_of_the_specification() -> None:
    expected = {
        "palette_map": {"softness": 100.0},
        "kuwahara": {"radius": 6.0, "sharpness": 8.0, "eccentricity": 1.0, "tensor_sigma": 2.0},
        "xdog": {"sigma": 1.0, "ratio": 1.6, "gain": 20.0, "threshold": 0.7, "slope": 10.0},
        "halftone": {"period": 6.0, "angles": (15.0, 75.0, 0.0, 45.0)},
        "hatching": {"spacing": 7.0},
        "posterize_edges": {"levels": 8.0, "slope": 10.0},
        "watercolor": {"clouds": 0.3, "grain": 0.2, "edges": 0.4},
        "pixel_art": {"block": 4.0, "colors": 16},
    }
    for name, values in expected.items():
        parameters = NAMED_STYLES[name].parameters
        assert {key: parameters[key] for key in values} == values
    assert len(NAMED_STYLES["palette_map"].parameters["palette"]) == 6
    assert sorted(NAMED_STYLES["hatching"].parameters["angles"]) == [-45, 0, 45, 90]


def test_unknown_filters_and_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a filter of palette_map, .*; got 'oil'"):
        make_style("oil")
    with pytest.raises(ValueError, match="kuwahara has no parameter width; it has radius, sharpness"):
        make_style("kuwahara", width=3.0)
