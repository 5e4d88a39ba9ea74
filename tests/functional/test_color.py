"""Color conversions against published values."""

import pytest
import torch

from stylebench.functional.color import color_plane, lab_to_rgb, luma, rgb_to_lab

# sRGB and CIE Lab (D65) of well-known colors, to two decimals.
KNOWN = [
    ((0, 0, 0), (0, 0, 0)),
    ((255, 255, 255), (100, 0, 0)),
    ((255, 0, 0), (53.24, 80.09, 67.20)),
    ((0, 255, 0), (87.73, -86.18, 83.18)),
    ((0, 0, 255), (32.30, 79.19, -107.86)),
    ((119, 119, 119), (50.03, 0, 0)),
    ((3, 3, 3), (0.82, 0, 0)),
]


@pytest.mark.parametrize(("rgb", "lab"), KNOWN)
def test_lab_of_well_known_colors(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    image = color_plane([value / 255 for value in rgb], torch.zeros(1))
    found = rgb_to_lab(image).flatten()
    torch.testing.assert_close(found, torch.tensor(lab, dtype=torch.float32), atol=0.03, rtol=0)


def test_lab_and_back_is_the_identity_far_below_a_level() -> None:
    levels = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0)) / 255
    assert (lab_to_rgb(rgb_to_lab(levels)) - levels).abs().max() < 0.02 / 255


def test_colors_outside_the_screen_are_clipped() -> None:
    rgb = lab_to_rgb(torch.tensor((120.0, 90.0, -90.0))[None, :, None, None])
    assert rgb.min() >= 0
    assert rgb.max() <= 1


def test_luma_weights_sum_to_one() -> None:
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    gray = pictures[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(luma(gray), pictures[:, :1])
    assert luma(color_plane((0, 1, 0), pictures)).item() == pytest.approx(0.587)
