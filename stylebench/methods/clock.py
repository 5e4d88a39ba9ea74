"""The batch clock: how many batches a run has done, over all its sessions, and what is drawn by that number alone."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from stylebench.functional.hash_noise import hash_normal, hash_uniform
from stylebench.run_folder import CHECKPOINT_KEY


class BatchClock(pl.LightningModule):
    """A module that counts the batches of its run and draws numbers by that count, so that both survive a resume.

    Attributes:
        seed: the run's seed.
        turn_batches: batches after which the kinds of step repeat, where not every batch moves every player.
        batches_before: batches that were done before the trainer's own count.
    """

    seed: int = 0
    turn_batches: int = 1

    def __init__(self) -> None:
        super().__init__()
        self.batches_before = 0

    @property
    def batches_done(self) -> int:
        """Number of finished batches of the whole run: the only clock for schedules, logging and checkpoints."""
        if self._trainer is None:
            return self.batches_before
        return self.batches_before + int(self.trainer.fit_loop.epoch_loop.batch_progress.total.processed)  # type: ignore[attr-defined]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the batch counter; Lightning's own loop positions are left out, since they would contradict it."""
        checkpoint.pop("loops", None)
        checkpoint.setdefault(CHECKPOINT_KEY, {})["batches"] = self.batches_done

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the batch counter where the checkpoint stood."""
        self.batches_before = int(checkpoint[CHECKPOINT_KEY]["batches"])

    def count_batch(self) -> None:
        """Count a batch that was done outside the trainer."""
        self.batches_before += 1

    @contextlib.contextmanager
    def counting_apart(self) -> Iterator[None]:
        """Forget, after a `with` block, the batches that were counted in it."""
        before = self.batches_before
        try:
            yield
        finally:
            self.batches_before = before

    def uniform(self, count: int, stream: int = 0) -> Tensor:
        """Draw numbers that depend on the run's seed, the batch and the place in the global batch alone.

        Args:
            count: numbers of this process, one for each of its images; the same in every batch.
            stream: which of several independent draws of a batch, >= 0.

        Returns:
            (count,) float32 in [0, 1) on the method's device: the same on one device or many, and after a resume.
        """
        return hash_uniform(self.draw_seeds(count), 1, 1, stream).flatten()

    def normal(self, count: int, dim: int, stream: int = 0) -> Tensor:
        """Draw standard normal vectors that depend on the same as `uniform` draws: seed, batch and place alone.

        Args:
            count: vectors of this process, one for each of its images; the same in every batch.
            dim: length of a vector.
            stream: which of several independent draws of a batch, >= 0; none depends on what `uniform` draws.

        Returns:
            (count, dim) float32 on the method's device: the same on one device or many, and after a resume.
        """
        return hash_normal(self.draw_seeds(count), dim, stream)

    def draw_seeds(self, count: int) -> Tensor:
        """Return (count,) int64 seeds of this process's images: of the run's seed, the batch and the place in it."""
        first = 0 if self._trainer is None else self.trainer.global_rank * count
        world = 1 if self._trainer is None else self.trainer.world_size
        place = self.batches_done * count * world + first
        upper = ((self.seed & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000  # 32 bits, as a signed number
        return torch.arange(place, place + count, device=self.device) ^ (upper << 32)
