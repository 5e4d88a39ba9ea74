"""StarGAN v2's networks: the published sizes, the published layers, one head a domain, the high-pass skip."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.nn.discriminators.stargan_v2 import MultiTaskDiscriminator
from stylebench.nn.generators.stargan_v2 import StarGANv2Generator
from stylebench.nn.residual_blocks import ResidualBlock, StyledBlock, Trunk, official_width
from stylebench.nn.style_networks import DomainLinear, MappingNetwork, StyleEncoder


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(**settings: object) -> StarGANv2Generator:
    torch.manual_seed(0)
    return StarGANv2Generator(32, **{"style_dim": 5, "width": 4, "max_width": 6, **settings}).double()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (lambda: StarGANv2Generator(256), 33_892_995),
        (lambda: StarGANv2Generator(256, high_pass=1.0), 43_467_395),
        (lambda: MappingNetwork(2), 2_438_272),
        (lambda: MappingNetwork(3), 3_259_072),
        (lambda: StyleEncoder(256, 2), 20_916_928),
        (lambda: StyleEncoder(256, 3), 20_949_760),
        (lambda: MultiTaskDiscriminator(256, 2), 20_852_290),
        (lambda: MultiTaskDiscriminator(256, 3), 20_852_803),
    ],
)
def test_parameter_counts(build: Callable[[], nn.Module], count: int) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build().parameters()) == count


def test_the_official_width_grows_as_images_shrink() -> None:
    assert [official_width(size) for size in (64, 128, 256, 1024)] == [256, 128, 64, 16]


@pytest.mark.parametrize(("norm", "halve", "outputs"), [(True, True, 4), (False, True, 3), (True, False, 3)])
def test_residual_block_written_out(norm: bool, halve: bool, outputs: int) -> None:
    block, maps = ResidualBlock(3, outputs, norm=norm, halve=halve).double(), noise(2, 3, 8, 6)

    def normed(x: Tensor) -> Tensor:
        return F.instance_norm(x) if norm else x

    branch = F.conv2d(F.leaky_relu(normed(maps), 0.2), block.conv1.weight, block.conv1.bias, padding=1)
    branch = F.avg_pool2d(branch, 2) if halve else branch
    branch = F.conv2d(F.leaky_relu(normed(branch), 0.2), block.conv2.weight, block.conv2.bias, padding=1)
    skip = maps if block.skip is None else F.conv2d(maps, block.skip.weight)
    skip = F.avg_pool2d(skip, 2) if halve else skip
    torch.testing.assert_close(block(maps), (branch + skip) / math.sqrt(2))
    assert (block.skip is None) == (outputs == 3)


@pytest.mark.parametrize(("double", "skip", "outputs"), [(True, True, 2), (True, False, 2), (False, True, 3)])
def test_styled_block_written_out(double: bool, skip: bool, outputs: int) -> None:
    block, maps, styles = StyledBlock(3, outputs, 5, double=double, skip=skip).double(), noise(2, 3, 4, 6), noise(2, 5)

    def styled(x: Tensor, layer: nn.Linear) -> Tensor:
        gamma, beta = F.linear(styles, layer.weight, layer.bias)[:, :, None, None].chunk(2, 1)
        return (1 + gamma) * F.instance_norm(x) + beta

    def enlarged(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest") if double else x

    branch = enlarged(F.leaky_relu(styled(maps, block.norm1.affine), 0.2))
    branch = F.conv2d(branch, block.conv1.weight, block.conv1.bias, padding=1)
    branch = F.leaky_relu(styled(branch, block.norm2.affine), 0.2)
    branch = F.conv2d(branch, block.conv2.weight, block.conv2.bias, padding=1)
    if skip:
        short = enlarged(maps)
        short = short if block.skip is None else F.conv2d(short, block.skip.weight)
        branch = (branch + short) / math.sqrt(2)
    torch.testing.assert_close(block(maps, styles), branch)


def test_a_row_goes_through_the_layer_of_its_domain() -> None:
    layer, rows, domains = DomainLinear(3, 4, 2).double(), noise(3, 4), torch.tensor([2, 0, 2])
    layer.bias.data.normal_()
    expected = torch.stack([layer.weight[d] @ row + layer.bias[d] for row, d in zip(rows, domains, strict=True)])
    torch.testing.assert_close(layer(rows, domains), expected)
    layer(rows, domains).sum().backward()
    assert layer.weight.grad is not None
    assert not layer.weight.grad[1].any()  # a domain that is not there has a gradient of zeros


def test_weights_keep_the_variance_of_rectified_layers() -> None:
    torch.manual_seed(0)
    network = MappingNetwork(2, width=256)
    first, own = network.shared[2], network.own[0]
    assert first.weight.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.02)
    assert own.weight.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.02)
    assert not first.bias.any()
    assert not own.bias.any()


def test_networks_map_shapes_as_they_say() -> None:
    images, domains = noise(2, 3, 32, 32), torch.tensor([1, 0])
    encoder = StyleEncoder(32, 2, style_dim=5, width=4, max_width=8).double()
    critic = MultiTaskDiscriminator(32, 2, width=4, max_width=8).double()
    styles = MappingNetwork(2, latent_dim=3, style_dim=5, width=6).double()(noise(2, 3), domains)
    assert styles.shape == encoder(images, domains).shape == (2, 5)
    assert critic(images, domains).shape == (2,)
    assert torch.equal(critic(images, domains), critic.of_all(images)[[0, 1], [1, 0]])
    assert generator()(images, styles).shape == images.shape


@pytest.mark.parametrize("size", [(32, 32), (16, 24), (33, 46)])
def test_images_of_any_size_come_back(size: tuple[int, int]) -> None:
    assert generator()(noise(1, 3, *size), noise(1, 5)).shape == (1, 3, *size)


def test_crops_with_two_sides_are_halved_by_the_shorter_one() -> None:
    encoder = StyleEncoder((32, 64), 2, style_dim=5, width=4, max_width=8).double()
    assert encoder(noise(2, 3, 32, 64), torch.tensor([0, 1])).shape == (2, 5)
    assert official_width((64, 128)) == 256
    assert StarGANv2Generator((32, 64), width=4).stride == 2


def test_each_image_goes_by_its_own_style() -> None:
    network, images, styles = generator(), noise(2, 3, 32, 32), noise(2, 5)
    both = network(images, styles)
    torch.testing.assert_close(both[1:], network(images[1:], styles[1:]))
    assert (network(images, styles.flip(0)) - both).abs().max() > 1e-3


def test_high_pass_adds_masked_edges_of_the_input() -> None:
    """With a mask on one side alone, what the skip adds depends on that side's details alone."""
    network, images, styles = generator(high_pass=1.0), noise(1, 3, 32, 32), noise(1, 5)
    nothing = [torch.zeros(1, 1, 8, 8, dtype=torch.float64)] * 2
    assert network.stride == 4  # once more than without
    assert not network.decode[0].adds_input
    plain = network(images, styles, nothing)
    whole = network(images, styles, [torch.ones_like(nothing[0])] * 2)
    assert (whole - plain).abs().max() > 1e-3
    flat = torch.full((1, 3, 8, 8), 0.7, dtype=torch.float64)
    inside = network._details(torch.ones(1, 1, 8, 8, dtype=torch.float64), flat)[..., 1:-1, 1:-1]
    assert inside.abs().max() < 1e-12  # a constant has no edges
    spike = torch.zeros(1, 3, 5, 5, dtype=torch.float64)
    spike[..., 2, 2] = 1
    found = network._details(torch.ones(1, 1, 5, 5, dtype=torch.float64), spike)
    assert found[0, 0, 2, 2] == 8
    assert found[0, 0, 1:4, 1:4].sum() == 0


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"size_px .* got 48; use 32 or 64"):
        StarGANv2Generator(48)
    with pytest.raises(ValueError, match=r"longer side of size_px must be a multiple of 8, got 60; use 56 or 64"):
        Trunk((60, 32), 4, 4)
    with pytest.raises(ValueError, match="width=8 exceeds max_width=4"):
        StarGANv2Generator(32, width=8, max_width=4)
    with pytest.raises(ValueError, match=r"shape \(1, 5\), got \(1, 4\)"):
        generator()(noise(1, 3, 32, 32), noise(1, 4))
    with pytest.raises(ValueError, match=r"high_pass=1 needs masks .* high_pass=0 works without"):
        generator(high_pass=1.0)(noise(1, 3, 32, 32), noise(1, 5))
    with pytest.raises(ValueError, match=r"latents of shape \(B, 16\), got \(2, 8\)"):
        MappingNetwork(2)(torch.zeros(2, 8), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="32 x 32 px, got 16 x 16"):
        Trunk(32, 4, 4)(torch.zeros(1, 3, 16, 16))
