"""The objective over whole pictures: terms, gradient, weights in units of gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor

from stylebench.functional.content import content_loss
from stylebench.functional.gram import gram_loss, gram_matrix
from stylebench.functional.total_variation import total_variation
from stylebench.nn.encoders import CompactEncoder, Encoder
from stylebench.optimization.gatys import Evaluation, Objective, Targets, Weights
from stylebench.optimization.pictures import noise
from stylebench.optimization.style_losses import GramStyle, StyleLoss

CONTENT, STYLE = ["relu2_1", "relu3_1"], ["relu1_1", "relu2_2", "relu3_2"]


def encoder(**options: Any) -> Encoder:
    return CompactEncoder("random", CONTENT, STYLE, "relu2_1", **options).double()


def objective(network: Encoder | None = None, style_loss: StyleLoss | None = None, **options: Any) -> Objective:
    settings: dict[str, Any] = {
        "content_layers": CONTENT, "style_layers": STYLE, "layer_weights": None, "content_norm": "mean",
        "tv_convention": "magenta",
    }  # fmt: skip
    return Objective(network or encoder(), style_loss=style_loss or GramStyle("gatys"), **{**settings, **options})


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def targets(found: Objective, height: int = 70, width: int = 50) -> Targets:
    styles = [found.style_targets(picture(40, 60, 1)), found.style_targets(picture(33, 45, 2))]
    return Targets(found.content_targets(picture(height, width, 3)), styles, (0.25, 0.75))


def evaluated(found: Objective, size: tuple[int, int] = (70, 50)) -> Evaluation:
    return found.evaluate(picture(*size), targets=targets(found, *size), weights=Weights(2.0, 3.0, 0.5))


def test_value_and_gradient_are_those_of_the_formula() -> None:
    found = objective(layer_weights=[1.0, 0.5, 2.0])
    image = picture(70, 50).requires_grad_()
    maps = found.encoder(image, [*CONTENT, *STYLE])
    content = found.encoder(picture(70, 50, 3), CONTENT)
    total = 0.5 * total_variation(image, "magenta").sum()
    for layer in CONTENT:
        total = total + 2.0 * content_loss(maps[layer], content[layer]).sum() / 2  # two layers, equal weights
    for seed, size, share in ((1, (40, 60), 0.25), (2, (33, 45), 0.75)):
        style = found.encoder(picture(*size, seed), STYLE)
        for layer, weight in zip(STYLE, (1.0, 0.5, 2.0), strict=True):
            distance = gram_loss(gram_matrix(maps[layer]), gram_matrix(style[layer]), "gatys").sum()
            total = total + 3.0 * share * weight * distance
    (gradient,) = torch.autograd.grad(total, image)
    result = evaluated(found)
    assert torch.allclose(result.total, total.detach(), rtol=1e-10)
    assert torch.allclose(result.gradient, gradient, rtol=1e-8, atol=1e-12)
    assert result.gradient.is_contiguous()


def test_gatys_content_is_half_the_sum() -> None:
    mean, half = evaluated(objective()), evaluated(objective(content_norm="gatys"))
    for layer in CONTENT:
        entries = objective().content_targets(picture(70, 50, 3))[layer][0].numel()
        assert torch.allclose(half.terms["content"][layer], mean.terms["content"][layer] * entries / 2)


def test_terms_with_weight_zero_are_left_out() -> None:
    found = objective()
    result = found.evaluate(picture(70, 50), targets=targets(found), weights=Weights(1.0, 0.0, 0.0))
    assert set(result.terms) == {"content"}
    assert torch.allclose(result.total, torch.stack(list(result.terms["content"].values())).sum())


def test_calibrated_weights_are_gradients_of_unit_size() -> None:
    found = objective()
    goal, reference = targets(found), picture(70, 50, 9)
    weights = found.calibrated(Weights(1.0, 4.0, 0.25), goal, {"content": reference, "style": reference})
    for name, wanted in (("content", 1.0), ("style", 4.0), ("tv", 0.25)):
        at = reference if name != "tv" else noise((70, 50), reference, 0)
        alone = Weights(**{**dict.fromkeys(Weights._fields, 0.0), name: getattr(weights, name)})
        gradient = found.evaluate(at, targets=goal, weights=alone).gradient
        assert float(gradient.square().mean().sqrt()) == pytest.approx(wanted)


def test_calibration_makes_the_scale_of_an_encoder_irrelevant() -> None:
    gradients = []
    for factor in (1.0, 10.0):
        network = encoder()
        last = network.stages["conv1_1"].conv  # type: ignore[union-attr]
        last.weight.mul_(factor)
        last.bias.mul_(factor)
        options: dict[str, Any] = {"content_layers": ["relu1_1"], "style_layers": ["relu1_1"]}
        found = objective(network, **options)
        goal = Targets(found.content_targets(picture(70, 50, 3)), [found.style_targets(picture(40, 60, 1))], (1.0,))
        weights = found.calibrated(Weights(1.0, 1.0, 0.0), goal, {name: picture(70, 50, 9) for name in Weights._fields})
        gradients.append(found.evaluate(picture(70, 50), targets=goal, weights=weights).gradient)
    assert torch.allclose(*gradients, rtol=1e-8)


def test_unit_at_the_target_itself_comes_from_noise() -> None:
    found = objective()
    goal = Targets(found.content_targets(picture(70, 50, 3)), [found.style_targets(picture(40, 60, 1))], (1.0,))
    weights = found.calibrated(Weights(1.0, 0.0, 0.0), goal, {"content": picture(70, 50, 3)})
    gradient = found.evaluate(noise((70, 50), picture(70, 50), 0), targets=goal, weights=weights).gradient
    assert float(gradient.square().mean().sqrt()) == pytest.approx(1 / 3e-3)  # the least unit: 0.003 of noise's


def test_layer_that_is_no_tap_lists_the_taps() -> None:
    with pytest.raises(ValueError, match=r"no layer 'relu9_1'; choose from conv1_1, relu1_1"):
        objective(style_layers=["relu9_1"])


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="a weight for each of the style layers"):
        objective(layer_weights=[1.0])
    with pytest.raises(ValueError, match="content_norm must be one of mean, gatys"):
        objective(content_norm="sum")


def test_one_color_style_is_refused_by_name() -> None:
    found = objective(style_loss=GramStyle("relative"))
    black = torch.zeros(1, 3, 40, 40, dtype=torch.float64)
    for stage in found.encoder.stages.values():
        for conv in stage.convs().values():  # type: ignore[operator]
            conv.bias.zero_()
    found.encoder.mean.zero_()
    with pytest.raises(ValueError, match="another style image"):
        found.style_targets(black)
