"""Strategies that act in a test alone: prediction-time BN, alpha-BN, TENT."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stylebench.adaptation.alpha_bn import AlphaBN
from stylebench.adaptation.base import Strategy
from stylebench.adaptation.pred_bn import PredictionTimeBN
from stylebench.adaptation.tent import Tent
from stylebench.inference.classifier import NetworkClassifier
from stylebench.nn.classifiers.digits import DigitNet
from stylebench.nn.normalization import NoBatchNormError, using


def alpha_bn(**changed: Any) -> AlphaBN:
    return AlphaBN(**{"prior_images": 16.0, "mixture": "linear", "batch_size": 32, **changed})


def tent(**changed: Any) -> Tent:
    return Tent(**{"lr": 0.01, "steps": 1, "episodic": False, "batch_size": 32, **changed})


def images(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)  # of many colors, so that they are not all of one class
    return torch.rand(count, 3, 1, 1, generator=generator) * torch.rand(count, 3, 12, 12, generator=generator)


def network() -> nn.Module:
    torch.manual_seed(0)
    made = DigitNet(classes=3, width=4)
    nn.init.normal_(made.head.weight, std=2.0)
    for _ in range(5):
        made.train()(images(16) / 2)
    with torch.no_grad():
        made.head.bias.copy_(-made(images(48, 9)).mean(0))  # no class is always the largest
    return made.eval()


def test_prediction_time_bn_normalizes_by_the_batch_and_keeps_nothing() -> None:
    strategy, made = PredictionTimeBN(batch_size=8), network()
    before = copy.deepcopy(made.state_dict())
    with torch.no_grad():
        found = strategy.predict(made, images(6), strategy.own_statistics)
        expected = copy.deepcopy(made).train()(images(6))
    torch.testing.assert_close(found, expected)
    assert all(torch.equal(each, before[name]) for name, each in made.state_dict().items())


@pytest.mark.parametrize("mixture", ["linear", "moments"])
def test_alpha_bn_weighs_the_batch_with_the_source(mixture: str) -> None:
    norm = nn.BatchNorm2d(3).double().eval()
    nn.init.normal_(norm.weight)
    norm.running_mean.fill_(2.0)  # type: ignore[union-attr]
    norm.running_var.fill_(3.0)  # type: ignore[union-attr]
    maps = images(8).double()
    found = alpha_bn(mixture=mixture).predict(norm, maps, "batch")
    share = 8 / 24
    batch = maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)
    mean, variance = share * batch[0] + (1 - share) * 2, share * batch[1] + (1 - share) * 3
    if mixture == "moments":
        variance += share * (1 - share) * (batch[0] - 2) ** 2
    shape = (1, 3, 1, 1)
    expected = (maps - mean.view(shape)) / (variance + norm.eps).sqrt().view(shape) * norm.weight.view(shape)
    torch.testing.assert_close(found, expected)
    assert torch.equal(norm.running_mean, torch.full((3,), 2.0, dtype=torch.float64))  # type: ignore[arg-type]


def test_alpha_bn_lies_between_prediction_time_bn_and_the_source() -> None:
    made = network()
    with torch.no_grad():
        none, all_but = (alpha_bn(prior_images=prior).predict(made, images(6), "batch") for prior in (0.0, 1e12))
        torch.testing.assert_close(none, PredictionTimeBN(8).predict(made, images(6), "batch"), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(all_but, made(images(6)), rtol=1e-4, atol=1e-4)


def test_alpha_bn_holds_in_a_compiled_network() -> None:
    made = network()
    compiled = torch.compile(made, backend="eager")
    with torch.no_grad():
        compiled(images(6))
        found = alpha_bn().predict(compiled, images(6), "batch")
        torch.testing.assert_close(found, alpha_bn().predict(made, images(6), "batch"))


def entropy(logits: Tensor) -> float:
    shares = logits.double().softmax(1)
    return float(-(shares * shares.log()).sum(1).mean())


def by_hand(made: nn.Module, batches: list[Tensor], lr: float, steps: int) -> list[Tensor]:
    """TENT as its authors' code has it: the network itself is changed."""
    learner = copy.deepcopy(made).train()
    scales = [each for part in learner.modules() if isinstance(part, nn.BatchNorm2d) for each in part.parameters()]
    optimizer, found = torch.optim.Adam(scales, lr), []
    for batch in batches:
        for _ in range(steps):
            logits = learner(batch)
            shares = logits.softmax(1)
            optimizer.zero_grad()
            (-(shares * logits.log_softmax(1)).sum(1).mean()).backward()
            optimizer.step()
        found.append(logits.detach())
    return found


