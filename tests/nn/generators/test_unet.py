"""The U-Net: sizes, placement of norm, dropout and skips, and its work at test time."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stylebench.nn.generators import unet
from stylebench.nn.generators.unet import UNetGenerator
from stylebench.nn.layers import InstanceNorm
from stylebench.nn.normalization import has_batch_norm, using
from stylebench.nn.seeded_dropout import SeededDropout, seeded_dropout

# Convolutions of another batch size add up in another order; a network of a few layers keeps four digits.
ROUNDING = 1e-5


def tiny(**settings: Any) -> UNetGenerator:
    torch.manual_seed(0)
    return UNetGenerator(**{"size_px": 32, "width": 4, **settings}).eval()


@contextlib.contextmanager
def as_trained(network: nn.Module, noise_seed: int | None = None) -> Iterator[None]:
    """Have a network work as its translator has it: each image by its own statistics, noise by a seed."""
    seed = None if noise_seed is None else torch.tensor([noise_seed])
    with contextlib.ExitStack() as stack:
        if has_batch_norm(network):
            stack.enter_context(using(network, "image"))
        stack.enter_context(seeded_dropout(network, seed))
        yield


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def dropped_levels(network: UNetGenerator) -> list[int]:
    return [
        network.levels - place
        for place, stage in enumerate(network.decoder)
        if any(isinstance(layer, SeededDropout) for layer in stage.modules())
    ]


@pytest.mark.parametrize(
    ("settings", "levels", "count"),
    [
        ({"size_px": 256}, 8, 54_413_955),
        ({"size_px": 512}, 8, 54_413_955),
        ({"size_px": 128}, 7, 41_828_995),
        ({"size_px": 64}, 6, 29_244_035),
        ({"size_px": 256, "norm": "instance"}, 8, 54_413_955),
        ({"size_px": 256, "bottleneck_norm": True}, 8, 54_414_979),
        ({"size_px": 256, "skips": False}, 8, 39_075_459),
        ({"size_px": 128, "skips": False}, 7, 30_684_803),
        ({"size_px": 64, "skips": False}, 6, 22_294_147),
    ],
)
def test_unet_parameter_count(
    settings: dict[str, Any], levels: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unet, "initialize_normal", lambda layer: None)  # draws on the meta device cost seconds
    with torch.device("meta"):
        network = UNetGenerator(**settings)
    assert network.levels == levels
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("size_px", [64, 128, 256])
def test_unet_keeps_the_size(size_px: int, skips: bool) -> None:
    network = tiny(size_px=size_px, skips=skips)
    output = network(images(1, 3, size_px, size_px))
    assert output.shape == (1, 3, size_px, size_px)
    assert output.abs().max() < 1
    seen: list[tuple[int, ...]] = []
    for stage in network.encoder:
        stage.register_forward_hook(lambda _module, _inputs, maps: seen.append(tuple(maps.shape[1:])))
    network(images(1, 3, size_px, size_px))
    widths = [4, 8, 16, *[32] * 5][: network.levels]
    assert seen == [(width, size_px >> level, size_px >> level) for level, width in enumerate(widths, 1)]


@pytest.mark.parametrize(
    ("size_px", "levels"), [(16, 4), (32, 5), (96, 5), (160, 5), (192, 6), (256, 8), (512, 8), (768, 8)]
)
def test_unet_levels_follow_from_the_size(size_px: int, levels: int) -> None:
    assert UNetGenerator(size_px, width=1).levels == levels


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (
            {"size_px": 100},
            "size_px must be a multiple of 16 for at least 4 levels, .*got 100; use images of 96 or 112 px",
        ),
        ({"size_px": 8}, "at least 4 levels, .*got 8; use images of 16 px"),
        (
            {"size_px": 128, "levels": 8},
            "size_px must be a multiple of 256 for 8 levels, .*got 128; use images of 256 px",
        ),
        ({"size_px": 300, "levels": 8}, "use images of 256 or 512 px"),
        ({"levels": 1}, "levels must be a whole number of at least 2, .*got 1"),
        ({"levels": True}, "levels must be a whole number of at least 2, .*got True"),
        ({"size_px": 0}, "size_px must be a whole number of at least 1, got 0"),
        ({"size_px": 64.0}, "size_px must be a whole number"),
        ({"norm": "none"}, "norm must be one of batch, instance, got 'none'"),
        ({"dropout": True}, "dropout must be one of paper, code, none, got True"),
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
    ],
)
def test_unet_refuses_wrong_settings(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        UNetGenerator(**settings)


@pytest.mark.parametrize(
    ("size_px", "dropout", "levels"),
    [
        (256, "paper", [8, 7, 6]),
        (128, "paper", [7, 6, 5]),
        (64, "paper", [6, 5, 4]),
        (256, "code", [7, 6, 5]),
        (128, "code", [6, 5]),
        (64, "code", [5]),
        (256, "none", []),
    ],
)
def test_unet_dropout_placement(size_px: int, dropout: str, levels: list[int]) -> None:
    network = UNetGenerator(size_px, width=1, dropout=dropout)
    assert dropped_levels(network) == levels
    assert len({layer.stream for layer in network.modules() if isinstance(layer, SeededDropout)}) == len(levels)
    assert all(layer.p == 0.5 for layer in network.modules() if isinstance(layer, SeededDropout))


@pytest.mark.parametrize("bottleneck_norm", [False, True])
def test_unet_norms_all_but_the_first_the_last_and_the_innermost(bottleneck_norm: bool) -> None:
    for norm, kind in (("batch", nn.BatchNorm2d), ("instance", InstanceNorm)):
        network = tiny(norm=norm, bottleneck_norm=bottleneck_norm)
        encoder = [any(isinstance(layer, kind) for layer in stage.modules()) for stage in network.encoder]
        decoder = [any(isinstance(layer, kind) for layer in stage.modules()) for stage in network.decoder]
        assert encoder == [False, True, True, True, bottleneck_norm]
        assert decoder == [True, True, True, True, False]


def test_unet_biases_only_in_the_last_convolution() -> None:
    convolutions = [m for m in tiny().modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [layer.bias is not None for layer in convolutions] == [False] * 9 + [True]
    assert not any(getattr(layer, "inplace", False) for layer in tiny().modules())


def test_unet_initial_weights() -> None:
    torch.manual_seed(0)
    network = UNetGenerator(32, width=16)
    _, convolution, norm = network.encoder[3].requires_grad_(False)
    assert float(convolution.weight.std()) == pytest.approx(0.02, rel=0.02)
    assert float(norm.weight.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(norm.weight.std()) == pytest.approx(0.02, rel=0.3)
    assert not norm.bias.any()


def test_unet_agrees_with_the_layers_written_out() -> None:
    """Four levels, recursively: what a level adds is its map beside that of all the levels below it."""
    network = tiny(size_px=16, dropout="none")
    functional = nn.functional

    def inner(maps: Tensor, level: int) -> Tensor:
        down, up = network.encoder[level], network.decoder[3 - level]
        below = down[1](functional.leaky_relu(maps, 0.2))
        if level == 3:
            return up[2](up[1](below.relu()))  # type: ignore[no-any-return]
        below = down[2](below)
        return up[2](up[1](torch.cat([inner(below, level + 1), below], 1).relu()))  # type: ignore[no-any-return]

    source = images(2, 3, 16, 16)
    first = network.encoder[0](source)
    expected = network.decoder[3][1](torch.cat([inner(first, 1), first], 1).relu()).tanh()
    torch.testing.assert_close(network(source), expected)


def test_unet_without_skips_sees_the_innermost_map_alone() -> None:
    for skips, differs in ((True, True), (False, False)):
        network = tiny(skips=skips, dropout="none")
        network.encoder[-1].register_forward_hook(lambda _module, _inputs, maps: torch.zeros_like(maps))
        first, second = network(images(1, 3, 32, 32)), network(images(1, 3, 32, 32, seed=1))
        assert (not torch.equal(first, second)) is differs


def test_unet_extends_and_crops_other_sizes() -> None:
    network = tiny()
    source = images(1, 3, 50, 37)
    output = network(source)
    assert output.shape == source.shape
    padded = nn.functional.pad(source, (0, 27, 0, 14), mode="reflect")
    assert torch.equal(output, network(padded)[..., :50, :37])
    assert network(images(1, 3, 17, 17)).shape == (1, 3, 17, 17)
    with pytest.raises(ValueError, match=r"halves images 5 times and needs sides of at least 17 px.*got 40 x 16"):
        network(images(1, 3, 40, 16))


def test_unet_trains_with_the_statistics_of_the_batch() -> None:
    network = tiny(dropout="none").train()
    plain = nn.BatchNorm2d(8)
    norm = network.encoder[1][2]
    plain.load_state_dict(norm.state_dict())
    maps = images(3, 8, 4, 4)
    assert torch.equal(norm(maps), plain(maps))
    assert torch.equal(norm.running_mean, plain.running_mean)
    assert int(norm.num_batches_tracked) == 1
    network(images(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_as_trained_is_training_mode_with_one_image() -> None:
    network = tiny(dropout="none")
    source = images(1, 3, 32, 32)
    with as_trained(network):
        found = network(source)
    torch.testing.assert_close(found, network.train()(source), atol=ROUNDING, rtol=ROUNDING)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_as_trained_does_not_depend_on_the_batch(norm: str) -> None:
    network = tiny(norm=norm)
    source = images(3, 3, 48, 32)
    with as_trained(network, noise_seed=3):
        together = network(source)
        alone = torch.cat([network(image[None]) for image in source])
        backwards = network(source.flip(0)).flip(0)
    torch.testing.assert_close(together, alone, atol=ROUNDING, rtol=ROUNDING)
    torch.testing.assert_close(together, backwards, atol=ROUNDING, rtol=ROUNDING)


def test_as_trained_changes_no_buffer_and_no_generator_and_ends() -> None:
    network = tiny()
    network.train()(images(2, 3, 32, 32))
    network.eval()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    state, source = torch.get_rng_state(), images(2, 3, 32, 32)
    plain = network(source)
    with as_trained(network, noise_seed=1):
        own = network(source)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())
    assert not torch.equal(own, plain)
    assert torch.equal(network(source), plain)
    with pytest.raises(RuntimeError, match="stop"), as_trained(network, noise_seed=1):
        raise RuntimeError("stop")
    assert torch.equal(network(source), plain)


def test_noise_follows_from_its_seed() -> None:
    network = tiny()
    source = images(1, 3, 32, 32)
    outputs = {}
    for seed in (0, 1, 2**31 - 1, None):
        with as_trained(network, noise_seed=seed):
            outputs[seed] = network(source)
            assert torch.equal(outputs[seed], network(source))
    values = list(outputs.values())
    assert not any(torch.equal(a, b) for i, a in enumerate(values) for b in values[:i])


def test_every_image_drops_by_its_own_seed_in_training() -> None:
    network = tiny(norm="instance").train()
    source = images(3, 3, 32, 32)
    seeds = torch.tensor([5, -1, 2**40 + 5])
    state = torch.get_rng_state()
    with seeded_dropout(network, seeds):
        together = network(source)
    assert torch.equal(torch.get_rng_state(), state)
    for k in range(3):
        with seeded_dropout(network, seeds[k : k + 1]):
            torch.testing.assert_close(together[k : k + 1], network(source[k : k + 1]), atol=ROUNDING, rtol=ROUNDING)
    same = source[:1].expand(3, -1, -1, -1)
    with seeded_dropout(network, seeds):
        first, second, third = network(same)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, third)
    assert not torch.equal(network(source), together)  # torch's own draws again


def test_seeded_dropout_drops_half_and_doubles_the_rest() -> None:
    layer = SeededDropout(0.5, stream=8).eval()
    maps = torch.ones(2, 64, 32, 32)
    assert torch.equal(layer(maps), maps)  # evaluation mode without a seed
    with as_trained(layer, noise_seed=7):
        dropped = layer(maps)
        half = layer(maps.bfloat16())
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert float((dropped == 0).float().mean()) == pytest.approx(0.5, abs=0.01)  # 65536 draws: 5 standard deviations
    assert torch.equal(dropped[0], dropped[1])
    assert half.dtype == torch.bfloat16
    other = SeededDropout(0.5, stream=7).eval()
    with as_trained(other, noise_seed=7):
        assert not torch.equal(other(maps), dropped)


def test_training_dropout_is_torch_s() -> None:
    network = tiny().train()
    torch.manual_seed(5)
    first = network(images(1, 3, 32, 32))
    torch.manual_seed(5)
    again, other = network(images(1, 3, 32, 32)), network(images(1, 3, 32, 32))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_unet_in_half_precision_and_channels_last() -> None:
    network = tiny(dropout="none")
    source = images(2, 3, 32, 32)
    with as_trained(network):
        plain = network(source)
        strided = network.to(memory_format=torch.channels_last)(source.to(memory_format=torch.channels_last))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(source)
    torch.testing.assert_close(strided, plain, atol=ROUNDING, rtol=ROUNDING)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, plain, atol=0.05, rtol=0)  # 8 bits, over 10 convolutions
