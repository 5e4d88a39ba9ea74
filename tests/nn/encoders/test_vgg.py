"""VGG: torchvision's layers under their names, padding and pooling options, the normalization, wrong weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from stylebench.nn.encoders import VGGEncoder
from stylebench.nn.encoders.normalization import measure_means

# Index in torchvision's `features` (spec 0.3).
INDICES = {
    16: {"relu1_1": 1, "relu1_2": 3, "relu2_1": 6, "relu2_2": 8, "relu3_1": 11, "relu3_3": 15, "relu4_1": 18}
    | {"relu4_2": 20, "relu4_3": 22, "relu5_1": 25, "conv1_1": 0, "pool1": 4, "relu5_3": 29, "pool5": 30},
    19: {"relu1_1": 1, "relu1_2": 3, "relu2_1": 6, "relu2_2": 8, "relu3_1": 11, "relu3_3": 15, "relu4_1": 20}
    | {"relu4_2": 22, "relu4_3": 24, "relu5_1": 29, "conv5_4": 34, "relu5_4": 35, "pool5": 36},
}


def _features(encoder: VGGEncoder, depth: int) -> nn.Sequential:
    """Build torchvision's layers with the encoder's weights."""
    features = make_layers(cfgs["D" if depth == 16 else "E"])
    state = {}
    for stage in encoder._stages():
        for name, conv in stage.convs().items():
            state |= {f"{name}.weight": conv.weight, f"{name}.bias": conv.bias}
    features.load_state_dict({key.removeprefix("features."): value for key, value in state.items()})
    return features.requires_grad_(False)


def _preprocessed(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


TORCH = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("depth", [16, 19])
def test_vgg_taps_are_torchvision_layers(depth: int, vgg: Callable[..., VGGEncoder], images: Tensor) -> None:
    encoder = vgg(depth)
    found = encoder(images[:1], list(INDICES[depth]))
    wanted, maps = {index: tap for tap, index in INDICES[depth].items()}, _preprocessed(images[:1], *TORCH)
    for index, layer in enumerate(_features(encoder, depth)):
        maps = layer(maps.clone())  # torchvision's ReLUs work in place
        if index in wanted:
            assert torch.equal(found[wanted[index]], maps), wanted[index]
    assert len(encoder.taps) == 2 * (depth - 3) + 5


def test_vgg_conv_tap_keeps_its_negative_values(vgg16: VGGEncoder, images: Tensor) -> None:
    found = vgg16(images, ["conv2_1", "relu2_1"])
    assert found["conv2_1"].min() < 0
    assert torch.equal(found["conv2_1"].relu(), found["relu2_1"])


def test_vgg_caffe_profile_is_the_one_torchvision_documents(vgg: Callable[..., VGGEncoder], images: Tensor) -> None:
    encoder = vgg(profile="caffe_features")
    prepared = _preprocessed(images, (0.48235, 0.45882, 0.40784), (1 / 255,) * 3)
    expected = F.conv2d(prepared, encoder.stages["conv1_1"].conv.weight, padding=1)
    torch.testing.assert_close(encoder(images, ["conv1_1"])["conv1_1"], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("padding", ["reflect", "replicate", "circular"])
def test_vgg_padding_changes_the_border_only(
    padding: str, vgg: Callable[..., VGGEncoder], vgg16: VGGEncoder, images: Tensor
) -> None:
    encoder = vgg(padding=padding)
    found, zeros = (net(images, ["conv1_2"])["conv1_2"] for net in (encoder, vgg16))
    torch.testing.assert_close(found[..., 2:-2, 2:-2], zeros[..., 2:-2, 2:-2], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found[..., 0, :], zeros[..., 0, :], rtol=1e-3)
    first = nn.Conv2d(3, 64, 3, padding=1, padding_mode=padding).requires_grad_(False)
    first.weight.copy_(encoder.stages["conv1_1"].conv.weight)
    first.bias.zero_()
    expected = first(_preprocessed(images, *TORCH))
    torch.testing.assert_close(encoder(images, ["conv1_1"])["conv1_1"], expected, rtol=1e-4, atol=1e-4)
    assert encoder.describe()["padding"] == padding
    assert encoder.name == f"vgg16_{padding}"


def test_vgg_padding_by_reflection_needs_a_larger_image(vgg: Callable[..., VGGEncoder]) -> None:
    encoder = vgg(padding="reflect")
    least = encoder.minimum_px("relu3_1")
    assert least == 8  # two poolings; a mirror needs 2 pixels
    assert encoder(torch.rand(1, 3, least, least), ["relu3_1"])["relu3_1"].shape[-1] == 2
    with pytest.raises(ValueError, match="at least 8 px"):
        encoder(torch.rand(1, 3, least - 1, least), ["relu3_1"])


def test_vgg_average_pooling(vgg: Callable[..., VGGEncoder], images: Tensor) -> None:
    found = vgg(pooling="avg")(images, ["relu1_2", "pool1"])
    torch.testing.assert_close(found["pool1"], F.avg_pool2d(found["relu1_2"], 2))


@pytest.fixture(scope="module")
def normalized(pictures: Tensor) -> VGGEncoder:
    return VGGEncoder(16, "random", True, ["relu2_2"], ["relu1_2"], "relu4_1", calibration=pictures)


def test_vgg_normalization_changes_nothing_but_each_channels_scale(
    vgg16: VGGEncoder, normalized: VGGEncoder, pictures: Tensor, images: Tensor
) -> None:
    taps = [group.tap for group in vgg16.groups()]
    means, remeasured = measure_means(vgg16, taps, pictures), measure_means(normalized, taps, pictures)
    raw, scaled = vgg16(images, taps), normalized(images, taps)
    for tap in taps:
        alive = means[tap] >= 1e-6
        # Float32 maps are rounded to parts of their typical size, which an almost dead channel's mean feels.
        rounding = torch.finfo(torch.float32).eps * means[tap].median().item()
        found, expected = (remeasured[tap] * means[tap])[alive], means[tap][alive]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=rounding)
        unscaled = scaled[tap] * torch.where(alive, means[tap], 1.0).float()[:, None, None]
        assert (unscaled - raw[tap]).norm() / raw[tap].norm() < 1e-4, tap
    assert normalized.describe()["normalized"] is True
    assert normalized.describe()["calibration"].startswith("given-4x64x64-")


def test_vgg_variants_share_the_trained_networks_means(
    vgg: Callable[..., VGGEncoder], normalized: VGGEncoder, pictures: Tensor
) -> None:
    variant = vgg(normalize=True, calibration=pictures, pooling="avg", padding="reflect")
    for tap in ("conv1_1", "conv5_3"):
        assert torch.equal(variant.stages[tap].conv.weight, normalized.stages[tap].conv.weight)


def _write_state(path: Path, layers: nn.Module, **extra: Tensor) -> Path:
    """Write a state dict of the layers' names and shapes; each tensor is one number, repeated, so the file is small."""
    state = {f"features.{key}": torch.tensor(0.01).expand(value.shape) for key, value in layers.state_dict().items()}
    torch.save({**state, **extra}, path)
    return path


