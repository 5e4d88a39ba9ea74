"""StarGAN's networks: sizes, labels that matter, samples apart, the two heads."""

import pytest
import torch
from torch import Tensor, nn

from stylebench.nn.discriminators.stargan import StarGANDiscriminator
from stylebench.nn.generators.stargan import StarGANGenerator
from stylebench.nn.layers import InstanceNorm


def images(*size: int, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


def generator(label_channels: int = 3) -> StarGANGenerator:
    torch.manual_seed(0)
    return StarGANGenerator(label_channels, blocks=2, width=3).double()


def test_stargan_generator_parameter_count() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in StarGANGenerator(5).parameters()) == 8_430_528


def test_stargan_discriminator_parameter_count() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in StarGANDiscriminator(128, 5).parameters()) == 44_762_048


def test_the_generator_has_no_biases_but_those_of_norms() -> None:
    owners = [
        type(part)
        for part in generator().modules()
        for name, _ in part.named_parameters(recurse=False)
        if name == "bias"
    ]
    assert set(owners) == {InstanceNorm}
    assert generator().body[0].padding_mode == "zeros"


@pytest.mark.parametrize("size", [(8, 8), (16, 12), (13, 18)])
def test_any_size_comes_back(size: tuple[int, int]) -> None:
    output = generator()(images(*size), torch.eye(3)[:2])
    assert output.shape == (2, 3, *size)
    assert output.abs().max() < 1


def test_each_image_goes_by_its_own_label() -> None:
    network, whole, labels = generator(), images(12, 16, batch=3), torch.eye(3)
    each = torch.cat([network(image[None], label[None]) for image, label in zip(whole, labels, strict=True)])
    torch.testing.assert_close(network(whole, labels), each, rtol=0, atol=1e-12)


def test_the_label_changes_the_image() -> None:
    """It reaches the output by the zeros around the constant channels: the norm takes the constant itself away."""
    network, image = generator(), images(16, 16, batch=1)
    first, second = (network(image, label[None]) for label in torch.eye(3)[:2])
    assert (first - second).abs().mean() > 1e-2


def test_output_keeps_the_type_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert generator().float()(images(8, 8).float(), torch.eye(3)[:2]).dtype == torch.float32


def test_the_discriminator_has_a_map_and_a_logit_for_each_class() -> None:
    network = StarGANDiscriminator(32, 5, layers=4, width=2)
    source, domain = network(torch.rand(3, 3, 32, 32))
    assert source.shape == (3, 1, 2, 2)
    assert domain.shape == (3, 5)
    kinds = {type(part) for part in network.modules() if not list(part.children())}
    assert kinds == {nn.Conv2d, nn.LeakyReLU}  # no norm: the penalty is per image
    assert {part.negative_slope for part in network.modules() if isinstance(part, nn.LeakyReLU)} == {0.01}
    assert [part.bias is not None for part in (network.source, network.domain)] == [False, False]


def test_the_published_size_of_the_map() -> None:
    source, domain = StarGANDiscriminator(128, 5, width=1)(torch.rand(1, 3, 128, 128))
    assert source.shape == (1, 1, 2, 2)
    assert domain.shape == (1, 5)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ((96, 2), r"size_px must be a multiple of 64, since 6 layers .*got 96; use images of 64 or 128 px"),
        ((10, 2, 2), r"multiple of 4, .*got 10; use images of 8 or 12 px"),
        ((0, 2, 2), r"whole number of at least 1, got 0"),
    ],
)
def test_sizes_that_cannot_be_halved_are_refused(settings: tuple[int, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        StarGANDiscriminator(*settings)


def test_empty_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="label_channels must be a whole number of at least 1, got 0"):
        StarGANGenerator(0)
