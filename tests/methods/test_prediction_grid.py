"""Strips below classified pictures."""

import torch

from stylebench.methods.prediction_grid import RIGHT, STRIP_PX, UNKNOWN, WRONG, labeled_pictures


def test_strips_say_by_color_what_was_right() -> None:
    images = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    made = labeled_pictures(images, ["cup", "disc", "cup"], ["cup", "cup", None])
    assert made.shape == (3, 3, 120 + STRIP_PX, 120)  # three times as large, so that a word fits
    assert torch.equal(made[:, :, :120:3, ::3], images)
    corners = (made[:, :, -1, -1] * 255).round().int().tolist()
    assert corners == [list(RIGHT), list(WRONG), list(UNKNOWN)]
    assert all(float(strip.min()) < 0.5 for strip in made[:, :, 120:])  # there is a word


def test_large_pictures_keep_their_size() -> None:
    made = labeled_pictures(torch.zeros(1, 3, 100, 200), ["cup"], ["cup"])
    assert made.shape == (1, 3, 100 + STRIP_PX, 200)
