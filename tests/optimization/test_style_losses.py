"""Style losses: their definitions, and sums over parts of a map that give the same distance and gradient."""

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.functional.frechet import frechet_distance, moments
from stylebench.functional.gram import GRAM_NORMS, gram_loss, gram_matrix
from stylebench.functional.kernel_distance import gaussian_mmd
from stylebench.functional.kernel_mmd import pair_variance
from stylebench.optimization.style_losses import (
    BatchStatistics,
    Blend,
    GaussianMMD,
    GaussianWasserstein,
    GramStyle,
    LinearMMD,
    PolynomialMMD,
    StyleLoss,
    Summary,
    Window,
)

LOSSES: dict[str, StyleLoss] = {
    "gram": GramStyle("relative"), "gatys": GramStyle("gatys"), "pca": GramStyle("relative", components=3),
    "linear": LinearMMD(), "poly": PolynomialMMD(), "poly_c": PolynomialMMD(c=0.7), "gauss": GaussianMMD(64),
    "bn": BatchStatistics(), "w2": GaussianWasserstein(), "plain_w2": GaussianWasserstein(relative=False),
    "blend": Blend([BatchStatistics(), PolynomialMMD(c=0.7), GaussianMMD(32)], [2.0, 0.5, 1.0]),
}  # fmt: skip
RELATIVE = ("gram", "pca", "linear", "poly", "bn", "w2")


def features(height: int = 9, width: int = 8, channels: int = 5, seed: int = 0, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    mix = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    return torch.einsum("ij,bjhw->bihw", mix, maps).relu()


def distance(loss: StyleLoss, found: Tensor, style: Tensor) -> Tensor:
    return loss.distance(loss.summarize(found), loss.target(loss.summarize(style)))


def tiles(maps: Tensor, rows: tuple[int, ...], columns: tuple[int, ...]) -> list[tuple[Tensor, Window]]:
    """Cut maps at the given rows and columns, which begin with 0 and end with the size."""
    return [
        (
            maps[:, :, top:bottom, left:right],
            Window(top, left, bottom - top, right - left, rows[-1], columns[-1]),
        )
        for (top, bottom), (left, right) in product(pairwise(rows), pairwise(columns))
    ]


@pytest.mark.parametrize("name", LOSSES)
def test_parts_of_a_map_add_up(name: str) -> None:
    loss, maps = LOSSES[name], features().requires_grad_()
    target = loss.target(loss.summarize(features(7, 6, seed=1, batch=1)))
    whole = loss.distance(loss.summarize(maps, step=3), target)
    parts = [loss.summarize(part, window, step=3) for part, window in tiles(maps, (0, 4, 9), (0, 3, 5, 8))]
    assert len(parts) == 6
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert total.count == 72
    assert len(total.tensors()) == loss.width
    summed = loss.distance(total, target)
    assert whole.shape == (2,)
    assert torch.allclose(summed, whole, rtol=1e-10)
    gradients = [torch.autograd.grad(value.sum(), maps, retain_graph=True)[0] for value in (whole, summed)]
    assert float(gradients[0].abs().max()) > 0
    assert torch.allclose(*gradients, rtol=1e-10, atol=1e-10 * float(gradients[0].abs().max()))


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_goes_back_through_the_sums_tile_by_tile(name: str) -> None:
    loss, maps = LOSSES[name], features().requires_grad_()
    target = loss.target(loss.summarize(features(7, 6, seed=1, batch=1)))
    (whole,) = torch.autograd.grad(loss.distance(loss.summarize(maps), target).sum(), maps)
    pieces = tiles(maps.detach(), (0, 4, 9), (0, 3, 5, 8))
    with torch.no_grad():
        total = loss.summarize(*pieces[0])
        for piece in pieces[1:]:
            total = total + loss.summarize(*piece)
    leaves = [part.requires_grad_() for part in total.tensors()]
    slopes = torch.autograd.grad(loss.distance(total.with_tensors(leaves), target).sum(), leaves)
    for part, window in pieces:
        pixels = part.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss.summarize(pixels, window).tensors(), pixels, slopes)
        own = whole[:, :, window.top : window.top + window.rows, window.left : window.left + window.columns]
        assert torch.allclose(gradient, own, rtol=1e-10, atol=1e-10 * float(whole.abs().max()))


@pytest.mark.parametrize("name", LOSSES)
def test_a_picture_has_no_distance_from_itself(name: str) -> None:
    assert float(distance(LOSSES[name], features(), features()).abs().max()) < 1e-9


