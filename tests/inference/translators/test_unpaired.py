"""The translator between two domains: the range of its networks, directions, unknown names, big pictures."""

import pytest
import torch
from torch import Tensor, nn

from stylebench.inference.translators.unpaired import UnpairedTranslator
from stylebench.nn.generators.resnet import ResNetGenerator


class Scale(nn.Module):
    """Multiplies [-1, 1] by a number, and records what it saw."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor, self.seen = factor, torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return images * self.factor


def images(*size: int) -> Tensor:
    return torch.rand(2, 3, *(size or (9, 7)), generator=torch.Generator().manual_seed(0))


def test_networks_work_in_the_signed_range() -> None:
    network = Scale()
    translator, pictures = UnpairedTranslator(network, Scale()), images()
    pictures[0, :, 0, 0], pictures[0, :, 0, 1] = 0.0, 1.0
    torch.testing.assert_close(translator.translate(pictures), pictures, rtol=0, atol=1e-6)
    assert network.seen[0, 0, 0, :2].tolist() == [-1.0, 1.0]


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
