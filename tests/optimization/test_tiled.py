"""Tiles: the same value and gradient as the objective over whole pictures."""

from typing import Any

import pytest
import torch
from torch import Tensor

from stylebench.nn.encoders import CompactEncoder, Encoder, SqueezeNetEncoder
from stylebench.optimization.gatys import Evaluation, Objective, Targets, Weights
from stylebench.optimization.style_losses import (
    BatchStatistics,
    Blend,
    GaussianMMD,
    GaussianWasserstein,
    GramStyle,
    LinearMMD,
    PolynomialMMD,
    StyleLoss,
)
from stylebench.optimization.tiled import TiledObjective

CONTENT, STYLE = ["relu2_1", "relu3_1"], ["relu1_1", "relu2_2", "relu3_2"]
ALL = Weights(2.0, 3.0, 0.5)
LOSSES = {
    "gram": GramStyle("gatys"), "components": GramStyle(components=6), "linear": LinearMMD(),
    "polynomial": PolynomialMMD(c=0.5), "moments": BatchStatistics(), "wasserstein": GaussianWasserstein(),
    "gaussian": GaussianMMD(64), "blend": Blend([GramStyle(), BatchStatistics()], [1.0, 2.0]),
}  # fmt: skip


def encoder(**options: Any) -> Encoder:
    return CompactEncoder("random", CONTENT, STYLE, "relu2_1", **options).double()


def objective(network: Encoder, tile_px: int | None, **options: Any) -> Objective:
    settings: dict[str, Any] = {
        "content_layers": CONTENT, "style_layers": STYLE, "style_loss": GramStyle("gatys"), "layer_weights": None,
        "content_norm": "mean", "tv_convention": "magenta", **options,
    }  # fmt: skip
    return Objective(network, **settings) if tile_px is None else TiledObjective(network, tile_px=tile_px, **settings)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def evaluated(found: Objective, size: tuple[int, int], weights: Weights = ALL) -> Evaluation:
    styles = [found.style_targets(picture(90, 70, 1)), found.style_targets(picture(33, 45, 2))]
    targets = Targets(found.content_targets(picture(*size, 3)), styles, (0.25, 0.75))
    return found.evaluate(picture(*size), step=3, targets=targets, weights=weights)


def assert_equal(tiled: Evaluation, whole: Evaluation, tolerance: float) -> None:
    """Compare up to rounding: the gradient's errors by its largest entry."""
    assert torch.allclose(tiled.total, whole.total, rtol=tolerance)
    assert tiled.gradient.is_contiguous()
    largest = float(whole.gradient.abs().max())
    assert largest > 0
    assert torch.allclose(tiled.gradient, whole.gradient, rtol=0, atol=tolerance * largest)
    assert list(tiled.terms) == list(whole.terms)
    for name, terms in whole.terms.items():
        if name == "tv":
            assert torch.equal(tiled.terms[name], terms)
        else:
            assert list(tiled.terms[name]) == list(terms)
            assert all(torch.allclose(tiled.terms[name][layer], term, rtol=tolerance) for layer, term in terms.items())


@pytest.mark.parametrize("size", [(201, 133), (130, 96)])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_tiles_give_the_gradient_of_the_whole_picture(size: tuple[int, int], padding: str) -> None:
    network = encoder(padding=padding)
    whole, tiled = (evaluated(objective(network, side), size) for side in (None, 64))
    assert_equal(tiled, whole, 1e-9)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_tiles_give_the_gradient_of_every_style_loss(loss: StyleLoss) -> None:
    network = encoder()
    whole, tiled = (
        evaluated(objective(network, side, style_loss=loss, content_norm="gatys"), (100, 70)) for side in (None, 32)
    )
    assert_equal(tiled, whole, 1e-9)


@pytest.mark.parametrize("weights", [Weights(1.0, 0.0, 0.0), Weights(0.0, 1.0, 0.0), Weights(0.0, 0.0, 1.0)])
def test_terms_without_a_weight_are_left_out_of_tiles_too(weights: Weights) -> None:
    network = encoder()
    whole, tiled = (evaluated(objective(network, side), (100, 70), weights) for side in (None, 32))
    assert len(whole.terms) == 1
    assert_equal(tiled, whole, 1e-9)


def test_one_tile_is_the_whole_picture_bit_by_bit() -> None:
    network = encoder()
    whole, tiled = (evaluated(objective(network, side), (64, 50)) for side in (None, 64))
    assert torch.equal(tiled.gradient, whole.gradient)
    assert torch.equal(tiled.total, whole.total)


def test_three_by_two_tiles_in_float32_with_squeezenet() -> None:
    network = SqueezeNetEncoder("random", True, ["pool4"], ["conv1", "fire3", "fire5"], "fire2")
    options: dict[str, Any] = {
        "content_layers": ["pool4"], "style_layers": ["conv1", "fire3", "fire5"], "style_loss": GramStyle("relative"),
    }  # fmt: skip
    results = []
    for tile_px in (None, 64):
        found = objective(network, tile_px, **options)
        goal = Targets(
            found.content_targets(picture(187, 121, 3).float()),
            [found.style_targets(picture(90, 70, 1).float())],
            (1.0,),
        )
        results.append(found.evaluate(picture(187, 121).float(), targets=goal, weights=Weights(1.0, 1.0, 0.0)))
    assert isinstance(found, TiledObjective)
    assert len(found.tiles(picture(187, 121), found.style_layers)) == 6
    difference = (results[1].gradient - results[0].gradient).abs().max()
    assert difference <= 1e-5 * results[0].gradient.abs().max()


def test_tiles_without_halo_would_show() -> None:
    network = encoder()
    whole, tiled = objective(network, None), objective(network, 64)
    network.reach_px = lambda layer: 0  # type: ignore[method-assign]
    expected = evaluated(whole, (130, 96)).gradient
    assert (evaluated(tiled, (130, 96)).gradient - expected).abs().max() > 1e-3 * expected.abs().max()
