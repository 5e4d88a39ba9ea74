"""The Johnson networks: sizes, ranges, parameter counts, initialization, layouts, precision, memory."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.nn.generators.johnson import BLOCKS, HEADS, JohnsonModern, JohnsonPaper
from stylebench.nn.layers import InstanceNorm

NETWORKS = [JohnsonModern, JohnsonPaper]
Network = type[JohnsonModern] | type[JohnsonPaper]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def images(height: int, width: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height * width))


def test_johnson_modern_parameter_count() -> None:
    assert parameters(JohnsonModern()) == 1_679_235
    assert parameters(JohnsonModern(width=16)) == 424_899


def test_johnson_paper_parameter_count() -> None:
    assert parameters(JohnsonPaper()) == 1_679_235
    assert parameters(JohnsonPaper(width=16)) == 424_899
    assert parameters(JohnsonPaper(norm="batch")) == 1_679_235


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(41, 41), (42, 63), (44, 47)])
def test_output_has_the_size_of_the_input(network: Network, size: tuple[int, int]) -> None:
    assert network(width=2)(images(*size, count=2)).shape == (2, 3, *size)


@pytest.mark.parametrize("size", [(5, 5), (17, 23), (6, 200)])
def test_johnson_modern_takes_small_images(size: tuple[int, int]) -> None:
    assert JohnsonModern(width=2)(images(*size)).shape == (1, 3, *size)


def test_johnson_paper_keeps_256_and_512() -> None:
    network = JohnsonPaper(width=1)
    for side in (256, 512):
        assert network(images(side, side)).shape == (1, 3, side, side)


def test_johnson_paper_map_sizes_are_those_of_the_paper() -> None:
    network, sides = JohnsonPaper(width=1), []
    for layer in network.body:
        if not isinstance(layer, InstanceNorm | nn.ReLU):
            layer.register_forward_hook(lambda _layer, _inputs, output: sides.append(output.shape[-1]))
    network(images(256, 256))
    assert sides == [336, 168, 84, 80, 76, 72, 68, 64, 128, 256, 256]


@pytest.mark.parametrize("network", NETWORKS)
def test_too_small_an_image_is_refused_with_the_minimum(network: Network) -> None:
    minimum = network.minimum_px
    net = network(width=1)
    assert net(images(minimum, minimum)).shape[-1] == minimum
    with pytest.raises(ValueError, match=f"at least {minimum} x {minimum} px.*got {minimum - 1} x 60"):
        net(images(minimum - 1, 60))


@pytest.mark.parametrize("network", NETWORKS)
def test_multiples_of_four_are_not_padded(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(width=1)
    seen: list[torch.Size] = []
    net.body.register_forward_pre_hook(lambda _body, inputs: seen.append(inputs[0].shape[-2:]))
    net(images(44, 48))
    margin = 80 if network is JohnsonPaper else 0
    assert seen == [(44 + margin, 48 + margin)]


@pytest.mark.parametrize("network", NETWORKS)
def test_padding_for_odd_sizes_equals_mirroring_by_hand(network: Network) -> None:
    net, odd = network(width=2).eval(), images(46, 53)
    by_hand = net(F.pad(odd, (0, 3, 0, 2), mode="reflect"))[..., :46, :53]
    assert torch.equal(net(odd), by_hand)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("shape", [(3, 48, 48), (1, 1, 48, 48), (1, 4, 48, 48)])
def test_other_shapes_are_refused(network: Network, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected images of shape \(B, 3, H, W\)"):
        network(width=1)(torch.rand(shape))


@pytest.mark.parametrize(("option", "value"), [("head", "sigmoid"), ("norm", "none"), ("width", 0)])
def test_unknown_options_are_refused(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{option} must be .*got {value!r}"):
        JohnsonModern(**{option: value})  # type: ignore[arg-type]


def last_layer_gives(net: JohnsonModern, values: list[float]) -> None:
    """Make the last convolution output constants."""
    last = net.body[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor(values))


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("tanh", [0.5, 1.1, -0.1]),  # 0.5 + 0.6 * (0, 1, -1)
        ("paper", [0.5, 1.0, 0.0]),  # (tanh + 1) / 2
        ("lua", [(123.68 - 150) / 255, (116.779 + 150) / 255, 103.939 / 255]),  # BGR (0, 150, -150) + mean, as RGB
        ("linear", [0.0, 100 / 255, -100 / 255]),
    ],
)
def test_head_known_answer(head: str, expected: list[float]) -> None:
    net = JohnsonModern(width=1, head=head)
    last_layer_gives(net, [0.0, 100.0, -100.0])
    torch.testing.assert_close(net(images(8, 8))[0, :, 3, 3], torch.tensor(expected))


def test_network_input_by_head() -> None:
    seen: dict[str, Tensor] = {}
    color = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    for head in HEADS:
        net = JohnsonModern(width=1, head=head)
        net.body.register_forward_pre_hook(lambda _body, inputs, head=head: seen.update({head: inputs[0][0, :, 0, 0]}))
        net(color)
    assert seen["tanh"].tolist() == seen["paper"].tolist() == [1.0, 0.5, 0.0]
    assert seen["linear"].tolist() == [255.0, 127.5, 0.0]
    torch.testing.assert_close(seen["lua"], torch.tensor([0 - 103.939, 127.5 - 116.779, 255 - 123.68]))


@pytest.mark.parametrize("network", NETWORKS)
def test_same_output_in_eval_and_train_with_instance_norm(network: Network) -> None:
    net, content = network(width=2), images(48, 44)
    trained = net.train()(content)
    assert torch.equal(net.eval()(content), trained)


def test_contrast_of_the_input_matters_with_batch_norm_only() -> None:
    content = images(32, 32)
    changes = {}
    for norm in ("instance", "batch"):
        torch.manual_seed(0)
        net = JohnsonModern(width=4, norm=norm).eval()
        with torch.no_grad():
            changes[norm] = (net(0.5 * content + 0.25) - net(content)).abs().mean().item()
    assert changes["instance"] < 0.1 * changes["batch"]


def reference_modern(net: JohnsonModern, images: Tensor) -> Tensor:
    """The same network from torch's own layers, layer by layer, for images whose sides are multiples of 4."""

    def convolve(layer: nn.Module, maps: Tensor, stride: int = 1) -> Tensor:
        assert isinstance(layer, nn.Conv2d)
        margin = layer.kernel_size[0] // 2
        return F.conv2d(F.pad(maps, (margin,) * 4, mode="reflect"), layer.weight, layer.bias, stride)

    def normalize(layer: nn.Module, maps: Tensor) -> Tensor:
        assert isinstance(layer, InstanceNorm)
        return F.instance_norm(maps, weight=layer.weight, bias=layer.bias, eps=layer.eps)

    body, maps = list(net.body), images
    for index, stride in ((0, 1), (3, 2), (6, 2)):
        maps = normalize(body[index + 1], convolve(body[index], maps, stride)).relu()
    for index in range(9, 9 + BLOCKS):
        first, norm, _, second, last = body[index].layers
        maps = maps + normalize(last, convolve(second, normalize(norm, convolve(first, maps)).relu()))
    for index in (9 + BLOCKS, 12 + BLOCKS):
        enlarged = F.interpolate(maps, scale_factor=2, mode="nearest")
        maps = normalize(body[index + 1], convolve(body[index], enlarged)).relu()
    return 0.5 + 0.6 * torch.tanh(convolve(body[-1], maps))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_johnson_modern_equals_a_plain_build_in_value_and_gradient(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    net = JohnsonModern(width=4).double()
    content = images(24, 20, count=2).double()
    net.to(memory_format=layout)  # type: ignore[call-overload]
    result, expected = net(content.to(memory_format=layout)), reference_modern(net, content)
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)
    weights = list(net.parameters())
    grad = torch.randn(result.shape, dtype=result.dtype, generator=torch.Generator().manual_seed(0))
    found, wanted = torch.autograd.grad(result, weights, grad), torch.autograd.grad(expected, weights, grad)
    largest = max(float(tensor.abs().max()) for tensor in wanted)
    for tensor, reference in zip(found, wanted, strict=True):
        torch.testing.assert_close(tensor, reference, rtol=1e-7, atol=1e-9 * largest)


