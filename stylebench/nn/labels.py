"""Domains as label vectors: one-hot, several attributes at a time, or those of several data sets side by side."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylebench.functional.precision import at_least_float32, float32_island


class _Group(NamedTuple):
    """The domains of one data set, and their part of a label vector.

    Attributes:
        members: numbers of its domains.
        first: its first column.
        last: the column after its last.
        exclusive: whether a domain has exactly one of the columns (softmax), or any number of them (sigmoids).
    """

    members: tuple[int, ...]
    first: int
    last: int
    exclusive: bool


class DomainLabels(nn.Module):
    """The label vector of every domain, and the losses of a classifier of them.

    Args:
        domains: names of the domains in the order of their numbers, or a mapping from names; of a path the last
            component is the name.
        groups: None for one-hot vectors over all domains. Else, by data set, either a list of domains, told apart by
            one-hot vectors, or a mapping from each domain to the attributes that it has. Several data sets stand side
            by side in a vector, unknown ones as zeros, and a one-hot mask at its end says which is meant.

    Raises:
        ValueError: if a name comes twice, or the groups do not hold each domain exactly once.

    Attributes:
        domains: the names.
        vectors: (K, c) the domains' vectors, the mask included.
        classes: outputs that a classifier needs: c without the mask.

    Source: Choi et al. 2018, StarGAN, sections 3.1 (labels) and 3.2 (mask vector).
    """

    vectors: Tensor

    def __init__(
        self,
        domains: Sequence[str] | Mapping[str, str],
        groups: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(domains, Mapping):
            names = [str(name) for name in domains]  # YAML reads 2020 as a number
        else:
            names = [PurePosixPath(str(name)).name for name in domains]
        self.domains = tuple(names)
        if len(set(names)) != len(names) or not names:
            raise ValueError(
                f"domains must each have a name of their own, got {', '.join(names) or 'none'}; name them: "
                "{first: <domain>, second: <domain>}"
            )
        given: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]] = {"all": names} if groups is None else groups
        self._check(given)
        self.groups: list[_Group] = []
        rows: list[list[float]] = [[] for _ in names]
        for members in given.values():
            self._add(members, rows)
        self.classes = len(rows[0])
        if len(self.groups) > 1:
            for number, row in enumerate(rows):
                row += [float(number in group.members) for group in self.groups]
        self._refuse_twins(rows)
        self.register_buffer("vectors", torch.tensor(rows), persistent=False)  # (K, c)
        self.register_buffer("group_of", self._group_numbers(), persistent=False)  # (K,)

    def targets(self, domains: Tensor, wanted: Tensor) -> Tensor:
        """Return domains to go to, of the same data set as those of the images.

        Args:
            domains: (B,) int64, the images' domains.
            wanted: (B,) int64, drawn from all domains alike; taken as they are where there is one data set.

        Returns:
            (B,) int64; of several data sets each domain of an image's own is as likely as another, as far as the number
            of all domains can be divided by theirs.
        """
        if len(self.groups) == 1:
            return wanted
        found = torch.empty_like(wanted)
        for number, group in enumerate(self.groups):
            members = torch.tensor(group.members, device=wanted.device)
            chosen = members[wanted * len(members) // len(self.domains)]
            found = torch.where(self.group_of[domains] == number, chosen, found)  # type: ignore[index]
        return found

    def classification_loss(self, logits: Tensor, domains: Tensor) -> Tensor:
        """Compute how wrong a classifier is, in at least float32; each image counts in its own data set's columns.

        Args:
            logits: (B, classes).
            domains: (B,) int64, the right domains.

        Returns:
            Scalar mean over images of the cross-entropy, or of the sum over attributes of binary ones.

        Source: yunjey/stargan, solver.py (`classification_loss`): attributes are summed and divided by the batch size.
        """
        with float32_island(logits):
            wide = at_least_float32(logits)
            vectors = self.vectors[domains].to(wide.dtype)  # (B, c)
            total = wide.new_zeros(())
            for number, group in enumerate(self.groups):
                own = wide[:, group.first : group.last]
                right = vectors[:, group.first : group.last]
                if group.exclusive:
                    losses = -(right * F.log_softmax(own, 1)).sum(1)  # (B,)
                else:
                    losses = F.binary_cross_entropy_with_logits(own, right, reduction="none").sum(1)
                total = total + (losses * (self.group_of[domains] == number)).sum()  # type: ignore[index]
            return total / len(wide)

    def _add(self, members: Sequence[str] | Mapping[str, Sequence[str]], rows: list[list[float]]) -> None:
        """Append a data set's columns to every row."""
        exclusive = not isinstance(members, Mapping)
        numbers = tuple(self.domains.index(name) for name in members)
        columns: list[str] = list(members)
        if isinstance(members, Mapping):
            columns = list(dict.fromkeys(attribute for having in members.values() for attribute in having))
        first = len(rows[0])
        for number, row in enumerate(rows):
            name = self.domains[number]
            having = [] if number not in numbers else (members[name] if isinstance(members, Mapping) else [name])
            row += [float(column in having) for column in columns]
        self.groups.append(_Group(numbers, first, first + len(columns), exclusive))

    def _check(self, groups: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]]) -> None:
        members = list(groups.values()) if isinstance(groups, Mapping) else [groups]
        mappings = [part for part in members if isinstance(part, Mapping)]
        lists = [part for part in members if part not in mappings] + [
            having for part in mappings for having in part.values()
        ]
        if not isinstance(groups, Mapping) or any(not isinstance(part, list | tuple) for part in lists):
            raise ValueError(
                "groups must be {set: [domain, ...]} or {set: {domain: [attribute, ...]}}, got "
                f"{groups!r}; mind the brackets"
            )
        listed = [name for part in members for name in part]
        if sorted(listed) != sorted(self.domains):
            raise ValueError(
                f"groups must hold each of the domains {', '.join(self.domains)} exactly once, got "
                f"{', '.join(listed) or 'none'}"
            )

    def _refuse_twins(self, rows: list[list[float]]) -> None:
        seen: dict[tuple[float, ...], str] = {}
        for name, row in zip(self.domains, rows, strict=True):
            twin = seen.setdefault(tuple(row), name)
            if twin != name:
                raise ValueError(
                    f"groups give the domains {twin} and {name} the same attributes, so that no label tells them "
                    "apart; give one of them another attribute"
                )

    def _group_numbers(self) -> Tensor:
        of = {member: number for number, group in enumerate(self.groups) for member in group.members}
        return torch.tensor([of[number] for number in range(len(self.domains))])
