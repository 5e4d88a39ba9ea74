"""RGB-uv histograms: a literal numpy reference, bounds and invariances."""

import numpy as np
import pytest
import torch

from stylebench.functional import color_histogram
from stylebench.functional.color_histogram import hellinger, uv_histogram


def _pictures(count: int, size: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_histogram_equals_numpy() -> None:
    picture = _pictures(1)
    pixels = picture[0].flatten(1).numpy()  # (3, N)
    weight = np.sqrt((pixels**2).sum(0) + 1e-6)
    centers = np.linspace(-3, 3, 64)
    planes = []
    for channel, others in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
        u, v = (np.log(pixels[channel] + 1e-6) - np.log(pixels[other] + 1e-6) for other in others)
        kernels = [1 / (1 + (np.abs(x[:, None] - centers) / 0.02) ** 2) for x in (u, v)]
        planes.append((kernels[0] * weight[:, None]).T @ kernels[1])
    expected = np.stack(planes) / np.stack(planes).sum()
    np.testing.assert_allclose(uv_histogram(picture)[0].numpy(), expected, rtol=1e-9)


def test_histogram_ignores_places_and_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = _pictures(2)
    expected = uv_histogram(pictures)
    assert expected.sum((1, 2, 3)).tolist() == pytest.approx([1, 1])
    order = torch.randperm(36, generator=torch.Generator().manual_seed(1))
    shuffled = pictures.flatten(2)[..., order].reshape(pictures.shape)
    torch.testing.assert_close(uv_histogram(shuffled), expected)
    monkeypatch.setattr(color_histogram, "_ENTRIES", 2 * 64 * 5)  # five pixels at a time; 36 is not a multiple
    torch.testing.assert_close(uv_histogram(pictures), expected)


def test_histogram_of_uint8_and_of_large_and_black_images() -> None:
    picture = torch.full((1, 3, 4, 4), 51, dtype=torch.uint8)
    torch.testing.assert_close(uv_histogram(picture), uv_histogram(picture.double() / 255))
    large = torch.full((1, 3, 8, 200), 51, dtype=torch.uint8)  # resized; of one color it stays
    torch.testing.assert_close(uv_histogram(large), uv_histogram(picture))
    assert uv_histogram(torch.zeros(1, 3, 4, 4)).isfinite().all()
    with pytest.raises(ValueError, match="RGB"):
        uv_histogram(picture[:, :1])


def test_hellinger_bounds() -> None:
    # (1, 0) and (0, 1) are disjoint: sqrt(2) / sqrt(2) = 1; (1, 0) and (1/2, 1/2): sqrt(1 - sqrt(1/2)) = 0.5412
    one, other, even = (torch.tensor([row], dtype=torch.float64) for row in ([1.0, 0], [0, 1.0], [0.5, 0.5]))
    assert hellinger(one, one).item() == 0
    assert hellinger(one, other).item() == pytest.approx(1)
    assert hellinger(one, even).item() == pytest.approx(0.541196, abs=1e-6)
    assert hellinger(torch.cat((one, other)), even).shape == (2,)  # one style for all
    with pytest.raises(ValueError, match="one shape"):
        hellinger(one, torch.ones(1, 3))


def test_hellinger_of_images() -> None:
    pictures = _pictures(2)
    histogram = uv_histogram(pictures)
    assert hellinger(histogram, histogram).tolist() == [0, 0]
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 0.8
    distance = hellinger(uv_histogram(red), uv_histogram(red.roll(1, 1))).item()
    assert 0.9 < distance <= 1
