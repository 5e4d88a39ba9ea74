"""Profiles along outlines."""

import torch

from stylebench.worlds.readouts import outline_profile


def test_profile_holds_the_color_at_each_distance() -> None:
    distance = (torch.arange(20.0) - 9.5).expand(1, 20, 20)  # -9.5 .. 9.5
    image = distance[:, None].repeat(1, 3, 1, 1)
    profile = outline_profile(image, distance, torch.ones(1, 20, 20, dtype=torch.bool), reach=4)
    # Half-way distances go to the even neighbor: -4 takes -4.5 and -3.5, -3 takes none.
    assert profile[0, :, 0].tolist() == [-4, 0, -2, 0, 0, 0, 2, 0, 4]
    assert torch.equal(profile[..., 0], profile[..., 2])


def test_profile_of_a_line_is_dark_in_the_middle_only() -> None:
    distance = (torch.arange(21.0) - 10).expand(1, 21, 21)
    line = torch.where(distance.abs() <= 1, -0.5, 0.0)[:, None]
    seen = torch.ones(1, 21, 21, dtype=torch.bool)
    assert outline_profile(line, distance, seen)[0, :, 0].tolist() == [0, 0, 0, -0.5, -0.5, -0.5, 0, 0, 0]


def test_pixels_that_are_not_seen_do_not_count() -> None:
    distance = torch.zeros(1, 4, 4)
    seen = torch.zeros(1, 4, 4, dtype=torch.bool)
    seen[:, 0] = True
    image = torch.arange(4.0)[:, None].expand(1, 1, 4, 4)
    profile = outline_profile(image, distance, seen, reach=1)
    assert profile.flatten().tolist() == [0, 0, 0]
    assert outline_profile(image, distance, ~seen, reach=1).flatten().tolist() == [0, 2, 0]
