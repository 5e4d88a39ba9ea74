"""What a command reads, opened once: the store, the domains that a task names, and the task over them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stylebench.data.domain import Domain
from stylebench.data.plan import Plan
from stylebench.data.stores import Store
from stylebench.data.tasks import Task
from stylebench.data.world import World


@dataclass(frozen=True)
class Opened:
    """A data set that is open for a task.

    Attributes:
        store: what opened its domains.
        settings: the config under `dataset`.
        domains: by role.
        task: what draws from them.
    """

    store: Store
    settings: Mapping[str, Any]
    domains: dict[str, Domain]
    task: Task

    @classmethod
    def of(
        cls,
        store: Store,
        settings: Mapping[str, Any],
        task: type[Task],
        *,
        seed: int,
        draws: Sequence[str] | None = None,
        change: Callable[[dict[str, Domain]], dict[str, Domain]] | None = None,
    ) -> "Opened":
        """Open the domains that a task names, and set the task up over them.

        Args:
            store: what opens domains.
            settings: the config under `dataset`.
            task: the task.
            seed: the run's seed.
            draws: the roles to draw, None = all.
            change: makes other domains of those that were opened.

        Raises:
            FileNotFoundError: if a domain has no images.
            ValueError: if a domain is not named, or the domains do not suit the task.
        """
        domains = task.open(store, settings)
        if change is not None:
            domains = change(domains)
        return cls(store, settings, domains, task.over(domains, settings, seed, draws))

    @property
    def world(self) -> World | None:
        """The store, if it renders its pictures and so knows exact answers."""
        return self.store if isinstance(self.store, World) else None

    def plans(self, split: str) -> list[Plan]:
        """Return what results are measured on in a split; none where nothing is known of them."""
        return self.task.plans(split, self.world)
