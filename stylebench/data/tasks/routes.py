"""Routes: from which domain to which a method is evaluated."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from stylebench.data.tasks.base import Task
from stylebench.data.tasks.unpaired import UnpairedTask


class Route(NamedTuple):
    """A way that a method is evaluated.

    Attributes:
        name: tells the routes of one method apart; empty if there is one.
        task: whose fixed samples are translated; it says what results are compared with.
        settings: the config under `dataset`, with the entry of each of the task's domains under its role.
        controls: what the translator is told beside a batch.
    """

    name: str
    task: Task
    settings: Mapping[str, Any]
    controls: Mapping[str, Any]


def between(
    task: Task, settings: Mapping[str, Any], source: str, target: str, controls: Mapping[str, Any] | None = None
) -> Route:
    """Return the route from one domain of a task to another: an unpaired task of these two.

    Args:
        task: that has both domains as roles.
        settings: the config under `dataset`, with the domains' entries under their roles.
        source: role of the domain that is translated.
        target: role of the domain that results should look like.
        controls: what the translator is told beside a batch.
    """
    pair = UnpairedTask(
        {"a": task.domains[source], "b": task.domains[target]},
        seed=task.seed, size_px=task.size_px, resize_px=task.crop.resize_px, flip=task.flip,
        batch_size=task.batch_size, on_small=task.on_small,
    )  # fmt: skip
    ends = {"a": settings[source], "b": settings[target]}
    return Route(f"{source}-to-{target}", pair, {**settings, **ends}, controls or {})
