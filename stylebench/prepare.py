"""Make a data set ready: get it, check it, pack it, and show what is in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stylebench.data.contact_sheet import contact_sheet
from stylebench.data.domain import Domain
from stylebench.data.images import write_png
from stylebench.data.stores import Store
from stylebench.data.tasks import TASKS, Task
from stylebench.help import dataset_tasks

SHEET_COLUMNS = 8


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


def open_domains(store: Store, settings: Mapping[str, Any]) -> dict[str, Domain]:
    """Open each domain that a data set's config names, for every task that it serves; what can be packed is packed.

    Args:
        store: what opens domains.
        settings: the config under `dataset`.

    Returns:
        The domains by role; equal ones stand there once.

    Raises:
        ValueError: if the config names none.
    """
    found: dict[str, Domain] = {}
    for task in TASKS:
        if task.name in settings["tasks"] and task.is_named(settings):
            for role, domain in task.open(store, settings).items():
                found[role if role not in found else f"{role} ({task.name})"] = domain
    keys = {key for task in TASKS for key in task.keys} - {"domains"}
    for key in sorted(keys):
        if key not in found and isinstance(settings.get(key), str) and settings[key] != "???":
            found[key] = store.open(settings[key])
    if not found:
        raise ValueError("nothing to prepare: name a domain, for example dataset.content=<folder>")
    unique: dict[str, tuple[str, Domain]] = {}
    for role, domain in found.items():
        unique.setdefault(domain.digest, (role, domain))
    return dict(unique.values())


def write_sheet(domains: Mapping[str, Domain], path: Path) -> None:
    """Write a contact sheet of some domains as a PNG: a row for each, its images chosen by the hash of their ids."""
    write_png(contact_sheet(domains, SHEET_COLUMNS), path)