@pytest.mark.parametrize("network", NETWORKS)
def test_channels_last_equals_contiguous(network: Network) -> None:
    torch.manual_seed(0)
    net, content = network(width=4).double(), images(48, 52, count=2).double()
    plain = net(content)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    norms = [layer for layer in net.modules() if isinstance(layer, InstanceNorm)]
    kept: list[bool] = []
    for norm in norms:
        norm.register_forward_hook(
            lambda _layer, _inputs, output: kept.append(output.is_contiguous(memory_format=torch.channels_last))
        )
    torch.testing.assert_close(net(content.to(memory_format=torch.channels_last)), plain, rtol=1e-10, atol=1e-10)
    assert kept == [True] * len(norms)


@pytest.mark.parametrize("network", NETWORKS)
def test_bf16_autocast_stays_near_float32(network: Network) -> None:
    torch.manual_seed(0)
    net, content = network(width=8), images(64, 64)
    with torch.no_grad():
        exact = net(content)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(content)
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_compiled_equals_eager(network: Network, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    net = network(width=4).to(memory_format=layout)  # type: ignore[call-overload]
    content = images(48, 44, count=2).to(memory_format=layout)
    weights, plain = list(net.parameters()), net(content)
    grad = torch.randn(plain.shape, generator=torch.Generator().manual_seed(0))
    wanted, keys = torch.autograd.grad(plain, weights, grad), list(net.state_dict())
    net.compile()
    compiled = net(content)
    torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-4)
    largest = max(float(tensor.abs().max()) for tensor in wanted)
    for tensor, reference in zip(torch.autograd.grad(compiled, weights, grad), wanted, strict=True):
        torch.testing.assert_close(tensor, reference, rtol=1e-2, atol=1e-4 * largest)
    assert list(net.state_dict()) == keys


