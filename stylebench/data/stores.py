"""Stores: what opens a domain by its name, be it a folder of files, a packaged set or a world that is rendered."""

from dataclasses import dataclass
from typing import Protocol

from stylebench.data.domain import Domain


@dataclass(frozen=True)
class Part:
    """A domain's share of the contents of a store that can show one content in several domains.

    Training images of different parts have no content in common, so an unpaired method cannot
    discover pairs.

    Attributes:
        index: which share, 0 .. count - 1.
        count: number of shares.
        shared_evaluation: whether all parts show the same contents in val and test, so that results can be compared
            with the exact answer; otherwise these are divided too.
    """

    index: int
    count: int
    shared_evaluation: bool


class Store(Protocol):
    """Opens domains by name."""

    def open(self, value: str, part: Part | None = None) -> Domain:
        """Open a domain.

        Args:
            value: its name or path, as the config gives it.
            part: its share of the contents; None = all of them. A store of fixed images has nothing to divide.

        Returns:
            The domain.

        Raises:
            FileNotFoundError: if there are no such images.
            ValueError: if the name says nothing to this store.
        """
