"""The AdaIN translator: controls, regions, encoded styles, big pictures; decoders are random, features are real."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.functional.channel_statistics import ChannelStatistics, adaptive_instance_norm, channel_statistics
from stylebench.inference.translators.adain import EXCHANGES, AdaINTranslator
from stylebench.inference.translators.base import Guides
from stylebench.nn.encoders import CompactEncoder, Encoder, SqueezeNetEncoder

STRIDE = 4  # of relu3_1, where these tests exchange statistics


def translator(transfer: str = "adain", norm: str = "none", seed: int = 0, tap: str = "relu3_1") -> AdaINTranslator:
    """A translator in float64, so that what must be equal can be compared closely."""
    torch.manual_seed(seed)
    encoder = CompactEncoder("shipped", ["relu2_2"], ["relu1_1"], tap)
    model = AdaINTranslator(encoder=encoder, transfer=transfer, norm=norm).double().eval()
    for layer in model.decoder.layers:
        if isinstance(
            layer, nn.Conv2d
        ):  # torch's default lets the features of a random decoder fade from layer to layer
            layer.weight.data *= 2.0
    return model


class Untouched(nn.Module):
    """Stands for a decoder whose output shows its input: the first three channels, enlarged."""

    stride = STRIDE

    def forward(self, maps: Tensor) -> Tensor:
        return F.interpolate(maps[:, :3], scale_factor=STRIDE, mode="nearest")


def images(count: int = 1, height: int = 24, width: int = 32, seed: int = 0) -> Tensor:
    """Smooth noise, so that features differ from place to place."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, height // 4, width // 4, generator=generator, dtype=torch.float64)
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)


