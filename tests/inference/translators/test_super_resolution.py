"""The enlarging network and its translator: sizes, counts, ranges, bands, the histogram step."""

import pytest
import torch
from torch import Tensor, nn

from stylebench.functional.bicubic import enlarge
from stylebench.functional.histogram_matching import match_histograms
from stylebench.inference.translators.super_resolution import SuperResolutionTranslator
from stylebench.nn.generators.super_resolution import HEADS, SKIPS, UPSAMPLES, SuperResolutionNet


def images(height: int, width: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height * width))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("upsample", UPSAMPLES)
def test_super_resolution_parameter_count(norm: str, upsample: str) -> None:
    assert parameters(SuperResolutionNet(4, norm=norm, upsample=upsample)) == 401_859
    assert parameters(SuperResolutionNet(8, norm=norm, upsample=upsample)) == 438_915


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("upsample", UPSAMPLES)
@pytest.mark.parametrize("size", [(5, 5), (9, 14)])
def test_both_sides_grow_by_the_factor(factor: int, upsample: str, size: tuple[int, int]) -> None:
    network = SuperResolutionNet(factor, width=2, upsample=upsample)
    assert network(images(*size, count=2)).shape == (2, 3, factor * size[0], factor * size[1])


def test_map_sizes_are_those_of_the_paper() -> None:
    network, sides = SuperResolutionNet(4, width=1), []
    for layer in network.body:
        if not isinstance(layer, nn.BatchNorm2d | nn.ReLU):
            layer.register_forward_hook(lambda _layer, _inputs, output: sides.append(output.shape[-1]))
    network(images(72, 72))
    assert sides == [72, 72, 72, 72, 72, 144, 288, 288]


@pytest.mark.parametrize("head", HEADS)
def test_heads_turn_the_last_map_into_colors(head: str) -> None:
    network = SuperResolutionNet(2, width=2, head=head, skip="none").eval()
    entered, left = [], []
    network.body.register_forward_pre_hook(lambda _body, inputs: entered.append(inputs[0]))
    network.body.register_forward_hook(lambda _body, _inputs, output: left.append(output))
    image = images(6, 6)
    result = network(image)
    expected = {"tanh": 0.5 + 0.6 * left[0].tanh(), "paper": (left[0].tanh() + 1) / 2, "linear": left[0] / 255}[head]
    assert torch.allclose(result, expected)
    assert torch.equal(entered[0], image * 255 if head == "linear" else image)


@pytest.mark.parametrize("head", HEADS)
def test_a_last_map_of_zeros_adds_nothing_to_the_enlargement(head: str) -> None:
    network = SuperResolutionNet(4, width=2, head=head, skip="bicubic")
    for parameter in network.body[-1].parameters():
        nn.init.zeros_(parameter)
    image = images(6, 7)
    assert torch.allclose(network(image), enlarge(image, 4), atol=1e-6)


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("upsample", UPSAMPLES)
def test_bands_equal_the_whole(norm: str, upsample: str, skip: str) -> None:
    network = SuperResolutionNet(4, width=3, norm=norm, upsample=upsample, skip=skip)
    network(images(16, 16, count=2))  # running statistics other than 0 and 1
    network.eval()
    image = images(23, 17)
    banded = network.in_bands(image, band_rows=8, keep_bytes=0)
    assert torch.allclose(banded, network(image), atol=1e-5)  # rounding of other sums


def test_big_results_are_computed_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    translator = SuperResolutionTranslator(SuperResolutionNet(4, width=2))
    whole = translator.translate(images(20, 20), match="none")
    monkeypatch.setattr(SuperResolutionTranslator, "band_threshold_px", 80 * 80 - 1)
    asked: list[tuple[int, ...]] = []
    plain = translator.generator.in_bands
    monkeypatch.setattr(translator.generator, "in_bands", lambda image: asked.append(image.shape) or plain(image))
    assert torch.allclose(translator.translate(images(20, 20), match="none"), whole, atol=1e-5)
    assert asked == [(1, 3, 20, 20)]


def test_translator_tells_how_much_it_enlarges() -> None:
    translator = SuperResolutionTranslator(SuperResolutionNet(8, width=2))
    assert translator.result_size(5, 7) == (40, 56)
    assert translator.translate(images(6, 7)[0]).shape == (3, 48, 56)
    result = translator.translate(images(6, 7, count=2).double())
    assert result.shape == (2, 3, 48, 56)
    assert result.dtype == torch.float64
    assert 0 <= float(result.min()) <= float(result.max()) <= 1


def test_results_get_the_colors_of_the_input() -> None:
    translator = SuperResolutionTranslator(SuperResolutionNet(4, width=2))
    small = images(12, 10, count=2)
    plain, matched = (translator.translate(small, match=word) for word in ("none", "histogram"))
    assert torch.allclose(matched, match_histograms(plain, small))
    assert torch.equal(translator.translate(small), matched)  # the paper's post-step is the default
    assert torch.allclose(matched.mean((2, 3)), small.mean((2, 3)), atol=0.01)
    assert float(matched.max()) <= float(small.max())


def test_translating_leaves_the_running_statistics() -> None:
    translator = SuperResolutionTranslator(SuperResolutionNet(2, width=2)).train()
    before = {name: value.clone() for name, value in translator.state_dict().items()}
    alone = translator.translate(images(6, 6, count=3))[:1]
    assert torch.allclose(alone, translator.translate(images(6, 6, count=3)[:1]), atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in translator.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"factor": 3}, r"factor must be one of 2, 4, 8, got 3"),
        ({"factor": True}, r"factor must be one of 2, 4, 8, got True"),
        ({"width": 0}, r"width must be a whole number of at least 1, got 0"),
        ({"norm": "layer"}, r"norm must be one of instance, batch, got 'layer'"),
        ({"upsample": "shuffle"}, r"upsample must be one of nearest_conv, deconv, got 'shuffle'"),
        ({"head": "lua"}, r"head must be one of linear, tanh, paper, got 'lua'"),
        ({"skip": "input"}, r"skip must be one of bicubic, none, got 'input'"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, int | str], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SuperResolutionNet(**arguments)


def test_wrong_images_are_refused() -> None:
    network = SuperResolutionNet(2, width=1)
    with pytest.raises(ValueError, match=r"at least 5 x 5 px.*got 4 x 9; enlarge the image"):
        network(images(4, 9))
    with pytest.raises(ValueError, match=r"expected images of shape \(B, 3, H, W\), got \(3, 9, 9\)"):
        network(images(9, 9)[0])
    with pytest.raises(ValueError, match=r"no control 'alpha'; its controls: match \(histogram \| none"):
        SuperResolutionTranslator(network).translate(images(9, 9), alpha=0.5)
