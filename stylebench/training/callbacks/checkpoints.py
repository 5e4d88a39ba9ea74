"""Checkpoints that a kill at any moment cannot spoil, written between batches and read back exactly."""

import copy
import logging
import random
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from stylebench.checks import check_whole
from stylebench.files import atomic_write, read_pickle
from stylebench.methods.base import Method
from stylebench.methods.terms import NonFiniteLossError
from stylebench.renames import updated_checkpoint
from stylebench.run_folder import CHECKPOINT_FORMAT, CHECKPOINT_KEY, checkpoint_files, checkpoint_name

log = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints whole or not at all; read them with `weights_only=True` and their checksums verified."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write to a temporary file on the same disk, flush it, rename it."""
        with atomic_write(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read tensors and plain values only, whatever `weights_only` says, under their present names."""
        return updated_checkpoint(read_pickle(Path(path)))


class Checkpoints(pl.Callback):
    """Save `checkpoints/batch-<n>.ckpt` every n batches, at the end, on SIGTERM and on exceptions.

    What is saved is always the state between two batches: an exception in the middle of an update is not saved, and a
    non-finite loss never is.

    Args:
        folder: the run's `checkpoints` folder.
        every_n_batches: distance of two checkpoints.
        keep: how many of the newest files stay.
        evaluate_every: distance of two evaluations; a checkpoint of that moment is written after the evaluation.
        batches: the run's length.
        header: plain values for the checkpoint's `stylebench` entry (config, versions, digests).
    """

    def __init__(
        self,
        folder: Path,
        *,
        every_n_batches: int,
        keep: int,
        evaluate_every: int,
        batches: int,
        header: dict[str, Any],
    ) -> None:
        self.folder = folder
        self.every_n_batches = check_whole("checkpoint.every_n_batches", every_n_batches)
        self.keep = check_whole("checkpoint.keep", keep)
        self.evaluate_every = evaluate_every
        self.batches = batches
        self.header = header
        self._evaluated_at = 0
        self._saved_at = -1
        self._rng: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the random states of the checkpoint, and make up for an evaluation that a stop cut off."""
        done = cast(Method, pl_module).batches_done
        if self._rng is not None:
            _set_rng_state(self._rng)
        if self._rng is not None and self._is_evaluation(done) and self._evaluated_at != done:
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Save between two evaluations."""
        done = cast(Method, pl_module).batches_done
        if done % self.every_n_batches == 0 and not self._is_evaluation(done):
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember that this batch has been evaluated."""
        self._evaluated_at = cast(Method, pl_module).batches_done

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after an evaluation."""
        done = cast(Method, pl_module).batches_done
        if done % self.every_n_batches == 0 or done == self.batches:
            self._save(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Save the state of the last finished batch, where it is still whole."""
        method = cast(Method, pl_module)
        if isinstance(exception, NonFiniteLossError) or method.batches_done == 0:
            return
        if method.mid_update:
            log.warning("no checkpoint of this moment: the exception came in the middle of an update")
        elif trainer.world_size > 1 and not isinstance(exception, SystemExit):
            log.warning("no checkpoint of this moment: the other processes are elsewhere")
        elif method.batches_done >= self.batches and self._evaluated_at != method.batches_done:
            # A run with all its batches is not started again, so the rest is redone from the checkpoint before.
            log.warning("no checkpoint of this moment: the last evaluation is not finished")
        elif method.batches_done != self._saved_at:
            self._save(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the header, the random states and whether this batch has been evaluated."""
        done = cast(Method, pl_module).batches_done
        entry = checkpoint.setdefault(CHECKPOINT_KEY, {})
        entry.update(
            copy.deepcopy(self.header), format=CHECKPOINT_FORMAT, evaluated_at=self._evaluated_at, rng=_rng_state()
        )
        entry.setdefault("ema", None)
        self._saved_at = done

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take over what `on_train_start` needs."""
        entry = checkpoint[CHECKPOINT_KEY]
        self._rng = entry["rng"]
        self._evaluated_at = int(entry["evaluated_at"])
        self._saved_at = int(entry["batches"])

    def _is_evaluation(self, done: int) -> bool:
        return done > 0 and (done % self.evaluate_every == 0 or done == self.batches)

    def _save(self, trainer: pl.Trainer) -> None:
        method = cast(Method, trainer.lightning_module)
        method.check_finite()
        method.check_weights_finite()
        trainer.save_checkpoint(self.folder / checkpoint_name(method.batches_done))
        if trainer.is_global_zero:
            for old in checkpoint_files(self.folder)[self.keep :]:
                old.unlink(missing_ok=True)


def _rng_state() -> dict[str, Any]:
    """Return the global random states of Python, NumPy, torch and CUDA as plain values and tensors."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 (user code may use it)
    return {
        "python": random.getstate(),
        "numpy": [name, [int(key) for key in keys], int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_rng_state(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
