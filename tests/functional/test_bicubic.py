"""Bicubic resizing: weights by hand, a slow reference written from the formula, published figures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.johnson2016.super_resolution.bicubic import baseline, read_picture
from stylebench.data.listing import list_pictures
from stylebench.functional.bicubic import blur, crop_to_multiple, cubic, degrade, enlarge, resize, shrink


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def kernel(x: float) -> float:
    """Keys' cubic convolution kernel with a = -1/2, as its two polynomials."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def slow_line(values: NDArray[np.float64], new_size: int) -> NDArray[np.float64]:
    """Resize a line pixel by pixel, summing over every place that the kernel might reach."""
    size = len(values)
    step = size / new_size
    wide = max(1.0, step)
    margin = int(2 * wide) + 1
    mirrored = np.pad(values, margin, mode="symmetric")
    result = np.zeros(new_size)
    for i in range(new_size):
        center = (i + 0.5) * step - 0.5
        weights = np.array([kernel((center - place) / wide) for place in range(-margin, size + margin)])
        result[i] = (weights * mirrored).sum() / weights.sum()
    return result


def slow(image: Tensor, height: int, width: int) -> Tensor:
    rows = np.apply_along_axis(slow_line, -2, image.numpy(), height)
    return torch.from_numpy(np.apply_along_axis(slow_line, -1, rows, width))


def test_kernel_values() -> None:
    assert cubic(torch.tensor([0.0, 1.0, 2.0, 3.0, -0.5, 1.5])).tolist() == [1.0, 0.0, 0.0, 0.0, 0.5625, -0.0625]


def test_weights_of_a_doubling() -> None:
    # The pixels of the result lie 1/4 left and right of the old ones: k(1/4) = 111/128, k(3/4) = 29/128,
    # k(5/4) = -9/128, k(7/4) = -3/128.
    impulse = torch.zeros(1, 1, 1, 9, dtype=torch.float64)
    impulse[..., 4] = 1
    expected = torch.tensor([-3, -9, 29, 111, 111, 29, -9, -3], dtype=torch.float64) / 128
    assert torch.allclose(resize(impulse, 1, 18)[0, 0, 0, 5:13], expected)


def test_weights_of_a_halving_are_those_of_a_kernel_twice_as_wide() -> None:
    # The pixel lies between two old ones, at distances 1/2, 3/2, 5/2, 7/2, which the widened kernel halves.
    taps = torch.eye(16, dtype=torch.float64)[:, None, None]  # (16, 1, 1, 16)
    weights = resize(taps, 1, 8)[:, 0, 0, 4]  # of old pixels 8 and 9 and their neighbors
    expected = torch.tensor([-3, -9, 29, 111, 111, 29, -9, -3], dtype=torch.float64) / 256
    assert torch.allclose(weights[5:13], expected)
    assert weights[:5].abs().sum() + weights[13:].abs().sum() == 0


def test_borders_are_mirrored_with_the_edge_pixel() -> None:
    # 1 0 0 0 becomes ... 0 1 | 1 0 0 0 ...: the first pixel gets k(1/4) of the edge and k(3/4) of its mirror image.
    line = torch.tensor([[[[1.0, 0, 0, 0]]]], dtype=torch.float64)
    assert resize(line, 1, 8)[0, 0, 0, :2].tolist() == pytest.approx([(111 + 29) / 128, (111 - 9) / 128])


@pytest.mark.parametrize("size", [(6, 5), (12, 8), (18, 20), (7, 31), (3, 3), (1, 2)])
def test_any_size_equals_the_slow_reference(size: tuple[int, int]) -> None:
    image = noise(2, 1, 12, 10)
    assert torch.allclose(resize(image, *size), slow(image, *size), rtol=0, atol=1e-12)


def test_constant_images_stay_constant() -> None:
    image = torch.full((1, 3, 16, 24), 0.3)
    for result in (shrink(image, 8), enlarge(image, 4), resize(image, 5, 7), blur(image, 1.7), degrade(image, 4, 1.0)):
        assert torch.allclose(result, torch.tensor(0.3), atol=1e-6)


def test_shifts_by_the_factor_shift_the_result_by_a_pixel() -> None:
    image = noise(1, 1, 8, 64)
    shifted = shrink(image.roll(4, 3), 4)
    assert torch.allclose(shifted[..., 4:13], shrink(image, 4)[..., 3:12])  # where the border is out of sight


