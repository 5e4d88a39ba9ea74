"""Layers in bands of rows: each kind and whole networks equal to the computation of the whole picture."""

import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.nn import bands
from stylebench.nn.bands import BAND_THRESHOLD_PX, PerPixel, RunsInBands, is_big, run_in_bands
from stylebench.nn.generators.johnson import HEADS, JohnsonModern, JohnsonPaper
from stylebench.nn.layers import NORMS, InstanceNorm, OutputConv, ReflectConv, Residual, UpsampleConv, make_norm

NETWORKS = [JohnsonModern, JohnsonPaper]
Network = type[JohnsonModern] | type[JohnsonPaper]
ALL = 2**40  # bytes: everything is kept
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "reflect_9": lambda: ReflectConv(3, 4, 9),
    "reflect_3_stride_2": lambda: ReflectConv(3, 4, 3, stride=2),
    "reflect_5_stride_3": lambda: ReflectConv(3, 4, 5, stride=3),
    "upsample_conv": lambda: UpsampleConv(3, 4),
    "upsample_conv_zeros": lambda: UpsampleConv(3, 4, extend="zeros"),
    "output_reflect": lambda: OutputConv(3, 2, 9),
    "output_zeros": lambda: OutputConv(3, 2, 9, padding_mode="constant"),
    "conv_unpadded": lambda: nn.Conv2d(3, 4, 3),
    "conv_stride_2": lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1),
    "conv_4_stride_2": lambda: nn.Conv2d(3, 4, 4, stride=2, padding=1),
    "conv_dilated": lambda: nn.Conv2d(3, 4, (3, 5), dilation=2, padding=(4, 1)),
    "transposed_3": lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1),
    "transposed_4": lambda: nn.ConvTranspose2d(3, 4, 4, stride=2, padding=1),
    "transposed_3_stride_3": lambda: nn.ConvTranspose2d(3, 4, 3, stride=3, padding=2, output_padding=2),
    "transposed_3_cut": lambda: nn.ConvTranspose2d(3, 4, 3, stride=3, padding=2),
    "transposed_5": lambda: nn.ConvTranspose2d(3, 4, 5, padding=2),
    "upsample": lambda: nn.Upsample(scale_factor=3, mode="nearest"),
    "pad": lambda: nn.ReflectionPad2d((1, 2, 9, 10)),
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.3, inplace=True),
    "batch_norm": lambda: nn.BatchNorm2d(3),
    "instance_norm": lambda: InstanceNorm(3),
    "residual": lambda: Residual(nn.Conv2d(3, 3, 5), nn.ReLU(inplace=True), InstanceNorm(3), crop_px=2),
    "per_pixel": lambda: PerPixel(torch.exp),
    "nested": lambda: nn.Sequential(nn.Sequential(ReflectConv(3, 2, 3), nn.ReLU(inplace=True)), UpsampleConv(2, 2)),
}


