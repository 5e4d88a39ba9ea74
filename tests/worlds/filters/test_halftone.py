"""Printed dots: paper and ink at the ends of the tone scale, dots on the lattice, tone in between."""

import numpy as np
import pytest
import torch
from torch import Tensor

from stylebench.functional.color import color_plane
from stylebench.functional.hash_noise import hash_uniform
from stylebench.worlds.filters.halftone import PROCESS_INKS, dot_screen, halftone, ink_amounts

SEEDS = torch.tensor([4, 9])


def test_halftone_equals_the_formula_pixel_by_pixel(pictures: Tensor) -> None:
    found = halftone(pictures, 0.7, seeds=SEEDS, period=40.0, black=0.8).double().numpy()
    period, ramp = 5.0, np.pi / 10
    offsets = hash_uniform(SEEDS, 4, 2).double().numpy() * period
    for index, row, column in ((0, 3, 4), (0, 31, 0), (1, 17, 22), (1, 8, 30), (0, 20, 11)):
        color = pictures[index, :, row, column].double().numpy()
        key = 0.8 * (1 - color).min()
        amounts = np.append((1 - color - key) / (1 - key), key)
        print_ = np.array((0.94, 0.93, 0.88))
        for ink, amount, angle, (down, right) in zip(
            PROCESS_INKS, amounts, np.radians((15, 75, 0, 45)), offsets[index], strict=True
        ):
            x, y = column + right, row + down
            along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
            screen = 0.5 + 0.25 * (np.cos(2 * np.pi * along / period) + np.cos(2 * np.pi * across / period))
            edge = np.clip((amount * (1 + ramp) - ramp / 2 - screen) / ramp + 0.5, 0, 1)
            print_ = print_ * (1 - edge**2 * (3 - 2 * edge) * (1 - np.array(ink)))
        expected = 0.3 * color + 0.7 * print_
        np.testing.assert_allclose(found[index, :, row, column], expected, atol=1e-4)


def test_white_stays_paper_and_solid_colors_solid_ink() -> None:
    colors = torch.tensor([(1.0, 1, 1), (0, 0, 0), (0, 1, 1)])[:, :, None, None].expand(-1, -1, 24, 24)
    printed = halftone(colors, seeds=torch.tensor([1, 2, 3]), paper=(1.0, 1.0, 1.0))
    inks = torch.tensor([(1.0, 1, 1), PROCESS_INKS[3], PROCESS_INKS[0]])
    torch.testing.assert_close(printed, inks[:, :, None, None].expand_as(printed), atol=1e-6, rtol=0)


def test_dots_repeat_along_their_angle() -> None:
    # Rotated by atan(3 / 4), the lattice of period 5 repeats after (4, 3) pixels.
    screen = dot_screen(SEEDS, 40, 40, 5.0, (float(np.degrees(np.arctan2(3, 4))),))
    torch.testing.assert_close(screen[..., 3:, 4:], screen[..., :-3, :-4], atol=1e-4, rtol=0)
    assert screen.min() >= 0
    assert screen.max() <= 1


@pytest.mark.parametrize("level", [0.25, 0.5, 0.75])
def test_more_ink_for_darker_tones(level: float) -> None:
    gray = torch.full((1, 3, 120, 120), level)
    printed = halftone(gray, seeds=SEEDS[:1], period=17.0, inks=((0.0, 0.0, 0.0),), paper=(1.0, 1.0, 1.0))
    # The share of a lattice cell where the screen is below the amount of ink, half a ramp added at either end.
    ramp = np.pi / 2 / (17 * 120 / 256)
    amount = (1 - level) * (1 + ramp) - ramp / 2
    u = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    cover = (0.5 + 0.25 * (np.cos(u)[:, None] + np.cos(u)) < amount).mean()
    assert printed.mean().item() == pytest.approx(1 - cover, abs=0.01)


def test_ink_amounts_print_back_the_color(pictures: Tensor) -> None:
    for black in (0.0, 0.6, 1.0):
        amounts = ink_amounts(pictures, black)
        assert 0 <= amounts.min() <= amounts.max() <= 1 + 1e-6
        torch.testing.assert_close((1 - amounts[:, :3]) * (1 - amounts[:, 3:]), pictures, atol=1e-4, rtol=0)


def test_offsets_move_the_dots_but_not_the_tone(pictures: Tensor) -> None:
    image = color_plane((0.4, 0.5, 0.3), pictures).expand(2, 3, 96, 96)
    first, second = halftone(image, seeds=SEEDS, period=16.0).unbind(0)
    assert (first - second).abs().mean() > 0.1
    torch.testing.assert_close(first.mean((1, 2)), second.mean((1, 2)), atol=0.02, rtol=0)