def test_johnson_modern_initialization() -> None:
    torch.manual_seed(0)
    for layer in JohnsonModern(width=8).modules():
        if isinstance(layer, nn.Conv2d):
            bound = (layer.in_channels * layer.kernel_size[0] ** 2) ** -0.5
            assert 0.9 * bound < float(layer.weight.detach().abs().max()) <= bound
        if isinstance(layer, InstanceNorm):
            assert torch.equal(layer.weight, torch.ones(layer.channels))
            assert not layer.bias.any()


def test_johnson_paper_initialization() -> None:
    torch.manual_seed(0)
    scales = []
    for layer in JohnsonPaper(width=8).modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            bound = (layer.in_channels * layer.kernel_size[0] ** 2) ** -0.5
            assert 0.9 * bound < float(layer.weight.detach().abs().max()) <= bound
            assert layer.bias is not None
            assert 0 < float(layer.bias.detach().abs().max()) <= bound
        if isinstance(layer, InstanceNorm):
            scales.append(layer.weight)
            assert not layer.bias.any()
    scale = torch.cat(scales).detach()
    assert 0 <= float(scale.min()) < 0.1
    assert 0.9 < float(scale.max()) <= 1
    assert abs(float(scale.mean()) - 0.5) < 0.1


@pytest.mark.parametrize("network", NETWORKS)
def test_every_parameter_gets_a_gradient(network: Network) -> None:
    net = network(width=2)
    net(images(44, 44, count=2)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("network", NETWORKS)
def test_inputs_are_not_changed_in_place(network: Network) -> None:
    for head in HEADS:
        content = images(44, 44)
        before = content.clone()
        network(width=1, head=head)(content)
        assert torch.equal(content, before)
