"""Recoloring: flat pictures take the palette exactly, others move as the formula says."""

import numpy as np
import torch
from torch import Tensor

from stylebench.functional.color import color_plane, lab_to_rgb, rgb_to_lab
from stylebench.worlds.filters.palette import SUNSET, main_colors, palette_map


def test_two_colors_become_the_palette_by_rank_of_brightness() -> None:
    bright, dark = (0.9, 0.8, 0.7), (0.1, 0.3, 0.2)
    right = (torch.arange(64) >= 32).expand(1, 1, 64, 64)
    plane = torch.zeros(1)
    image = torch.where(right, color_plane((0.9, 0.6, 0.1), plane), color_plane((0.2, 0.3, 0.8), plane))
    mapped = palette_map(image, palette=(bright, dark), softness=1.0)
    expected = torch.where(right, color_plane(bright, plane), color_plane(dark, plane))
    torch.testing.assert_close(mapped, expected, atol=1e-3, rtol=0)


def test_palette_map_equals_its_formula(pictures: Tensor) -> None:
    lab = rgb_to_lab(pictures)
    sources = main_colors(lab, 6).double().numpy()
    swatches = rgb_to_lab(torch.tensor(SUNSET).T[None, :, :, None])[0, :, :, 0].T.double().numpy()
    swatches = swatches[np.argsort(swatches[:, 0])]
    expected = lab.double().numpy()
    for index, row, column in np.ndindex(2, 32, 32):
        color = expected[index, :, row, column].copy()
        weights = np.exp(-((color - sources[index]) ** 2).sum(1) / 100)
        moves = weights @ (swatches - sources[index]) / weights.sum()
        expected[index, :, row, column] = color + 0.5 * moves
    found = palette_map(pictures, 0.5)
    torch.testing.assert_close(found, lab_to_rgb(torch.from_numpy(expected).float()), atol=1e-4, rtol=0)


def test_main_colors_are_a_fixed_point_of_lloyds_iteration() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([(20.0, 10, 10), (45, -30, 20), (60, 40, -20), (90, 0, 5)])
    places = torch.randint(0, 4, (1, 32, 32), generator=generator)
    lab = (truth[places] + torch.randn(1, 32, 32, 3, generator=generator)).permute(0, 3, 1, 2)
    found = main_colors(lab, 4)[0]
    means = torch.stack([lab[0].permute(1, 2, 0)[places[0] == k].mean(0) for k in range(4)])
    torch.testing.assert_close(found, means, atol=1e-3, rtol=0)


def test_main_colors_of_a_constant_picture_are_its_color() -> None:
    lab = torch.tensor((40.0, 5, -3))[None, :, None, None].expand(1, 3, 40, 33)
    torch.testing.assert_close(main_colors(lab, 5), torch.tensor((40.0, 5, -3)).expand(1, 5, 3))


def test_palette_map_of_strength_zero_is_the_picture(pictures: Tensor) -> None:
    assert (palette_map(pictures, 0.0) - pictures).abs().max() < 0.02 / 255