@pytest.mark.parametrize("name", LOSSES)
def test_another_picture_of_another_size_has_one(name: str) -> None:
    assert float(distance(LOSSES[name], features(), features(7, 6, seed=1)).min()) > 1e-4


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "gauss" and name != "blend"])
def test_places_do_not_matter(name: str) -> None:
    order = torch.randperm(72, generator=torch.Generator().manual_seed(1))
    shuffled = features().flatten(2)[:, :, order].reshape(2, 5, 8, 9)
    style = features(7, 6, seed=1)
    assert torch.allclose(distance(LOSSES[name], shuffled, style), distance(LOSSES[name], features(), style))


@pytest.mark.parametrize("name", RELATIVE)
def test_relative_losses_have_the_styles_distance_from_zero_as_unit(name: str) -> None:
    style = features(7, 6, seed=1)
    nothing = distance(LOSSES[name], torch.zeros_like(style), style)
    # The root of eps = 1e-5 stays as deviation of a map of zeros.
    assert torch.allclose(nothing, torch.ones(2).double(), rtol=1e-2 if name == "bn" else 1e-9)


@pytest.mark.parametrize("name", [*RELATIVE, "gauss"])
def test_scale_of_a_layer_does_not_matter(name: str) -> None:
    found, style = features(), features(7, 6, seed=1)
    scaled = distance(LOSSES[name], 10 * found, 10 * style)
    assert torch.allclose(scaled, distance(LOSSES[name], found, style), rtol=1e-4 if name == "bn" else 1e-9)


@pytest.mark.parametrize("norm", GRAM_NORMS)
def test_gram_is_the_gram_loss(norm: str) -> None:
    found, style = features(), features(7, 6, seed=1)
    wanted = gram_loss(gram_matrix(found), gram_matrix(style), norm)
    assert torch.allclose(distance(GramStyle(norm), found, style), wanted)


def test_components_are_those_of_projected_features() -> None:
    found, style = features(batch=1), features(7, 6, seed=1, batch=1)
    flat = style[0].flatten(1).numpy()  # (5, 42)
    vectors = np.linalg.svd(flat)[0][:, :3]
    projected = [torch.einsum("ck,bchw->bkhw", torch.from_numpy(vectors.copy()), maps) for maps in (found, style)]
    for norm in ("gatys", "relative"):
        wanted = gram_loss(gram_matrix(projected[0]), gram_matrix(projected[1]), norm)
        assert torch.allclose(distance(GramStyle(norm, components=3), found, style), wanted)
    full = distance(GramStyle("gatys"), found, style)
    assert torch.allclose(distance(GramStyle("gatys", components=99), found, style), full)


def test_polynomial_mmd_is_the_double_sum_and_equals_gram() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(1, 8, 5, 10, generator=generator, dtype=torch.float64)  # N = 8, M = 50
    second = torch.rand(1, 8, 4, 9, generator=generator, dtype=torch.float64)
    x, s = (maps[0].flatten(1).T.numpy() for maps in (first, second))
    for c in (0.0, 0.7):
        kernel = [((a @ b.T + c) ** 2).mean() for a, b in ((x, x), (s, s), (x, s))]
        wanted = kernel[0] + kernel[1] - 2 * kernel[2]
        assert distance(PolynomialMMD(c, relative=False), first, second).item() == pytest.approx(wanted, rel=1e-10)
        # Features of 0 have k(0, 0) = k(0, s) = c^2: the unit is mean k(s, s) - c^2.
        relative = wanted / (kernel[1] - c**2)
        assert distance(PolynomialMMD(c), first, second).item() == pytest.approx(relative, rel=1e-10)
    gatys = distance(GramStyle("gatys"), first, second).item()
    plain = distance(PolynomialMMD(relative=False), first, second).item()
    assert plain == pytest.approx(4 * 8**2 * gatys, rel=1e-10)
    assert torch.allclose(distance(PolynomialMMD(), first, second), distance(GramStyle(), first, second))


def test_linear_mmd_and_batch_statistics_by_numpy() -> None:
    found, style = features(), features(7, 6, seed=1)
    x, s = (maps.flatten(2).numpy() for maps in (found, style))
    means = ((x.mean(2) - s.mean(2)) ** 2).sum(1)
    assert np.allclose(distance(LinearMMD(relative=False), found, style).numpy(), means)
    assert np.allclose(distance(LinearMMD(), found, style).numpy(), means / (s.mean(2) ** 2).sum(1))
    deviations = [np.sqrt(part.var(2) + 1e-5) for part in (x, s)]
    both = ((x.mean(2) - s.mean(2)) ** 2 + (deviations[0] - deviations[1]) ** 2).mean(1)
    assert np.allclose(distance(BatchStatistics(relative=False), found, style).numpy(), both)
    assert np.allclose(distance(BatchStatistics(), found, style).numpy(), both / (s**2).mean((1, 2)))


