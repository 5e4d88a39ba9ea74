"""The residual generator: sizes, any image, samples apart, biases without effect, bands, blur filters."""

import pytest
import torch
from torch import Tensor

from stylebench.nn.generators.resnet import UPSAMPLING, BlurPool, BlurUpsample, ResNetGenerator


def images(*size: int, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


def generator(upsample: str = "deconv", **settings: object) -> ResNetGenerator:
    """A small one in float64, with weights that are large enough for every layer to matter."""
    torch.manual_seed(0)
    network = ResNetGenerator(blocks=2, width=3, upsample=upsample, **settings).double()  # type: ignore[arg-type]
    for parameter in network.parameters():
        parameter.data.mul_(10)
    return network


@pytest.mark.parametrize(
    ("blocks", "biases", "count"),
    [(9, True, 11_378_179), (6, True, 7_837_699), (9, False, 11_372_931), (6, False, 7_833_987)],
)
def test_resnet_generator_parameter_count(blocks: int, biases: bool, count: int) -> None:
    assert sum(p.numel() for p in ResNetGenerator(blocks, biases=biases).parameters()) == count


@pytest.mark.parametrize(("halvings", "widths"), [(0, [3]), (1, [3, 6]), (2, [3, 6, 12])])
def test_fewer_halvings_leave_fewer_layers(halvings: int, widths: list[int]) -> None:
    network = generator(halvings=halvings)
    inside = [layer.out_channels for layer in network.body if isinstance(layer, torch.nn.Conv2d)]
    doubled = [layer.out_channels for layer in network.body if isinstance(layer, torch.nn.ConvTranspose2d)]
    assert inside == [*widths, 3]
    assert doubled == widths[-2::-1]
    assert network(images(13, 18)).shape == (2, 3, 13, 18)
    assert network.multiple == 2**halvings


def test_without_norms_colors_come_through_and_sizes_are_kept() -> None:
    torch.manual_seed(0)
    network = ResNetGenerator(1, 16, halvings=0, norm="none").double()
    assert not any("Norm" in type(layer).__name__ for layer in network.modules())
    gray, other = (torch.full((1, 3, 16, 16), value, dtype=torch.float64) for value in (0.2, -0.6))
    assert (network(gray) - network(other)).abs().min() > 0.01
    with_norm = ResNetGenerator(1, 16, halvings=0).double()
    assert (with_norm(gray) - with_norm(other)).abs().max() < 1e-6  # a flat image has no mean left, and nothing else
    maps = images(32, 32)
    sizes = [float((maps := layer(maps).detach()).std()) for layer in network.body[:-1]]
    assert all(0.2 < size < 5 for size in sizes), sizes


def test_every_way_of_doubling_has_as_many_weights() -> None:
    networks = [generator(upsample) for upsample in UPSAMPLING]
    assert len({sum(p.numel() for p in network.parameters()) for network in networks}) == 1
    for network in networks:  # and the blur filters are in no checkpoint
        assert set(network.state_dict()) == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize(("blocks", "halvings"), [(1, 0), (6, 2), (9, 2)])
def test_without_norms_few_outputs_are_saturated_at_the_start(blocks: int, halvings: int) -> None:
    torch.manual_seed(0)
    network = ResNetGenerator(blocks, 16, halvings=halvings, norm="none").double()
    with torch.no_grad():
        share = float((network(images(32, 32)).abs() > 0.99).double().mean())
    assert share < 0.3


@pytest.mark.parametrize("upsample", UPSAMPLING)
@pytest.mark.parametrize("size", [(8, 8), (16, 12), (13, 18), (9, 11)])
def test_any_size_comes_back(upsample: str, size: tuple[int, int]) -> None:
    output = generator(upsample)(images(*size))
    assert output.shape == (2, 3, *size)
    assert output.abs().max() < 1
    assert output.std() > 0.01


def test_a_size_that_four_does_not_divide_is_the_corner_of_a_mirrored_image() -> None:
    network, whole = generator(), images(13, 18)
    padded = torch.nn.functional.pad(whole, (0, 2, 0, 3), mode="reflect")
    torch.testing.assert_close(network(whole), network(padded)[..., :13, :18])


@pytest.mark.parametrize("upsample", UPSAMPLING)
def test_samples_do_not_see_each_other(upsample: str) -> None:
    network, whole = generator(upsample), images(12, 16, batch=3)
    each = torch.cat([network(image[None]) for image in whole])
    torch.testing.assert_close(network(whole), each, rtol=0, atol=1e-12)


@pytest.mark.parametrize("upsample", UPSAMPLING)
def test_biases_before_a_norm_do_nothing(upsample: str) -> None:
    network, plain = generator(upsample, biases=True), generator(upsample)
    weights = network.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    assert len(weights) > len(plain.state_dict())
    for name in weights.keys() - plain.state_dict().keys():
        weights[name].normal_(0.0, 0.3)
    torch.testing.assert_close(network(images(16, 12)), plain(images(16, 12)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("upsample", ["deconv", "nearest_conv"])
@pytest.mark.parametrize("size", [(40, 24), (37, 22)])
@pytest.mark.parametrize("keep_bytes", [0, 1 << 30])
@pytest.mark.parametrize("settings", [{}, {"halvings": 1}, {"halvings": 0, "norm": "none"}])
def test_bands_equal_the_whole(
    upsample: str, size: tuple[int, int], keep_bytes: int, settings: dict[str, object]
) -> None:
    network = generator(upsample, **{"biases": True, **settings}).eval()
    whole = images(*size, batch=1)
    found = network.in_bands(whole, band_rows=8, keep_bytes=keep_bytes)
    torch.testing.assert_close(found, network(whole).detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("upsample", ["bilinear_conv", "blurpool"])
def test_upsampling_without_a_band_version_is_computed_whole(upsample: str) -> None:
    network = generator(upsample)
    found = network.in_bands(images(18, 13))
    assert torch.equal(found, network(images(18, 13)).detach())
    assert not found.requires_grad


@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_blur_filters_keep_constants(size: tuple[int, int]) -> None:
    flat = torch.tensor([0.3, -2.0]).view(1, 2, 1, 1).expand(1, 2, *size).contiguous()
    smaller, larger = BlurPool(2)(flat), BlurUpsample(2)(flat)
    assert smaller.shape == (1, 2, (size[0] + 1) // 2, (size[1] + 1) // 2)
    assert larger.shape == (1, 2, 2 * size[0], 2 * size[1])
    for maps in (smaller, larger):
        torch.testing.assert_close(maps, flat[..., :1, :1].expand_as(maps))


def test_blur_filters_keep_the_sum_of_a_point() -> None:
    """Known answers: 1 2 1 / 4 at every second pixel; 1 3 3 1 / 4 around the doubled point."""
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1.0
    assert BlurPool(1)(point)[0, 0, 1:4, 2].tolist() == [0.0, 0.25, 0.0]
    shifted = point.roll(1, 2)
    assert BlurPool(1)(shifted)[0, 0, 1:5, 2].tolist() == [0.0, 0.125, 0.125, 0.0]
    doubled = BlurUpsample(1)(point)[0, 0]
    assert doubled[:, 8].tolist() == [0.0] * 7 + [0.1875, 0.5625, 0.5625, 0.1875] + [0.0] * 7
    assert float(doubled.sum()) == 4.0


def test_output_keeps_the_type_under_autocast() -> None:
    network, whole = ResNetGenerator(1, 4), images(16, 16).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(whole).dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"upsample": "pixel_shuffle"}, r"upsample must be one of deconv, .*, got 'pixel_shuffle'"),
        ({"halvings": 3}, "halvings must be one of 0, 1, 2, got 3"),
        ({"norm": "batch"}, "norm must be one of instance, none, got 'batch'"),
        ({"blocks": 0}, "blocks must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ResNetGenerator(**settings)  # type: ignore[arg-type]


def test_too_small_images_are_refused() -> None:
    for call in (generator(), generator().in_bands):
        with pytest.raises(ValueError, match=r"at least 8 x 8 px, got 7 x 20; enlarge the image"):
            call(images(7, 20))
