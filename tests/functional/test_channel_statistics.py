"""Statistics of channels against numpy, and what AdaIN does with them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.functional.channel_statistics import (
    ChannelStatistics,
    adaptive_instance_norm,
    channel_statistics,
    moment_loss,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_statistics_are_numpys() -> None:
    features = drawn(2, 3, 5, 7)
    found = channel_statistics(features, eps=1e-5)
    flat = features.numpy().reshape(2, 3, -1)
    assert np.allclose(found.mean.numpy(), flat.mean(-1))
    assert np.allclose(found.std.numpy(), np.sqrt(flat.var(-1) + 1e-5))


def test_statistics_by_hand() -> None:
    # mean of 1, 3 is 2, variance ((-1)^2 + 1^2) / 2 = 1
    found = channel_statistics(torch.tensor([[[[1.0, 3.0]]]], dtype=torch.float64), eps=0.0)
    assert (found.mean.item(), found.std.item()) == (2.0, 1.0)


def test_mask_counts_the_inside_only() -> None:
    features, mask = drawn(2, 3, 6, 6), torch.zeros(1, 6, 6)
    mask[:, 1:4, 2:5] = 1
    inside = channel_statistics(features[:, :, 1:4, 2:5])
    found = channel_statistics(features, mask)
    assert torch.allclose(found.mean, inside.mean)
    assert torch.allclose(found.std, inside.std)
    whole = channel_statistics(features, torch.ones(1, 6, 6))
    assert torch.allclose(whole.std, channel_statistics(features).std)


def test_adain_carries_the_styles_statistics() -> None:
    content, style = drawn(2, 4, 8, 9), 3 * drawn(2, 4, 5, 6, seed=1) + 2
    made = adaptive_instance_norm(content.float(), channel_statistics(style.float()))
    found, wanted = channel_statistics(made), channel_statistics(style.float())
    assert torch.allclose(found.mean, wanted.mean, atol=1e-4)
    assert torch.allclose(found.std, wanted.std, atol=1e-4)


def test_adain_of_itself_changes_nothing() -> None:
    content = drawn(2, 4, 8, 9)
    assert torch.allclose(adaptive_instance_norm(content, channel_statistics(content)), content, atol=1e-12)


def test_masked_adain_leaves_the_outside() -> None:
    content, style = drawn(1, 4, 8, 8), channel_statistics(drawn(1, 4, 5, 5, seed=1) + 5)
    mask = torch.zeros(1, 8, 8)
    mask[:, :4] = 1
    made = adaptive_instance_norm(content, style, mask)
    assert torch.equal(made[:, :, 4:], content[:, :, 4:])
    assert torch.allclose(made[:, :, :4], adaptive_instance_norm(content[:, :, :4], style))
    assert torch.allclose(
        adaptive_instance_norm(content, style, torch.ones(1, 8, 8)), adaptive_instance_norm(content, style)
    )


def test_constant_map_has_a_finite_gradient() -> None:
    features = torch.ones(1, 2, 4, 4, requires_grad=True)
    found = channel_statistics(features)
    (found.std.sum() + found.mean.sum()).backward()
    assert features.grad is not None
    assert bool(features.grad.isfinite().all())


def test_half_precision_is_lifted() -> None:
    features = (100 + torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))).half()
    found = channel_statistics(features)
    assert found.std.dtype == torch.float32
    assert found.std.item() == pytest.approx(features.double().std(correction=0).item(), rel=1e-3)


def test_moment_loss_by_hand_and_its_reductions() -> None:
    found = ChannelStatistics(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0]]))
    target = ChannelStatistics(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 1.0]]))
    # squares of means 1 + 4, of deviations 4 + 0: 9 in all, 4.5 for each of two channels
    assert moment_loss(found, target, "sum").tolist() == [9.0]
    assert moment_loss(found, target, "mean").tolist() == [4.5]


def test_weights_of_the_two_programs() -> None:
    # a weight of 0.1 for the sum is 6.4, 12.8, 25.6, 51.2 for the mean of 64, 128, 256, 512 channels
    for channels, equal in ((64, 6.4), (128, 12.8), (256, 25.6), (512, 51.2)):
        found = channel_statistics(drawn(1, channels, 3, 3))
        target = channel_statistics(drawn(1, channels, 3, 3, seed=1))
        assert torch.allclose(0.1 * moment_loss(found, target, "sum"), equal * moment_loss(found, target, "mean"))


def test_what_does_not_fit() -> None:
    features = drawn(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"expects \(B, C, H, W\)"):
        channel_statistics(features[0])
    with pytest.raises(ValueError, match="resize it to the features"):
        channel_statistics(features, torch.ones(1, 8, 8))
    with pytest.raises(ValueError, match="a region is empty"):
        channel_statistics(features, torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="same layer of the same encoder"):
        adaptive_instance_norm(features, channel_statistics(drawn(2, 5, 4, 4)))
    with pytest.raises(ValueError, match="one of mean, sum"):
        moment_loss(channel_statistics(features), channel_statistics(features), "max")


def test_adain_by_hand() -> None:
    # content 1, 3 has mean 2 and deviation sqrt(1 + 1e-5); the style's are 10 and 4: 10 -+ 4 / sqrt(1 + 1e-5)
    content = torch.tensor([[[[1.0, 3.0]]]], dtype=torch.float64)
    style = ChannelStatistics(torch.tensor([[10.0]]).double(), torch.tensor([[4.0]]).double())
    step = 4 / 1.00001**0.5
    wanted = torch.tensor([[[[10 - step, 10 + step]]]], dtype=torch.float64)
    assert torch.allclose(adaptive_instance_norm(content, style), wanted, rtol=1e-12)


def test_disjoint_regions_compose() -> None:
    content, mask = drawn(2, 3, 4, 6), torch.zeros(2, 4, 6, dtype=torch.bool)
    mask[0, :2], mask[1, :, :3] = True, True
    styles = [channel_statistics(drawn(1, 3, 5, 5, seed=seed) * seed) for seed in (1, 2)]
    made = adaptive_instance_norm(adaptive_instance_norm(content, styles[0], mask), styles[1], ~mask)
    for region, style in zip((mask, ~mask), styles, strict=True):
        found = channel_statistics(made, region)
        assert torch.allclose(found.mean, style.mean.expand(2, 3))
        assert torch.allclose(found.std, style.std.expand(2, 3), rtol=1e-4)


def test_gradients_are_right() -> None:
    features, mask = drawn(2, 2, 2, 3).requires_grad_(), torch.tensor([[[1, 0, 1], [1, 1, 0]]])
    style = channel_statistics(drawn(1, 2, 2, 2, seed=1))
    for region in (None, mask):
        assert torch.autograd.gradcheck(lambda maps, r=region: tuple(channel_statistics(maps, r)), features)
        assert torch.autograd.gradcheck(lambda maps, r=region: adaptive_instance_norm(maps, style, r), features)
    assert torch.autograd.gradgradcheck(lambda maps: tuple(channel_statistics(maps)), features)


def test_gradient_keeps_the_memory_layout() -> None:
    plain = drawn(2, 3, 4, 5)
    last = plain.contiguous(memory_format=torch.channels_last).requires_grad_()
    found = channel_statistics(last)
    (found.mean.square() + found.std).sum().backward()
    assert last.grad is not None
    assert last.grad.is_contiguous(memory_format=torch.channels_last)
    plain.requires_grad_()
    expected = channel_statistics(plain)
    (expected.mean.square() + expected.std).sum().backward()
    torch.testing.assert_close(last.grad, plain.grad)


def test_large_means_leave_the_deviation() -> None:
    # At a mean of 1000 a difference of raw moments in float32 would be off by 1000^2 * 6e-8 = 6 % of a variance of 1.
    features = drawn(1, 2, 64, 64)
    found = channel_statistics((features + 1000).float())
    assert torch.allclose(found.std.double(), channel_statistics(features).std, rtol=1e-3)


def test_autocast_does_not_lower_the_precision() -> None:
    features = drawn(1, 2, 8, 8).bfloat16()
    style = channel_statistics(drawn(1, 2, 4, 4, seed=1).float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = adaptive_instance_norm(features, style)
        loss = moment_loss(channel_statistics(features), style, "mean")
    assert (made.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(loss, moment_loss(channel_statistics(features.float()), style, "mean"))


def test_mask_of_other_values_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold it first"):
        channel_statistics(drawn(2, 3, 4, 4), torch.full((1, 4, 4), 0.5))
    with pytest.raises(ValueError, match="a region is empty"):  # of one of two samples
        channel_statistics(drawn(2, 3, 4, 4), torch.tensor([1, 0]).view(2, 1, 1).expand(2, 4, 4))
