"""The shared layers: known answers, exactness of the fast forms, memory layouts, precision."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.nn.layers import (
    InstanceNorm,
    OutputConv,
    PooledConv,
    ReflectConv,
    UpsampleConv,
    make_norm,
    pad_to_multiple,
)

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def images(*shape: int, dtype: torch.dtype = torch.float64, layout: torch.memory_format = LAYOUTS[0]) -> Tensor:
    made = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))
    return made.to(memory_format=layout).requires_grad_()


def gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    grad = torch.randn(output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(1))
    return list(torch.autograd.grad(output, inputs, grad))


def norm_of(channels: int, dtype: torch.dtype = torch.float64) -> InstanceNorm:
    norm = InstanceNorm(channels)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        norm.weight.uniform_(-1, 2, generator=generator)
        norm.bias.uniform_(-1, 1, generator=generator)
    return norm.to(dtype)


def test_instance_norm_known_answer() -> None:
    # Values 1, 3: mean 2, biased variance 1, so (1 - 2) / sqrt(1 + eps) * 3 + 5 and its mirror.
    norm = InstanceNorm(1, eps=0.0)
    norm.weight.data.fill_(3.0)
    norm.bias.data.fill_(5.0)
    torch.testing.assert_close(norm(torch.tensor([[[[1.0, 3.0]]]])), torch.tensor([[[[2.0, 8.0]]]]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_instance_norm_equals_torch_in_value_and_gradient(layout: torch.memory_format) -> None:
    norm, maps = norm_of(5), images(3, 5, 4, 7, layout=layout)
    result, expected = norm(maps), F.instance_norm(maps, weight=norm.weight, bias=norm.bias, eps=norm.eps)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-10)
    inputs = [maps, norm.weight, norm.bias]
    torch.testing.assert_close(gradients(result, inputs), gradients(expected, inputs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_instance_norm_gradcheck_first_and_second_order(layout: torch.memory_format) -> None:
    norm, maps = norm_of(2), images(2, 2, 3, 3, layout=layout)
    inputs = (maps, norm.weight, norm.bias)
    run = lambda x, w, b: torch.func.functional_call(norm, {"weight": w, "bias": b}, (x,))  # noqa: E731
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_instance_norm_keeps_the_memory_layout(layout: torch.memory_format) -> None:
    maps = images(2, 3, 4, 5, dtype=torch.float32, layout=layout)
    result = InstanceNorm(3)(maps)
    assert result.is_contiguous(memory_format=layout)
    (grad,) = torch.autograd.grad(result, maps, torch.randn_like(result))
    assert grad.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_instance_norm_is_accurate_where_the_mean_is_far_above_the_spread(layout: torch.memory_format) -> None:
    maps = (images(2, 3, 16, 16) * 0.1 + 1000).detach()
    exact = norm_of(3)(maps.float().double())
    result = norm_of(3, torch.float32)(maps.float().to(memory_format=layout))
    assert (result - exact).abs().max() < 2e-2  # raw moments in float32 would be off by more than 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_instance_norm_has_float32_statistics_under_bf16_autocast(layout: torch.memory_format) -> None:
    norm, maps = norm_of(3, torch.float32), images(2, 3, 32, 32, dtype=torch.bfloat16, layout=layout)
    with torch.autocast("cpu", torch.bfloat16):
        result = norm(maps)
    assert result.dtype == torch.bfloat16
    wide = maps.detach().float().requires_grad_()
    exact = norm(wide)
    torch.testing.assert_close(result, exact.bfloat16(), rtol=2**-7, atol=2**-7)  # one rounding at the very end
    grad = torch.randn(maps.shape, generator=torch.Generator().manual_seed(2)).bfloat16()
    found = torch.autograd.grad(result, [maps, norm.weight, norm.bias], grad)
    wanted = torch.autograd.grad(exact, [wide, norm.weight, norm.bias], grad.float())
    assert [tensor.dtype for tensor in found] == [torch.bfloat16, torch.float32, torch.float32]
    for tensor, reference in zip(found, wanted, strict=True):
        torch.testing.assert_close(tensor.float(), reference, rtol=2e-2, atol=2e-2)


def test_instance_norm_same_in_eval_and_train() -> None:
    norm, maps = norm_of(4), images(2, 4, 5, 5)
    trained = norm.train()(maps)
    assert torch.equal(norm.eval()(maps), trained)
    assert set(norm.state_dict()) == {"weight", "bias"}


def test_instance_norm_removes_contrast_and_batch_norm_does_not() -> None:
    maps = images(1, 3, 16, 16).detach()
    instance, batch = make_norm("instance", 3).double(), make_norm("batch", 3).double().eval()
    torch.testing.assert_close(instance(0.5 * maps + 0.25), instance(maps), rtol=1e-4, atol=1e-4)
    assert (batch(0.5 * maps + 0.25) - batch(maps)).abs().max() > 0.1


def test_make_norm_refuses_an_unknown_name() -> None:
    with pytest.raises(ValueError, match="one of instance, batch, got 'layer'"):
        make_norm("layer", 3)


@pytest.mark.parametrize("stride", [1, 2])
def test_reflect_conv_mirrors_the_border(stride: int) -> None:
    layer, maps = ReflectConv(2, 3, 3, stride).double(), images(1, 2, 6, 8)
    plain = nn.Conv2d(2, 3, 3, stride, padding=1, padding_mode="reflect").double()
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(maps), plain(maps))
    assert layer(maps).shape == (1, 3, 6 // stride, 8 // stride)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 7)])
def test_upsample_conv_equals_nearest_reflection_and_convolution(size: tuple[int, int]) -> None:
    layer, maps = UpsampleConv(3, 4).double(), images(2, 3, *size)
    enlarged = F.pad(F.interpolate(maps, scale_factor=2, mode="nearest"), (1, 1, 1, 1), mode="reflect")
    expected, result = F.conv2d(enlarged, layer.weight, layer.bias), layer(maps)
    torch.testing.assert_close(result, expected, rtol=1e-11, atol=1e-11)
    assert layer.bias is not None
    inputs = [maps, layer.weight, layer.bias]
    torch.testing.assert_close(gradients(result, inputs), gradients(expected, inputs), rtol=1e-11, atol=1e-11)


def second_gradients(output: Tensor, maps: Tensor, weight: Tensor) -> list[Tensor]:
    """Differentiate a function of the input's gradient, as a penalty on it is."""
    (gradient,) = torch.autograd.grad(output.square().sum(), maps, create_graph=True)
    return list(torch.autograd.grad(gradient.square().sum(), [maps, weight]))


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 7)])
def test_upsample_conv_with_zeros_equals_nearest_and_padded_convolution(size: tuple[int, int]) -> None:
    layer, maps = UpsampleConv(3, 4, extend="zeros").double(), images(2, 3, *size)
    expected = F.conv2d(F.interpolate(maps, scale_factor=2), layer.weight, layer.bias, padding=1)
    result = layer(maps)
    torch.testing.assert_close(result, expected, rtol=1e-11, atol=1e-11)
    inputs = [maps, layer.weight, layer.bias]
    torch.testing.assert_close(gradients(result, inputs), gradients(expected, inputs), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (5, 7)])
