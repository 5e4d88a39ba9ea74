"""DSBN's layer against two batch norms: forward, gradients, evaluation, loading."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from stylebench.nn.domain_batch_norm import DomainBatchNorm
from stylebench.nn.domain_norms import joint
from stylebench.nn.normalization import using


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made() -> tuple[DomainBatchNorm, nn.BatchNorm2d, nn.BatchNorm2d]:
    """Return the layer and, for each domain, a batch norm with the same scales and shifts."""
    plain = [nn.BatchNorm2d(3).double() for _ in range(2)]
    for layer in plain:
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    norm = DomainBatchNorm(plain[0])
    with torch.no_grad():
        norm.target_weight.copy_(plain[1].weight)
        norm.target_bias.copy_(plain[1].bias)
    return norm, plain[0], plain[1]


@pytest.mark.parametrize(("sources", "targets"), [(4, 3), (4, 0), (0, 3)])
def test_each_domain_has_a_batch_norm_of_its_own(sources: int, targets: int) -> None:
    norm, *plain = made()
    maps = torch.cat([drawn(sources, 3, 4, 5), 2 + 3 * drawn(targets, 3, 4, 5, seed=1)])
    for _ in range(200):
        with joint(norm, sources):
            found = norm(maps)
    parts = maps.split((sources, targets))
    expected = torch.cat([layer(part) for layer, part in zip(plain, parts, strict=True) if len(part)])
    torch.testing.assert_close(found, expected)
    for name, part in zip(("source", "target"), parts, strict=True):
        if not len(part):
            assert torch.equal(norm.statistics(name).mean, torch.zeros(3, dtype=torch.float64))
            continue
        torch.testing.assert_close(norm.statistics(name).mean, part.mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
        variance = part.var((0, 2, 3), correction=0)
        torch.testing.assert_close(norm.statistics(name).variance, variance, rtol=1e-6, atol=1e-6)


def test_gradients() -> None:
    norm = made()[0]
    names = ("weight", "bias", "target_weight", "target_bias")

    def forward(maps: Tensor, *values: Tensor) -> Tensor:
        with joint(norm, 3):
            result: Tensor = torch.func.functional_call(norm, dict(zip(names, values, strict=True)), (maps,))
        return result

    inputs = [drawn(5, 3, 2, 2), *(norm.get_parameter(name).detach().clone() for name in names)]
    assert gradcheck(forward, [each.requires_grad_() for each in inputs])


def test_evaluation_is_the_branch_s() -> None:
    norm, source, target = made()
    norm.target_mean.fill_(2.0)
    norm.target_variance.fill_(3.0)
    target.running_mean.fill_(2.0)  # type: ignore[union-attr]
    target.running_var.fill_(3.0)  # type: ignore[union-attr]
    maps = drawn(2, 3, 4, 4)
    norm.eval()
    torch.testing.assert_close(norm(maps), target.eval()(maps))
    with using(norm, "source"):
        torch.testing.assert_close(norm(maps), source.eval()(maps))


def test_a_plain_state_dict_is_the_start_of_both_domains() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    nn.init.normal_(plain[1].weight)
    converted = nn.Sequential(nn.Conv2d(3, 3, 1), DomainBatchNorm(nn.BatchNorm2d(3)))
    converted.load_state_dict(plain.state_dict())
    maps = drawn(2, 3, 4, 4).float()
    expected = plain.eval()(maps)
    for domain in ("source", "target"):
        with using(converted, domain):
            torch.testing.assert_close(converted(maps), expected)
    again = nn.Sequential(nn.Conv2d(3, 3, 1), DomainBatchNorm(nn.BatchNorm2d(3)))
    with torch.no_grad():
        converted[1].target_weight.add_(1)
    again.load_state_dict(converted.state_dict())
    assert torch.equal(again[1].target_weight, converted[1].target_weight)


def test_a_norm_without_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="affine=True"):
        DomainBatchNorm(nn.BatchNorm2d(3, affine=False))
