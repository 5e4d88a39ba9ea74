"""torchvision's Inception: the features of torchvision's own network and preprocessing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import inception_v3

from stylebench.files import DamagedFileError
from stylebench.metrics.extractors import TorchvisionInception
from stylebench.metrics.extractors.inception import randomize
from stylebench.nn.encoders.base import PROFILES
from tests.metrics.extractors.contract import check_gradients, pictures


@pytest.fixture(scope="module")
def network() -> Any:
    """Return torchvision's network with weights that keep the size of activations."""
    with torch.random.fork_rng():
        network: Any = inception_v3(weights=None, init_weights=False, aux_logits=True)
    randomize(network, 0)
    return network.eval()


@pytest.mark.parametrize("as_trained", [True, False])
def test_features_are_torchvisions(
    as_trained: bool, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torchvision takes images at ImageNet's mean and deviation; with its own weights, `transform_input` undoes that.
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    extractor = TorchvisionInception(str(tmp_path / "weights.pth"), resize="tm19", as_trained=as_trained)
    monkeypatch.setattr(network, "transform_input", as_trained)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in PROFILES["torch"])
    images = pictures(1, size=299)  # nothing is resized
    with torch.no_grad():
        expected = network((images.float() / 255 - mean) / std)  # logits
        found = network.fc(extractor(images))
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert extractor.canonical == ()
    assert extractor.alias == "inception_v3_tv"
    assert extractor.name.endswith("imagenet_range") != as_trained


def test_gradients_reach_images() -> None:
    check_gradients(TorchvisionInception("random"), pictures(1))


def test_another_file_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(DamagedFileError, match="does not fit this network"):
        TorchvisionInception(str(tmp_path / "weights.pth"))
