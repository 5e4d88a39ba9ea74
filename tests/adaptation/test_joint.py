"""AutoDIAL and DSBN as strategies: what they make of a network, their loss, alpha's steps, exact recalibration."""

import logging
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stylebench.adaptation.adabn import recalibrate
from stylebench.adaptation.autodial import AutoDIAL
from stylebench.adaptation.base import Outputs
from stylebench.adaptation.dsbn import DSBN
from stylebench.adaptation.joint import JointStrategy
from stylebench.functional.moments import MeanAndVariance, domain_distance
from stylebench.nn.classifiers.digits import DigitNet
from stylebench.nn.domain_batch_norm import DomainBatchNorm
from stylebench.nn.domain_norms import joint
from stylebench.nn.mixture_norm import MixtureNorm
from stylebench.nn.normalization import NoBatchNormError, using


def autodial(**changed: Any) -> AutoDIAL:
    settings = {
        "alpha": 1.0, "learned": True, "by_channel": False, "lr_factor": 1.0, "mixture": "moments",
        "entropy_weight": 0.1, "eval_moments": "mixture", "recalibrate": "exact", "propagate": "sequential",
        "sync_moments": False,
    }  # fmt: skip
    return AutoDIAL(**{**settings, **changed})


def dsbn(**changed: Any) -> DSBN:
    settings = {"entropy_weight": 0.1, "recalibrate": "exact", "propagate": "sequential", "sync_moments": False}
    return DSBN(**{**settings, **changed})


def images(count: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


def network(strategy: JointStrategy) -> nn.Module:
    torch.manual_seed(0)
    return strategy.convert(DigitNet(classes=3, width=4))


STRATEGIES = [(autodial, MixtureNorm), (dsbn, DomainBatchNorm)]


@pytest.mark.parametrize(("make", "layer"), STRATEGIES)
def test_every_batch_norm_is_replaced_once(make: Any, layer: type) -> None:
    strategy = make()
    converted = network(strategy)
    there = [part for part in converted.modules() if isinstance(part, layer)]
    strategy.convert(converted)
    assert len(there) == 4
    assert [part for part in converted.modules() if isinstance(part, layer)] == there
    with pytest.raises(NoBatchNormError, match="GroupNorm"):
        strategy.convert(nn.Sequential(nn.GroupNorm(1, 3)))


class NormAct(nn.BatchNorm2d):  # as timm's BatchNormAct2d
    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps).relu()


def test_a_norm_with_an_activation_is_refused() -> None:
    for strategy in (autodial(), dsbn()):
        with pytest.raises(ValueError, match=r"NormAct does more.*BatchNorm2d"):
            strategy.convert(nn.Sequential(nn.Conv2d(3, 3, 1), NormAct(3)))


def test_the_loss_has_the_mean_entropy_of_the_target() -> None:
    strategy = autodial()
    logits = torch.tensor([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0]])
    outputs = Outputs(torch.zeros(2, 3), logits, torch.zeros(2, 1), torch.zeros(2, 1))
    found = strategy.terms(outputs, 0.5)
    assert float(found["entropy"]) == pytest.approx(math.log(3) / 2)
    assert strategy.weights == {"entropy": 0.1}
    figures = strategy.figures(nn.Identity())
    assert figures == {"target_entropy": pytest.approx(0.5), "target_largest_class": 1.0}


def test_a_collapse_is_said(caplog: pytest.LogCaptureFixture) -> None:
    certain, spread = torch.tensor([[100.0, 0.0]] * 4), torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 2)
    for logits, weight, told in ((certain, 0.1, True), (certain, 0.0, False), (spread, 0.1, False)):
        strategy, outputs = autodial(entropy_weight=weight), Outputs(logits, logits, logits, logits)
        strategy.terms(outputs, 0.0)
        caplog.clear()
        strategy.figures(nn.Identity())
        assert ("adaptation.entropy_weight" in caplog.text) == told


