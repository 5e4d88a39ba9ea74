"""Decoders: mirrored layouts, exactness against plain layers, sizes, errors."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stylebench.nn.bands import RunsInBands
from stylebench.nn.decoders import DECODER_NORMS, Decoder, Level, mirrored_levels
from stylebench.nn.encoders import CompactEncoder, Encoder, SqueezeNetEncoder, VGGEncoder
from stylebench.nn.layers import InstanceNorm

SMALL = [Level(6, 1), Level(5, 3), Level(4, 2), Level(3, 2)]


def vgg(depth: int = 19, layer: str = "relu4_1") -> Encoder:
    return VGGEncoder(depth, "random", False, ["relu4_1"], ["relu1_1"], layer)


def squeezenet(layer: str = "fire6", padding: str = "same") -> Encoder:
    return SqueezeNetEncoder("random", False, ["pool4"], ["conv1"], layer, padding)


def compact(layer: str = "relu4_1") -> Encoder:
    return CompactEncoder("shipped", ["relu2_2"], ["relu1_1"], layer)


def features(count: int = 2, channels: int = 6, height: int = 3, width: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, channels, height, width, generator=generator, dtype=torch.float64)


def plain(decoder: Decoder) -> nn.Sequential:
    """The same function of the same parameters from torch's own layers: pad, convolve, enlarge."""
    layers: list[nn.Module] = []
    for layer in decoder.layers:
        if isinstance(layer, nn.Conv2d):
            if type(layer).__name__ == "UpsampleConv":
                layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            conv = nn.Conv2d(layer.in_channels, layer.out_channels, 3).double()
            conv.load_state_dict(layer.state_dict())
            layers += [nn.ReflectionPad2d(1), conv]
        elif isinstance(layer, InstanceNorm):
            norm = nn.InstanceNorm2d(layer.channels, affine=True).double()
            norm.load_state_dict(layer.state_dict())
            layers.append(norm)
        elif isinstance(layer, nn.BatchNorm2d):
            again = nn.BatchNorm2d(layer.num_features).double()
            again.load_state_dict(layer.state_dict())
            layers.append(again)
        else:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def test_decoder_parameter_count() -> None:
    # VGG-19 relu4_1: 9 (512x256 + 3x256x256 + 256x128 + 128x128 + 128x64 + 64x64 + 64x3) weights + 1,347 biases
    counts = {
        name: sum(parameter.numel() for parameter in Decoder.for_encoder(encoder).parameters())
        for name, encoder in {"vgg19": vgg(), "compact": compact(), "squeezenet": squeezenet()}.items()
    }
    assert counts == {"vgg19": 3_505_219, "compact": 286_107, "squeezenet": 2_322_483}


def test_vgg_decoder_has_the_published_layout() -> None:
    kinds = {"ReflectConv": "conv", "UpsampleConv": "up", "OutputConv": "conv"}
    found = [
        (kinds[type(layer).__name__], layer.in_channels, layer.out_channels)
        for layer in Decoder.for_encoder(vgg()).layers
        if isinstance(layer, nn.Conv2d)
    ]
    assert found == [
        ("conv", 512, 256),
        ("up", 256, 256), ("conv", 256, 256), ("conv", 256, 256), ("conv", 256, 128),
        ("up", 128, 128), ("conv", 128, 64),
        ("up", 64, 64), ("conv", 64, 3),
    ]  # fmt: skip
    assert isinstance(Decoder.for_encoder(vgg()).layers[1], nn.ReLU)
    assert not isinstance(Decoder.for_encoder(vgg()).layers[-1], nn.ReLU)  # the last convolution's range is free


@pytest.mark.parametrize(
    ("make", "levels"),
    [
        (lambda: vgg(16), [(512, 1), (256, 3), (128, 2), (64, 2)]),
        (lambda: vgg(19, "relu4_2"), [(512, 2), (256, 4), (128, 2), (64, 2)]),
        (lambda: vgg(19, "relu1_2"), [(64, 2)]),
        (lambda: compact(), [(144, 1), (96, 2), (48, 2), (24, 2)]),
        (lambda: squeezenet(), [(384, 2), (128, 3), (96, 2), (48, 2)]),
        (lambda: squeezenet("fire4"), [(256, 3), (96, 2), (48, 2)]),
        (lambda: squeezenet("fire9"), [(512, 1), (256, 4), (128, 3), (96, 2), (48, 2)]),
    ],
)
def test_levels_mirror_the_stages_of_the_encoder(make: Callable[[], Encoder], levels: list[tuple[int, int]]) -> None:
    encoder = make()
    assert mirrored_levels(encoder, encoder.exchange_layer) == levels


