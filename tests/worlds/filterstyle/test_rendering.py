"""Photographs in styles: identity at strength 0, nuisance, batches, sizes, devices."""

import pickle

import pytest
import torch
from torch import Tensor

from stylebench.functional.dead_leaves import dead_leaves
from stylebench.worlds.filterstyle import (
    FILTERS,
    NAMED_STYLES,
    PHOTO,
    Style,
    apply_style,
    benchmark,
    make_style,
    prior_style,
)
from stylebench.worlds.filterstyle.styles import filter_function

WITHOUT_NUISANCE = {"palette_map", "kuwahara", "posterize_edges"}
EVERY = [*NAMED_STYLES.values(), *(prior_style(number, "prior") for number in range(8))]


@pytest.fixture(scope="module")
def photographs() -> Tensor:
    return dead_leaves(3, 48, seed=11)


def levels_apart(first: Tensor, second: Tensor) -> int:
    return int((first.int() - second.int()).abs().max())


@pytest.mark.parametrize("style", EVERY, ids=lambda style: style.filter)
def test_strength_zero_is_the_photograph(photographs: Tensor, style: Style) -> None:
    # The filter's own formula, without the short cut of apply_style.
    seeds = {"seeds": torch.arange(3)} if style.has_nuisance else {}
    drawn = filter_function(style)(photographs / 255, 0.0, **seeds, **style.parameters)
    assert levels_apart((drawn.clamp(0, 1) * 255).round(), photographs) <= 1
    assert levels_apart(apply_style(photographs, style, [0, 1, 2], 0.0), photographs) <= 1


@pytest.mark.parametrize("style", EVERY, ids=lambda style: style.filter)
def test_a_small_strength_changes_little_and_the_full_one_much(photographs: Tensor, style: Style) -> None:
    weak, full = (apply_style(photographs, style, [0, 1, 2], strength).float() for strength in (0.02, 1.0))
    assert (weak - photographs).abs().mean() < 3
    assert (full - photographs).abs().mean() > 4


@pytest.mark.parametrize("name", FILTERS)
def test_nuisance_decides_where_there_is_one(photographs: Tensor, name: str) -> None:
    style = NAMED_STYLES[name]
    first, again, other = (apply_style(photographs, style, numbers) for numbers in ((1, 2, 3), (1, 2, 3), (4, 5, 6)))
    assert torch.equal(first, again)
    assert style.has_nuisance == (name not in WITHOUT_NUISANCE)
    assert torch.equal(first, other) == (name in WITHOUT_NUISANCE)


@pytest.mark.parametrize("name", sorted(set(FILTERS) - WITHOUT_NUISANCE))
def test_nuisance_leaves_areas_their_color(name: str) -> None:
    # Paper, phase and offset: means over areas of 64 px stay within a few levels.
    image = dead_leaves(1, 128, seed=2).expand(2, -1, -1, -1)
    drawn = apply_style(image, NAMED_STYLES[name], [1, 2]).float()
    areas = torch.nn.functional.avg_pool2d(drawn, 64)
    assert (areas[0] - areas[1]).abs().max() < (14 if name == "watercolor" else 5)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("xdog", {"grain": 0.0}), ("watercolor", {"clouds": 0.0, "grain": 0.0, "wobble": 0.0})],
)
def test_nuisance_works_through_its_own_parameters_only(
    photographs: Tensor, name: str, parameters: dict[str, float]
) -> None:
    style = make_style(name, **parameters)
    assert torch.equal(apply_style(photographs, style, [1, 2, 3]), apply_style(photographs, style, [7, 8, 9]))