@pytest.mark.parametrize(("make", "layer"), STRATEGIES)
def test_a_batch_without_target_images_is_the_source_s_own(
    make: Any, layer: type, caplog: pytest.LogCaptureFixture
) -> None:
    strategy = make()
    converted = network(strategy)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            outputs = strategy.outputs(converted, images(4), images(0))
    assert outputs.source.isfinite().all()
    assert outputs.source.shape == (4, 3)
    assert strategy.terms(outputs, 0.0) == {}
    assert caplog.text.count("no images of the target") == 1


def test_both_domains_go_through_in_one_batch_of_uneven_parts() -> None:
    strategy = autodial(alpha=0.7)
    converted = network(strategy)
    source, target = images(5), images(3, 1, 0.5)
    outputs = strategy.outputs(converted, source, target)
    with joint(converted, 5):
        expected = converted(torch.cat([source, target]))
    torch.testing.assert_close(torch.cat([outputs.source, outputs.target]), expected)  # type: ignore[list-item]
    assert outputs.source_features.shape == (5, 16)


def test_alphas_are_learned_in_a_group_of_their_own() -> None:
    strategy = autodial(lr_factor=3.0)
    converted = network(strategy)
    weights, alphas = strategy.parameter_groups(converted)
    assert (alphas["weight_decay"], alphas["lr_factor"], len(alphas["params"])) == (0.0, 3.0, 4)
    assert all(each.ndim == 0 for each in alphas["params"])
    found = [each for group in (weights, alphas) for each in group["params"]]
    assert sorted(map(id, found)) == sorted(map(id, converted.parameters()))
    assert set(strategy.figures(converted)) == {f"alpha/layers.{place}" for place in (2, 6, 9, 12)}


def test_alpha_stays_in_its_range_at_a_rate_of_1_and_leaves_1_when_told() -> None:
    strategy = autodial()
    norm = strategy.convert(nn.Sequential(nn.BatchNorm1d(3)))
    (alpha,) = strategy.parameter_groups(norm)[1]["params"]
    optimizer = torch.optim.SGD([alpha], lr=1.0)
    features = torch.cat([images(6).mean((2, 3)), 2 + images(6, 1).mean((2, 3))])
    values = []
    for step in range(200):
        with joint(norm, 6):
            found = norm(features)
        apart = found[6:].mean() - found[:6].mean()  # 0 at alpha 1, most at 0.5
        (-apart if step < 100 else apart).backward()
        optimizer.step()
        optimizer.zero_grad()
        strategy.after_step(norm)
        values.append(float(alpha.detach()))
    assert all(0.5 <= value <= 1.0 for value in values)
    assert values[99] == 0.5
    assert values[-1] == 1.0


def test_a_fixed_alpha_is_no_parameter() -> None:
    strategy = autodial(alpha=0.5, learned=False)
    converted = network(strategy)
    assert len(strategy.parameter_groups(converted)) == 1
    assert not any("alpha" in name for name, _ in converted.named_parameters())
    assert strategy.figures(converted)["alpha/layers.2"] == 0.5


@pytest.mark.parametrize(
    ("eval_moments", "alpha"), [("mixture", 0.7), ("target", 0.7), ("source", 0.7), ("mixture", 1.0), ("target", 1.0)]
)
def test_tested_with_the_moments_asked_for(eval_moments: str, alpha: float) -> None:
    strategy = autodial(alpha=alpha, eval_moments=eval_moments)
    converted = network(strategy)
    layer = converted.layers[2]  # type: ignore[index, union-attr]
    layer.source_mean.fill_(1.0)
    layer.target_mean.fill_(3.0)
    layer.target_variance.fill_(2.0)
    own, share = {"mixture": (3.0, alpha), "target": (3.0, 1.0), "source": (1.0, 1.0)}[eval_moments]
    mean = share * own + (1 - share) * 1.0
    variance = share * {"source": 1.0}.get(eval_moments, 2.0) + (1 - share) * 1.0 + share * (1 - share) * 4
    maps = images(2).sum(1, keepdim=True).expand(-1, 4, -1, -1)
    with using(converted, strategy.own_statistics):
        torch.testing.assert_close(layer(maps), (maps - mean) / math.sqrt(variance + layer.eps))