def test_batch_statistics_of_a_constant_map_have_a_finite_gradient() -> None:
    found = torch.full((1, 5, 4, 4), 0.3, requires_grad=True)
    distance(BatchStatistics(), found, features(7, 6, seed=1, batch=1).float()).sum().backward()
    assert found.grad is not None
    assert bool(found.grad.isfinite().all())


def test_wasserstein_is_the_frechet_distance() -> None:
    found, style = features(batch=1), features(7, 6, seed=1, batch=1)
    x, s = (moments(maps[0].flatten(1).T) for maps in (found, style))
    unbiased = [n / (n - 1) for n in (72, 42)]
    wanted = frechet_distance(x.mean, x.covariance / unbiased[0], s.mean, s.covariance / unbiased[1])
    assert distance(GaussianWasserstein(relative=False), found, style).item() == pytest.approx(wanted, rel=1e-8)
    energy = style.square().sum(1).mean().item()
    assert distance(GaussianWasserstein(), found, style).item() == pytest.approx(wanted / energy, rel=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wasserstein_of_fewer_positions_than_channels_has_a_finite_gradient(dtype: torch.dtype) -> None:
    found = features(2, 2, channels=9).to(dtype).requires_grad_()
    style = features(2, 3, channels=9, seed=1).to(dtype)
    (gradient,) = torch.autograd.grad(distance(GaussianWasserstein(), found, style).sum(), found)
    assert bool(gradient.isfinite().all())
    with torch.no_grad():
        lower = distance(GaussianWasserstein(), found - 1e-2 * gradient, style)
        assert bool((lower < distance(GaussianWasserstein(), found, style)).all())


def test_wasserstein_of_float32_features_has_the_gradient_of_float64() -> None:
    # As many channels as positions: the covariance is just short of full rank, where its root amplifies rounding.
    found, style = features(4, 4, channels=16).float(), features(5, 5, channels=16, seed=1).float()
    gradients = []
    for dtype in (torch.float32, torch.float64):
        maps = found.to(dtype).requires_grad_()
        (gradient,) = torch.autograd.grad(distance(GaussianWasserstein(), maps, style.to(dtype)).sum(), maps)
        gradients.append(gradient.double())
    assert float((gradients[0] - gradients[1]).abs().max()) < 1e-6 * float(gradients[1].abs().max())


def test_losses_of_different_precision_blend() -> None:
    loss = Blend([GaussianWasserstein(), GramStyle()], [1.0, 1.0])
    found, style = features().float().requires_grad_(), features(7, 6, seed=1).float()
    (gradient,) = torch.autograd.grad(distance(loss, found, style).sum(), found)
    assert gradient.dtype == torch.float32


def test_gaussian_mmd_is_unbiased_over_steps() -> None:
    found, style = features(12, 11, batch=1), features(7, 6, seed=1, batch=1)
    loss, other = GaussianMMD(512), GaussianMMD(512, seed=1)
    draws = [(loss.summarize(found, step=step), other.target(other.summarize(style, step=step))) for step in range(200)]
    mean = np.mean([loss.distance(*draw).item() for draw in draws])
    variance = np.mean([pair_variance(summary.parts[0], target).item() for summary, target in draws])
    exact = gaussian_mmd(found[0].flatten(1).T, style[0].flatten(1).T, sigma=variance**0.5, scale=1.0)
    # 51,200 pairs with a deviation of about 0.4: a standard error of 0.002.
    assert exact > 0.05
    assert mean == pytest.approx(exact, abs=0.01)


def test_gaussian_positions_follow_from_seed_and_step() -> None:
    maps = features()
    loss = GaussianMMD(64)
    first, again, later = (loss.summarize(maps, step=step).parts[0] for step in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, GaussianMMD(64, seed=5).summarize(maps, step=1).parts[0])


def test_gaussian_positions_are_redrawn_as_often_as_asked() -> None:
    for every, groups in ((1, [0, 1, 2, 3]), (2, [0, 0, 1, 1]), (0, [0, 0, 0, 0])):
        loss = GaussianMMD(64, redraw_every=every)
        drawn = [loss.positions(1000, step) for step in range(4)]
        distinct = [next(j for j in range(i + 1) if torch.equal(drawn[i], drawn[j])) for i in range(4)]
        assert [distinct.index(place) for place in distinct] == [groups.index(group) for group in groups]


def test_gaussian_samples_are_the_features_at_the_positions() -> None:
    loss, maps = GaussianMMD(64), features()
    assert torch.equal(loss.summarize(maps, step=2).parts[0], maps.flatten(2)[:, :, loss.positions(72, 2)])


def test_a_tile_without_a_drawn_position_still_has_a_gradient() -> None:
    maps = features(2, 2).requires_grad_()
    summary = GaussianMMD(2).summarize(maps, Window(0, 0, 2, 2, 1000, 1000))
    (gradient,) = torch.autograd.grad(summary.parts[0].sum(), maps)
    assert bool((gradient == 0).all())


def test_a_tile_must_have_the_size_of_its_window() -> None:
    with pytest.raises(ValueError, match="a tile of 3 x 4 positions, as its window says, got 9 x 8"):
        GaussianMMD(8).summarize(features(), Window(0, 0, 3, 4, 9, 8))


def test_blend_is_the_weighted_sum() -> None:
    found, style = features(), features(7, 6, seed=1)
    own = [distance(loss, found, style) for loss in (BatchStatistics(), PolynomialMMD(c=0.7), GaussianMMD(32))]
    assert torch.allclose(distance(LOSSES["blend"], found, style), 2 * own[0] + 0.5 * own[1] + own[2])
    nested = Blend([LOSSES["blend"], LinearMMD()], [1.0, 0.0])
    assert torch.allclose(distance(nested, found, style), distance(LOSSES["blend"], found, style))


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_lifted_also_inside_autocast(name: str) -> None:
    loss = LOSSES[name]
    found, style = features(64, 64).half(), features(48, 64, seed=1).half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = distance(loss, found, style)
    assert value.dtype == (torch.float64 if name in ("w2", "plain_w2") else torch.float32)
    assert torch.allclose(value, distance(loss, found.float(), style.float()))
    assert torch.allclose(value.double(), distance(loss, found.double(), style.double()), rtol=1e-4, atol=1e-5)


def test_losses_hold_no_state() -> None:
    for loss in LOSSES.values():
        assert not loss.state_dict()
        assert not [*loss.parameters()]


@pytest.mark.parametrize("name", LOSSES)
def test_targets_take_no_gradient(name: str) -> None:
    def tensors(target: Any) -> list[Tensor]:
        if isinstance(target, Tensor):
            return [target]
        return [] if target is None else [one for part in target for one in tensors(part)]

    style = features(7, 6, seed=1).requires_grad_()
    found = tensors(LOSSES[name].target(LOSSES[name].summarize(style)))
    assert found
    assert not any(tensor.requires_grad for tensor in found)


def test_summaries_of_different_losses_do_not_add() -> None:
    with pytest.raises(ValueError, match="zip"):
        Summary(1, (torch.ones(1),)) + Summary(1, (torch.ones(1), torch.ones(1)))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: GramStyle("l2"), "norm must be one of gatys, .*, got 'l2'"),
        (lambda: GramStyle(components=0), "components must be a whole number of at least 1, got 0"),
        (lambda: PolynomialMMD(d=3), "d must be 2, got 3"),
        (lambda: PolynomialMMD(c=-1), "c must be a finite number of at least 0, got -1"),
        (lambda: GaussianMMD(samples=7), "samples must be even.*got 7"),
        (lambda: GaussianMMD(samples=0), "samples must be a whole number of at least 1, got 0"),
        (lambda: GaussianMMD(redraw_every=-1), "redraw_every must be a whole number of at least 0, got -1"),
        (lambda: Blend([LinearMMD()], [1.0, 2.0]), "a weight for each, got 1 and 2 weights"),
        (lambda: Blend([], []), "a weight for each, got 0"),
        (lambda: Blend([LinearMMD()], [-1.0]), "each of weights must be a finite number of at least 0, got -1.0"),
        (lambda: LinearMMD().summarize(torch.zeros(3, 4, 4)), r"\(B, C, H, W\), got shape \(3, 4, 4\)"),
    ],
)
def test_settings_that_make_no_sense(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("name", RELATIVE)
def test_style_that_cannot_be_a_unit_is_refused_by_name(name: str) -> None:
    loss = LOSSES[name]
    for broken in (torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), float("nan"))):
        with pytest.raises(ValueError, match=r"relu5_1.*another style image|not finite|relu5_1.*norm"):
            loss.target(loss.summarize(broken), "relu5_1")


@pytest.mark.parametrize("make", [LinearMMD, PolynomialMMD, BatchStatistics, GaussianWasserstein])
def test_plain_distances_take_any_style(make: type[StyleLoss]) -> None:
    loss = make(relative=False)  # type: ignore[call-arg]
    style = torch.zeros(1, 5, 4, 4, dtype=torch.float64)
    assert bool((distance(loss, features(), style) > 0).all())
    assert float(distance(loss, style, style)) == 0