@pytest.mark.parametrize("steps", [1, 2])
def test_tent_is_the_authors_and_leaves_the_network_alone(steps: int) -> None:
    made, strategy = network(), tent(steps=steps)
    before = copy.deepcopy(made.state_dict())
    batches = [images(16, seed) for seed in range(3)]
    with torch.no_grad():
        found = [strategy.predict(made, batch, "batch") for batch in batches]
    for mine, its in zip(found, by_hand(made, batches, 0.01, steps), strict=True):
        torch.testing.assert_close(mine, its)
        assert not mine.requires_grad
    assert all(torch.equal(each, before[name]) for name, each in made.state_dict().items())
    assert all(each.grad is None for each in made.parameters())


def test_tent_begins_anew_with_a_domain_a_batch_or_other_weights() -> None:
    made, batch = network(), images(16)
    first = tent().predict(made, batch, "batch")
    strategy = tent()
    assert torch.equal(strategy.predict(made, batch, "batch"), first)
    assert entropy(strategy.predict(made, batch, "batch")) < entropy(first)
    strategy.reset()
    assert torch.equal(strategy.predict(made, batch, "batch"), first)
    episodic = tent(episodic=True)
    assert all(torch.equal(episodic.predict(made, batch, "batch"), first) for _ in range(2))
    with torch.no_grad():
        made.layers[2].weight.mul_(2)  # type: ignore[index, union-attr]
    torch.testing.assert_close(strategy.predict(made, batch, "batch"), tent().predict(made, batch, "batch"))


def test_tent_works_where_no_gradient_is_wanted_and_leaves_other_statistics_alone() -> None:
    made, strategy = network(), tent()
    expected = tent().predict(made, images(16), "batch")
    with torch.inference_mode():
        torch.testing.assert_close(strategy.predict(made, images(16).clone(), "batch"), expected)
        assert torch.equal(strategy.predict(made, images(4), "source"), made(images(4)))


def test_tent_stops_where_predictions_collapse_until_the_next_domain(caplog: pytest.LogCaptureFixture) -> None:
    made, strategy = network(), tent()
    with torch.no_grad():
        made.head.bias.copy_(torch.tensor([500.0, 0.0, 0.0]))  # type: ignore[union-attr]
        with using(made, "batch"):
            expected = made(images(16, 1))
    for seed in (0, 1):
        found = strategy.predict(made, images(16, seed), "batch")
    torch.testing.assert_close(found, expected)
    assert caplog.text.count("collapse") == 1
    strategy.reset()
    strategy.predict(made, images(16), "batch")
    assert caplog.text.count("collapse") == 2
    caplog.clear()
    tent().predict(made, images(5), "batch")  # too few to say
    assert not caplog.text


@pytest.mark.parametrize("make", [lambda: PredictionTimeBN(8), alpha_bn, tent])
def test_networks_without_batch_norm_are_refused_before_training(make: Any) -> None:
    with pytest.raises(NoBatchNormError, match="GroupNorm"):
        make().convert(nn.Sequential(nn.GroupNorm(1, 3)))


def test_tent_needs_scales() -> None:
    with pytest.raises(NoBatchNormError, match="affine=True"):
        tent().convert(nn.Sequential(nn.BatchNorm2d(3, affine=False)))


@pytest.mark.parametrize("strategy", [PredictionTimeBN(8), alpha_bn(), tent()])
def test_a_classifier_uses_what_its_strategy_says_unless_told(strategy: Strategy) -> None:
    torch.manual_seed(0)
    model = NetworkClassifier(lambda classes: DigitNet(classes, 4), strategy, ["a", "b", "c"], 12)
    expected = copy.deepcopy(strategy).predict(model.network.eval(), images(8), "batch")
    torch.testing.assert_close(model.classify(images(8)), expected)
    torch.testing.assert_close(model.classify(images(8), statistics="source"), model.network(images(8)))


def test_largest_entropy_is_1_of_its_share() -> None:
    from stylebench.functional.entropy import certainty

    found = certainty(torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]).double())
    binary = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert [float(each) for each in found] == pytest.approx([(1 + binary) / 2, 1.0])


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (PredictionTimeBN, "batch_size", 1), (alpha_bn, "prior_images", -1.0), (alpha_bn, "mixture", "std"),
        (alpha_bn, "batch_size", 0), (tent, "lr", -1.0), (tent, "steps", 0), (tent, "episodic", 1),
        (tent, "batch_size", 1),
    ],
)  # fmt: skip
def test_settings_out_of_their_range_are_refused(make: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"adaptation\.{name}.*{value}"):
        make(**{name: value})
