"""What no filter may do unless its style says so: texture a plain picture, prefer a side, darken a small picture."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from stylebench.functional.dead_leaves import dead_leaves
from stylebench.worlds.filters.smoothing import bilateral_blur, gaussian_blur
from stylebench.worlds.filterstyle.rendering import apply_style
from stylebench.worlds.filterstyle.styles import FILTERS, NAMED_STYLES, make_style
from stylebench.worlds.procstyle import NAMED_STYLES as RENDERED
from stylebench.worlds.procstyle import draw_scenes, render

PLAIN_COLORS = [[30, 120, 200], [128, 128, 128], [0, 0, 0], [255, 255, 255], [250, 20, 90]]
# Without paper, which is grain by design. Dots, hatches and a grid of pixels have a direction or a phase of their own.
BARE = {"xdog": {"grain": 0.0}, "watercolor": {"grain": 0.0, "clouds": 0.0, "wobble": 0.0}}
DIRECTED = ("halftone", "hatching", "pixel_art")
MEAN_LEVELS = 10


def photographs(size_px: int) -> Tensor:
    """Return 6 pictures of 32 px, or the same ones larger: (6, 3, S, S) uint8."""
    small = dead_leaves(6, 32, 0)
    if size_px == 32:
        return small
    return interpolate(small.float(), (size_px, size_px), mode="bicubic").round().clamp(0, 255).byte()


def bare(name: str) -> Callable[[Tensor], Tensor]:
    style = make_style(name, **BARE.get(name, {}))
    return lambda images: apply_style(images, style, [3] * len(images)).float()


def smooth(blur: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda images: blur(images / 255) * 255


FUNCTIONS = {
    **{name: bare(name) for name in FILTERS},
    "gaussian_blur": smooth(lambda images: gaussian_blur(images, 2.0)),
    "bilateral_blur": smooth(lambda images: bilateral_blur(images, 2.0, 0.1, 2)),
}


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("halftone", "hatching")])
def test_a_plain_picture_stays_plain(name: str) -> None:
    plain = torch.tensor(PLAIN_COLORS, dtype=torch.uint8)[:, :, None, None].expand(-1, -1, 32, 32).contiguous()
    result = FUNCTIONS[name](plain)
    torch.testing.assert_close(result, result[:, :, :1, :1].expand_as(result), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in DIRECTED])
@pytest.mark.parametrize("axis", [-1, -2])
def test_a_mirrored_picture_gives_the_mirrored_result(name: str, axis: int) -> None:
    images = photographs(32)
    result, mirrored = FUNCTIONS[name](images), FUNCTIONS[name](images.flip(axis)).flip(axis)
    torch.testing.assert_close(mirrored, result, rtol=0, atol=1)  # sums in another order may round to another level


@pytest.mark.parametrize("name", ["kuwahara", "posterize_edges", "pixel_art", "gaussian_blur", "bilateral_blur"])
def test_a_filter_that_keeps_colors_keeps_the_mean_of_a_small_picture(name: str) -> None:
    images = photographs(32)
    change = FUNCTIONS[name](images).mean((1, 2, 3)) - images.float().mean((1, 2, 3))
    assert change.abs().max() < MEAN_LEVELS


@pytest.mark.parametrize("name", [name for name in FILTERS if name != "hatching"])  # whole lines at a few thresholds
def test_a_small_picture_is_as_bright_as_a_large_one(name: str) -> None:
    small, large = (apply_style(photographs(size), NAMED_STYLES[name], [3] * 6).float() for size in (32, 128))
    assert (small.mean((1, 2, 3)) - large.mean((1, 2, 3))).abs().max() < MEAN_LEVELS


@pytest.mark.parametrize("name", RENDERED)
def test_a_small_render_is_as_bright_as_a_large_one(name: str) -> None:
    scenes = draw_scenes([f"bright-{number}" for number in range(6)])
    small, large = (render(scenes, RENDERED[name], range(6), size).float() for size in (32, 128))
    assert (small.mean((1, 2, 3)) - large.mean((1, 2, 3))).abs().max() < MEAN_LEVELS


@pytest.mark.parametrize("name", ["flat", "neon_outline"])
def test_a_scene_without_objects_is_one_color(name: str) -> None:
    scenes = draw_scenes(["empty-0", "empty-1"])
    empty = dataclasses.replace(scenes, count=torch.zeros_like(scenes.count), shape=torch.full_like(scenes.shape, -1))
    result = render(empty, RENDERED[name], range(2), 32)
    assert torch.equal(result, result[:, :, :1, :1].expand_as(result))
