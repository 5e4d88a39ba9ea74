"""DANN: the reversal, the domain classifier's loss, both ways of the forward pass."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stylebench.adaptation.base import Outputs
from stylebench.adaptation.dann import DANN, reversal
from stylebench.nn.classifiers.digits import DigitNet
from stylebench.nn.seeded_dropout import seeded_dropout


def dann(**changed: Any) -> DANN:
    settings = {"domain_weight": 1.0, "width": 8, "dropout": 0.0, "slope": 10.0, "forward": "joint", "batches": 100}
    return DANN(**{**settings, **changed})


def network(strategy: DANN) -> nn.Module:
    torch.manual_seed(0)
    return strategy.convert(DigitNet(classes=3, width=4))


def images(count: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


def test_the_reversal_rises_as_the_paper_says() -> None:
    expected = [0.0, 2 / (1 + math.exp(-2.5)) - 1, 2 / (1 + math.exp(-10)) - 1]
    assert [reversal(progress, 10.0) for progress in (0.0, 0.25, 1.0)] == pytest.approx(expected)


def test_the_gradient_of_the_features_is_reversed_and_the_classifier_s_is_not() -> None:
    strategy = dann()
    network(strategy)
    drawn = [images(4).mean((2, 3)).repeat(1, 6)[:, :16], images(4, 1).mean((2, 3)).repeat(1, 6)[:, :16]]
    features = [each.clone().requires_grad_() for each in drawn]
    term = strategy.terms(Outputs(features[0], features[1], *features), progress=0.25)["domain"]
    plain = [each.clone().requires_grad_() for each in drawn]
    logits = strategy.discriminator(torch.cat(plain)).squeeze(1)
    share = torch.cat([(1 - logits[:4].sigmoid()).log(), logits[4:].sigmoid().log()])
    expected = -share.mean()
    torch.testing.assert_close(term, expected)
    found = torch.autograd.grad(term, [*features, *strategy.parameters()])
    wanted = torch.autograd.grad(expected, [*plain, *strategy.parameters()])
    factor = reversal(0.25, 10.0)
    for mine, its in zip(found[:2], wanted[:2], strict=True):
        torch.testing.assert_close(mine, -factor * its)
    for mine, its in zip(found[2:], wanted[2:], strict=True):
        torch.testing.assert_close(mine, its)


def test_the_domain_classifier_is_trained_and_its_accuracy_told() -> None:
    strategy = dann()
    converted = network(strategy)
    (group,) = strategy.parameter_groups(converted)
    assert {id(each) for each in strategy.discriminator.parameters()} <= {id(each) for each in group["params"]}
    assert strategy.figures(converted) == {}
    optimizer = torch.optim.Adam(strategy.parameters(), 0.01)
    source, target = torch.zeros(6, 16), torch.ones(6, 16)
    for _ in range(100):
        optimizer.zero_grad()
        strategy.terms(Outputs(source, target, source, target), 0.5)["domain"].backward()
        optimizer.step()
    assert strategy.figures(converted) == {"domain_accuracy": 1.0}


def test_one_batch_mixes_the_domains_in_batch_norm_and_two_do_not() -> None:
    source, target = images(4), images(4, 1, 0.3)
    found = {}
    for forward in ("joint", "separate"):
        strategy = dann(forward=forward)
        found[forward] = strategy.outputs(network(strategy).train(), source, target)
        converted = network(strategy).train()
        parts = [torch.cat([source, target])] if forward == "joint" else [source, target]
        expected = torch.cat([converted(part) for part in parts])
        torch.testing.assert_close(torch.cat([found[forward].source, found[forward].target]), expected)  # type: ignore[list-item]
    assert not torch.allclose(found["joint"].source, found["separate"].source)


def test_dropout_follows_from_seeds() -> None:
    strategy = dann(dropout=0.5)
    network(strategy)
    features = images(4).mean((2, 3)).repeat(1, 6)[:, :16]
    outputs = Outputs(features, features, features, features)
    losses = []
    for seed in (0, 0, 9):
        with seeded_dropout(strategy, torch.arange(4) + seed):
            losses.append(float(strategy.terms(outputs, 0.5)["domain"].detach()))
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [("domain_weight", -1.0), ("width", 0), ("dropout", 1.0), ("slope", -1.0), ("forward", "both"), ("batches", 0)],
)
def test_settings_out_of_their_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"adaptation\.{name}.*{value}"):
        dann(**{name: value})