@pytest.mark.parametrize("change", [partial(resize, height=5, width=17), partial(degrade, factor=2, blur_sigma_px=1.0)])
def test_mirrored_and_turned_images_give_mirrored_and_turned_results(change: Callable[[Tensor], Tensor]) -> None:
    image = noise(1, 3, 8, 8)
    assert torch.allclose(change(image.flip(3)), change(image).flip(3))
    assert torch.allclose(change(image.flip(2)), change(image).flip(2))


def test_images_of_a_batch_do_not_mix() -> None:
    images = noise(3, 2, 8, 8)
    alone = torch.cat([degrade(image[None], 4, 1.0) for image in images])
    assert torch.equal(degrade(images, 4, 1.0), alone)


def test_blur_of_an_impulse_is_a_gaussian() -> None:
    impulse = torch.zeros(1, 1, 1, 21, dtype=torch.float64)
    impulse[..., 10] = 1
    line = blur(impulse, 1.5)[0, 0, 0]
    assert float(line.sum()) == pytest.approx(1)
    assert float(line[11] / line[10]) == pytest.approx(np.exp(-1 / 4.5))
    assert float(line[13] / line[10]) == pytest.approx(np.exp(-9 / 4.5))


def test_blur_of_width_zero_changes_nothing() -> None:
    image = noise(1, 3, 6, 6)
    assert torch.equal(blur(image, 0.0), image)


def test_degraded_images_are_blurred_then_shrunk_then_clamped() -> None:
    image = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
    image[..., 8:] = 1  # an edge, which overshoots on both sides
    small = shrink(blur(image, 0.5), 4)
    assert small.min() < 0
    assert small.max() > 1
    assert torch.equal(degrade(image, 4, 0.5), small.clamp(0, 1))


def test_gradients_are_those_of_finite_differences() -> None:
    image = noise(1, 1, 4, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: shrink(blur(x, 0.8), 2), image)
    assert torch.autograd.gradcheck(lambda x: enlarge(x, 2), image)


def test_half_precision_is_lifted_and_autocast_ignored() -> None:
    image = noise(1, 3, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = shrink(image.float(), 2)
    assert result.dtype == torch.float32
    assert torch.allclose(result.double(), shrink(image, 2), atol=1e-6)
    assert shrink(image.half(), 2).dtype == torch.float32
    assert shrink(image, 2).dtype == torch.float64


def test_crops_are_cut_at_the_bottom_and_right() -> None:
    image = noise(1, 3, 11, 14)
    assert torch.equal(crop_to_multiple(image, 4), image[..., :8, :12])
    with pytest.raises(ValueError, match=r"\(3, 14\).* hold no multiple of 4"):
        crop_to_multiple(image[..., :3, :], 4)


def test_what_cannot_be_resized_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot shrink images of 6 x 8 pixels by a factor of 4; cut them"):
        shrink(noise(1, 3, 6, 8), 4)
    with pytest.raises(ValueError, match=r"at least 1 x 1 pixels, got 0 x 4"):
        resize(noise(1, 3, 6, 8), 0, 4)
    with pytest.raises(ValueError, match=r"shape \(B, C, H, W\), got \(3, 6, 8\)"):
        resize(noise(3, 6, 8), 3, 4)
    with pytest.raises(TypeError, match=r"got torch\.uint8; divide uint8 images by 255"):
        resize(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), 2, 2)
    with pytest.raises(ValueError, match=r"finite width of at least 0 pixels, got -1"):
        blur(noise(1, 3, 6, 8), -1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "rounded", "published"), [("luma", False, (28.42, 0.8104)), ("rgb", True, (28.43, 0.8114))]
)
def test_published_figures_of_set5(channels: str, rounded: bool, published: tuple[float, float], shared: Path) -> None:
    """What papers print for bicubic enlargement by 4 (recalled): no blur, border of 4 pixels, valid windows."""
    pictures = [read_picture(path) for path in list_pictures(shared / "data" / "sr" / "Set5").pictures.values()]
    found = baseline(pictures, 4, channels, rounded, 0.0, 4)
    assert found[0] == pytest.approx(published[0], abs=0.006)  # two decimals
    assert found[1] == pytest.approx(published[1], abs=0.0002)


def test_published_figure_of_one_picture(shared: Path) -> None:
    """The butterfly of Set5: papers print 22.10 dB for bicubic enlargement by 4 (recalled)."""
    (picture,) = (
        read_picture(path)
        for path in list_pictures(shared / "data" / "sr" / "Set5").pictures.values()
        if "fly" in path.name
    )
    assert baseline([picture], 4, "luma", False, 0.0, 4)[0] == pytest.approx(22.10, abs=0.006)
