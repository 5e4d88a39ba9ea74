"""Styles as vectors: checks, digests, and mixing by the rules."""

import dataclasses
import itertools
import json
import math
from typing import Any

import pytest

from stylebench.worlds.procstyle import (
    COMPONENTS,
    NAMED_STYLES,
    PATTERNS,
    PHOTO,
    Palette,
    Pattern,
    Quantization,
    Shading,
    Stroke,
    Style,
    Texture,
    cover_weight,
    interpolate,
    prior_style,
    style_digest,
)
from stylebench.worlds.procstyle.styles import flatten

ALL = [PHOTO, *NAMED_STYLES.values(), *(prior_style(number, "prior") for number in range(12))]


def amounts(style: Style) -> dict[str, float]:
    ends = ("amplitude", "amount", "reserve", "lambert", "cel", "gloss", "shadow", "vignette", "glow", "warp", "wobble")
    return {name: values[0] for name, values in flatten(style).items() if name.split(".")[-1] in ends}


@pytest.mark.parametrize("components", [None, *[[name] for name in COMPONENTS]])
def test_ends_are_bit_equal(components: list[str] | None) -> None:
    for source, target in zip(ALL, ALL[1:] + ALL[:1], strict=True):
        assert interpolate(source, target, 0.0, components) == source
        end = interpolate(source, target, 1.0, components)
        for name in COMPONENTS:
            wanted = target if components is None or name in components else source
            assert getattr(end, name) == getattr(wanted, name)
        assert style_digest(interpolate(source, target, 1.0)) == style_digest(target)


def test_extrapolation_is_valid_and_has_no_negative_amount() -> None:
    for source in ALL:
        for target in ALL:
            far = interpolate(source, target, 1.5)  # the constructor checks ranges
            assert min(amounts(far).values()) >= 0


def test_numbers_mix_by_their_rules() -> None:
    near = Style(
        stroke=Stroke(amount=0.4, width=0.01, color=(0.0, 0.2, 1.0)),
        texture=Texture(hatch=Pattern(0.2, 4.0, 0.1)),
        quantization=Quantization(0.5, 4.0, 1 / 64),
    )
    far = Style(
        stroke=Stroke(amount=1.0, width=0.04, color=(1.0, 0.4, 0.0)),
        texture=Texture(hatch=Pattern(0.6, 16.0, math.pi - 0.1)),
        quantization=Quantization(1.0, 16.0, 1 / 16),
    )
    middle = interpolate(near, far, 0.5)
    assert middle.stroke.amount == pytest.approx(0.7)
    assert middle.stroke.width == pytest.approx(0.02)  # the geometric mean
    assert middle.stroke.color == pytest.approx((0.5, 0.3, 0.5))
    assert middle.texture.hatch.frequency == pytest.approx(8)
    assert middle.texture.hatch.orientation == pytest.approx(0, abs=1e-9)  # pi - 0.1 is -0.1 for a line
    assert middle.quantization.levels == pytest.approx(8)
    assert middle.quantization.block == pytest.approx(1 / 32)
    beyond = interpolate(near, far, 1.5)
    assert beyond.texture.hatch.amplitude == pytest.approx(0.8)
    assert beyond.texture.hatch.frequency == pytest.approx(32)


def test_amounts_clamp_at_zero() -> None:
    lit, flat = Style(shading=Shading(lambert=0.8)), Style(shading=Shading(cel=0.6))
    assert interpolate(lit, flat, 1.5).shading == Shading(lambert=0.0, cel=pytest.approx(0.9))


def test_what_one_end_lacks_follows_the_other() -> None:
    plain = Style(texture=Texture(hatch=Pattern(0.0, 3.0, 1.0), ink=(1.0, 0.0, 0.0)), stroke=Stroke(width=0.5))
    drawn = Style(
        texture=Texture(hatch=Pattern(0.5, 12.0, 0.3), ink=(0.0, 0.0, 1.0)), stroke=Stroke(amount=1.0, width=0.02)
    )
    for source, target in ((plain, drawn), (drawn, plain)):
        mixed = interpolate(source, target, 0.25)
        assert mixed.texture.hatch.frequency == 12
        assert mixed.texture.hatch.orientation == 0.3
        assert mixed.texture.ink == (0.0, 0.0, 1.0)
        assert mixed.stroke.width == 0.02


def test_levels_and_blocks_stay_possible_when_extrapolated() -> None:
    fine, coarse = Style(quantization=Quantization(0.5, 16.0, 0.1)), Style(quantization=Quantization(1.0, 2.5, 0.45))
    assert interpolate(fine, coarse, 1.5).quantization == Quantization(1.25, 2.0, 0.5)


def test_components_can_be_mixed_alone() -> None:
    mixed = interpolate(PHOTO, NAMED_STYLES["ink_hatch"], 0.5, ["texture", "stroke"])
    whole = interpolate(PHOTO, NAMED_STYLES["ink_hatch"], 0.5)
    assert (mixed.texture, mixed.stroke) == (whole.texture, whole.stroke)
    assert (mixed.palette, mixed.shading, mixed.quantization) == (PHOTO.palette, PHOTO.shading, PHOTO.quantization)


@pytest.mark.parametrize("strength", [-0.1, 1.51, math.nan])
def test_strength_out_of_range(strength: float) -> None:
    with pytest.raises(ValueError, match=r"strength must lie in \[0\.0, 1\.5\], got .*; choose within"):
        interpolate(PHOTO, PHOTO, strength)


def test_unknown_component() -> None:
    with pytest.raises(ValueError, match=r"no component colour; there are palette, texture, .*quantization"):
        interpolate(PHOTO, PHOTO, 0.5, ["palette", "colour"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Style(stroke=Stroke(amount=-0.1)), r"stroke\.amount must be at least 0, got -0\.1"),
        (lambda: Style(stroke=Stroke(width=0.0)), r"stroke\.width must be above 0"),
        (lambda: Style(texture=Texture(dots=Pattern(-1.0))), r"texture\.dots\.amplitude must be at least 0"),
        (lambda: Style(shading=Shading(lambert=math.inf)), r"shading\.lambert expects 1 finite numbers, got inf"),
        (lambda: Style(palette=Palette(materials=((0.5, 0.5, 0.5),))), r"palette\.materials expects 18 finite"),
        (lambda: Style(quantization=Quantization(1.0, 1.5)), r"levels >= 2 and block <= 0\.5, got 1\.5"),
        (lambda: Style(quantization=Quantization(1.0, 4, 0.6)), r"levels >= 2 and block <= 0\.5, got 4 and 0\.6"),
    ],
)
def test_impossible_styles(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_cover_weight() -> None:
    assert [cover_weight(x) for x in (0.0, 1.0, 1.5, 2.0, -1.0)] == pytest.approx([0, 0.8, 1, 1, 0])
    weights = [cover_weight(x / 100) for x in range(151)]
    assert all(b > a for a, b in itertools.pairwise(weights))


def test_digests_tell_styles_apart_and_dicts_are_json() -> None:
    assert len({style_digest(style) for style in ALL}) == len(ALL)
    assert style_digest(Style()) == style_digest(dataclasses.replace(Style()))
    told = json.loads(json.dumps(PHOTO.to_dict()))
    assert told["shading"]["lambert"] == PHOTO.shading.lambert


def test_flat_names_cover_every_pattern() -> None:
    flat = flatten(PHOTO)
    assert all(f"texture.{kind}.frequency" in flat for kind in PATTERNS)
    assert len(flat["palette.materials"]) == 18
