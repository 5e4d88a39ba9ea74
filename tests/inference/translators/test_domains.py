"""Translators between domains: the range of their networks, directions and targets, unknown names, big pictures."""

import pytest
import torch
from torch import Tensor, nn

from stylebench.inference.translators.domains import MultiDomainTranslator, UnpairedTranslator
from stylebench.nn.generators.resnet import ResNetGenerator
from stylebench.nn.labels import DomainLabels


class Scale(nn.Module):
    """Multiplies [-1, 1] by a number, and records what it saw."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor, self.seen = factor, torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return images * self.factor


class ByLabel(nn.Module):
    """Multiplies each image by the number in its label vector that is told to count."""

    def __init__(self, label_channels: int) -> None:
        super().__init__()
        self.label_channels = label_channels

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return images * (labels @ torch.tensor([1.0, -1.0, 0.0])).view(-1, 1, 1, 1)


def images(*size: int) -> Tensor:
    return torch.rand(2, 3, *(size or (9, 7)), generator=torch.Generator().manual_seed(0))


def multi() -> MultiDomainTranslator:
    return MultiDomainTranslator(ByLabel, DomainLabels(["photo", "negative", "gray"]))


def test_networks_work_in_the_signed_range() -> None:
    network = Scale()
    translator, pictures = UnpairedTranslator(network, Scale()), images()
    pictures[0, :, 0, 0], pictures[0, :, 0, 1] = 0.0, 1.0
    torch.testing.assert_close(translator.translate(pictures), pictures, rtol=0, atol=1e-6)
    assert network.seen[0, 0, 0, :2].tolist() == [-1.0, 1.0]
    torch.testing.assert_close(multi().translate(pictures, domain="photo"), pictures, rtol=0, atol=1e-6)


def test_black_against_white_is_two_in_the_signed_range() -> None:
    network = Scale()
    translator = UnpairedTranslator(network, Scale())
    seen = []
    for value in (0.0, 1.0):
        translator.translate(torch.full((1, 3, 4, 4), value))
        seen.append(network.seen)
    assert float((seen[0] - seen[1]).abs().mean()) == 2.0


def test_directions() -> None:
    translator, pictures = UnpairedTranslator(Scale(1.0), Scale(-1.0)), images()
    torch.testing.assert_close(translator.translate(pictures), pictures)
    torch.testing.assert_close(translator.translate(pictures, direction="a_to_b"), pictures)
    torch.testing.assert_close(translator.translate(pictures, direction="b_to_a"), 1 - pictures)
    torch.testing.assert_close(translator.translate(pictures[0], direction="b_to_a"), 1 - pictures[0])


def test_targets() -> None:
    translator, pictures = multi(), images()
    assert translator.generator.label_channels == 3
    torch.testing.assert_close(translator.translate(pictures, domain="negative"), 1 - pictures)
    torch.testing.assert_close(translator.translate(pictures, domain="gray"), torch.full_like(pictures, 0.5))
    torch.testing.assert_close(translator.translate(pictures), translator.translate(pictures, domain="gray"))
    each = translator(pictures, torch.tensor([1, 0]))  # in training: every image its own domain
    torch.testing.assert_close(each, torch.stack([-pictures[0], pictures[1]]))


def test_results_are_clamped() -> None:
    translator = UnpairedTranslator(Scale(3.0), Scale())
    result = translator.translate(images())
    assert (float(result.min()), float(result.max())) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("controls", "match"),
    [
        ({"direction": "b_to_c"}, r"control direction is one of a_to_b, b_to_a, got 'b_to_c'"),
        ({"domain": "photo"}, r"UnpairedTranslator has no control 'domain'; its controls: direction"),
        ({"style": images()}, "no control 'style'"),
    ],
)
def test_unpaired_refuses_what_it_does_not_know(controls: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        UnpairedTranslator(Scale(), Scale()).translate(images(), **controls)


@pytest.mark.parametrize(
    ("controls", "match"),
    [
        ({"domain": "painting"}, r"control domain is one of photo, negative, gray, got 'painting'"),
        ({"direction": "a_to_b"}, r"has no control 'direction'; its controls: domain"),
    ],
)
def test_multi_domain_refuses_what_it_does_not_know(controls: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        multi().translate(images(), **controls)


@pytest.mark.parametrize("upsample", ["deconv", "blurpool"])
def test_big_pictures_are_computed_in_bands_where_that_is_possible(
    upsample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    translator = UnpairedTranslator(*(ResNetGenerator(1, 2, upsample) for _ in range(2)))
    calls = []
    original = ResNetGenerator.in_bands
    monkeypatch.setattr(ResNetGenerator, "in_bands", lambda *given: calls.append(1) or original(*given))
    whole = translator.translate(images(24, 20), direction="b_to_a")
    assert not calls
    monkeypatch.setattr(UnpairedTranslator, "band_threshold_px", 100)
    torch.testing.assert_close(translator.translate(images(24, 20), direction="b_to_a"), whole, rtol=0, atol=1e-5)
    assert calls
