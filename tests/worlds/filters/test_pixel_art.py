"""Pixel art: blocks, palette and pattern against loops."""

import numpy as np
import torch
from torch import Tensor

from stylebench.functional.hash_noise import hash_uniform
from stylebench.worlds.filters.pixel_art import BAYER, median_cut, nearest_color, pixel_art

SEEDS = torch.tensor([4, 9])


def test_pixel_art_equals_a_loop(pictures: Tensor) -> None:
    found = (pixel_art(pictures, seeds=SEEDS, block=24.0, colors=5, dither=0.2) * 255).round().numpy()
    offsets = (hash_uniform(SEEDS, 1, 2)[:, 0].numpy() * 3).astype(int)
    phases = (hash_uniform(SEEDS, 1, 2, stream=1)[:, 0].numpy() * 4).astype(int)
    for index, (top, left) in enumerate(offsets):
        levels = (pictures[index] * 255).round().double().numpy()
        rows, columns = (np.arange(32) + top) // 3, (np.arange(32) + left) // 3
        blocks = np.full((3, 12, 12), np.nan)
        for row, column in np.ndindex(12, 12):
            # Blocks past the end repeat the last pixel.
            inside = np.ix_(range(3), *(np.nonzero(places == n)[0] if (places == n).any() else [31]
                                        for places, n in ((rows, row), (columns, column))))  # fmt: skip
            blocks[:, row, column] = np.rint(levels[inside].mean((1, 2)))
        palette = median_cut(torch.from_numpy(blocks).float().flatten(1)[None], 5)[0].numpy()
        for row, column in np.ndindex(32, 32):
            r, c = rows[row], columns[column]
            shift = 255 * 0.2 * ((BAYER[(r + phases[index, 0]) % 4][(c + phases[index, 1]) % 4] + 0.5) / 16 - 0.5)
            color = np.rint(blocks[:, r, c] + np.float32(shift))
            best = ((palette - color[:, None]) ** 2).sum(0).argmin()
            assert (found[index, :, row, column] == palette[:, best]).all()


def test_median_cut_of_two_clusters_finds_their_means() -> None:
    colors = torch.tensor([(10, 20, 30), (11, 20, 30), (12, 20, 30), (200, 100, 0), (204, 100, 0)]).float().T[None]
    palette = median_cut(colors, 2)[0].T
    assert sorted(palette.tolist()) == [[11, 20, 30], [202, 100, 0]]


def test_median_cut_keeps_every_color_where_there_are_enough_places() -> None:
    colors = torch.tensor([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)]).float()
    cloud = colors.repeat_interleave(torch.tensor([50, 3, 1, 8, 2]), 0)
    palette = median_cut(cloud.T[None], 8)[0].T
    assert {tuple(color) for color in palette.tolist()} == {tuple(color) for color in colors.tolist()}


def test_median_cut_treats_each_picture_alone() -> None:
    clouds = torch.randint(0, 256, (3, 3, 200), generator=torch.Generator().manual_seed(0)).float()
    together = median_cut(clouds, 7)
    alone = torch.cat([median_cut(cloud[None], 7) for cloud in clouds])
    assert torch.equal(together, alone)


def test_nearest_color_equals_a_search() -> None:
    generator = torch.Generator().manual_seed(1)
    colors, palette = (torch.randint(0, 256, (2, 3, n), generator=generator).float() for n in (50, 6))
    found = nearest_color(colors, palette)
    for index, place in np.ndindex(2, 50):
        distances = [(colors[index, :, place] - color).square().sum() for color in palette[index].unbind(1)]
        assert torch.equal(found[index, :, place], palette[index, :, int(np.argmin(distances))])


def test_blocks_grow_and_colors_get_fewer_beyond_one(pictures: Tensor) -> None:
    def count(strength: float) -> int:
        image = (pixel_art(pictures[:1], strength, seeds=SEEDS[:1], colors=12) * 255).round()[0]
        return len(image.flatten(1).unique(dim=1).T)

    assert count(1.0) == 12
    assert count(1.5) == 8


def test_dithered_flat_gray_averages_to_itself() -> None:
    # A picture of black, white and a gray between them: with two colors, the gray becomes a pattern of both.
    image = torch.zeros(1, 3, 64, 64)
    image[:, :, :16] = 1
    image[:, :, 16:48] = 96 / 255
    drawn = pixel_art(image, seeds=SEEDS[:1], block=4.0, colors=2, dither=1.0)
    values = drawn[0, 0, 17:47].unique()
    assert len(values) == 2
    assert (drawn[0, 0, 17:47].mean() - 96 / 255).abs() < 0.13


def test_pixel_art_of_strength_zero_is_the_picture(pictures: Tensor) -> None:
    assert torch.equal(pixel_art(pictures, 0.0, seeds=SEEDS), pictures)
