"""Watercolor: the pigment formula, and each effect alone."""

import torch
from torch import Tensor

from stylebench.functional.color import luma
from stylebench.worlds.filters.watercolor import pigment_density, watercolor

SEEDS = torch.tensor([4, 9])
DRY = {"clouds": 0.0, "grain": 0.0, "edges": 0.0, "dilution": 0.0, "wobble": 0.0}
WHITE = {"cover": 1.0, "vividness": 0.0, "paper": (1.0, 1.0, 1.0)}


def test_pigment_density_known_values() -> None:
    colors = torch.tensor((0.0, 0.5, 0.8, 1.0))[None, :, None, None]
    dense = pigment_density(colors, torch.full((1, 1, 1, 1), 1.5)).flatten()
    # C (1 - (1 - C) / 2): .5 * .75, .8 * .9
    torch.testing.assert_close(dense, torch.tensor((0.0, 0.375, 0.72, 1.0)))
    assert torch.equal(pigment_density(colors, torch.ones(1, 1, 1, 1)), colors)


def test_a_flat_color_shows_cover_paper_and_dilution() -> None:
    flat = torch.tensor((0.2, 0.5, 0.6))[None, :, None, None].expand(1, 3, 32, 40)
    settings = {**DRY, "dilution": 0.4, "cover": 0.8, "vividness": 0.5, "paper": (1.0, 0.9, 0.8)}
    painted = watercolor(flat, seeds=SEEDS[:1], **settings)
    gray = 0.299 * 0.2 + 0.587 * 0.5 + 0.114 * 0.6
    pigment = gray + 1.5 * (torch.tensor((0.2, 0.5, 0.6)) - gray)
    washed = torch.tensor((1.0, 0.9, 0.8)) * (0.8 * pigment + 0.2)
    expected = washed * (1 + 0.4 * (1 - washed))
    torch.testing.assert_close(painted, expected[None, :, None, None].expand_as(painted), atol=1e-5, rtol=0)


def test_rims_are_dark_and_only_at_edges(two_tones: Tensor) -> None:
    plain = watercolor(two_tones, seeds=SEEDS[:1], **{**DRY, **WHITE})
    rimmed = watercolor(two_tones, seeds=SEEDS[:1], **{**DRY, **WHITE, "edges": 0.4})
    loss = luma(plain - rimmed)[0, 0].mean(0)  # by column; the edge is at 13
    assert loss[12:14].min() > 0.01
    assert loss[:8].abs().max() < 1e-4
    assert loss[18:].abs().max() < 1e-4


def test_clouds_and_grain_follow_their_seeds_and_keep_the_mean() -> None:
    flat = torch.full((2, 3, 48, 48), 0.5)
    for effect in ({"clouds": 0.3}, {"grain": 0.3}):
        first, second = watercolor(flat, seeds=SEEDS, cloud_period=24.0, **{**DRY, **WHITE, **effect}).unbind(0)
        assert (first - second).abs().mean() > 0.005
        assert (first.mean() - 0.5).abs() < 0.02
        assert first.std() > 0.01


def test_wobble_displaces_borders_by_about_its_distance(two_tones: Tensor) -> None:
    tall = two_tones[:, :, :1].expand(-1, -1, 256, -1)[..., :30].repeat(1, 1, 1, 10)[..., :256]
    still = watercolor(tall, seeds=SEEDS[:1], wash=0.0, **{**DRY, **WHITE})
    moved = watercolor(tall, seeds=SEEDS[:1], wash=0.0, **{**DRY, **WHITE, "wobble": 4.0})
    changed = ((moved - still)[0, 0].abs() > 0.35).sum(1).double().mean() / 17  # pixels an edge and row, 17 edges
    assert 0.5 < changed < 3


def test_watercolor_of_strength_zero_is_the_picture(pictures: Tensor) -> None:
    torch.testing.assert_close(watercolor(pictures, 0.0, seeds=SEEDS), pictures, atol=1e-5, rtol=0)