def close(one: Tensor, other: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Collect the shapes of what is encoded."""
    seen: list[tuple[int, ...]] = []
    original = Encoder.forward

    def counting(self: Encoder, pictures: Tensor, layers: Any) -> Any:
        seen.append(tuple(pictures.shape))
        return original(self, pictures, layers)

    monkeypatch.setattr(Encoder, "forward", counting)
    return seen


def rendered(model: AdaINTranslator, content: Tensor, *styles: Tensor, **controls: Any) -> Tensor:
    """The result before it is clamped, so that nothing is hidden by the range."""
    given = {"style_weights": controls.pop("weights", None), "masks": controls.pop("masks", None)}
    guides = model.check_guides(content, {"style": list(styles), **given})
    with torch.no_grad():
        return model.render(content, guides, **model.check_controls(**controls))


def test_result_is_the_decoded_exchange_of_statistics() -> None:
    model, content, style = translator(), images(2), images(1, 40, 36, seed=1)
    maps = [model.encoder(pictures, ["relu3_1"])["relu3_1"] for pictures in (content, style)]
    mean, std = ([part.flatten(2).mean(2)[..., None, None] for part in maps],
                 [(part.flatten(2).var(2, correction=0) + 1e-5).sqrt()[..., None, None] for part in maps])  # fmt: skip
    expected = model.decoder((maps[0] - mean[0]) / std[0] * std[1] + mean[1])
    close(rendered(model, content, style), expected)
    close(model.translate(content, style=style), expected.clamp(0, 1))


def test_forward_is_what_is_used_after_training() -> None:
    for transfer in EXCHANGES:
        model, content, style = translator(transfer), images(2), images(2, seed=1)
        maps = [model.encoder(pictures, ["relu3_1"])["relu3_1"] for pictures in (content, style)]
        close(rendered(model, content, style), model(*maps))


@pytest.mark.parametrize("transfer", EXCHANGES)
def test_alpha_zero_is_the_decoded_content(transfer: str) -> None:
    model, content = translator(transfer), images(2)
    maps = model.encoder(content, ["relu3_1"])["relu3_1"]
    expected = model.decoder(model.exchange.join(maps, maps))
    close(rendered(model, content, images(seed=1), alpha=0.0), expected)


def test_alpha_mixes_features() -> None:
    model, content, style = translator(), images(), images(seed=1)
    model.decoder = Untouched()
    ends = [rendered(model, content, style, alpha=alpha) for alpha in (0.0, 1.0)]
    close(rendered(model, content, style, alpha=0.25), 0.75 * ends[0] + 0.25 * ends[1])


@pytest.mark.parametrize("transfer", EXCHANGES)
def test_corners_of_an_interpolation_are_the_single_styles(transfer: str) -> None:
    model, content = translator(transfer), images(2)
    styles = [images(1, 24, 40, seed=1), images(1, 44, 36, seed=2), images(2, 32, 32, seed=3)]
    for number, style in enumerate(styles):
        weights = [float(number == other) for other in range(3)]
        close(rendered(model, content, *styles, weights=weights), rendered(model, content, style))


def test_a_mix_of_styles_is_the_weighted_sum_of_their_features() -> None:
    model, content = translator(), images(2)
    model.decoder = Untouched()
    styles = [images(1, 24, 40, seed=1), images(1, 44, 36, seed=2), images(2, 32, 32, seed=3)]
    single = [rendered(model, content, style) for style in styles]
    expected = 0.5 * single[0] + 0.3 * single[1] + 0.2 * single[2]
    close(rendered(model, content, *styles, weights=[5, 3, 2]), expected)  # shares are normalized
    close(rendered(model, content, *styles), sum(single) / 3)  # equal shares where none are given


@pytest.mark.parametrize("transfer", EXCHANGES)
def test_a_mask_of_everything_is_the_plain_transfer(transfer: str) -> None:
    model, content, style = translator(transfer), images(2, 26, 31), images(seed=1)
    full = torch.ones(1, 26, 31)
    close(rendered(model, content, style, masks=full), rendered(model, content, style))


def test_regions_use_the_statistics_of_their_own_content() -> None:
    """Left half: statistics of the left half of the features alone, in numbers of both sides."""
    model, content = translator(), images(1, 24, 32)
    model.decoder = Untouched()
    styles = [images(seed=1), images(seed=2)]
    masks = torch.zeros(2, 24, 32)
    masks[0, :, :16], masks[1, :, 16:24] = 1, 1
    maps = model.encoder(content, ["relu3_1"])["relu3_1"]  # (1, C, 6, 8)
    statistics = [channel_statistics(model.encoder(style, ["relu3_1"])["relu3_1"]) for style in styles]
    expected = maps.clone()
    expected[..., :4] = adaptive_instance_norm(maps[..., :4], statistics[0])
    expected[..., 4:6] = adaptive_instance_norm(maps[..., 4:6], statistics[1])
    close(rendered(model, content, *styles, masks=masks), model.decoder(expected))


def test_what_no_mask_covers_keeps_the_features_of_the_content() -> None:
    model, content, masks = translator(), images(1, 24, 32), torch.zeros(1, 24, 32)
    model.decoder = Untouched()
    masks[0, :12] = 1
    result = rendered(model, content, images(seed=1), masks=masks)
    own = rendered(model, content, images(seed=1), alpha=0.0)
    close(result[:, :, 12:], own[:, :, 12:])
    assert (result[:, :, :12] - own[:, :, :12]).abs().max() > 0.1


def test_each_content_may_have_its_own_mask_and_style() -> None:
    model, content, styles = translator(), images(2), images(2, seed=1)
    masks = torch.zeros(2, 1, 24, 32)
    masks[0, 0, :12], masks[1, 0, :, :12] = 1, 1
    together = rendered(model, content, styles, masks=masks)
    for place in range(2):
        one = rendered(model, content[place : place + 1], styles[place : place + 1], masks=masks[place])
        close(together[place : place + 1], one)


def test_a_mask_between_two_positions_is_refused() -> None:
    masks = torch.zeros(1, 24, 32)
    masks[0, 0, 0] = 1
    with pytest.raises(ValueError, match="covers no position of the features, which lie 4 px apart; enlarge"):
        translator().translate(images(), style=images(seed=1), masks=masks)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"alpha": 1.5}, r"alpha lies in \[0, 1\], got 1.5"),
        ({"style_scale": 0.0}, r"style_scale lies in \[0.1, 10\]"),
        ({"color": "blue"}, "color is one of none, coral, luminance, got 'blue'"),
        ({"strength": 1}, "no control 'strength'; its controls: alpha .*color .*style_scale"),
        ({"style_weights": [1, 2, 3]}, "a weight for each of 2 styles, got 3"),
        ({"masks": torch.ones(1, 24, 32)}, r"masks of shape \(2, 24, 32\)"),
        ({"masks": torch.ones(2, 12, 16)}, r"masks of shape \(2, 24, 32\) .*got \(2, 12, 16\)"),
        ({"style": None}, "needs a picture of the style"),
    ],
)
def test_wrong_controls_and_counts_are_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        translator().translate(images(), **{"style": [images(seed=1), images(seed=2)], **given})


def test_encoded_styles_are_encoded_once_for_many_contents(counted: list[tuple[int, ...]]) -> None:
    for transfer in EXCHANGES:
        model, styles = translator(transfer), [images(1, 24, 40, seed=1), images(1, 44, 36, seed=2)[0]]
        expected = [model.translate(images(seed=seed), style=styles) for seed in (3, 4)]
        counted.clear()
        encoded = model.encode_styles(styles)
        assert counted == [(1, 3, 24, 40), (1, 3, 44, 36)]
        found = [model.translate(images(seed=seed), style=list(encoded)) for seed in (3, 4)]
        assert counted[2:] == [(1, 3, 24, 32)] * 2  # the contents alone
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_encoded_styles_of_another_model_or_scale_are_refused() -> None:
    model, other, style = translator(), translator(tap="relu2_1"), images(seed=1)
    with pytest.raises(ValueError, match="made by another model; encode the picture with this one"):
        model.translate(images(), style=other.encode_styles(style))
    with pytest.raises(ValueError, match="encoded with style_scale=2, and style_scale=1 is asked for"):
        model.translate(images(), style=model.encode_styles(style, style_scale=2.0))
    with pytest.raises(TypeError, match="expected a torch tensor"):
        model.encode_styles("painting.jpg")


def test_color_coral_keeps_styles_as_pictures() -> None:
    model, style = translator(), images(seed=1)
    assert torch.equal(model.encode_styles(style, color="coral")[0], style)


def tinted(strengths: tuple[float, float, float], seed: int) -> Tensor:
    return images(seed=seed) * torch.tensor(strengths, dtype=torch.float64).view(1, 3, 1, 1)


def test_color_luminance_keeps_the_chroma_of_the_content() -> None:
    model, content, style = translator(), tinted((0.2, 0.4, 0.9), 1), tinted((0.9, 0.4, 0.2), 2)
    plain, controlled = (model.translate(content, style=style, color=name) for name in ("none", "luminance"))
    blue = [float(picture[:, 2].mean() - picture[:, 0].mean()) for picture in (content, plain, controlled)]
    assert blue[2] > 0.3 * blue[0] > 0
    assert blue[1] < 0.1 * blue[0]


def test_color_coral_gives_the_style_the_colors_of_the_content_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is encoded as the style of an orange picture has the blue content's mean color; contents differ."""
    model, seen, original = translator(), [], AdaINTranslator._features

    def watching(self: AdaINTranslator, pictures: Tensor) -> Tensor:
        seen.append(pictures.mean((2, 3)))  # (B, 3)
        return original(self, pictures)

    monkeypatch.setattr(AdaINTranslator, "_features", watching)
    content = torch.cat([tinted((0.2, 0.4, 0.9), 1), tinted((0.3, 0.8, 0.2), 3)])
    for color, expected in (("none", tinted((0.9, 0.4, 0.2), 2)), ("coral", content)):
        seen.clear()
        model.translate(content, style=tinted((0.9, 0.4, 0.2), 2), color=color)
        close(seen[1], expected.mean((2, 3)), 0.02)  # clamping to [0, 1] moves it a little


def test_style_scale_resizes_the_style_first(counted: list[tuple[int, ...]]) -> None:
    translator().translate(images(), style=images(seed=1), style_scale=1.5)
    assert (1, 3, 36, 48) in counted


@pytest.mark.parametrize("size", [(21, 30), (24, 33), (9, 10)])
def test_every_size_comes_back(size: tuple[int, int]) -> None:
    content = torch.rand(2, 3, *size, dtype=torch.float64)
    assert translator().translate(content, style=images(seed=1)).shape == content.shape


@pytest.mark.parametrize("size", [(4, 40), (2, 40)])
def test_an_image_that_is_too_small_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"of more than 4 px a side|too small to be extended"):
        translator().translate(torch.rand(1, 3, *size), style=images(seed=1))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_pictures_of_one_color_are_finite(value: float) -> None:
    flat = torch.full((1, 3, 24, 32), value)
    for content, style in ((images(), flat), (flat, images()), (flat, flat)):
        for controls in ({}, {"color": "coral"}, {"color": "luminance"}):
            assert translator().translate(content, style=style, **controls).isfinite().all()


