"""Read-outs of strength where the strength is known: both worlds render it."""

import importlib
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.worlds.filters.smoothing import gaussian_blur
from stylebench.worlds.filterstyle.world import FilterStyle
from stylebench.worlds.procstyle import draw_scenes, parse_style
from stylebench.worlds.procstyle import render as render_scenes
from stylebench.worlds.procstyle.world import ProcStyle
from stylebench.worlds.readouts import region_means, spread
from stylebench.worlds.strength import StrengthReader
from tests.worlds.strength.strengths import SCENES, UNSEEN, MakeReader, eight, means, misses, render

IDS = list(SCENES[:8])
STYLES = {
    "ink_hatch": {"palette", "texture", "stroke"},
    "halftone": {"palette", "texture"},
    "chalk": {"palette", "stroke", "shading"},
    "pixel": {"palette", "quantization"},
}
FILTERS = {
    "hatching": {"palette"},
    "xdog": {"palette", "stroke"},
    "posterize_edges": {"palette", "stroke"},
}
STRENGTHS = (0.0, 0.25, 0.4, 0.65, 0.9, 1.0, 1.1, 1.25, 1.5)


@pytest.mark.parametrize("style", STYLES)
def test_scenes_read_as_strongly_as_they_were_drawn(style: str, procstyle: ProcStyle, make_reader: MakeReader) -> None:
    reader = make_reader(procstyle, style)
    assert STYLES[style] <= set(reader.highest)
    assert not misses(reader, IDS, STRENGTHS, 0.1)


@pytest.mark.parametrize("style", FILTERS)
def test_photographs_read_as_strongly_as_they_were_filtered(
    style: str, filterstyle: FilterStyle, make_reader: MakeReader
) -> None:
    reader = make_reader(filterstyle, style)
    assert FILTERS[style] <= set(reader.highest)
    assert not misses(reader, eight(filterstyle), STRENGTHS, 0.1)


@pytest.mark.parametrize("style", ["ink_hatch", "halftone"])
def test_blur_takes_the_texture_away(style: str, procstyle: ProcStyle, make_reader: MakeReader) -> None:
    reader = make_reader(procstyle, style)
    images = render(procstyle, IDS, style, 1.0)
    blurred = gaussian_blur(images.float(), 1 / reader.band.frequency / 3).round().to(torch.uint8)
    assert reader.adds_texture
    assert means(reader, blurred, IDS)["texture"] < 0.3


def test_flat_fills_of_the_right_colors_have_palette_but_no_texture(
    procstyle: ProcStyle, make_reader: MakeReader
) -> None:
    reader = make_reader(procstyle, "ink_hatch")
    anatomy = procstyle.anatomy(IDS)
    images = render(procstyle, IDS, "ink_hatch", 1.0).float()
    colors, _ = region_means(images, anatomy.regions & (anatomy.outline.abs() > 1.5)[:, None])
    found = means(reader, spread(colors, anatomy.regions).round().to(torch.uint8), IDS)
    assert found["palette"] == pytest.approx(1, abs=0.1)
    assert abs(found["texture"]) < 0.1


def test_palette_alone_is_told_from_everything_alone(procstyle: ProcStyle, make_reader: MakeReader) -> None:
    reader = make_reader(procstyle, "chalk")
    found = means(reader, procstyle.render(IDS, "chalk", draw=UNSEEN, components=["palette"]), IDS)
    assert found["palette"] == pytest.approx(1, abs=0.1)
    assert max(found["stroke"], found["shading"]) < 0.5


def test_texture_alone_leaves_strokes_alone(procstyle: ProcStyle, make_reader: MakeReader) -> None:
    reader = make_reader(procstyle, "ink_hatch")
    found = means(reader, procstyle.render(IDS, "ink_hatch", draw=UNSEEN, components=["texture"]), IDS)
    assert found["texture"] > 0.8
    assert abs(found["stroke"]) < 0.1
    palette = means(reader, procstyle.render(IDS, "ink_hatch", draw=UNSEEN, components=["palette"]), IDS)
    assert abs(palette["texture"]) < 0.1


def test_another_style_does_not_read_as_this_one(procstyle: ProcStyle, make_reader: MakeReader) -> None:
    reader = make_reader(procstyle, "ink_hatch")
    found = means(reader, render(procstyle, IDS, "chalk", 1.0), IDS)
    assert found["texture"] < 0.3
    assert found["stroke"] < 0
    assert abs(found["palette"] - 1) > 0.3


def test_overdone_styles_read_above_one(procstyle: ProcStyle, make_reader: MakeReader) -> None:
    for style in ("chalk", "halftone"):
        readings = make_reader(procstyle, style).read(render(procstyle, IDS, style, 1.4), IDS)
        assert readings.strength.nanmean() > 1.15


def moved_scenes(style: str, shift_px: Tensor) -> Tensor:
    """Render scenes whose objects stand (B, 6, 2) pixels off, to the right and down, with the same nuisance."""
    scenes = draw_scenes(IDS)
    return render_scenes(replace(scenes, center=scenes.center + shift_px / 64), parse_style(style), range(8), 64)


@pytest.mark.parametrize("style", ["ink_hatch", "chalk", "pixel"])
def test_an_object_two_pixels_off_changes_no_strength(
    style: str, procstyle: ProcStyle, make_reader: MakeReader
) -> None:
    reader = make_reader(procstyle, style)
    shift = torch.zeros(8, 6, 2)
    front = draw_scenes(IDS).count - 1
    shift[torch.arange(8), front] = torch.tensor([[2.0, 0.0], [0.0, -2.0]] * 4)
    before, after = (means(reader, moved_scenes(style, part), IDS) for part in (0 * shift, shift))
    assert max(abs(after[name] - before[name]) for name in before) < 0.05


