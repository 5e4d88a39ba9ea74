"""Networks that classify: sizes, shapes, batch norms for adaptation, and who learns."""

import pytest
import torch
from torch import nn

from stylebench.nn.classifiers.base import ClassifierNetwork
from stylebench.nn.classifiers.digits import DigitNet
from stylebench.nn.classifiers.encoder_head import EncoderHead
from stylebench.nn.classifiers.resnet import ResNet
from stylebench.nn.encoders.compact import CompactEncoder
from stylebench.nn.normalization import batch_norms

COMPACT = {
    "weights": "random", "padding": "zeros", "pooling": "max", "content_layers": ["relu2_2"],
    "style_layers": ["relu1_1"], "exchange_layer": "relu4_1",
}  # fmt: skip


def parameters(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters() if each.requires_grad)


def test_digit_net_parameter_count() -> None:
    assert parameters(DigitNet(10)) == 26_682


@pytest.mark.parametrize(("depth", "count", "norms"), [(18, 11_180_103, 20), (50, 23_522_375, 53)])
def test_resnet_parameter_count(depth: int, count: int, norms: int) -> None:
    with torch.device("meta"):
        network = ResNet(7, depth)
    assert parameters(network) == count
    assert len(batch_norms(network)) == norms


def test_the_small_stem_keeps_positions() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sizes = {}
    for stem in ("large", "small"):
        network = ResNet(3, stem=stem).eval()
        network.body.layer1.register_forward_hook(lambda *found, stem=stem: sizes.update({stem: found[2].shape[-1]}))
        assert network.features(images).shape == (2, 512)
        assert network(images).shape == (2, 3)
    assert sizes == {"large": 8, "small": 32}


def test_torchvision_weights_load_below_body() -> None:
    from torchvision.models import resnet18

    published = {name: value for name, value in resnet18().state_dict().items() if not name.startswith("fc.")}
    network = ResNet(3).eval()
    network.body.load_state_dict(published)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = resnet18().eval()
    plain.load_state_dict(published, strict=False)
    plain.fc = nn.Identity()
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    torch.testing.assert_close(network.features(images), plain((images - mean) / std))


@pytest.fixture(scope="module")
def head() -> EncoderHead:
    torch.manual_seed(0)
    return EncoderHead(4, CompactEncoder(**COMPACT), ["relu1_2", "relu3_1"], width=8)


def test_the_head_reads_mean_activations(head: EncoderHead) -> None:
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = head.encoder(images, ["relu1_2", "relu3_1"])
    expected = torch.cat([maps["relu1_2"].mean((2, 3)), maps["relu3_1"].mean((2, 3))], 1)
    torch.testing.assert_close(head.pooled(images), expected)
    head.eval()
    torch.testing.assert_close(head.features(images), head.hidden(expected))
    assert list(batch_norms(head)) == ["hidden.1"]


def test_the_encoder_is_frozen_and_in_no_checkpoint(head: EncoderHead) -> None:
    head.train()
    before = {name: value.clone() for name, value in head.encoder.named_buffers()}
    head(torch.rand(3, 3, 32, 32)).sum().backward()
    assert all(each.grad is None for each in head.encoder.parameters())
    assert head.hidden[0].weight.grad is not None
    assert not head.encoder.training
    assert all(torch.equal(value, before[name]) for name, value in head.encoder.named_buffers())
    assert not [name for name in head.state_dict() if name.startswith("encoder")]


@pytest.mark.parametrize("layers", [[], ["relu9_9"]])
def test_layers_that_are_no_taps_are_named(head: EncoderHead, layers: list[str]) -> None:
    with pytest.raises(ValueError, match=r"layers.*relu1_1"):
        EncoderHead(4, head.encoder, layers)


@pytest.mark.parametrize(("settings", "match"), [({"depth": 34}, "depth"), ({"stem": "tiny"}, "stem")])
def test_resnets_that_there_are_not_are_refused(settings: dict[str, int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ResNet(3, **settings)


def test_the_forward_pass_is_the_head_over_the_features() -> None:
    network: ClassifierNetwork = DigitNet(10, 4).eval()
    images = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(images), network.head(network.features(images)))
    assert network.features(images).shape == (2, network.width)
