"""Sample grids: the same held-out inputs at every evaluation, as PNG and to every logger that takes pictures."""

import logging
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.utils import make_grid

from stylebench.data.images import write_png
from stylebench.functional.pixels import quantize
from stylebench.methods.base import Method

log = logging.getLogger(__name__)


class SampleGrid(pl.Callback):
    """Write `samples/batch-<n>.png` at every evaluation, from the weights that evaluation sees.

    Outputs that are not finite are reported and not drawn: the checks of losses and weights say where they come from.

    Args:
        folder: the run's `samples` folder.
        batch: the fixed batch of the method's task, on the CPU.
    """

    def __init__(self, folder: Path, batch: Any) -> None:
        self.folder = folder
        self.batch = batch
        self.newest: Path | None = None

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the grid on the first process; every process has the same weights and inputs."""
        if not trainer.is_global_zero:
            return
        method = cast(Method, pl_module)
        batch = type(self.batch)(*(part if part is None else part.to(method.device) for part in self.batch))
        with torch.no_grad():
            rows = method.sample_rows(batch)
        grid = sample_grid(rows)
        if not bool(grid.isfinite().all()):
            log.warning("no sample grid at batch %d: outputs are not finite", method.batches_done)
            return
        self.newest = self.folder / f"batch-{method.batches_done:09d}.png"
        save_png(grid, self.newest)
        self._mirror(trainer, grid, method.batches_done)

    def _mirror(self, trainer: pl.Trainer, grid: Tensor, batches: int) -> None:
        """Send the grid to loggers by what they can do: wandb's logger has `log_image`."""
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image("val/samples", [str(self.newest)], step=batches)
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("val/samples", grid, batches)


def sample_grid(rows: list[Tensor]) -> Tensor:
    """Lay rows of images out with a white frame.

    Args:
        rows: (B, 3, H, W) images in [0, 1] each, the same B and size in every row.

    Returns:
        (3, H', W') in [0, 1], on the CPU.
    """
    images = torch.cat([row.float().cpu() for row in rows]).clamp(0, 1)  # (rows * B, 3, H, W)
    grid: Tensor = make_grid(images, nrow=len(rows[0]), padding=2, pad_value=1.0)
    return grid


def save_png(image: Tensor, path: Path) -> None:
    """Write a (3, H, W) image in [0, 1] as an 8-bit PNG, atomically; see `quantize`."""
    write_png(quantize(image).permute(1, 2, 0).contiguous().cpu().numpy(), path)
