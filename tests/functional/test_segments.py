import pytest
import torch

from stylebench.functional.segments import region_iou


def halves(size: int = 8) -> torch.Tensor:
    """Return left and right half, and an empty third region."""
    regions = torch.zeros(1, 3, size, size, dtype=torch.bool)
    regions[:, 0, :, : size // 2] = True
    regions[:, 1, :, size // 2 :] = True
    return regions


def test_regions_of_their_own_color_are_found() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[:, 0, :, 4:] = 0.2
    assert region_iou(image, halves()).tolist() == [1.0]


def test_known_answer_where_one_column_changes_sides() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., 3:] = 1.0  # the fourth column of the left half looks like the right one
    # Means 0.25 and 1; the column goes right. Left: 3 of 4 columns, IoU 3/4; right: 4 of 5, IoU 4/5.
    assert region_iou(image, halves()).tolist() == pytest.approx([(3 / 4 + 4 / 5) / 2])


def test_a_flat_image_tells_nothing() -> None:
    # All pixels fall to the first region: IoU 1/2 for it, 0 for the other.
    assert region_iou(torch.full((1, 3, 8, 8), 0.5), halves()).tolist() == pytest.approx([0.25])


def test_images_do_not_depend_on_their_company() -> None:
    generator = torch.Generator().manual_seed(0)
    images, regions = torch.rand(4, 3, 8, 8, generator=generator), halves().expand(4, -1, -1, -1)
    alone = torch.cat([region_iou(images[i : i + 1], regions[i : i + 1]) for i in range(4)])
    assert torch.allclose(region_iou(images, regions), alone)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"got \(1, 3, 8, 8\) and \(1, 3, 4, 4\)"):
        region_iou(torch.rand(1, 3, 8, 8), halves(4))
    with pytest.raises(ValueError, match="at least one region with pixels"):
        region_iou(torch.rand(1, 3, 8, 8), torch.zeros(1, 2, 8, 8, dtype=torch.bool))
