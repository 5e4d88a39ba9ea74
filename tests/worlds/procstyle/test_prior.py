"""The prior: varied styles from disjoint pools; style names."""

import numpy as np
import pytest

from stylebench.worlds.procstyle import (
    NAMED_STYLES,
    PATTERNS,
    PHOTO,
    POOL_SIZE,
    POOLS,
    Style,
    interpolate,
    parse_style,
    prior_style,
    style_seed,
)


def vector(style: Style) -> np.ndarray:
    return np.array([*style.palette.materials, *style.palette.backgrounds]).ravel()


def test_pools_are_disjoint() -> None:
    ranges = [range(style_seed(0, pool), style_seed(POOL_SIZE - 1, pool) + 1) for pool in POOLS]
    assert all(not set((a[0], a[-1])) & set(b) for a in ranges for b in ranges if a is not b)
    styles = [prior_style(number, pool) for pool in POOLS for number in range(40)]
    distances = [np.abs(vector(a) - vector(b)).mean() for index, a in enumerate(styles) for b in styles[:index]]
    assert min(distances) > 0.03
    named = [PHOTO, *NAMED_STYLES.values()]
    assert min(np.abs(vector(a) - vector(b)).mean() for a in styles for b in named) > 0.03


def test_a_style_is_a_function_of_number_and_pool() -> None:
    assert prior_style(3, "prior") == prior_style(3, "prior")
    assert len({prior_style(3, pool) for pool in POOLS}) == len(POOLS)


def test_the_prior_is_varied() -> None:
    styles = [prior_style(number, "prior") for number in range(300)]
    for kind in PATTERNS:
        share = np.mean([getattr(style.texture, kind).amplitude > 0 for style in styles])
        assert 0.02 < share < 0.35, kind
    for name, values in {
        "stroke": [style.stroke.amount > 0 for style in styles],
        "glow": [style.stroke.glow > 0 for style in styles],
        "lambert": [style.shading.lambert > 0 for style in styles],
        "cel": [style.shading.cel > 0 for style in styles],
        "flat": [style.shading.lambert == style.shading.cel == 0 for style in styles],
        "quantized": [style.quantization.amount > 0 for style in styles],
        "dark": [np.mean(style.palette.backgrounds) < 0.3 for style in styles],
        "light": [np.mean(style.palette.backgrounds) > 0.75 for style in styles],
    }.items():
        assert 0.04 < np.mean(values) < 0.9, name


def test_objects_stand_out_from_their_grounds() -> None:
    luma = np.array([0.299, 0.587, 0.114])
    for number in range(100):
        palette = prior_style(number, "val").palette
        objects, grounds = np.array(palette.materials) @ luma, np.array(palette.backgrounds) @ luma
        assert np.median(np.abs(objects[:, None] - grounds)) > 0.1


@pytest.mark.parametrize(("number", "pool"), [(-1, "prior"), (POOL_SIZE, "val")])
def test_numbers_out_of_range(number: int, pool: str) -> None:
    with pytest.raises(ValueError, match=r"style number must lie in \[0, 1000000\)"):
        prior_style(number, pool)


def test_unknown_pool() -> None:
    with pytest.raises(ValueError, match=r"no pool of styles 'test'; there are prior, val, hidden"):
        prior_style(0, "test")


def test_names() -> None:
    assert parse_style("photo") is PHOTO
    assert parse_style("chalk") is NAMED_STYLES["chalk"]
    assert parse_style("prior-17") == prior_style(17, "prior")
    assert parse_style("hidden-3") == prior_style(3, "hidden")
    assert parse_style("val-3@0.5") == interpolate(PHOTO, prior_style(3, "val"), 0.5)
    assert parse_style("flat@0") == PHOTO
    assert parse_style("flat@1.0") == NAMED_STYLES["flat"]
    assert set(NAMED_STYLES) == {
        "flat", "ink_hatch", "halftone", "oil_noise", "watercolor", "pixel", "neon_outline", "chalk"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "monet", "prior", "prior-", "prior--1", "prior-x", "test-3", "flat@", "@0.5"])
def test_unknown_names_list_what_there_is(name: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"no style '.*'; there are photo, flat, .*chalk, hues-<degrees>, prior-<number>, val-<number>, hidden-",
    ):
        parse_style(name)


def test_wrong_strengths() -> None:
    with pytest.raises(ValueError, match=r"strength must lie in \[0\.0, 1\.5\], got 1\.6"):
        parse_style("flat@1.6")
    with pytest.raises(ValueError, match=r"strength in 'flat@1\.2\.3' must be a number; write for example flat@0\.5"):
        parse_style("flat@1.2.3")
    with pytest.raises(ValueError, match=r"style number must lie in"):
        parse_style("prior-1000000")
