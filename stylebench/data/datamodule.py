"""The bridge from a task to Lightning: loaders over batch numbers, with the exact position as one integer."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset, Sampler

from stylebench.checks import check_whole
from stylebench.data.tasks import RawBatch, Task, device_batch_size


class DomainData(pl.LightningDataModule):
    """Feed a task's batches to a Trainer.

    An epoch is `evaluate_every` batches of the task's endless stream, and the training loader starts where the run
    stands: the Trainer must ask for a new one each epoch (`reload_dataloaders_every_n_epochs=1`) and must not wrap it
    (`use_distributed_sampler=False`), as each rank takes its slice of the global batch here.

    Args:
        task: what to draw.
        num_workers: processes that read ahead; 0 reads in the training process. Batches are the same either way.
        evaluate_every: batches in an epoch.
        batches: batches in the run.
        validation_images: how many images of the val split to validate on, at most; 0 turns validation off.

    Attributes:
        position: returns the number of finished batches; whoever counts them sets it.
    """

    def __init__(
        self, task: Task, *, num_workers: int, evaluate_every: int, batches: int, validation_images: int
    ) -> None:
        super().__init__()
        self.task = task
        self.num_workers = check_whole("dataset.num_workers", num_workers, 0)
        self.evaluate_every = check_whole("budget.evaluate_every", evaluate_every)
        self.batches = check_whole("budget.batches", batches)
        self.validation_images = validation_images
        self.position: Callable[[], int] = lambda: 0

    def setup(self, stage: str | None = None) -> None:
        """Check that the global batch can be divided over the devices."""
        device_batch_size(self.task.batch_size, self._rank_and_world()[1])

    def train_dataloader(self) -> "DataLoader[RawBatch]":
        """Return a loader of the batches from the run's position to the end of its epoch."""
        rank, world = self._rank_and_world()
        return self._loader(_TrainBatches(self.task, rank, world), _Remaining(self))

    def val_dataloader(self) -> "DataLoader[RawBatch] | list[Any]":
        """Return a loader of this rank's part of the validation images: every image once, over all ranks."""
        if not self.validation_images:
            return []
        rank, world = self._rank_and_world()
        count = min(self.validation_images, self.task.size("val"))
        if count < world:
            raise ValueError(
                f"{count} validation images cannot keep {world} devices busy: set budget.validation_images to at least "
                f"{world}, and have as many in the val split (dataset.store.val_fraction)"
            )
        first, last = count * rank // world, count * (rank + 1) // world
        size = device_batch_size(self.task.batch_size, world)
        starts = range(first, last, size)
        return self._loader(_FixedBatches(self.task, [(start, min(size, last - start)) for start in starts]), None)

    def on_after_batch_transfer(self, batch: RawBatch, dataloader_idx: int) -> Any:
        """Resize, mirror and scale the batch on the device; return the task's batch."""
        return self.task.finish(batch)

    def _rank_and_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _on_cuda(self) -> bool:
        """Tell whether batches go to a CUDA device; a CPU run on a machine that has one must not touch it."""
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def _loader(self, batches: Dataset[RawBatch], sampler: Sampler[int] | None) -> "DataLoader[RawBatch]":
        return DataLoader(
            batches,
            batch_size=None,  # an item of these datasets is a whole batch
            sampler=sampler,
            num_workers=self.num_workers,
            pin_memory=self._on_cuda(),
            worker_init_fn=_outlive_the_notice,
        )


def _outlive_the_notice(worker: int) -> None:
    """Ignore a scheduler's SIGTERM, which may go to all processes of a job: training ends its workers itself."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class _Remaining(Sampler[int]):
    """Batch numbers from the run's position to the end of its epoch; the position is read when it is asked for."""

    def __init__(self, data: DomainData) -> None:
        self._data = data

    def _range(self) -> range:
        position = self._data.position()
        epoch_end = (position // self._data.evaluate_every + 1) * self._data.evaluate_every
        return range(position, min(epoch_end, self._data.batches))

    def __iter__(self) -> Iterator[int]:
        return iter(self._range())

    def __len__(self) -> int:
        return len(self._range())


class _TrainBatches(Dataset[RawBatch]):
    """A rank's slice of every batch of the stream; item k is batch k."""

    def __init__(self, task: Task, rank: int, world: int) -> None:
        self._task = task
        self._rank = rank
        self._world = world

    def __getitem__(self, number: int) -> RawBatch:
        return self._task.batch(number, self._rank, self._world)


class _FixedBatches(Dataset[RawBatch]):
    """Central crops of the val split in pieces of (start, count)."""

    def __init__(self, task: Task, pieces: list[tuple[int, int]]) -> None:
        self._task = task
        self._pieces = pieces

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, piece: int) -> RawBatch:
        start, count = self._pieces[piece]
        return self._task.fixed(count, "val", start)