def test_pooled_conv_equals_padded_convolution_and_means(size: tuple[int, int]) -> None:
    layer, maps = PooledConv(3, 4).double(), images(2, 3, *size)
    expected, result = F.avg_pool2d(F.conv2d(maps, layer.weight, layer.bias, padding=1), 2), layer(maps)
    torch.testing.assert_close(result, expected, rtol=1e-11, atol=1e-11)
    inputs = [maps, layer.weight, layer.bias]
    torch.testing.assert_close(gradients(result, inputs), gradients(expected, inputs), rtol=1e-11, atol=1e-11)
    again = F.avg_pool2d(F.conv2d(maps, layer.weight, layer.bias, padding=1), 2)
    found = second_gradients(layer(maps), maps, layer.weight)
    torch.testing.assert_close(found, second_gradients(again, maps, layer.weight), rtol=1e-11, atol=1e-11)


def test_upsample_conv_is_the_same_when_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, maps = UpsampleConv(3, 4).double(), images(2, 3, 5, 7)
    plain = layer(maps)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.equal(layer(maps), plain)


@pytest.mark.parametrize("mode", ["reflect", "constant"])
def test_output_conv_equals_one_convolution(mode: str) -> None:
    layer, maps = OutputConv(4, 3, 9, mode).double(), images(2, 4, 6, 11)
    expected = F.conv2d(F.pad(maps, (4, 4, 4, 4), mode=mode), layer.weight, layer.bias)
    result = layer(maps)
    torch.testing.assert_close(result, expected, rtol=1e-11, atol=1e-11)
    assert layer.bias is not None
    inputs = [maps, layer.weight, layer.bias]
    torch.testing.assert_close(gradients(result, inputs), gradients(expected, inputs), rtol=1e-10, atol=1e-10)


def test_pad_to_multiple_mirrors_at_the_far_ends_only() -> None:
    row = torch.tensor([[[[1.0, 2, 3, 4, 5]] * 4]])
    assert pad_to_multiple(row, 4)[0, 0, 0].tolist() == [1, 2, 3, 4, 5, 4, 3, 2]
    whole = torch.rand(1, 3, 8, 12)
    assert pad_to_multiple(whole, 4) is whole


def test_pad_to_multiple_refuses_what_cannot_be_mirrored() -> None:
    with pytest.raises(ValueError, match="1 x 8 px is too small"):
        pad_to_multiple(torch.rand(1, 3, 1, 8), 4)
