"""Silent failures: every figure provoked, and quiet on what is healthy, the odd but rightful cases among it."""

import math

import pytest
import torch
from torch import Tensor

from stylebench.functional.color_match import match_color_statistics
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.nn.encoders import CompactEncoder
from stylebench.training.health_checks import (
    CHECKS,
    color_inversion,
    grey_output,
    identity_collapse,
    measure_health,
    mode_collapse,
    style_copied,
    wrong_preprocessing,
)
from stylebench.worlds.filterstyle import FILTERS, NAMED_STYLES, apply_style
from stylebench.worlds.procstyle.world import ProcStyle

STYLES = ("flat", "ink_hatch", "watercolor", "neon_outline", "chalk", "prior-1", "prior-4", "prior-15")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ProcStyle:
    return ProcStyle(32, 10, 2, 2, packed=False, cache=str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def contents(world: ProcStyle) -> Tensor:
    return world.render(world.contents(None).ids[:8], "photo")


def style_of(world: ProcStyle, name: str) -> Tensor:
    return world.render(world.contents(None).ids[8:9], name)


def unit(pictures: Tensor) -> Tensor:
    return pictures.double() / 255


def failures(figures: dict[str, float]) -> set[str]:
    return {check.name for check in CHECKS if check.name in figures and check.fails(figures[check.name])}


def found(outputs: Tensor, contents: Tensor, styles: Tensor | None = None) -> set[str]:
    return failures(measure_health(outputs, contents, styles))


# -- known answers


def test_figures_of_a_half_of_the_contrast_and_of_an_inversion() -> None:
    ramp = torch.linspace(0, 1, 16, dtype=torch.float64).expand(2, 3, 16, 16)
    tinted = ramp * torch.tensor([1.0, 0.5, 0.5]).view(3, 1, 1)  # chroma is half the red
    assert grey_output(0.5 * tinted, tinted) == pytest.approx(0.5)
    assert color_inversion(1 - ramp, ramp) == pytest.approx(-1)
    assert color_inversion(ramp, ramp) == pytest.approx(1)


def test_identity_is_measured_in_the_change_that_the_style_asks_for(contents: Tensor, world: ProcStyle) -> None:
    before, style = unit(contents), unit(style_of(world, "neon_outline"))
    matched = match_color_statistics(before, style)
    for share in (0.0, 0.25, 1.0):
        assert identity_collapse(before + share * (matched - before), before, style) == pytest.approx(share)


def test_layouts_decide_whether_a_style_is_copied(contents: Tensor) -> None:
    one, other = contents[:4], contents[4:]
    assert style_copied(other, one, other) == pytest.approx(1 - abs_correlation(one, other))
    assert style_copied(one, one, other) == pytest.approx(abs_correlation(one, other) - 1)
    assert style_copied(one, one, one) == pytest.approx(0)


def abs_correlation(first: Tensor, second: Tensor) -> float:
    cells = [unit(part).unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)).flatten(2) for part in (first, second)]
    x, y = (part - part.mean(2, keepdim=True) for part in cells)
    pairs = zip(x.flatten(1), y.flatten(1), strict=True)
    return sum(abs(float(torch.nn.functional.cosine_similarity(a, b, dim=0))) for a, b in pairs) / len(x)


def test_variety_ignores_contrast_and_noise(contents: Tensor) -> None:
    before = unit(contents)
    assert mode_collapse(before, before) == pytest.approx(1)
    assert mode_collapse(0.1 * before + 0.45, before) == pytest.approx(1)
    noise = torch.randn(before.shape, generator=torch.Generator().manual_seed(0))
    assert mode_collapse(before[:1] + 0.02 * noise, before) < 0.1


def test_activations_twice_as_large_are_ln_2_away() -> None:
    maps = {"a": torch.full((2, 3, 4, 4), 2.0), "b": torch.full((2, 5, 4, 4), 0.5)}
    assert wrong_preprocessing(maps) == pytest.approx(math.log(2))
    assert math.isnan(wrong_preprocessing({"a": torch.ones(2, 3, 3, 9)}))  # too small to tell
    assert wrong_preprocessing(maps, {"a": torch.full((3,), 2.0), "b": torch.full((5,), 0.5)}) == pytest.approx(0)


# -- failures


@pytest.mark.parametrize("name", STYLES)
def test_each_failure_is_found(name: str, contents: Tensor, world: ProcStyle) -> None:
    before, style = unit(contents), unit(style_of(world, name))
    healthy = match_color_statistics(before, style)
    assert "identity_collapse" in found(before, before, style)
    assert found(style.expand_as(before), before, style) >= {"style_copied", "mode_collapse"}
    assert "mode_collapse" in found(healthy[:1].expand_as(before), before, style)
    assert "grey_output" in found(0.5 + 0.05 * (healthy - 0.5), before, style)
    assert "color_inversion" in found(1 - before, before, style)