@pytest.mark.parametrize("make", [vgg, compact, squeezenet, lambda: squeezenet("conv1"), lambda: compact("relu5_1")])
def test_decoder_gives_the_input_size_back(make: Callable[[], Encoder]) -> None:
    encoder = make()
    decoder, layer = Decoder.for_encoder(encoder), encoder.exchange_layer
    assert decoder.stride == encoder.strides[layer]
    height, width = 3 * decoder.stride, 4 * decoder.stride
    maps = encoder(torch.rand(1, 3, height, width), [layer])[layer]
    assert decoder(maps).shape == (1, 3, height, width)


@pytest.mark.parametrize("norm", DECODER_NORMS)
def test_decoder_is_the_plain_stack(norm: str) -> None:
    """The layers that save work are exact: outputs and the gradients of input and parameters, in float64."""
    torch.manual_seed(0)
    decoder = Decoder(6, SMALL, norm).double()
    reference = plain(decoder)
    maps, again = features().requires_grad_(), features().requires_grad_()
    result, expected = decoder(maps), reference(again)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)
    weights = torch.linspace(-1, 1, result.numel(), dtype=torch.float64).view_as(result)
    (result * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(maps.grad, again.grad, rtol=1e-9, atol=1e-10)
    for one, other in zip(decoder.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("norm", DECODER_NORMS)
def test_bands_give_the_same_image(norm: str) -> None:
    torch.manual_seed(0)
    decoder = Decoder(6, SMALL, norm).double()
    decoder(features(height=6))  # batch norm: running statistics that are not 0 and 1
    decoder.eval()
    maps = features(height=7, width=5)
    with torch.no_grad():
        torch.testing.assert_close(decoder.in_bands(maps, band_rows=5, keep_bytes=0), decoder(maps), rtol=0, atol=1e-10)
    assert isinstance(decoder, RunsInBands)


def test_norms_stand_behind_every_convolution_but_the_last() -> None:
    kinds = [type(layer).__name__ for layer in Decoder(6, SMALL, "batch").layers]
    assert kinds[:4] == ["ReflectConv", "BatchNorm2d", "ReLU", "UpsampleConv"]
    assert kinds.count("BatchNorm2d") == 7
    assert kinds[-1] == "OutputConv"


def test_first_pictures_are_gray() -> None:
    """By the last bias; the rest is torch's default."""
    torch.manual_seed(0)
    decoder = Decoder(6, SMALL)
    torch.manual_seed(0)
    first = nn.Conv2d(6, 5, 3)
    assert torch.equal(decoder.layers[0].weight, first.weight)
    assert decoder.layers[-1].bias.tolist() == [0.5] * 3
    assert decoder(features().float()).mean().item() == pytest.approx(0.5, abs=0.1)


def test_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="norm must be one of none, instance, batch, got 'layer'"):
        Decoder(6, SMALL, "layer")


def test_unknown_tap_lists_the_taps() -> None:
    with pytest.raises(ValueError, match=r"has no layer 'relu9_1'; choose from conv1_1, relu1_1, .*pool5"):
        mirrored_levels(vgg(), "relu9_1")


def test_geometry_that_cannot_be_mirrored_is_refused() -> None:
    with pytest.raises(ValueError, match=r"squeezenet1_0_valid up to fire6.*128 px become 15 .*padding=same"):
        Decoder.for_encoder(squeezenet(padding="valid"))


def test_features_of_another_shape_are_refused() -> None:
    decoder = Decoder(6, SMALL).double()
    with pytest.raises(ValueError, match=r"shape \(B, 6, h, w\), got \(2, 5, 3, 4\)"):
        decoder(features(channels=5))
    for call in (decoder, decoder.in_bands):
        with pytest.raises(ValueError, match=r"at least 2 x 2 positions, got 1 x 4; use images of more than 8 px"):
            call(features(height=1))