@pytest.mark.parametrize("shape", [(40, 40), (37, 21), (16, 64)])
def test_a_picture_does_not_depend_on_its_batch(shape: tuple[int, int]) -> None:
    images = torch.randint(
        0, 256, (len(EVERY), 3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    numbers, strengths = range(100, 100 + len(EVERY)), [0.1 + number / 12 for number in range(len(EVERY))]
    together = apply_style(images, EVERY, numbers, strengths)
    assert together.shape == images.shape
    for place, style in enumerate(EVERY):
        alone = apply_style(images[place : place + 1], style, [numbers[place]], strengths[place])
        assert torch.equal(alone[0], together[place]), style.filter


def test_float_photographs_give_the_same_and_nothing_is_changed_in_place(photographs: Tensor) -> None:
    before = photographs.clone()
    for style in NAMED_STYLES.values():
        drawn = apply_style(photographs, style, [0, 1, 2])
        assert drawn.dtype == torch.uint8
        assert levels_apart(apply_style(photographs.float() / 255, style, [0, 1, 2]), drawn) == 0
    assert torch.equal(photographs, before)
    assert torch.equal(apply_style(photographs, PHOTO, [0, 1, 2]), photographs)


@pytest.mark.parametrize("name", FILTERS)
def test_lengths_scale_with_the_short_side(name: str) -> None:
    # A smooth picture of twice the size, shrunk, looks as the small one does: areas keep their mean colors.
    small = torch.nn.functional.avg_pool2d(dead_leaves(1, 256, seed=4).float(), 4)
    large = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear").round().to(torch.uint8)
    drawn = [apply_style(image, NAMED_STYLES[name], [3]).float() for image in (small.round().to(torch.uint8), large)]
    areas = [torch.nn.functional.adaptive_avg_pool2d(image, 4) for image in drawn]
    assert (areas[0] - areas[1]).abs().mean() < 9


def test_strength_moves_on_beyond_one(photographs: Tensor) -> None:
    for style in NAMED_STYLES.values():
        changes = [
            (apply_style(photographs, style, [0, 1, 2], strength).float() - photographs).abs().mean()
            for strength in (0.25, 0.5, 1.0, 1.5)
        ]
        assert changes == sorted(changes), style.filter


@pytest.mark.parametrize(
    ("images", "arguments", "error", "message"),
    [
        (torch.zeros(1, 1, 32, 32), {}, ValueError, r"\(B, 3, H, W\) with H and W >= 16, got \(1, 1, 32, 32\)"),
        (torch.zeros(1, 3, 15, 32), {}, ValueError, r"got \(1, 3, 15, 32\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.float64), {}, TypeError, r"float32 in \[0, 1\], got torch.float64"),
        (torch.zeros(1, 3, 32, 32), {"nuisance": [1, 2]}, ValueError, "one nuisance for each of 1 images, got 2"),
        (torch.zeros(1, 3, 32, 32), {"style": [PHOTO] * 3}, ValueError, "one style for each of 1 images, got 3"),
        (torch.zeros(1, 3, 32, 32), {"strength": [1.0, 1.0]}, ValueError, "one strength for each"),
        (torch.zeros(1, 3, 32, 32), {"strength": 1.6}, ValueError, r"strength in \[0, 1.5\], got 1.6"),
        (torch.zeros(1, 3, 32, 32), {"strength": float("nan")}, ValueError, "got nan"),
    ],
)
def test_bad_input_is_refused(
    images: Tensor, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        apply_style(images, **{"style": PHOTO, "nuisance": [0], **arguments})


def test_styles_are_values(photographs: Tensor) -> None:
    style = prior_style(3, "prior")
    copy = pickle.loads(pickle.dumps(style))
    assert copy == style
    assert len({style, copy}) == 1
    assert torch.equal(apply_style(photographs, copy, [1, 1, 1]), apply_style(photographs, style, [1, 1, 1]))


@pytest.mark.slow
def test_benchmark_counts_pictures() -> None:
    assert benchmark(32, 0.5) > 10


def test_benchmark_refuses_no_time() -> None:
    with pytest.raises(ValueError, match="seconds > 0, got 0"):
        benchmark(32, 0)


@pytest.mark.gpu
@pytest.mark.parametrize("style", EVERY, ids=lambda style: style.filter)
def test_cuda_equals_cpu_within_a_level(style: Style) -> None:
    images = dead_leaves(4, 96, seed=1)
    on_cpu = apply_style(images, style, range(4), [0.5, 1.0, 1.0, 1.5])
    on_cuda = apply_style(images.cuda(), style, range(4), [0.5, 1.0, 1.0, 1.5]).cpu()
    apart = (on_cpu.int() - on_cuda.int()).abs()
    # Steps (posterize_edges) and thresholds fall to the other side where rounding decides: single pixels.
    assert (apart > 1).double().mean() < 1e-3
