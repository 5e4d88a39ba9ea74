"""Tasks: which domains a method draws from, and how a batch of them is put together."""

from stylebench.data.tasks.adaptation import AdaptationBatch, AdaptationTask
from stylebench.data.tasks.base import RawBatch, Task, device_batch_size
from stylebench.data.tasks.multi_domain import MultiDomainBatch, MultiDomainTask
from stylebench.data.tasks.paired import PairedBatch, PairedTask
from stylebench.data.tasks.style import StyleBatch, StyleTask, drawn
from stylebench.data.tasks.unpaired import UnpairedBatch, UnpairedTask

TASKS: tuple[type[Task], ...] = (StyleTask, PairedTask, UnpairedTask, MultiDomainTask, AdaptationTask)

__all__ = [
    "TASKS", "AdaptationBatch", "AdaptationTask", "MultiDomainBatch", "MultiDomainTask", "PairedBatch", "PairedTask",
    "RawBatch", "StyleBatch", "StyleTask", "Task", "UnpairedBatch", "UnpairedTask",
    "device_batch_size", "drawn",
]  # fmt: skip