def test_color_without_contrast_and_contrast_without_color_are_both_grey(contents: Tensor) -> None:
    before = unit(contents)
    assert grey_output(before.mean(1, keepdim=True).expand_as(before), contents) == pytest.approx(0, abs=1e-6)
    assert grey_output(before.mean((2, 3), keepdim=True).expand_as(before), contents) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("scale", [255, 1 / 255])
def test_wrong_preprocessing_is_found(scale: float) -> None:
    assert preprocessing(dead_leaves(2, 64, seed=1).float() / 255 * scale) == {"wrong_preprocessing"}


def preprocessing(images: Tensor) -> set[str]:
    encoder = CompactEncoder("shipped", ["relu3_2"], ["relu1_1"], "relu4_1")
    rectified = [group.tap for group in encoder.groups()]
    return failures({"wrong_preprocessing": wrong_preprocessing(encoder(images, rectified))})


# -- healthy pictures


@pytest.mark.parametrize("name", STYLES)
def test_healthy_outputs_stay_quiet(name: str, contents: Tensor, world: ProcStyle) -> None:
    style = style_of(world, name)
    before, wanted = unit(contents), unit(style)
    assert found(world.render(world.contents(None).ids[:8], name), contents, style) == set()
    assert found(match_color_statistics(before, wanted), before, wanted) == set()
    assert found(0.7 * before + 0.3 * wanted, before, wanted) == set()
    mild = before + 0.15 * (match_color_statistics(before, wanted) - before)
    assert found(mild, before, wanted) == set()


@pytest.mark.parametrize("name", FILTERS)
def test_filters_stay_quiet(name: str) -> None:
    photographs, style = dead_leaves(7, 48, seed=3), NAMED_STYLES[name]
    filtered = apply_style(photographs, style, list(range(7)))
    assert found(filtered[:6], photographs[:6], filtered[6:]) == set()


def test_rightful_gray_stays_quiet(contents: Tensor, world: ProcStyle) -> None:
    before, style = unit(contents), unit(style_of(world, "prior-4"))
    gray_style, gray_contents = (part.mean(1, keepdim=True).expand_as(part) for part in (style, before))
    assert found(match_color_statistics(before, gray_style), before, gray_style) == set()
    assert found(match_color_statistics(gray_contents, style), gray_contents, style) == set()
    pale = 0.9 + 0.05 * (gray_style - gray_style.mean())
    assert found(match_color_statistics(before, pale), before, pale) == set()


def test_a_style_equal_to_the_content_asks_for_no_change(contents: Tensor) -> None:
    figures = measure_health(contents, contents, contents)
    assert math.isnan(figures["identity_collapse"])
    assert failures(figures) == set()


def test_real_kinds_of_pictures_pass_the_encoder(contents: Tensor, world: ProcStyle) -> None:
    for pictures in (contents, world.render(world.contents(None).ids[:4], "chalk"), dead_leaves(4, 64, seed=1)):
        assert preprocessing(pictures.float() / 255) == set()


# -- what can't be told, and bad input


def test_flat_pictures_tell_nothing() -> None:
    flat = torch.full((3, 3, 16, 16), 0.5)
    figures = measure_health(flat, flat, flat)
    assert all(math.isnan(value) for value in figures.values())
    assert failures(figures) == set()
    assert math.isnan(mode_collapse(flat[:1], torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))))


def test_sizes_may_differ_and_types_do_not_matter(contents: Tensor) -> None:
    larger = contents.repeat_interleave(2, 2).repeat_interleave(2, 3)
    same, mixed = measure_health(contents, contents, contents[:1]), measure_health(larger, contents, unit(larger[:1]))
    assert mixed["style_copied"] == pytest.approx(same["style_copied"])
    assert mixed["color_inversion"] == pytest.approx(1)


def test_figures_are_plain_numbers_in_training_too(contents: Tensor) -> None:
    before = unit(contents)
    outputs = before.clone().requires_grad_()
    assert measure_health(outputs, before, before[:1]) == measure_health(before, before, before[:1])
    maps = {"a": torch.full((2, 3, 4, 4), 2.0, requires_grad=True)}
    assert wrong_preprocessing(maps) == pytest.approx(math.log(2))


def test_without_styles_there_are_the_other_figures(contents: Tensor) -> None:
    assert set(measure_health(contents, contents)) == {"grey_output", "color_inversion", "mode_collapse"}


def test_bad_input_is_named(contents: Tensor) -> None:
    with pytest.raises(ValueError, match="as the 8 outputs"):
        color_inversion(contents, contents[:3])
    with pytest.raises(ValueError, match=r"\(or one\)"):
        style_copied(contents, contents, contents[:3])
    with pytest.raises(ValueError, match="RGB pictures"):
        grey_output(contents[:, :1], contents)
    with pytest.raises(ValueError, match="at least one tap"):
        wrong_preprocessing({})
    with pytest.raises(ValueError, match=r"\(B, C, H, W\) at tap a"):
        wrong_preprocessing({"a": torch.ones(3)})
    with pytest.raises(ValueError, match="2 recorded means of tap a"):
        wrong_preprocessing({"a": torch.ones(1, 2, 4, 4)}, {"a": torch.ones(3)})
