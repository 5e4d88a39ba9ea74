"""Finding shifted things and putting them back."""

import pytest
import torch

from stylebench.worlds.readouts import find_shifts, put_back


def discs(*centers: tuple[float, float], size: int = 48, radius: float = 7.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    return torch.stack([(x - cx).square() + (y - cy).square() < radius**2 for cy, cx in centers])[None]


def paint(objects: torch.Tensor) -> torch.Tensor:
    """Return a picture of the objects on a gray ground, each of a color of its own."""
    image = torch.full((1, 3, *objects.shape[2:]), 0.5)
    for number, mask in enumerate(objects[0]):
        color = torch.tensor([0.9, 0.2, 0.1]).roll(number)[:, None, None]
        image[0] = torch.where(mask, color, image[0])
    return image


PLACES = [(14.0, 14.0), (32.0, 31.0)]


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-4, 4), (1, 0)])
def test_each_object_is_found_where_it_went(shift: tuple[int, int]) -> None:
    objects = discs(*PLACES)
    moved = discs((PLACES[0][0] + shift[0], PLACES[0][1] + shift[1]), PLACES[1])
    noise = 0.03 * torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    shifts = find_shifts(paint(moved) + noise, paint(objects)[:, None], objects)
    assert shifts.tolist() == [[list(shift), [0, 0]]]


def test_colors_between_two_templates_do_not_matter() -> None:
    objects = discs(*PLACES)
    first, second = paint(objects), 1 - paint(objects).roll(1, 1)
    image = (0.3 * first + 0.7 * second).roll((2, 1), (2, 3))
    shifts = find_shifts(image, torch.stack([first, second], 1), objects)
    assert shifts.tolist() == [[[2, 1], [2, 1]]]


def test_putting_back_restores_the_picture_around_objects() -> None:
    objects = discs(*PLACES)
    moved = discs((16.0, 13.0), (31.0, 34.0))
    shifts = find_shifts(paint(moved), paint(objects)[:, None], objects)
    placed = put_back(paint(moved), objects, shifts)
    assert torch.equal(placed.images, paint(objects))
    assert not (placed.seams & objects.any(1)).any()
    assert placed.seams[0, 14, 5]
    assert not placed.seams[0, 14, 2]  # 5 pixels off the disc's rim at 7


def test_noise_alone_moves_nothing() -> None:
    objects = discs(*PLACES)
    noise = torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    templates = paint(objects)[:, None].expand(4, -1, -1, -1, -1)
    assert not find_shifts(noise, templates, objects.expand(4, -1, -1, -1)).any()


def test_empty_masks_and_no_masks_are_not_moved() -> None:
    image, nothing = torch.rand(2, 3, 16, 16), torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    assert not find_shifts(image, image[:, None], nothing).any()
    shifts = find_shifts(image, image[:, None], nothing[:, :0])
    assert shifts.shape == (2, 0, 2)
    placed = put_back(image, nothing[:, :0], shifts)
    assert torch.equal(placed.images, image)
    assert not placed.seams.any()
