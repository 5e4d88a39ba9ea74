"""Which data sets serve which tasks."""

from collections.abc import Mapping
from typing import Any

from stylebench.data.tasks import Task
from stylebench.shipped import dataset_tasks


def check_serves(settings: Mapping[str, Any], task: type[Task]) -> None:
    """Refuse a data set that does not serve a task, before anything is read.

    Args:
        settings: the config under `dataset`.
        task: the task that a method needs.

    Raises:
        ValueError: naming the data sets that serve it.
    """
    if task.name in settings["tasks"] or task.is_named(settings):
        return
    able = [name for name, tasks in dataset_tasks().items() if task.name in tasks]
    raise ValueError(
        f"this data set serves the tasks {', '.join(settings['tasks'])}, but the method needs the task {task.name}; "
        f"choose one of dataset={'|'.join(able)}, or name domains of your own by "
        f"{' and '.join(f'dataset.{key}' for key in task.keys)}"
    )
