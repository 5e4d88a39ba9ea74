"""Make a data set ready: get it, check it, pack it, and show what is in it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stylebench.data.contact_sheet import contact_sheet, labeled_rows
from stylebench.data.domain import Domain
from stylebench.data.images import write_png
from stylebench.data.opened import Opened
from stylebench.data.splits import unit_hash
from stylebench.data.stores import Store
from stylebench.data.tasks import TASKS, StyleTask, Task
from stylebench.data.tasks.base import UNSET, open_domain
from stylebench.data.world import SOURCE, World

SHEET_COLUMNS = 8
REPORT_CONTENTS = 2  # held-out contents that a report needs, at least

_log = logging.getLogger(__name__)


def check_report(opened: Opened) -> None:
    """Refuse a report where there are no exact answers to compare with, before anything is trained.

    Args:
        opened: the data that a method trains on.

    Raises:
        ValueError: naming the data sets that have them, or if there are too few held-out contents.
    """
    if opened.world is None or not isinstance(opened.task, StyleTask):
        raise ValueError(
            "panel=true compares a method of the style task with exact answers, which only dataset=procstyle and "
            "dataset=filterstyle have; choose one of them, or leave panel=false"
        )
    content = opened.domains["content"]
    count = len(content.split("test"))
    if count < REPORT_CONTENTS:
        raise ValueError(
            f"panel=true needs at least {REPORT_CONTENTS} test images of {content.path}, which has {count}; raise the "
            "test part of the data set, or leave panel=false"
        )


def open_domains(store: Store, settings: Mapping[str, Any]) -> dict[str, Domain]:
    """Open each domain that a data set's config names, for every task that it serves; what can be packed is packed.

    Each of these tasks is built too, so that incompatible domains are reported before training. A rendered world names
    domains for every task by itself: there an impossible task is only a warning.

    Args:
        store: what opens domains.
        settings: the config under `dataset`.

    Returns:
        The domains by role; equal ones stand there once.

    Raises:
        ValueError: if the config names none, or a task cannot train on what it names.
    """
    found: dict[str, Domain] = {}
    refusals: dict[str, ValueError] = {}
    checked = [task for task in TASKS if task.name in settings["tasks"] and task.is_named(settings)]
    for task in checked:
        domains = task.open(store, settings)
        for role, domain in domains.items():
            found[role if role not in found else f"{role} ({task.name})"] = domain
        try:
            check_task(task, domains, settings)
        except ValueError as error:
            refusals[task.name] = error
    for name, refusal in refusals.items():
        if not isinstance(store, World) or len(refusals) == len(checked):
            raise refusal
        _log.warning("these domains do not serve the task %s: %s", name, refusal)
    keys = {key for task in TASKS for key in task.keys} - {"domains"}
    for key in sorted(keys):
        if key not in found and settings.get(key) not in UNSET:
            found[key] = open_domain(store, f"dataset.{key}", settings[key])
    if not found:
        raise ValueError("nothing to prepare: name a domain, for example dataset.content=<folder>")
    unique: dict[str, tuple[str, Domain]] = {}
    for role, domain in found.items():
        unique.setdefault(domain.digest, (role, domain))
    return dict(unique.values())


def check_task(task: type[Task], domains: Mapping[str, Domain], settings: Mapping[str, Any]) -> None:
    """Build a task as a training would, and refuse what would stop it; a set for testing alone need not train.

    Args:
        task: the task.
        domains: by role, as it opened them.
        settings: the config under `dataset`.

    Raises:
        ValueError: if the domains do not go together, images are too small, or a split that a training needs is empty.
    """
    # A single style picture may be smaller than the crops: methods that learn one style do not draw it.
    single = task is StyleTask and len(domains["style"]) == 1
    draws = ("content",) if single else None
    built = task.over(domains, settings, 0, draws)
    if any(len(domain.split("train")) for domain in domains.values()):
        built.check_trainable()
        built.fixed(1, "val")


def write_sheet(store: Store, domains: Mapping[str, Domain], path: Path) -> None:
    """Write a contact sheet as a PNG: images of each domain, or, of a rendered world, contents in each named style.

    Args:
        store: what opened the domains.
        domains: by role.
        path: the PNG.
    """
    if isinstance(store, World):
        ids = sorted(store.contents(None).ids, key=unit_hash)[:SHEET_COLUMNS]
        styles = (SOURCE, *store.named)
        rows = {
            style: list(store.render(ids, style, purpose="reference").permute(0, 2, 3, 1).numpy()) for style in styles
        }
        write_png(labeled_rows(rows), path)
    else:
        write_png(contact_sheet(domains, SHEET_COLUMNS), path)