@pytest.mark.parametrize("norm", ["none", "instance", "batch"])
@pytest.mark.parametrize("transfer", EXCHANGES)
def test_big_pictures_are_computed_in_parts_with_the_statistics_of_the_whole(
    transfer: str, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = translator(transfer, norm)
    content, style = images(1, 141, 90), images(1, 132, 100, seed=1)
    masks = torch.zeros(1, 141, 90)
    masks[0, 30:] = 1
    whole = [model.translate(content, style=style), model.translate(content, style=style, masks=masks)]
    monkeypatch.setattr(AdaINTranslator, "band_threshold_px", 5000)
    monkeypatch.setattr("stylebench.inference.translators.adain._TILE_PX", 32)
    bands = [model.translate(content, style=style), model.translate(content, style=style, masks=masks)]
    for one, other in zip(bands, whole, strict=True):
        close(one, other, 1e-8)


def test_parts_agree_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    model = translator().float()
    content, style = images(1, 141, 90).float(), images(1, 132, 100, seed=1).float()
    whole = model.translate(content, style=style)
    monkeypatch.setattr(AdaINTranslator, "band_threshold_px", 5000)
    monkeypatch.setattr("stylebench.inference.translators.adain._TILE_PX", 32)
    close(model.translate(content, style=style), whole, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["none", "instance", "batch"])
@torch.no_grad()
def test_parts_are_within_one_grey_level_at_1500_by_1001(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32, a size that the stride does not divide, several tiles and bands."""
    model = translator(norm=norm, tap="relu4_1").float()
    content, style = images(1, 1004, 1500).float()[..., :1001, :], images(1, 300, 200, seed=1).float()
    whole = model.render(content, Guides({"style": (style,)}, (1.0,)), alpha=1.0, style_scale=1.0)
    # A random decoder's pictures are pale; stretched over the range of gray levels they show every difference.
    low, high = (float(bound) for bound in whole.aminmax())
    monkeypatch.setattr(AdaINTranslator, "band_threshold_px", 1_000_000)
    parts = model.render(content, Guides({"style": (style,)}, (1.0,)), alpha=1.0, style_scale=1.0)
    levels = [((part - low) / (high - low)).clamp(0, 1).mul(255).round() for part in (whole, parts)]
    assert float((levels[0] - levels[1]).abs().max()) <= 1


def test_parts_are_used_from_the_threshold_on(counted: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylebench.inference.translators.adain._TILE_PX", 32)
    monkeypatch.setattr(AdaINTranslator, "band_threshold_px", 144 * 92)
    model, style = translator().float(), images(seed=1)
    model.translate(torch.rand(1, 3, 144, 92), style=style)
    assert len(counted) == 2
    model.translate(torch.rand(1, 3, 144, 96), style=style)
    assert len(counted) > 4


def test_only_the_decoder_has_parameters_and_state() -> None:
    model = translator()
    assert {name.split(".")[0] for name in model.state_dict()} == {"decoder"}
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"decoder"}


def test_concat_decoder_reads_twice_the_channels() -> None:
    first = {name: translator(name).decoder.layers[0] for name in EXCHANGES}
    # 144 channels at relu4_1; 96 at relu3_1
    assert (first["adain"].in_channels, first["concat"].in_channels) == (96, 192)


def test_adain_translator_parameter_count() -> None:
    encoder = CompactEncoder("shipped", ["relu2_2"], ["relu1_1"], "relu4_1")
    counts = [
        sum(
            parameter.numel() for parameter in AdaINTranslator(encoder=encoder, transfer=name, norm="none").parameters()
        )
        for name in ("adain", "concat")
    ]
    assert counts == [286_107, 286_107 + 144 * 96 * 9]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: translator("swap"), "transfer must be one of adain, concat, got 'swap'"),
        (lambda: translator(norm="layer"), "norm must be one of none, instance, batch, got 'layer'"),
        (lambda: translator(tap="relu9_1"), "no layer 'relu9_1'; choose from conv1_1, relu1_1"),
    ],
)
def test_unknown_options_are_refused(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


def test_statistics_mix_where_one_style_serves_all_contents() -> None:
    one = ChannelStatistics(torch.tensor([[1.0]]), torch.tensor([[2.0]]))
    two = ChannelStatistics(torch.tensor([[3.0], [5.0]]), torch.tensor([[4.0], [0.0]]))
    mixed = EXCHANGES["adain"].mix([one, two], [0.25, 0.75], torch.Size([4, 4]))
    # means 0.25 * 1 + 0.75 * (3, 5); deviations 0.25 * 2 + 0.75 * (4, 0)
    assert mixed.mean.tolist() == [[2.5], [4.0]]
    assert mixed.std.tolist() == [[3.5], [0.5]]


def test_squeezenet_serves_as_well() -> None:
    encoder = SqueezeNetEncoder("random", False, ["pool4"], ["conv1"], "fire6")
    model = AdaINTranslator(encoder=encoder, transfer="adain", norm="none")
    assert model.translate(torch.rand(1, 3, 37, 50), style=torch.rand(3, 40, 45)).shape == (1, 3, 37, 50)


def test_guides_reach_the_render_call_checked() -> None:
    model = translator()
    guides = model.check_guides(images(), {"style": images(seed=1)})
    assert isinstance(guides, Guides)
    assert guides.weights == (1.0,)
