"""Read-outs of strength where the strength is known: both worlds render it."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stylebench.data.filterstyle.world import FilterStyle
from stylebench.data.folders import Folders
from stylebench.data.procstyle import NAMED_STYLES
from stylebench.data.procstyle.world import ProcStyle
from stylebench.data.worlds import SOURCE
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.metrics.strength import StrengthReader

QUICK = ("ink_hatch", "oil_noise", "neon_outline", "prior-3")
FILTERS = ("halftone", "posterize_edges")
UNSEEN = 50  # a nuisance draw that no calibration uses
IDS = [f"test-{number:05d}" for number in range(8)]
MakeReader = Callable[[str], StrengthReader]


@pytest.fixture(scope="module")
def procstyle(tmp_path_factory: pytest.TempPathFactory) -> ProcStyle:
    return ProcStyle(64, 2, 2, 40, packed=False, cache=str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def filterstyle(tmp_path_factory: pytest.TempPathFactory) -> FilterStyle:
    folder = tmp_path_factory.mktemp("photographs")
    for number, image in enumerate(dead_leaves(8, 128, seed=3)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    folders = Folders(str(tmp_path_factory.mktemp("cache")), 128, 10**6, "stop", 0.0, 0.0)
    return FilterStyle(str(folder), 128, packed=False, photographs=folders)


@pytest.fixture(scope="module")
def make_reader(procstyle: ProcStyle) -> MakeReader:
    """Make a reader of a style over eight scenes, once."""
    made: dict[str, StrengthReader] = {}

    def make(style: str) -> StrengthReader:
        if style not in made:
            made[style] = StrengthReader(procstyle, style, IDS)
        return made[style]

    return make


def means(reader: StrengthReader, images: Tensor, ids: list[str] = IDS) -> dict[str, float]:
    """Return the mean reading of each component that can be read."""
    readings = reader.read(images, ids)
    read = {name: values for name, values in readings.components.items() if not values.isnan().all()}
    return {name: float(values.nanmean()) for name, values in read.items()}


@pytest.mark.parametrize("style", QUICK)
def test_source_style_and_steps_between_read_as_what_they_are(style: str, make_reader: MakeReader) -> None:
    reader = make_reader(style)
    world, ids = reader.world, IDS
    assert len(means(reader, world.render(ids, style))) >= 2
    for strength in (0.25, 0.5, 0.75, 1.0):
        images = world.render(ids, style, purpose="calibration", draw=UNSEEN, strength=strength)
        assert all(abs(value - strength) < 0.1 for value in means(reader, images).values())
    assert all(abs(value) < 0.1 for value in means(reader, world.render(ids, SOURCE, draw=UNSEEN)).values())


@pytest.mark.parametrize("style", FILTERS)
def test_filters_read_as_what_they_are(style: str, filterstyle: FilterStyle) -> None:
    ids = filterstyle.photographs.ids
    reader = StrengthReader(filterstyle, style, ids)
    for strength in (0.0, 0.35, 0.6, 1.0):
        images = filterstyle.render(ids, style, purpose="calibration", draw=UNSEEN, strength=strength)
        found = means(reader, images, ids)
        assert found
        assert all(abs(value - strength) < 0.1 for value in found.values()), (strength, found)


def test_blur_takes_the_texture_away(make_reader: MakeReader, procstyle: ProcStyle) -> None:
    reader = make_reader("ink_hatch")
    period = 1 / reader.band.frequency
    kernel = torch.exp(-0.5 * (torch.arange(-12, 13) / (period / 3)) ** 2)
    kernel = kernel / kernel.sum()
    images = procstyle.render(IDS, "ink_hatch", draw=UNSEEN).float().flatten(0, 1)[:, None]
    padded = F.pad(images, (12, 12, 12, 12), mode="reflect")
    blurred = F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])
    blurred = blurred.view(-1, 3, 64, 64).round().to(torch.uint8)
    assert means(reader, blurred)["texture"] < 0.3


def test_shifting_a_picture_by_two_pixels_changes_little(make_reader: MakeReader, procstyle: ProcStyle) -> None:
    reader = make_reader("oil_noise")
    large = procstyle.render(IDS, "oil_noise", draw=UNSEEN)
    shifted = F.pad(large.float(), (2, 0, 2, 0), mode="replicate")[..., :64, :64].to(torch.uint8)
    before, after = means(reader, large), means(reader, shifted)
    assert before.keys() == after.keys()
    assert all(abs(before[name] - after[name]) < 0.05 for name in ("palette", "texture"))


def test_flat_fill_of_the_right_colors_has_palette_but_no_texture(
    make_reader: MakeReader, procstyle: ProcStyle
) -> None:
    reader = make_reader("oil_noise")
    regions = procstyle.anatomy(IDS).regions.float()  # (B, R, H, W)
    images = procstyle.render(IDS, "oil_noise").float()
    colors = torch.einsum("bchw,brhw->brc", images, regions) / regions.sum((2, 3)).clamp(min=1)[..., None]
    flat = torch.einsum("brc,brhw->bchw", colors, regions).round().to(torch.uint8)
    found = means(reader, flat)
    assert found["palette"] == pytest.approx(1, abs=0.1)
    assert found["texture"] < 0.2


def test_components_are_told_apart(make_reader: MakeReader, procstyle: ProcStyle) -> None:
    reader = make_reader("oil_noise")
    palette = means(reader, procstyle.render(IDS, "oil_noise", draw=UNSEEN, components=["palette"]))
    texture = means(reader, procstyle.render(IDS, "oil_noise", draw=UNSEEN, components=["texture"]))
    assert palette["palette"] > 0.8
    assert palette["texture"] < 0.3
    assert texture["texture"] > 0.6
    assert texture["palette"] < 0.3


def test_another_style_is_not_taken_for_this_one(make_reader: MakeReader, procstyle: ProcStyle) -> None:
    reader = make_reader("ink_hatch")
    found = means(reader, procstyle.render(IDS, "neon_outline"))
    assert abs(found["palette"] - 1) > 0.3


def test_readings_do_not_depend_on_company_or_order(make_reader: MakeReader, procstyle: ProcStyle) -> None:
    reader = make_reader("ink_hatch")
    images = procstyle.render(IDS, "ink_hatch", draw=UNSEEN)
    whole = reader.read(images, IDS).strength
    turned = reader.read(images.flip(0), IDS[::-1]).strength.flip(0)
    alone = torch.cat([reader.read(images[i : i + 1], [id_]).strength for i, id_ in enumerate(IDS)])
    assert torch.allclose(whole, turned, atol=1e-4, equal_nan=True)
    assert torch.allclose(whole, alone, atol=1e-4, equal_nan=True)


def test_what_a_style_does_not_change_is_left_out(make_reader: MakeReader, procstyle: ProcStyle) -> None:
    reader = make_reader("ink_hatch")
    readings = reader.read(procstyle.render(IDS, "ink_hatch"), IDS)
    assert set(readings.components) == set(procstyle.components)
    unread = [name for name, values in readings.components.items() if bool(values.isnan().all())]
    assert unread
    stacked = torch.stack([readings.components[name] for name in procstyle.components if name not in unread])
    assert torch.allclose(readings.strength, stacked.nanmean(0), equal_nan=True)


def test_bad_input_is_answered(make_reader: MakeReader, procstyle: ProcStyle) -> None:
    reader = make_reader("ink_hatch")
    images = procstyle.render(IDS, "ink_hatch")
    with pytest.raises(TypeError, match=r"expects uint8 images, got torch\.float32"):
        reader.read(images / 255, IDS)
    with pytest.raises(ValueError, match=r"expects \(8, 3, 64, 64\) images"):
        reader.read(images[:, :, :32], IDS)
    with pytest.raises(ValueError, match="at least two contents, got 1"):
        StrengthReader(procstyle, "ink_hatch", IDS[:1])
    with pytest.raises(ValueError, match="ink_hatch"):
        StrengthReader(procstyle, "inkhatch", IDS)


@pytest.mark.slow
@pytest.mark.parametrize("style", [*NAMED_STYLES, *(f"prior-{n}" for n in range(8))])
def test_known_strengths_in_full(style: str, procstyle: ProcStyle) -> None:
    ids = [f"test-{number:05d}" for number in range(32)]
    reader = StrengthReader(procstyle, style, ids)
    for strength in (0.0, 0.1, 0.35, 0.5, 0.6, 0.9, 1.0):
        images = procstyle.render(
            ids, style if strength else SOURCE, purpose="calibration", draw=UNSEEN, strength=strength or 1.0
        )
        found = means(reader, images, ids)
        assert all(abs(value - strength) <= 0.05 for value in found.values()), (strength, found)
