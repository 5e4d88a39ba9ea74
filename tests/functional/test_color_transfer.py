"""Color transfer: statistics that are reached, and the pixel counts that must not matter."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from stylebench.functional.color_transfer import coral, coral_legacy, luminance_only


def drawn(height: int, width: int, seed: int = 0, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(count, 3, height, width, generator=generator, dtype=torch.float64)
    mix = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.0, 0.4, 0.6]], dtype=torch.float64)
    return torch.einsum("ij,bjhw->bihw", mix, base)  # (count, 3, H, W), with correlated channels


def statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    flat = image[0].flatten(1)
    return flat.mean(1), torch.cov(flat)


def test_own_colors_change_nothing() -> None:
    images = drawn(9, 11)
    assert torch.allclose(coral(images, images), images, atol=1e-10)


def test_mean_and_covariance_become_the_references() -> None:
    made, wanted = coral(drawn(20, 30), drawn(25, 17, seed=1).square()), drawn(25, 17, seed=1).square()
    for found, other in zip(statistics(made), statistics(wanted), strict=True):
        assert torch.allclose(found, other, atol=1e-5)  # the ridge of 1e-5


@pytest.mark.parametrize(("count", "contrast"), [(50, 0.5), (200, 2.0)])
def test_pixel_counts_do_not_matter(count: int, contrast: float) -> None:
    """The well-known programs scale the contrast by sqrt(n_reference / n_image): 2,500 or 40,000 to 10,000 pixels."""
    images, reference = drawn(100, 100), drawn(count, count, seed=1)
    wanted = reference.flatten(2).std(2)
    assert torch.allclose(coral(images, reference).flatten(2).std(2) / wanted, torch.ones(1, 3).double(), atol=1e-3)
    legacy = coral_legacy(images, reference).flatten(2).std(2) / wanted
    assert torch.allclose(legacy, torch.full((1, 3), contrast).double(), rtol=0.02)


def test_pictures_of_one_color_stay_finite() -> None:
    gray, colored = torch.full((1, 3, 5, 5), 0.5, dtype=torch.float64), drawn(6, 6)
    assert torch.allclose(coral(gray, colored), colored.mean((2, 3), keepdim=True).expand(1, 3, 5, 5))
    assert torch.allclose(coral(colored, gray), torch.full((1, 3, 6, 6), 0.5, dtype=torch.float64), atol=1e-5)


def test_each_image_has_its_own_reference() -> None:
    images, references = drawn(8, 8, count=2), drawn(6, 6, seed=1, count=2)
    both = coral(images, references)
    for place in range(2):
        alone = coral(images[place : place + 1], references[place : place + 1])
        assert torch.allclose(both[place : place + 1], alone)


def test_luminance_by_hand() -> None:
    content = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
    stylized = torch.tensor([0.5, 0.5, 0.5]).view(1, 3, 1, 1)
    # luminances 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6 = 0.363 and 0.5: every channel gains 0.137
    assert torch.allclose(luminance_only(stylized, content).flatten(), torch.tensor([0.337, 0.537, 0.737]))


def test_luminance_keeps_chroma() -> None:
    content, stylized = drawn(5, 5), drawn(5, 5, seed=1)
    made = luminance_only(stylized, content)
    assert torch.allclose(made[:, 0] - made[:, 1], content[:, 0] - content[:, 1])
    assert torch.allclose(luminance_only(content, content), content)


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="RGB pictures"):
        coral(torch.rand(3, 4, 4), torch.rand(1, 3, 4, 4))
    with pytest.raises(ValueError, match="got 2 for 3 images"):
        coral(torch.rand(3, 3, 4, 4), torch.rand(2, 3, 4, 4))
    with pytest.raises(ValueError, match="of one size"):
        luminance_only(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 5, 4))


def test_coral_is_the_formula_with_scipys_roots() -> None:
    images, reference = drawn(7, 9), drawn(12, 5, seed=1).square()
    own, wanted = (part[0].flatten(1).numpy() for part in (images, reference))
    roots = [scipy.linalg.sqrtm(np.corrcoef(part) + 1e-5 * np.eye(3)) for part in (own, wanted)]
    standard = (own - own.mean(1, keepdims=True)) / own.std(1, keepdims=True, ddof=1)
    expected = roots[1] @ np.linalg.inv(roots[0]) @ standard
    expected = expected * wanted.std(1, keepdims=True, ddof=1) + wanted.mean(1, keepdims=True)
    np.testing.assert_allclose(coral(images, reference)[0].flatten(1).numpy(), expected, atol=1e-10)


def test_legacy_is_the_formula_of_the_reference_code() -> None:
    images, reference = drawn(7, 9), drawn(12, 5, seed=1)
    standard, std, mean = [], [], []
    for part in (images[0].flatten(1), reference[0].flatten(1)):
        std.append(part.std(1, keepdim=True))
        mean.append(part.mean(1, keepdim=True))
        standard.append((part - mean[-1]) / std[-1])
    roots = [torch.from_numpy(scipy.linalg.sqrtm((x @ x.mT + torch.eye(3)).numpy())) for x in standard]
    expected = roots[1] @ torch.linalg.inv(roots[0]) @ standard[0] * std[1] + mean[1]
    torch.testing.assert_close(coral_legacy(images, reference)[0].flatten(1), expected)


def test_almost_one_color_does_not_blow_up() -> None:
    # A channel that is constant up to rounding is no contrast to scale up to the reference's.
    images = drawn(8, 8)
    images[:, 1] = 0.25 + 1e-7 * images[:, 1]
    made, reference = coral(images, drawn(8, 8, seed=1)), drawn(8, 8, seed=1)
    assert bool(made.isfinite().all())
    spread = made.flatten(2).std(2) / reference.flatten(2).std(2)
    assert float(spread.max()) < 1.5
    assert bool(coral(torch.rand(1, 3, 1, 1), reference).isfinite().all())


def test_type_and_batch_of_the_images_stay() -> None:
    made = coral(drawn(4, 5, count=3).float(), drawn(6, 6, seed=1).float())
    assert (made.dtype, made.shape) == (torch.float32, (3, 3, 4, 5))
