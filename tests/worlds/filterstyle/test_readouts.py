"""Regions and contours of photographs, and that strength shows in what is read off there."""

import pytest
import torch
from torch import Tensor

from stylebench.functional.color import luma
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.worlds.filterstyle import NAMED_STYLES, apply_style, readout_contours, readout_regions


@pytest.fixture(scope="module")
def photographs() -> Tensor:
    return dead_leaves(4, 64, seed=7)


def test_regions_divide_the_pixels_in_fifths_by_brightness(photographs: Tensor) -> None:
    regions = readout_regions(photographs)
    assert regions.shape == (4, 5, 64, 64)
    assert torch.equal(regions.sum(1), torch.ones(4, 64, 64, dtype=torch.int64))
    assert (regions.double().mean((2, 3)) - 0.2).abs().max() < 0.02
    brightness = luma(photographs / 255)
    means = (brightness * regions).sum((2, 3)) / regions.sum((2, 3))
    assert (means.diff(dim=1) > 0).all()


def test_regions_of_a_constant_picture_are_one_area() -> None:
    regions = readout_regions(torch.full((1, 3, 20, 30), 77, dtype=torch.uint8))
    assert regions.any((2, 3)).sum() == 1
    assert torch.equal(regions.sum(1), torch.ones(1, 20, 30, dtype=torch.int64))


def test_contours_of_a_step_are_the_distance_to_it() -> None:
    image = torch.full((1, 3, 64, 80), 40, dtype=torch.uint8)
    image[..., 31:] = 200  # the edge lies between the centers of columns 30 and 31
    expected = (torch.arange(80) - 30.5).clamp(-8, 8)
    found = readout_contours(image)
    near = expected.abs() < 8
    torch.testing.assert_close(found[0][:, near], expected[near].expand(64, -1), atol=0.02, rtol=0)
    assert (found[0][:, ~near].abs() == 8).all()
    flipped = readout_contours(image.flip(3))
    torch.testing.assert_close(flipped.flip(2)[0][:, near], found[0][:, near], atol=0.02, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.1, 2.5])
def test_contours_of_a_slanted_soft_edge_are_the_distance_to_it(angle: float) -> None:
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    turn = torch.tensor(angle)
    distance = (columns - 47.3) * turn.cos() + (rows - 46.1) * turn.sin()
    image = (60 + 140 * torch.special.ndtr(distance / 1.5)).round().to(torch.uint8).expand(1, 3, -1, -1)
    inside = (slice(20, 76), slice(20, 76))
    apart = (readout_contours(image)[0] - distance.clamp(-8, 8))[inside][distance[inside].abs() < 7]
    assert apart.abs().mean() < 0.1
    assert apart.abs().max() < 0.5


def test_contours_of_a_bright_disc_are_positive_inside() -> None:
    rows, columns = torch.meshgrid(torch.arange(80.0), torch.arange(80.0), indexing="ij")
    depth = 22 - ((rows - 40) ** 2 + (columns - 38) ** 2).sqrt()
    image = (50 + 150 * torch.special.ndtr(depth)).round().to(torch.uint8).expand(1, 3, -1, -1)
    found = readout_contours(image)[0]
    near = depth.abs() < 7
    assert (found - depth)[near].abs().mean() < 0.25  # smoothing draws a round contour a little inward
    assert (found.sign() == depth.sign())[near & (depth.abs() > 1)].all()


def test_a_flat_picture_has_no_contour() -> None:
    flat = torch.full((2, 3, 32, 32), 130, dtype=torch.uint8)
    assert torch.equal(readout_contours(flat), torch.full((2, 32, 32), 8.0))
    noise = flat + torch.randint(0, 3, flat.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(readout_contours(noise), torch.full((2, 32, 32), 8.0))


def region_means(images: Tensor, regions: Tensor) -> Tensor:
    """Return (B, 5, 3) mean colors."""
    weights = regions.float() / regions.sum((2, 3), keepdim=True)
    return torch.einsum("bchw,brhw->brc", images.float() / 255, weights)


@pytest.mark.parametrize("name", ["palette_map", "xdog", "halftone", "hatching", "posterize_edges", "watercolor"])
def test_mean_colors_of_regions_move_on_with_strength(photographs: Tensor, name: str) -> None:
    regions = readout_regions(photographs)
    strengths = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
    means = [region_means(apply_style(photographs, NAMED_STYLES[name], range(4), s), regions) for s in strengths]
    way = means[4] - means[0]
    placed = torch.stack([((mean - means[0]) * way).sum() / way.square().sum() for mean in means])
    assert (placed.diff() > 0.03).all(), placed


@pytest.mark.parametrize(
    ("name", "sign"), [("xdog", 1), ("halftone", 1), ("hatching", 1), ("posterize_edges", 1), ("kuwahara", -1)]
)
def test_fine_contrast_rises_or_falls_with_strength(photographs: Tensor, name: str, sign: int) -> None:
    strengths = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
    drawn = [luma(apply_style(photographs, NAMED_STYLES[name], range(4), s) / 255) for s in strengths]
    fine = torch.stack([(image - torch.nn.functional.avg_pool2d(image, 5, 1, 2)).std() for image in drawn])
    # Blending with the photograph may first flatten its own texture.
    assert (sign * fine.diff()[2:] > 0).all(), fine
