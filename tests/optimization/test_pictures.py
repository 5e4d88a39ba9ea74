"""What an optimization is given: sizes of its ladder, pictures at each of them, and the picture to start with."""

import pytest
import torch
from torch import Tensor

from stylebench.functional.geometry import resized
from stylebench.optimization.pictures import Pictures, ladder, noise


def test_ladder() -> None:
    # factors of sqrt(2): 512 / 2, 512 / sqrt(2) = 362.04, 512; the other side halves along
    assert ladder(512, 256, 256) == [(256, 128), (362, 181), (512, 256)]
    assert ladder(100, 80, None) == [(100, 80)]
    assert ladder(100, 80, 500) == [(100, 80)]
    with pytest.raises(ValueError, match="smallest_px must be a whole number"):
        ladder(100, 80, 0)


def test_noise_follows_from_its_seed() -> None:
    first, again, other = (noise((8, 9), torch.zeros(1), seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0 <= float(first.min()) < 0.1
    assert 0.9 < float(first.max()) <= 1


def given(content: Tensor | None) -> Pictures:
    styles = [torch.rand(1, 3, 30, 50), torch.rand(1, 3, 64, 16)]
    return Pictures(content, styles, (0.25, 0.75), (64, 48))


def test_pictures_at_a_rung() -> None:
    content = torch.rand(1, 3, 64, 48)
    whole = given(content)
    half = whole.at((32, 24))
    assert half.content is not None
    assert torch.equal(half.content, resized(content, (32, 24)))
    # styles become smaller by the same factor, 32 / 64
    assert [tuple(style.shape[-2:]) for style in half.styles] == [(15, 25), (32, 8)]
    assert (half.shares, half.size) == ((0.25, 0.75), (32, 24))
    same = whole.at((64, 48))
    assert same.content is content
    assert all(one is other for one, other in zip(same.styles, whole.styles, strict=True))


def test_what_an_optimization_starts_with() -> None:
    content = torch.rand(1, 3, 64, 48)
    pictures = given(content)
    assert pictures.start("content", 0) is content
    assert torch.equal(pictures.start("style", 0), resized(pictures.styles[0], (64, 48)))
    assert torch.equal(pictures.start("noise", 7), noise((64, 48), content, 7))


def test_terms_are_measured_away_from_their_targets() -> None:
    content = torch.rand(1, 3, 64, 48)
    found = given(content).references()
    assert found["style"] is content
    texture = given(None)
    assert torch.equal(texture.references()["style"], noise((64, 48), content, 0))
    for pictures in (given(content), texture):
        assert torch.equal(pictures.references()["content"], resized(pictures.styles[0], (64, 48)))
