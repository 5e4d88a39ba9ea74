"""The renderer: pure in scene, style and nuisance; effects do what their parameters say."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from stylebench.worlds.procstyle import (
    NAMED_STYLES,
    PHOTO,
    Geometry,
    Palette,
    Pattern,
    Quantization,
    Scenes,
    Shading,
    Stroke,
    Style,
    Texture,
    draw_scenes,
    interpolate,
    prior_style,
    render,
    scene_labels,
)
from stylebench.worlds.procstyle.film import respond

SCENES = draw_scenes([f"render-{number}" for number in range(10)])
MIXED = [PHOTO, *NAMED_STYLES.values(), prior_style(4, "prior")]
PLAIN = Style(
    palette=Palette(
        materials=tuple((0.3 + 0.05 * i, 0.5, 0.7 - 0.05 * i) for i in range(6)),
        backgrounds=tuple((0.75, 0.7 - 0.05 * i, 0.6) for i in range(4)),
    )
)


def shot(style: Style | Sequence[Style], size_px: int = 64, first: int = 0, scenes: Scenes = SCENES) -> Tensor:
    return render(scenes, style, range(first, first + len(scenes)), size_px)


def luminance(images: Tensor) -> Tensor:
    return (images.double() * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]).sum(1) / 255


def plain_with(**groups: object) -> Style:
    return dataclasses.replace(PLAIN, **groups)  # type: ignore[arg-type]


def test_rendering_is_deterministic_and_leaves_random_state_alone() -> None:
    state = torch.get_rng_state()
    assert torch.equal(shot(MIXED), shot(MIXED))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("size_px", [50, 64])
def test_an_image_does_not_depend_on_its_batch(size_px: int) -> None:
    together = shot(MIXED, size_px)
    alone = [render(SCENES.select([i]), MIXED[i], [i], size_px) for i in range(len(MIXED))]
    assert torch.equal(together, torch.cat(alone))
    order = [3, 9, 0, 5, 3]
    again = render(SCENES.select(order), [MIXED[i] for i in order], order, size_px)
    assert torch.equal(again, together[order])


def test_large_batches_are_rendered_in_parts_that_do_not_show() -> None:
    scenes = SCENES.select([*range(10)] * 3)
    every = render(scenes, MIXED * 3, [*range(10)] * 3, 64)
    assert torch.equal(every, shot(MIXED).repeat(3, 1, 1, 1))


def test_nuisance_changes_texture_but_not_what_a_style_is() -> None:
    for name, style in NAMED_STYLES.items():
        one, other = shot(style, first=0), shot(style, first=1000)
        random = max(getattr(style.texture, kind).amplitude for kind in ("hatch", "dots", "brush", "wash", "dry")) > 0
        assert torch.equal(one, other) != random, name
        assert float((one.double().mean((0, 2, 3)) - other.double().mean((0, 2, 3))).abs().max()) < 2


@pytest.mark.parametrize("numbers", [(0, 1), (5, 5 + (1 << 40)), (-1, 0), (1 << 62, 1 << 63)])
def test_any_integers_are_nuisance(numbers: tuple[int, int]) -> None:
    scenes = SCENES.select([0])
    one, other = (render(scenes, NAMED_STYLES["oil_noise"], [number], 32) for number in numbers)
    assert not torch.equal(one, other)


def test_a_plain_style_shows_its_palette() -> None:
    images, labels = shot(PLAIN), scene_labels(SCENES, 64)
    colors = torch.tensor([*PLAIN.palette.materials, *PLAIN.palette.backgrounds])  # (10, 3)
    wanted = (respond(colors) * 255).round().to(torch.uint8)[labels.materials].permute(0, 3, 1, 2)
    inside = (labels.contour.abs() > 1)[:, None].expand_as(images)
    assert torch.equal(images[inside], wanted[inside])


def test_edges_are_antialiased_by_coverage() -> None:
    disc = torch.tensor([[0, -1, -1, -1, -1, -1]])
    center, size = torch.full((1, 6, 2), 0.5), torch.full((1, 6), 0.2)
    turn = torch.tensor([1.0, 0.0]).expand(1, 6, 2)
    zeros = torch.zeros(1, 6, dtype=torch.int64)
    light = torch.tensor([[0.0, 0.0, 1.0]])
    scene = Scenes(torch.tensor([1]), disc, center, size, turn, zeros, torch.tensor([0]), light)
    style = Style(palette=Palette(materials=((1.0,) * 3,) * 6, backgrounds=((0.0,) * 3,) * 4))
    image = render(scene, style, [0], 64)[0, 0].double() / 255
    low, high = (float(respond(torch.tensor(value))) for value in (0.0, 1.0))
    fine = (torch.arange(64 * 16) + 0.5) / (64 * 16) - 0.5
    inside = ((fine[:, None] ** 2 + fine**2) < (0.92 * 0.2) ** 2).double()
    coverage = inside.view(64, 16, 64, 16).mean((1, 3))
    wanted = respond(coverage).double()
    assert float((image - wanted).abs().max()) < 0.06  # a box across the edge against a square pixel
    assert float(((image - low) / (high - low)).sum()) == pytest.approx(float(coverage.sum()), rel=0.01)


def test_sizes_show_the_same_picture() -> None:
    for style in (PHOTO, NAMED_STYLES["watercolor"], NAMED_STYLES["neon_outline"], NAMED_STYLES["flat"]):
        small, large = shot(style, 64), shot(style, 128)
        shrunk = large.double().view(10, 3, 64, 2, 64, 2).mean((3, 5))
        assert float((small.double() - shrunk).abs().mean()) < 4


def test_texture_moves_with_its_object() -> None:
    style = plain_with(texture=Texture(noise=Pattern(0.1, 10.0), hatch=Pattern(0.7, 12.0, 0.5)))
    moved = dataclasses.replace(SCENES, center=SCENES.center + 4 / 64)
    here, there = shot(style), shot(style, scenes=moved)
    labels = scene_labels(SCENES, 64)
    inside = (labels.instances > 0) & (labels.contour < -1.5)
    inside[:, -5:], inside[:, :, -5:] = False, False
    shifted = there[:, :, 4:, 4:]
    mask = inside[:, :60, :60][:, None].expand_as(shifted)
    difference = (here[:, :, :60, :60].int() - shifted.int()).abs()[mask]
    assert float((difference <= 1).double().mean()) > 0.999  # the place within a period is rounded differently


def test_light_raises_brightness_in_proportion_to_its_amount() -> None:
    labels = scene_labels(SCENES, 64)
    inside = (labels.contour.abs() > 1.5) & (labels.instances == 0)
    slopes = []
    for amount in (0.0, 0.3, 0.6):
        bright, light = luminance(shot(plain_with(shading=Shading(lambert=amount))))[inside], labels.light[inside]
        covariance = torch.cov(torch.stack([bright, light.double()]))
        slopes.append(float(covariance[0, 1] / covariance[1, 1]))
    assert abs(slopes[0]) < 0.1
    assert slopes[1] > slopes[0] + 0.1
    assert slopes[2] - slopes[0] == pytest.approx(2 * (slopes[1] - slopes[0]), rel=0.25)


def test_strokes_lie_where_they_are_placed() -> None:
    labels = scene_labels(SCENES, 128)
    for placement, side in ((-1.0, -1), (0.0, 0), (1.0, 1)):
        style = plain_with(stroke=Stroke(amount=1.5, width=4 / 128, color=(-0.3, -0.3, -0.3), placement=placement))
        dark = luminance(shot(style, 128)) < 0.1
        middle = labels.contour[dark].mean()
        assert float(middle) == pytest.approx(2 * side, abs=0.8)
        assert float(labels.contour[dark].abs().max()) < 6


def test_blocks_are_flat_and_levels_few() -> None:
    style = interpolate(PHOTO, plain_with(quantization=Quantization(1.5, 4.0, 1 / 16)), 1.0, ["quantization"])
    images = shot(style)
    blocks = images.view(10, 3, 16, 4, 16, 4)
    assert torch.equal(blocks, blocks[:, :, :, :1, :, :1].expand_as(blocks))
    levels = (luminance(images) * 3).flatten()
    clipped = (images == 0).any(1) | (images == 255).any(1)
    assert float((levels - levels.round()).abs()[~clipped.flatten()].max()) < 0.01


def test_blocks_keep_the_mean_where_they_do_not_fit() -> None:
    style = plain_with(quantization=Quantization(1.5, 4096.0, 5 / 64), texture=Texture(noise=Pattern(0.05, 9.0)))
    blocky = shot(style)
    fine = shot(dataclasses.replace(style, quantization=Quantization()))
    last = (slice(None), slice(None), slice(60, 64), slice(60, 64))  # 64 = 12 * 5 + 4
    torch.testing.assert_close(blocky[last].double().mean((2, 3)), fine[last].double().mean((2, 3)), atol=1.0, rtol=0)


def test_shadows_and_glow_reach_only_what_they_should() -> None:
    labels = scene_labels(SCENES, 64)
    plain = shot(PLAIN).int()
    shaded = shot(plain_with(shading=Shading(shadow=1.0))).int()
    assert bool((shaded <= plain).all())
    assert float((shaded < plain).any(1)[labels.instances == 0].double().mean()) > 0.02
    assert torch.equal(shaded[:, :, :3, :3], plain[:, :, :3, :3])  # far from every object
    glowing = shot(plain_with(stroke=Stroke(glow=0.5, glow_width=0.02, color=(1.0, 1.0, 1.0)))).int()
    near, far = labels.contour.abs() < 1, labels.contour.abs() > 12
    gain = (glowing - plain).sum(1).double()
    assert float(gain[near].mean()) > 20 * max(float(gain[far].mean()), 0.1)


def test_dark_ink_gathers_in_the_dark_and_light_ink_in_the_light() -> None:
    tones = Palette(materials=((0.2,) * 3, *((0.8,) * 3,) * 5), backgrounds=((0.5,) * 3,) * 4)
    labels = scene_labels(SCENES, 64)
    shares = {}
    for name, ink in (("dark", -0.3), ("light", 1.3)):
        texture = Texture(dots=Pattern(1.5, 14.0, 0.6), ink=(ink,) * 3, paper=(0.5,) * 3, reserve=1.5)
        bright = luminance(shot(Style(palette=tones, texture=texture)))
        inked = (bright < 0.4) if name == "dark" else (bright > 0.6)
        inside = labels.contour < -1
        shares[name] = [float(inked[inside & (labels.materials == m)].double().mean()) for m in (0, 1)]
    assert shares["dark"][0] > shares["dark"][1] + 0.3
    assert shares["light"][1] > shares["light"][0] + 0.3


def test_warp_bends_contours() -> None:
    bent = shot(plain_with(geometry=Geometry(warp=0.02, frequency=4.0)))
    changed = (bent != shot(PLAIN)).any(1)
    contour = scene_labels(SCENES, 64).contour.abs()
    assert float(changed[contour < 1].double().mean()) > 0.3
    assert not changed[contour > 8].any()


def test_strengths_run_evenly_from_the_source_to_the_style() -> None:
    for name, style in NAMED_STYLES.items():
        rungs = torch.stack([shot(interpolate(PHOTO, style, s)).double() for s in (0, 0.25, 0.5, 0.75, 1.0, 1.5)])
        blurred = torch.nn.functional.avg_pool2d(rungs.flatten(0, 1), 8).view(6, -1)
        way = blurred[4] - blurred[0]
        places = (blurred - blurred[0]) @ way / (way @ way)
        assert bool((places.diff() > 0).all()), name


def test_wrong_counts() -> None:
    with pytest.raises(ValueError, match=r"got 10 scenes, 1 styles and 10 integers; give one of each for every scene"):
        render(SCENES, [PHOTO], range(10), 32)
    with pytest.raises(ValueError, match=r"got 10 scenes, 10 styles and 9 integers"):
        render(SCENES, PHOTO, range(9), 32)
    with pytest.raises(ValueError, match=r"size_px >= 16, got 8; choose a larger size"):
        render(SCENES, PHOTO, range(10), 8)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("size_px", [64, 128])
def test_cuda_equals_cpu(size_px: int) -> None:
    scenes = draw_scenes([f"cuda-{number}" for number in range(48)])
    styles = [*MIXED, *(prior_style(number, "prior") for number in range(38))]
    cpu = render(scenes, styles, range(48), size_px)
    cuda = render(scenes, styles, range(48), size_px, device="cuda")
    assert cuda.device.type == "cuda"
    assert int((cpu.int() - cuda.cpu().int()).abs().max()) <= 1
    assert torch.equal(cuda, render(scenes.to("cuda"), styles, range(48), size_px, device="cuda"))
