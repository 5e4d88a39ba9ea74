"""The classifier as an inference kind."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stylebench.inference.base import Control
from stylebench.inference.classifier import Classifier


class Colors(Classifier):
    """Logits are the mean colors, less those of a domain, divided by a temperature."""

    classes = ("red", "green", "blue")
    domains = ("source", "dusk")
    controls = (Control("temperature", 0.1, 10.0, 1.0, "of the logits"),)

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("means", torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]))

    def logits(self, images: Tensor, statistics: str, **controls: Any) -> Tensor:
        assert not self.training
        return (images.mean((2, 3)) - self.means[self.domains.index(statistics)]) / controls["temperature"]


def test_logits_of_a_batch_and_of_one_picture() -> None:
    images = torch.rand(4, 3, 5, 6, dtype=torch.float64)
    found = Colors().train().classify(images)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, images.mean((2, 3)), rtol=1e-6, atol=1e-6)
    assert torch.equal(Colors().classify(images[0]), found[0])
    assert not found.requires_grad


def test_statistics_and_controls_are_chosen_by_name() -> None:
    images = torch.full((1, 3, 2, 2), 0.5)
    assert Colors().classify(images, statistics="dusk").tolist() == [[0.0, 0.5, 0.5]]
    assert Colors().classify(images, temperature=0.5).tolist() == [[1.0, 1.0, 1.0]]


def test_the_training_mode_is_restored() -> None:
    model = Colors().train()
    model.classify(torch.rand(3, 4, 4))
    assert model.training
    assert model.norm.training


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"statistics": "dawn"}, ValueError, "no statistics of a domain 'dawn'; there are those of source, dusk"),
        ({"temperature": 100}, ValueError, r"temperature lies in \[0.1, 10\]"),
        ({"alpha": 1}, ValueError, "no control 'alpha'; its controls: temperature"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        Colors().classify(torch.rand(3, 4, 4), **given)


def test_pictures_that_are_none_are_refused() -> None:
    with pytest.raises(TypeError, match="divide by 255"):
        Colors().classify(torch.zeros(3, 4, 4, dtype=torch.uint8))


def test_wrong_number_of_logits_is_named() -> None:
    class Short(Colors):
        classes = ("red", "green")

    with pytest.raises(ValueError, match=r"2 classes, and gave logits of shape \(1, 3\)"):
        Short().classify(torch.rand(3, 4, 4))


def test_a_classifier_is_loaded_and_makes_no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stylebench.inference import loading

    name = f"{Colors.__module__}.{Colors.__qualname__}"
    model = loading.TrainedModel(tmp_path, {"_target_": name}, Colors().state_dict(), "raw")
    monkeypatch.setattr(loading, "construct", lambda *arguments, **listed: Colors())
    monkeypatch.setattr(loading, "read_model", lambda path, weights: model)
    assert isinstance(loading.load(tmp_path), Classifier)
    with pytest.raises(ValueError, match="is a Colors, which gives pictures labels and makes none"):
        loading.load_translator(tmp_path)