def test_how_far_objects_stand_off_is_reported(procstyle: ProcStyle, make_reader: MakeReader) -> None:
    reader = make_reader(procstyle, "chalk")
    shift = torch.tensor([2.0, -1.0]).expand(8, 6, 2)
    found = reader.read(moved_scenes("chalk", shift), IDS).shift_px
    there = procstyle.anatomy(IDS).objects.flatten(2).any(2)
    assert torch.equal(found.isnan().any(2), ~there)
    assert (found[there] == torch.tensor([-1.0, 2.0])).all(1).float().mean() > 0.9  # down, then right


def test_texture_two_pixels_off_changes_no_strength(
    procstyle: ProcStyle, make_reader: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = make_reader(procstyle, "ink_hatch")
    nowhere = torch.zeros(8, 6, 2)
    before = means(reader, moved_scenes("ink_hatch", nowhere), IDS)
    module = importlib.import_module("stylebench.worlds.procstyle.render")
    drawn = module.draw_nuisance
    monkeypatch.setattr(
        module, "draw_nuisance", lambda *arguments: drawn(*arguments)._replace(phase=drawn(*arguments).phase + 2 / 64)
    )
    shifted = moved_scenes("ink_hatch", nowhere)
    after = means(reader, shifted, IDS)
    assert max(abs(after[name] - before[name]) for name in before) < 0.05


def test_texture_is_described_beside_its_strength(procstyle: ProcStyle, make_reader: MakeReader) -> None:
    reader = make_reader(procstyle, "ink_hatch")  # 16 lines per picture at -45 degrees: they repeat at +45
    readings = reader.read(render(procstyle, IDS, "ink_hatch", 1.0), IDS)
    assert readings.peak_frequency.median().item() == pytest.approx(16, rel=0.15)
    assert torch.rad2deg(readings.peak_orientation).nanmedian().item() == pytest.approx(45, abs=6)
    own = readings.texture_excess
    noisy = render(procstyle, IDS, "ink_hatch", 1.0).float() + 60 * torch.randn(8, 3, 64, 64)
    assert (reader.read(noisy.round().clamp(0, 255).to(torch.uint8), IDS).texture_excess > own + 0.2).all()


def test_readings_do_not_depend_on_company_or_order(procstyle: ProcStyle, make_reader: MakeReader) -> None:
    reader = make_reader(procstyle, "ink_hatch")
    images = render(procstyle, IDS, "ink_hatch", 1.0)
    whole = reader.read(images, IDS).strength
    turned = reader.read(images.flip(0), IDS[::-1]).strength.flip(0)
    alone = torch.cat([reader.read(images[i : i + 1], [id_]).strength for i, id_ in enumerate(IDS)])
    assert torch.allclose(whole, turned, atol=1e-4, equal_nan=True)
    assert torch.allclose(whole, alone, atol=1e-4, equal_nan=True)


def test_contents_outside_the_calibration_are_read_too(procstyle: ProcStyle, make_reader: MakeReader) -> None:
    reader = make_reader(procstyle, "halftone")
    others = list(SCENES[20:24])
    found = means(reader, render(procstyle, others, "halftone", 0.75), others)
    assert found
    assert all(abs(value - 0.75) < 0.1 for value in found.values())


def test_components_that_cannot_be_read_are_left_out(procstyle: ProcStyle, make_reader: MakeReader) -> None:
    reader = make_reader(procstyle, "ink_hatch")
    readings = reader.read(render(procstyle, IDS, "ink_hatch", 1.0), IDS)
    assert set(readings.components) == set(procstyle.components)
    unread = [name for name, values in readings.components.items() if values.isnan().all()]
    assert "quantization" in unread
    assert set(unread) == set(procstyle.components) - set(reader.highest)
    read = torch.stack([values for name, values in readings.components.items() if name not in unread])
    assert torch.allclose(readings.strength, read.nanmean(0), equal_nan=True)


def test_nothing_can_be_read_of_the_source_as_a_style(procstyle: ProcStyle) -> None:
    reader = StrengthReader(procstyle, "photo", IDS[:2])
    readings = reader.read(render(procstyle, IDS[:2], "photo", 0.0), IDS[:2])
    assert not reader.highest
    assert readings.strength.isnan().all()


def test_bad_input_is_answered(procstyle: ProcStyle, make_reader: MakeReader) -> None:
    reader = make_reader(procstyle, "ink_hatch")
    images = render(procstyle, IDS, "ink_hatch", 1.0)
    with pytest.raises(TypeError, match=r"expects uint8 images, got torch\.float32"):
        reader.read(images / 255, IDS)
    with pytest.raises(ValueError, match=r"expects \(8, 3, 64, 64\) images"):
        reader.read(F.pad(images, (1, 1)), IDS)
    with pytest.raises(ValueError, match=r"expects \(0, 3, 64, 64\) images"):
        reader.read(images[:0], [])
    with pytest.raises(ValueError, match="at least two contents, got 1"):
        StrengthReader(procstyle, "ink_hatch", IDS[:1])
    with pytest.raises(ValueError, match="ink_hatch"):
        StrengthReader(procstyle, "inkhatch", IDS)
