"""Measured means: kept on disk, measured again where they are damaged, never in the way of a run."""

import json
import logging
from pathlib import Path

import pytest
import torch

from stylebench.nn.encoders.normalization import (
    Group,
    calibration_name,
    fold_means,
    load_means,
    measure_means,
    save_means,
)
from stylebench.nn.encoders.stages import FrozenConv

SETTINGS = {"encoder": "net", "digest": "0" * 64, "profile": "torch", "pictures": "some"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path))
    return tmp_path / "activation_means"


def test_means_are_kept_exactly_and_by_settings(cache: Path) -> None:
    means = {"relu1_1": torch.tensor([1 / 3, 2.0], dtype=torch.float64)}
    save_means(SETTINGS, means)
    found = load_means(SETTINGS, {"relu1_1": 2})
    assert found is not None
    assert torch.equal(found["relu1_1"], means["relu1_1"])
    assert load_means({**SETTINGS, "digest": "1" * 64}, {"relu1_1": 2}) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"means": {}}', '{"means": {"relu1_1": [1.0]}}', '{"means": {"relu1_1": [1, "x"]}}']
)
def test_means_that_are_damaged_are_measured_anew(text: str, cache: Path) -> None:
    save_means(SETTINGS, {"relu1_1": torch.ones(2)})
    next(cache.iterdir()).write_text(text)
    assert load_means(SETTINGS, {"relu1_1": 2}) is None


def test_means_that_cannot_be_kept_are_a_warning(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        save_means(SETTINGS, {"relu1_1": torch.ones(2)})
    assert "set STYLEBENCH_CACHE to a writable folder" in caplog.text


def test_means_that_are_not_finite_name_the_layer(cache: Path) -> None:
    with pytest.raises(ValueError, match=r"net with weights 000000000000 must give finite .* at relu1_1; get"):
        save_means(SETTINGS, {"relu1_1": torch.tensor([float("nan")])})
    assert not cache.exists()


def test_means_file_is_plain_json(cache: Path) -> None:
    save_means(SETTINGS, {"relu1_1": torch.ones(2)})
    assert json.loads(next(cache.iterdir()).read_text()) == {"settings": SETTINGS, "means": {"relu1_1": [1.0, 1.0]}}


def test_measure_means_known_answer() -> None:
    # Two pictures of constant 51 and 255: values 0.2 and 1.0, mean 0.6.
    pictures = torch.tensor([51, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 4, 4)
    means = measure_means(lambda images, taps: {tap: images for tap in taps}, ["input"], pictures)
    torch.testing.assert_close(means["input"], torch.full((3,), 0.6, dtype=torch.float64))


def test_fold_means_known_answer_and_dead_channels() -> None:
    # Means 4 and 0: the first channel is made at 1/4 and read at 4 times, the second, dead, stays.
    first, second = FrozenConv(1, 2, 1), FrozenConv(2, 1, 1)
    first.weight.fill_(8.0), first.bias.fill_(2.0), second.weight.fill_(1.0)
    fold_means([Group("relu", (first,), (second,))], {"relu": torch.tensor([4.0, 0.0])})
    assert first.weight.flatten().tolist() == [2.0, 8.0]
    assert first.bias.tolist() == [0.5, 2.0]
    assert second.weight.flatten().tolist() == [4.0, 1.0]


def test_calibration_name_tells_pictures_apart() -> None:
    pictures = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert calibration_name(pictures) != calibration_name(pictures + 1)
    assert calibration_name(None) == calibration_name(None)
    for bad in (torch.zeros(2, 3, 8, 8), pictures[0], pictures[:0], pictures[:, :1]):
        with pytest.raises(ValueError, match=r"calibration expects \(N, 3, H, W\) uint8"):
            calibration_name(bad)
