"""Sample grids: their layout, their range, and the file."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylebench.data.tasks import StyleBatch
from stylebench.training.callbacks.sample_grid import SampleGrid, sample_grid, save_png

FRAME = 2  # pixels of white around every image


def test_images_stand_in_rows_with_a_white_frame() -> None:
    values = torch.tensor([[0.0, 0.2, 0.4], [0.6, 0.8, 0.9]])
    rows = [torch.stack([torch.full((3, 4, 5), float(value)) for value in row]) for row in values]
    grid = sample_grid(rows)
    assert grid.shape == (3, 2 * (4 + FRAME) + FRAME, 3 * (5 + FRAME) + FRAME)
    seen = torch.zeros_like(grid, dtype=torch.bool)
    for i in range(2):
        for j in range(3):
            top, left = FRAME + i * (4 + FRAME), FRAME + j * (5 + FRAME)
            cell = (slice(None), slice(top, top + 4), slice(left, left + 5))
            assert torch.all(grid[cell] == values[i, j])
            seen[cell] = True
    assert torch.all(grid[~seen] == 1.0)


def test_values_beyond_the_range_are_clamped_and_halves_become_floats() -> None:
    grid = sample_grid([torch.tensor([-1.0, 2.0]).to(torch.float16).view(2, 1, 1, 1).expand(2, 3, 2, 2)])
    assert grid.dtype == torch.float32
    assert (float(grid.min()), float(grid.max())) == (0.0, 1.0)


def test_one_image_keeps_its_frame_and_three_channels() -> None:
    assert sample_grid([torch.zeros(1, 3, 4, 4)]).shape[0] == 3


def test_png_holds_the_rounded_values(tmp_path: Path) -> None:
    image = torch.rand(3, 6, 7, generator=torch.Generator().manual_seed(0))
    save_png(image, tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as read:
        assert (read.mode, read.size, read.format) == ("RGB", (7, 6), "PNG")
        pixels = np.asarray(read)
    assert np.array_equal(pixels, np.rint(image.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


def test_png_is_never_made_of_nan(tmp_path: Path) -> None:
    save_png(torch.tensor([-0.5, 0.5, 1.5])[:, None, None], tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        assert read.getpixel((0, 0)) == (0, 128, 255)
    with pytest.raises(ValueError, match="finite"):
        save_png(torch.full((3, 1, 1), torch.nan), tmp_path / "b.png")
    assert not (tmp_path / "b.png").exists()


class Painter:
    """Stands in for a method: shows the contents and their negatives."""

    device = torch.device("cpu")
    batches_done = 40

    def sample_rows(self, batch: StyleBatch) -> list[Tensor]:
        assert batch.style is None
        assert not torch.is_grad_enabled()
        assert batch.content is not None
        return [batch.content, 1 - batch.content]


class Recorder:
    """A logger that takes pictures, as wandb's does."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str], int]] = []

    def log_image(self, key: str, images: list[str], step: int) -> None:
        self.calls.append((key, images, step))


@pytest.mark.parametrize("first", [True, False])
def test_a_grid_is_written_and_sent_by_the_first_process_only(first: bool, tmp_path: Path) -> None:
    logger, method = Recorder(), Painter()
    trainer: Any = SimpleNamespace(is_global_zero=first, loggers=[object(), logger])
    callback = SampleGrid(tmp_path, StyleBatch(torch.zeros(2, 3, 4, 4), None))
    callback.on_validation_epoch_end(trainer, method)  # type: ignore[arg-type]
    path = tmp_path / "batch-000000040.png"
    assert path.exists() == first
    assert logger.calls == ([("val/samples", [str(path)], 40)] if first else [])
    if first:
        with Image.open(path) as read:
            assert read.size == (2 * (4 + FRAME) + FRAME,) * 2
            assert read.getpixel((FRAME, FRAME)) == (0, 0, 0)
            assert read.getpixel((FRAME, FRAME + 4 + FRAME)) == (255, 255, 255)


def test_a_grid_that_is_not_finite_is_reported_and_not_drawn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer: Any = SimpleNamespace(is_global_zero=True, loggers=[])
    callback = SampleGrid(tmp_path, StyleBatch(torch.full((2, 3, 4, 4), torch.nan), None))
    callback.on_validation_epoch_end(trainer, Painter())  # type: ignore[arg-type]
    assert "no sample grid at batch 40" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_gets_the_grid(tmp_path: Path) -> None:
    from pytorch_lightning.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoardLogger(tmp_path, name=None, version="tensorboard")
    trainer: Any = SimpleNamespace(is_global_zero=True, loggers=[board])
    callback = SampleGrid(tmp_path / "samples", StyleBatch(torch.zeros(2, 3, 4, 4), None))
    callback.on_validation_epoch_end(trainer, Painter())  # type: ignore[arg-type]
    board.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [image.step for image in events.Images("val/samples")] == [40]
