import pytest
import torch

from stylebench.functional.color_match import match_color_statistics


def test_statistics_become_those_of_the_style() -> None:
    generator = torch.Generator().manual_seed(0)
    images = 0.4 + 0.1 * torch.rand(2, 3, 16, 16, generator=generator, dtype=torch.float64)
    style = 0.3 + 0.3 * torch.rand(1, 3, 20, 12, generator=generator, dtype=torch.float64)
    matched = match_color_statistics(images, style)
    for channel in range(3):
        for image in matched:
            assert torch.isclose(image[channel].mean(), style[0, channel].mean())
            assert torch.isclose(image[channel].std(unbiased=False), style[0, channel].std(unbiased=False))


def test_known_answer() -> None:
    image = torch.tensor([0.2, 0.4]).repeat(3, 1)[None, :, :, None]  # mean 0.3, deviation 0.1
    style = torch.tensor([0.5, 0.9]).repeat(3, 1)[None, :, :, None]  # mean 0.7, deviation 0.2
    assert torch.allclose(match_color_statistics(image, style)[0, 0, :, 0], torch.tensor([0.5, 0.9]))


def test_a_flat_image_takes_the_mean() -> None:
    matched = match_color_statistics(torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 2, 2), 0.25))
    assert torch.equal(matched, torch.full((1, 3, 4, 4), 0.25))


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"got \(3, 4, 4\) and \(1, 3, 4, 4\)"):
        match_color_statistics(torch.rand(3, 4, 4), torch.rand(1, 3, 4, 4))
