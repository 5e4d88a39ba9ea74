"""An adapted network's weights load where batch norm alone is known, and give what the network gives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from stylebench.adaptation.adabn import recalibrate
from stylebench.functional.moments import MeanAndVariance
from stylebench.nn.classifiers.resnet import ResNet
from stylebench.nn.domain_batch_norm import DomainBatchNorm
from stylebench.nn.mixture_norm import MIXTURES, MixtureNorm
from stylebench.nn.normalization import NoBatchNormError, convert, keep, using
from stylebench.nn.plain_weights import plain_weights

CLASSES = 7


def images(seed: int = 0) -> Tensor:
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def plain(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.BatchNorm2d(width))


def moved(network: nn.Module) -> nn.Module:
    """Give every layer of two domains moments, and what it learns, of its own."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in [*network.named_buffers(), *network.named_parameters()]:
            if name.endswith(("_mean", "_variance", "target_weight", "target_bias")):
                value.add_(torch.rand(value.shape, generator=generator, dtype=value.dtype))
    return network.eval()


@pytest.mark.parametrize("statistics", ["target", "source", "running"])
@pytest.mark.parametrize(
    "make",
    [lambda layer, kind=kind: MixtureNorm(layer, 0.7, learned=True, mixture=kind) for kind in MIXTURES]
    + [lambda layer: MixtureNorm(layer, 0.7, mixes=False), DomainBatchNorm],
)
def test_converted_layers(make: Callable[[nn.Module], nn.Module], statistics: str) -> None:
    torch.manual_seed(0)
    network = moved(convert(plain(), make))
    other = plain().eval()
    other.load_state_dict(plain_weights(network, statistics))
    with torch.no_grad(), using(network, statistics):
        torch.testing.assert_close(other(images()), network(images()))


@pytest.mark.parametrize("converted", [False, True])
def test_a_further_domain(converted: bool) -> None:
    torch.manual_seed(0)
    network = moved(convert(plain(), lambda layer: MixtureNorm(layer, 0.7)) if converted else plain())
    found = MeanAndVariance(torch.rand(4).double(), 1 + torch.rand(4).double())
    keep(network, "dusk", {"1": found})
    other = plain().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    other.load_state_dict(plain_weights(network, "dusk"))
    with torch.no_grad(), using(network, "dusk"):
        torch.testing.assert_close(other(images()), network(images()))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("converted", [False, True], ids=["adabn", "autodial"])
def test_torchvision_loads_a_residual_network(converted: bool) -> None:
    torch.manual_seed(0)
    network = ResNet(CLASSES).eval()
    if converted:
        convert(network, lambda layer: MixtureNorm(layer, 0.8, learned=True))
    keep(network, "target", recalibrate(network, [images(2)]).statistics)
    theirs = resnet18(num_classes=CLASSES).eval()
    theirs.load_state_dict(network.torchvision_weights("target"))
    with torch.no_grad(), using(network, "target"):
        found = network(images())
        torch.testing.assert_close(theirs((images() - network.mean) / network.std), found)
    with torch.no_grad(), using(network, "source"):
        assert not torch.allclose(network(images()), found, rtol=0.01)


def test_what_has_no_plain_weights_is_said() -> None:
    network = plain()
    for statistics, match in (("batch", "statistics=batch"), ("image", "statistics=image"), ("dawn", "dawn.*source")):
        with pytest.raises(ValueError, match=match):
            plain_weights(network, statistics)
    with pytest.raises(NoBatchNormError, match="InstanceNorm2d"):
        plain_weights(nn.InstanceNorm2d(3), "running")
