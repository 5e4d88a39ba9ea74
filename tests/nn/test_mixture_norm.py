"""AutoDIAL's layer against its formulas: forward, gradients through statistics and alpha, evaluation."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torchvision.models import resnet18

from stylebench.nn.domain_norms import joint
from stylebench.nn.mixture_norm import MIXTURES, MixtureNorm
from stylebench.nn.normalization import convert, using


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def joint_batch(sources: int, targets: int, shape: tuple[int, ...] = (3, 4, 5)) -> Tensor:
    return torch.cat([drawn(sources, *shape), 2 + 3 * drawn(targets, *shape, seed=1)])


def layer(alpha: float, learned: bool = True, channels: int = 3, **settings: Any) -> MixtureNorm:
    made = MixtureNorm(nn.BatchNorm2d(channels), alpha, learned, **settings).double().train()
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    with torch.no_grad():
        made.alpha.fill_(alpha)  # in float64
    return made


def by_formula(maps: Tensor, sources: int, norm: MixtureNorm, alpha: Any) -> np.ndarray[Any, Any]:
    """Section 3 of the paper, in numpy."""
    parts = [maps[:sources].numpy(), maps[sources:].numpy()]
    axes = (0, *range(2, maps.ndim))
    shape = (1, -1, *(1 for _ in maps.shape[2:]))
    means, variances = [part.mean(axes) for part in parts], [part.var(axes) for part in parts]
    between = alpha * (1 - alpha) * (means[0] - means[1]) ** 2
    found = []
    for part, own, other in zip(parts, (0, 1), (1, 0), strict=True):
        mean = alpha * means[own] + (1 - alpha) * means[other]
        variance = alpha * variances[own] + (1 - alpha) * variances[other] + between
        found.append((part - mean.reshape(shape)) / np.sqrt(norm.eps + variance).reshape(shape))
    weight, bias = (each.detach().numpy().reshape(shape) for each in (norm.weight, norm.bias))
    return np.concatenate(found) * weight + bias


@pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0])
@pytest.mark.parametrize(("sources", "targets"), [(4, 4), (5, 2)])
@pytest.mark.parametrize("shape", [(3, 4, 5), (3,)])
def test_a_joint_batch_is_normalized_by_the_formulas(
    alpha: float, sources: int, targets: int, shape: tuple[int, ...]
) -> None:
    norm, maps = layer(alpha), joint_batch(sources, targets, shape)
    with joint(norm, sources):
        found = norm(maps)
    np.testing.assert_allclose(found.detach().numpy(), by_formula(maps, sources, norm, alpha), rtol=1e-9, atol=1e-9)


def test_each_channel_may_have_an_alpha() -> None:
    norm, maps = layer(0.8, by_channel=True), joint_batch(4, 3)
    with torch.no_grad():
        norm.alpha.copy_(torch.tensor([0.5, 0.7, 1.0]))
    with joint(norm, 4):
        found = norm(maps)
    expected = by_formula(maps, 4, norm, norm.alpha.detach().numpy())
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def test_half_of_each_is_batch_norm_over_both() -> None:
    norm, maps = layer(0.5), joint_batch(4, 4).float()
    plain = nn.BatchNorm2d(3).train()
    with torch.no_grad():
        plain.weight.copy_(norm.weight)
        plain.bias.copy_(norm.bias)
    norm.float()
    with joint(norm, 4):
        torch.testing.assert_close(norm(maps), plain(maps), rtol=1e-5, atol=1e-5)


def test_alpha_of_one_keeps_the_domains_apart() -> None:
    maps = joint_batch(4, 3)
    for learned in (True, False):
        norm = layer(1.0, learned)
        plain = nn.BatchNorm2d(3).double().train()
        with torch.no_grad():
            plain.weight.copy_(norm.weight)
            plain.bias.copy_(norm.bias)
        mine, theirs = (maps.clone().requires_grad_() for _ in range(2))
        with joint(norm, 4):
            found = norm(mine)
        expected = torch.cat([plain(theirs[:4]), plain(theirs[4:])])
        torch.testing.assert_close(found, expected)
        (found * maps).sum().backward()
        (expected * maps).sum().backward()
        torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0])
def test_gradients_of_maps_alpha_scale_and_shift(alpha: float, mixture: str) -> None:
    norm = layer(alpha, mixture=mixture)
    maps = joint_batch(3, 2, (3, 2, 2)).requires_grad_()

    def forward(maps: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        values = {"alpha": alpha, "weight": weight, "bias": bias}
        with joint(norm, 3):
            return torch.func.functional_call(norm, values, (maps,))

    inputs = (maps, *(each.detach().clone().requires_grad_() for each in (norm.alpha, norm.weight, norm.bias)))
    # alpha at its bound may be moved beyond it by the check: the formulas hold there, too
    assert gradcheck(forward, inputs, eps=1e-6, atol=1e-6)


def test_the_gradient_of_alpha_is_the_paper_s() -> None:
    norm, maps, sources = layer(0.7), joint_batch(4, 3), 4
    upstream = drawn(7, 3, 4, 5, seed=3)
    with joint(norm, sources):
        (norm(maps) * upstream).sum().backward()
    s, t = maps[:sources], maps[sources:]
    (mean_s, mean_t), (var_s, var_t) = (
        [each.mean((0, 2, 3)) for each in (s, t)],
        [each.var((0, 2, 3), correction=0) for each in (s, t)],
    )
    alpha, delta = 0.7, mean_s - mean_t
    between = alpha * (1 - alpha) * delta**2
    total = torch.tensor(0.0, dtype=torch.float64)
    means = (alpha * mean_s + (1 - alpha) * mean_t, alpha * mean_t + (1 - alpha) * mean_s)
    variances = (alpha * var_s + (1 - alpha) * var_t + between, alpha * var_t + (1 - alpha) * var_s + between)
    for part, own, sign, by_alpha, variance, mean in zip(
        (s, t), upstream.split((sources, 3)), (-1, 1), (var_s - var_t, var_t - var_s), variances, means, strict=True
    ):
        deviation = (variance + norm.eps).sqrt().view(1, -1, 1, 1)
        unit = (part - mean.view(1, -1, 1, 1)) / deviation
        slope = (by_alpha + (1 - 2 * alpha) * delta**2).view(1, -1, 1, 1)
        through = own * norm.weight.detach().view(1, -1, 1, 1)
        total += (through * (sign * delta.view(1, -1, 1, 1) / deviation - 0.5 * unit * slope / deviation**2)).sum()
    torch.testing.assert_close(norm.alpha.grad, total)


def test_var_linear_lacks_what_lies_between_the_means() -> None:
    maps = joint_batch(4, 4)
    found = {}
    for mixture in ("moments", "var_linear"):
        norm = layer(0.75, learned=False, mixture=mixture, mixes=True)
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)
        with joint(norm, 4):
            found[mixture] = norm(maps)
    delta = maps[:4].mean((0, 2, 3)) - maps[4:].mean((0, 2, 3))
    spread = {
        name: maps[:4].var((0, 2, 3), correction=0) / each[:4].var((0, 2, 3), correction=0)
        for name, each in found.items()
    }
    torch.testing.assert_close(spread["moments"] - spread["var_linear"], 0.75 * 0.25 * delta**2)


def test_evaluation_mixes_the_moments_of_both_domains() -> None:
    source, target = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    norm = MixtureNorm(source, 0.8).double().eval()
    norm.target_mean.fill_(2.0)
    norm.target_variance.fill_(3.0)
    maps = drawn(2, 3, 4, 4)
    variance = 0.8 * 3 + 0.2 * 1 + 0.16 * 4
    torch.testing.assert_close(norm(maps), (maps - 1.6) / np.sqrt(variance + norm.eps))
    with using(norm, "source"):
        torch.testing.assert_close(norm(maps), (maps - 0.4) / np.sqrt(0.8 * 1 + 0.2 * 3 + 0.16 * 4 + norm.eps))
    norm.mixes = False
    torch.testing.assert_close(norm(maps), (maps - 2) / np.sqrt(3 + norm.eps))
    torch.testing.assert_close(MixtureNorm(target, 1.0).double().eval()(maps), target.double().eval()(maps))


def test_moments_follow_the_batches_of_each_domain() -> None:
    norm, maps = layer(0.7), joint_batch(4, 3)
    for _ in range(200):
        with joint(norm, 4):
            norm(maps)
    for domain, part in (("source", maps[:4]), ("target", maps[4:])):
        torch.testing.assert_close(norm.statistics(domain).mean, part.mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(
            norm.statistics(domain).variance, part.var((0, 2, 3), correction=0), rtol=1e-6, atol=1e-6
        )


def test_without_target_images_the_source_goes_its_own_way() -> None:
    norm, maps = layer(0.7), joint_batch(4, 0)
    before = norm.target_mean.clone()
    with joint(norm, 4):
        found = norm(maps)
    expected = by_formula(torch.cat([maps, maps]), 4, norm, 1.0)[:4]
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(norm.target_mean, before)


def test_a_single_entry_is_refused() -> None:
    norm = layer(0.7)
    with joint(norm, 1), pytest.raises(ValueError, match="1 image of 1 position"):
        norm(joint_batch(1, 4, (3, 1, 1)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_normalized_in_float32(dtype: torch.dtype) -> None:
    norm, maps = layer(0.8).float(), 1000 * joint_batch(4, 3).float()
    with joint(norm, 4), torch.autocast("cpu", dtype=torch.bfloat16):
        found = norm(maps.to(dtype))
        expected = norm(maps.to(dtype).float())
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected.float(), rtol=1e-2, atol=1e-2)


def test_channels_last_maps_keep_their_layout_and_gradients() -> None:
    norm = layer(0.8).float()
    plain = joint_batch(4, 3).float()
    found, grads = [], []
    for maps in (plain.clone(), plain.clone().contiguous(memory_format=torch.channels_last)):
        maps.requires_grad_()
        with joint(norm, 4):
            result = norm(maps)
        (result * plain).sum().backward()
        found.append(result)
        grads.append(maps.grad)
    assert found[1].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize("learned", [True, False])
def test_a_plain_state_dict_loads_before_and_after_conversion(learned: bool) -> None:
    def network() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Linear(4, 2))

    plain = network()
    nn.init.normal_(plain[1].weight)
    plain[1].running_mean.normal_()
    before, after = network(), network()
    before.load_state_dict(plain.state_dict())
    for each in (before, after):
        assert convert(each, lambda layer: MixtureNorm(layer, 0.8, learned)) is each
    after.load_state_dict(plain.state_dict())
    maps = drawn(2, 3, 4, 4).float()
    for each in (before, after):
        assert float(each[1].alpha.detach()) == pytest.approx(0.8)
        torch.testing.assert_close(each.eval()(maps), plain.eval()(maps), rtol=1e-6, atol=1e-6)
    with pytest.raises(RuntimeError, match=r"Missing key.*1\.weight"):
        after.load_state_dict({name: each for name, each in plain.state_dict().items() if name != "1.weight"})


def test_at_alpha_1_a_converted_network_is_the_one_it_was_to_the_bit() -> None:
    plain = resnet18(num_classes=3).eval()
    for layer in plain.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = plain(images)
        converted = convert(plain, lambda layer: MixtureNorm(layer, 1.0))
        for statistics in ("source", "target"):
            with using(converted, statistics):
                assert torch.equal(converted(images), expected)


@pytest.mark.parametrize(
    ("settings", "match"), [({"alpha": 0.4}, r"alpha.*0\.4"), ({"alpha": 1.0, "mixture": "x"}, "mixture")]
)
def test_settings_out_of_their_range_are_refused(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        MixtureNorm(nn.BatchNorm2d(3), **settings)