def images(height: int = 61, width: int = 45, count: int = 2) -> Tensor:
    return torch.rand(count, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def lively(network: nn.Module) -> nn.Module:
    """Give norms statistics, scales and shifts that matter, and take evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, InstanceNorm | nn.BatchNorm2d):
            layer.weight.uniform_(0.5, 2.0, generator=generator)
            layer.bias.uniform_(-1.0, 1.0, generator=generator)
        if isinstance(layer, nn.BatchNorm2d):
            layer.get_buffer("running_mean").uniform_(-0.5, 0.5, generator=generator)
            layer.get_buffer("running_var").uniform_(0.2, 2.0, generator=generator)
    return network.eval()


def johnson(network: Network, norm: str, head: str, width: int = 3) -> JohnsonModern | JohnsonPaper:
    torch.manual_seed(0)
    net = network(width=width, norm=norm, head=head)
    lively(net)
    if head == "linear":  # gray levels of a spread as after training, instead of around 0
        net.body[-1].get_parameter("weight").data.mul_(200.0)
    return net


def assert_equal(result: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("band_rows", [1, 7, 100])
def test_each_layer_equals_that_of_the_whole(kind: str, band_rows: int) -> None:
    torch.manual_seed(0)
    layer = lively(LAYERS[kind]().double())
    maps = images(23, 19) - 0.5
    assert_equal(run_in_bands(nn.Sequential(layer), maps, band_rows), layer(images(23, 19) - 0.5).detach())
    assert torch.equal(maps, images(23, 19) - 0.5)  # the input is not changed in place


@pytest.mark.parametrize("height", [9, 10, 11, 12, 13])
@pytest.mark.parametrize("kind", ["reflect_3_stride_2", "reflect_5_stride_3", "conv_4_stride_2", "transposed_3"])
def test_strides_that_do_not_divide_the_height(kind: str, height: int) -> None:
    layer = LAYERS[kind]().double()
    for band_rows in (1, 2, 3):
        assert_equal(run_in_bands(nn.Sequential(layer), images(height, 12), band_rows), layer(images(height, 12)))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_equal_those_of_the_whole(network: Network, norm: str, head: str) -> None:
    net = johnson(network, norm, head).double()
    expected = net(images()).detach()
    assert expected.std() > 0.02
    for band_rows, keep_bytes in ((7, ALL), (16, 0), (1000, ALL)):
        assert_equal(net.in_bands(images(), band_rows, keep_bytes), expected)


@pytest.mark.parametrize("size", [(61, 45), (64, 44), (42, 63)])
@pytest.mark.parametrize("network", NETWORKS)
def test_any_size(network: Network, size: tuple[int, int]) -> None:
    net = johnson(network, "instance", "tanh").double()
    assert_equal(net.in_bands(images(*size), 10), net(images(*size)).detach())


@pytest.mark.parametrize("norm", NORMS)
def test_decoder_of_shared_layers(norm: str) -> None:
    torch.manual_seed(0)
    decoder = nn.Sequential(
        *(ReflectConv(3, 6, 3), make_norm(norm, 6), nn.ReLU(), nn.Upsample(scale_factor=2), ReflectConv(6, 6, 3)),
        *(make_norm(norm, 6), nn.LeakyReLU(0.2), UpsampleConv(6, 4), nn.ReLU(), OutputConv(4, 3, 3)),
    )
    lively(decoder.double())
    expected = decoder(images(21, 17)).detach()
    for keep_bytes in (0, 60_000, ALL):
        assert_equal(run_in_bands(decoder, images(21, 17), 5, keep_bytes), expected)


def test_instance_norm_keeps_its_digits_far_from_zero() -> None:
    # Mean 1000, standard deviation 0.1, a trend over the rows: float32 sums of squares would leave nothing.
    values = images(64, 50, count=1) * 0.2 + torch.linspace(0, 0.3, 64).double().view(-1, 1) + 1000.0
    maps, norm = values.float(), InstanceNorm(3)
    entries = maps.double().numpy()
    deviation = entries - entries.mean((2, 3), keepdims=True)
    expected = deviation / np.sqrt((deviation**2).mean((2, 3), keepdims=True) + norm.eps)
    # A float32 number near 1000 is rounded by 3e-5, a deviation in units of 0.1 by 3e-4.
    np.testing.assert_allclose(run_in_bands(nn.Sequential(norm), maps, 5).numpy(), expected, atol=1e-3)


def test_large_maps_are_computed_again_and_small_ones_once() -> None:
    calls: list[int] = []
    conv = ReflectConv(3, 4, 3)
    conv.register_forward_hook(lambda _layer, inputs, _output: calls.append(inputs[0].shape[2]))
    net = nn.Sequential(conv, InstanceNorm(4), nn.ReLU(), ReflectConv(4, 3, 3))
    maps = images(20, 10, count=1).float()
    run_in_bands(net, maps, 20, keep_bytes=4 * 20 * 10 * 4)
    assert calls == [20]
    calls.clear()
    run_in_bands(net, maps, 20, keep_bytes=4 * 20 * 10 * 4 - 1)  # for the statistics, then for the next convolution
    assert calls == [20, 20]


def test_repeated_work_does_not_double_with_each_layer() -> None:
    layers = [ReflectConv(3, 3, 3) for _ in range(9)]
    calls: list[int] = []
    layers[0].register_forward_hook(lambda *_: calls.append(1))
    run_in_bands(nn.Sequential(*(part for conv in layers for part in (conv, InstanceNorm(3)))), images().float(), 61, 0)
    assert len(calls) == 3  # twice for statistics, and for the third convolution, which is kept


def test_few_and_small_maps_are_kept_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Tensor]] = []
    sizes, alive, whole = [0], [0], bands._whole

    def watch(source: bands._Map, band_rows: int) -> Tensor:
        result = whole(source, band_rows)
        made.append(weakref.ref(result))
        sizes.append(result.nbytes)
        alive.append(sum(reference() is not None for reference in made))
        return result

    monkeypatch.setattr(bands, "_whole", watch)
    net, maps = johnson(JohnsonModern, "instance", "tanh", width=4), images(64, 64, count=1).float()
    full, half = 4 * 64 * 64 * 4, 8 * 32 * 32 * 4  # bytes of the maps of `width` and of twice as many channels
    net.in_bands(maps, 8, keep_bytes=full - 1)
    assert max(sizes) == maps.nbytes > half
    net.in_bands(maps, 8, keep_bytes=full)
    assert max(sizes) == full
    assert max(alive) == 3  # the skip, the branch and their sum


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (nn.MaxPool2d(2), TypeError, "MaxPool2d cannot be computed in bands.*known layers:.*ReflectConv"),
        (nn.BatchNorm2d(3), ValueError, r"call eval\(\) first"),
        (nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"), ValueError, "padding_mode='circular'"),
        (nn.Conv2d(3, 3, 3, padding="same"), ValueError, "padding='same'"),
        (nn.Conv2d(3, 3, 1, padding=1), ValueError, "less than its kernel's 1 rows"),
        (nn.Upsample(scale_factor=2, mode="bilinear"), ValueError, "nearest neighbor by one whole factor"),
        (nn.Upsample(size=(9, 9)), ValueError, "nearest neighbor by one whole factor"),
        (nn.ReflectionPad2d(20), ValueError, "20 x 15 cannot be extended"),
    ],
)
def test_unknown_layers_and_settings_are_refused(layer: nn.Module, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run_in_bands(nn.Sequential(ReflectConv(3, 3, 3), layer), images(20, 15).float())


def test_arguments_are_checked() -> None:
    net = nn.Sequential(nn.ReLU())
    with pytest.raises(ValueError, match=r"shape \(B, C, H, W\), got \(3, 61, 45\)"):
        run_in_bands(net, images()[0])
    with pytest.raises(ValueError, match="band_rows >= 1 and keep_bytes >= 0, got 0"):
        run_in_bands(net, images(), band_rows=0)
    with pytest.raises(ValueError, match=r"at least 41 x 41 px.*got 40 x 45"):
        JohnsonPaper(width=1).in_bands(images(40, 45).float())


def test_translator_takes_bands_for_big_pictures_only(monkeypatch: pytest.MonkeyPatch) -> None:
    net, content = johnson(JohnsonModern, "instance", "tanh").double(), images(count=1)
    model, taken = ImageToImage(net), []
    assert isinstance(net, RunsInBands)

    def watch(pictures: Tensor) -> Tensor:
        taken.append(pictures.shape)
        return JohnsonModern.in_bands(net, pictures)

    monkeypatch.setattr(net, "in_bands", watch)
    expected = model.translate(content, alpha=0.5)
    assert not taken
    monkeypatch.setattr(ImageToImage, "band_threshold_px", 61 * 45 - 1)
    assert_equal(model.translate(content, alpha=0.5), expected)
    assert taken == [content.shape]
    pixels = nn.Conv2d(3, 3, 1)  # knows no bands
    assert ImageToImage(pixels).translate(content.float()).shape == content.shape


def test_a_picture_is_big_above_the_threshold() -> None:
    assert BAND_THRESHOLD_PX == 4_000_000
    pictures = torch.zeros(2, 1, 3, 5)
    assert (is_big(pictures, 15), is_big(pictures, 14)) == (False, True)
    assert not is_big(torch.zeros(1, 1, 2000, 2000))
    assert is_big(torch.zeros(1, 1, 2000, 2001))


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("network", NETWORKS)
def test_bands_are_within_one_grey_level_at_1500_by_1001(network: Network, norm: str, head: str) -> None:
    net, content = johnson(network, norm, head, width=32), images(1001, 1500, count=1).float()
    with torch.no_grad():
        expected = net(content).clamp(0, 1)
    assert expected.std() > 0.02
    assert float((net.in_bands(content).clamp(0, 1) - expected).abs().max()) < 1 / 255
