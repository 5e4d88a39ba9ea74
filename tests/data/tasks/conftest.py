"""Tasks over domains whose images say which they are."""

from collections.abc import Callable
from typing import Any

import pytest

from stylebench.data.domain import Domain
from stylebench.data.tasks import Task
from tests.data.tasks.marked import SETTINGS, TASKS


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """Make a task by name over marked domains; keyword arguments override its settings."""

    def make(name: str, domains: dict[str, Domain] | None = None, **settings: Any) -> Task:
        kind, default = TASKS[name]
        return kind(domains or default(), **(SETTINGS | settings))

    return make
