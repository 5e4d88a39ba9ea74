"""Resize protocols: against PIL, against the published formulas in numpy, and each other."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from stylebench.metrics.resizing import PROTOCOLS, protocol

_Plane = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def _levels(height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (1, 3, height, width), generator=generator).float()


@pytest.mark.parametrize(("side", "size"), [(1024, 299), (64, 299)])
def test_clean_is_pillows_bicubic_in_float(side: int, size: int) -> None:
    images = _levels(side, side)
    found = protocol("clean")(images, size)[0]
    for channel, plane in zip(found.numpy(), images[0].numpy(), strict=True):
        picture = Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC)  # mode F: nothing is rounded
        difference = np.abs(channel - np.asarray(picture).clip(0, 255))
        assert difference.max() <= 0.5
        assert difference.mean() <= 1e-3


def test_clean_stays_within_the_levels() -> None:
    # Bicubic kernels overshoot at an edge from 0 to 255.
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 255
    raw = F.interpolate(edge, (29, 29), mode="bicubic", antialias=True)
    assert raw.min() < -1
    assert raw.max() > 256
    found = protocol("clean")(edge, 29)
    assert found.min() == 0
    assert found.max() == 255


def _bilinear(plane: _Plane, rows: _Plane, columns: _Plane) -> _Plane:
    """Read a picture at real-valued places, the border's value outside of it."""
    height, width = plane.shape
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top)[:, None], (columns - left)[None]

    def at(
        i: np.ndarray[tuple[int, ...], np.dtype[np.int64]], j: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    ) -> _Plane:
        return np.asarray(plane[i.clip(0, height - 1)[:, None], j.clip(0, width - 1)[None]])

    upper = at(top, left) * (1 - right) + at(top, left + 1) * right
    lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    return np.asarray(upper * (1 - down) + lower * down)


@pytest.mark.parametrize(("height", "width", "size"), [(64, 48, 299), (400, 301, 299), (5, 7, 4)])
def test_legacy_tf_reads_from_the_corner_on(height: int, width: int, size: int) -> None:
    # TensorFlow 1: place i of the result is at i * scale of the source, the scale a float32.
    images = _levels(height, width)
    found = protocol("legacy_tf")(images, size)
    steps = np.arange(size, dtype=np.float32)
    rows, columns = (steps * np.float32(side / size) for side in (height, width))
    for channel, plane in zip(found[0].double().numpy(), images[0].double().numpy(), strict=True):
        np.testing.assert_allclose(channel, _bilinear(plane, rows.astype(float), columns.astype(float)), atol=1e-3)


def test_legacy_tf_known_answer() -> None:
    # 0 100 to four columns, places 0, .5, 1, 1.5: 0 50 100 100; pixel centers would give 0 25 75 100.
    row = torch.tensor([0.0, 100.0]).expand(1, 3, 2, 2)
    assert protocol("legacy_tf")(row, 4)[0, 0, 0].tolist() == [0, 50, 100, 100]
    assert protocol("legacy_torch")(row, 4)[0, 0, 0].tolist() == [0, 25, 75, 100]


@pytest.mark.parametrize(("height", "width", "size"), [(64, 48, 299), (400, 301, 299)])
def test_legacy_torch_reads_at_pixel_centers(height: int, width: int, size: int) -> None:
    images = _levels(height, width)
    found = protocol("legacy_torch")(images, size)
    rows, columns = (((np.arange(size) + 0.5) * side / size - 0.5).clip(0) for side in (height, width))
    for channel, plane in zip(found[0].double().numpy(), images[0].double().numpy(), strict=True):
        np.testing.assert_allclose(channel, _bilinear(plane, rows, columns), atol=2e-2)


@pytest.mark.parametrize(("side", "size"), [(400, 299), (64, 299)])
def test_tm19_is_pillows_bilinear_in_float(side: int, size: int) -> None:
    images = _levels(side, side)
    found = protocol("tm19")(images, size)[0, 0].numpy()
    picture = Image.fromarray(images[0, 0].numpy()).resize((size, size), Image.Resampling.BILINEAR)
    assert np.abs(found - np.asarray(picture)).max() <= 0.02


def test_antialiasing_matters_only_where_images_shrink() -> None:
    legacy, antialiased = protocol("legacy_torch"), protocol("tm19")
    torch.testing.assert_close(antialiased(_levels(64, 64), 299), legacy(_levels(64, 64), 299), rtol=0, atol=0.02)
    assert (antialiased(_levels(128, 128), 32) - legacy(_levels(128, 128), 32)).abs().mean() > 10


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_keeps_constants_and_gives_squares(name: str) -> None:
    found = protocol(name)(torch.full((2, 3, 50, 70), 17.0), 29)
    torch.testing.assert_close(found, torch.full((2, 3, 29, 29), 17.0), rtol=0, atol=1e-4)


def test_protocols_differ_from_each_other() -> None:
    images = _levels(64, 64)
    results = [resize(images, 29) for resize in PROTOCOLS.values()]
    for place, first in enumerate(results):
        for second in results[place + 1 :]:
            assert (first - second).abs().mean() > 1


def test_protocol_names_what_there_is() -> None:
    with pytest.raises(ValueError, match="clean, legacy_torch, legacy_tf, tm19, got 'nearest'"):
        protocol("nearest")