def test_vgg_reads_a_whole_torchvision_state_dict(
    tmp_path: Path, vgg: Callable[..., VGGEncoder], images: Tensor
) -> None:
    with torch.device("meta"):
        layers = make_layers(cfgs["D"])
    path = _write_state(tmp_path / "vgg.pth", layers, **{"classifier.0.weight": torch.zeros(4, 4)})
    encoder = vgg(weights=str(path))
    assert torch.equal(encoder.stages["conv5_3"].conv.weight, torch.full((512, 512, 3, 3), 0.01))
    assert encoder(images, ["relu1_1"])["relu1_1"].isfinite().all()
    assert encoder.describe()["weights"] == str(path)


def test_vgg_refuses_the_weights_of_another_depth(tmp_path: Path, vgg: Callable[..., VGGEncoder]) -> None:
    with torch.device("meta"):
        layers = make_layers(cfgs["E"])
    path = _write_state(tmp_path / "vgg19.pth", layers)
    with pytest.raises(ValueError, match=r"weights of vgg16, .*missing: features\.17.*unexpected: features\.16"):
        vgg(weights=str(path))


def test_vgg_refuses_a_profile_that_known_weights_do_not_have(
    tmp_path: Path, vgg: Callable[..., VGGEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.device("meta"):
        layers = make_layers(cfgs["D"])
    path = _write_state(tmp_path / "vgg.pth", layers)
    monkeypatch.setattr("stylebench.nn.encoders.weights.file_digest", lambda _: "88682ab5" + 56 * "0")
    with pytest.raises(ValueError, match=r"profile must be caffe_features with the caffe weights of VGG-16, got torch"):
        vgg(weights=str(path))
    assert vgg(weights=str(path), profile="caffe_features").digest.startswith("88682ab5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 11}, "depth must be one of 16, 19, got 11"),
        ({"padding": "valid"}, "padding must be one of zeros, .*got 'valid'"),
        ({"pooling": "l2"}, "pooling must be one of max, avg, got 'l2'"),
        ({"profile": "caffe"}, "profile must be one of torch, caffe_features, got 'caffe'"),
        ({"style_layers": ["relu1_3"]}, "vgg16 has no layer 'relu1_3'; choose from conv1_1, relu1_1"),
        ({"exchange_layer": "fire6"}, "no layer 'fire6'"),
        ({"calibration": torch.zeros(1, 3, 8, 8)}, r"calibration needs .*normalize=true"),
        ({"calibration": torch.zeros(1, 3, 8, 8), "normalize": True}, r"uint8 RGB pictures, got torch\.float32"),
    ],
)
def test_vgg_names_the_option_it_refuses(
    options: dict[str, object], message: str, vgg: Callable[..., VGGEncoder]
) -> None:
    with pytest.raises(ValueError, match=message):
        vgg(**options)