@pytest.mark.parametrize("make", [autodial, dsbn])
def test_recalibrated_moments_are_those_of_all_images_of_a_domain(make: Any) -> None:
    """At alpha 1 the domains do not touch, so every layer's moments can be measured in the final network."""
    strategy = make()
    converted = network(strategy)
    shown = {"source": images(40), "target": images(30, 1, 0.5)}
    for domain, each in shown.items():
        report = strategy.calibrate(converted, each.split(7), domain)
        assert report is not None
        assert report.images == len(each)
    for domain, each in shown.items():
        seen: dict[str, Tensor] = {}
        layers = {name: part for name, part in converted.named_modules() if hasattr(part, "source_mean")}
        for name, layer in layers.items():
            layer.register_forward_pre_hook(
                lambda _, inputs, name=name, seen=seen: seen.update({name: inputs[0].clone()})
            )
        with using(converted.eval(), domain), torch.no_grad():
            converted(each)
        for name, layer in layers.items():
            kept = layer.statistics(domain)  # type: ignore[operator]
            maps = seen[name].double()
            torch.testing.assert_close(kept.mean, maps.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(kept.variance, maps.var((0, 2, 3), correction=0), rtol=1e-5, atol=1e-6)


def test_a_further_domain_s_distance_is_that_from_the_source() -> None:
    converted = autodial(learned=False).convert(nn.Sequential(nn.BatchNorm2d(2)))
    layer = converted[0]
    layer.target_mean.fill_(5.0)
    data = images(40)[:, :2]
    report = recalibrate(converted, [data])
    moments = MeanAndVariance(data.double().mean((0, 2, 3)), data.double().var((0, 2, 3), correction=0))
    assert report.layers["0"].distance == pytest.approx(domain_distance(layer.statistics("source"), moments), rel=1e-5)


@pytest.mark.parametrize("propagate", ["sequential", "batch"])
def test_domains_that_mix_are_recalibrated_in_turn_until_little_changes(propagate: str) -> None:
    strategy = autodial(alpha=0.7, propagate=propagate)
    converted = network(strategy)
    shown = {"source": images(64).split(16), "target": images(64, 1, 0.5).split(16)}
    found = []
    for _ in range(strategy.rounds(converted) + 1):
        for domain, batches in shown.items():
            strategy.calibrate(converted, batches, domain)
        layers = [part for part in converted.modules() if isinstance(part, MixtureNorm)]
        found.append(torch.cat([layer.target_variance for layer in layers]))
    assert (found[-1] / found[-2] - 1).abs().max() < 1e-3
    assert (found[-1] / found[0] - 1).abs().max() > 1e-2  # from the moments that the network began with


def test_domains_that_do_not_mix_are_recalibrated_once() -> None:
    for alpha, eval_moments, rounds in ((1.0, "mixture", 1), (0.9, "target", 1), (0.9, "mixture", 2)):
        strategy = autodial(alpha=alpha, eval_moments=eval_moments)
        assert strategy.rounds(network(strategy)) == rounds


def test_averages_of_training_may_stay() -> None:
    strategy = autodial(recalibrate="average")
    assert strategy.calibrate(network(strategy), images(4).split(2), "target") is None


def test_a_dsbn_that_nothing_teaches_says_so(caplog: pytest.LogCaptureFixture) -> None:
    dsbn()
    assert not caplog.text
    dsbn(entropy_weight=0.0)
    assert "adaptation.entropy_weight=0" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", 0.4), ("alpha", 1.1), ("learned", 1), ("by_channel", None), ("lr_factor", -1.0), ("mixture", "mean"),
        ("entropy_weight", -0.1), ("eval_moments", "both"), ("recalibrate", "no"), ("propagate", "iterate"),
        ("sync_moments", 1),
    ],
)  # fmt: skip
def test_settings_out_of_their_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"adaptation\.{name}.*{value}"):
        autodial(**{name: value})
