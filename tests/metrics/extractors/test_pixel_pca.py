"""`pix-pca`: against numpy's eigenvectors, with few pictures, and with none that differ."""

import numpy as np
import pytest
import torch

from stylebench.metrics.extractors import PixelPCA
from tests.metrics.extractors.contract import check_features, check_gradients, pictures


def test_features_of_the_built_in_pictures() -> None:
    extractor = PixelPCA()
    assert (extractor.name, extractor.alias, extractor.origin, extractor.width) == ("pix-pca", "pix_pca", "none", 256)
    check_features(extractor, pictures(3, size=40))
    check_gradients(extractor, pictures())
    assert extractor.describe()["fitted_on"].startswith("given-384x32x32-")


def test_components_are_eigenvectors_of_the_covariance() -> None:
    sample = pictures(12)
    extractor = PixelPCA(sample)
    rows = sample.double().flatten(1).numpy() / 255  # 32 px: nothing is resized
    rows -= rows.mean(0)
    values = np.linalg.eigvalsh(rows @ rows.T / 12)[::-1]  # those of the covariance that are not 0
    features = extractor(sample).double().numpy()
    np.testing.assert_allclose((features**2).mean(0), values[:11], rtol=1e-4)
    components = extractor.components.double()
    torch.testing.assert_close(components @ components.mT, torch.eye(11, dtype=torch.float64), rtol=0, atol=1e-5)


def test_fewer_pictures_give_fewer_components_and_another_name() -> None:
    few, others = PixelPCA(pictures(5)), PixelPCA(pictures(5, seed=1))
    assert few.width == 4
    assert few(pictures(3)).shape == (3, 4)
    assert few.name == f"pix-pca-{few.digest[:8]}"
    assert few.digest != others.digest


def test_the_largest_entry_of_a_component_is_positive() -> None:
    components = PixelPCA(pictures(5)).components
    assert (components.gather(1, components.abs().argmax(1, keepdim=True)) > 0).all()


def test_shrinking_is_antialiased() -> None:
    # A fine checkerboard is gray at 32 px: as the mean of black and white.
    extractor = PixelPCA(pictures(5))
    board = torch.zeros(1, 3, 128, 128)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 1
    torch.testing.assert_close(extractor(board), extractor(torch.full((1, 3, 32, 32), 0.5)), rtol=0, atol=0.1)


def test_pictures_that_say_nothing_are_refused() -> None:
    for same in (pictures(1), pictures(1).expand(4, -1, -1, -1)):
        with pytest.raises(ValueError, match="expects pictures that differ"):
            PixelPCA(same)
    with pytest.raises(ValueError, match="uint8 RGB pictures"):
        PixelPCA(pictures(4).float())
