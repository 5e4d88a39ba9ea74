"""Features of a set of images: gathered once, in any order and on any number of processes, for every set metric."""

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from stylebench.functional.frechet import Moments

Item = TypeVar("Item")


@dataclass(frozen=True)
class FeatureSet:
    """The features of N images, or their first two moments.

    Attributes:
        count: N.
        mean: (d,) float64.
        scatter: (d, d) float64, sum of (f - mean)(f - mean)^T; None where the features are kept.
        features: (N, d) float32 in the order of the images, None where only moments were kept.
    """

    count: int
    mean: Tensor
    scatter: Tensor | None
    features: Tensor | None

    @classmethod
    def of(cls, features: Tensor) -> "FeatureSet":
        """Return the set of (N, d) features."""
        return cls(len(features), features.double().mean(0), None, features)

    @property
    def width(self) -> int:
        """Number of features, d."""
        return len(self.mean)

    def moments(self) -> Moments:
        """Return mean and unbiased covariance.

        Raises:
            ValueError: for fewer than two images.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least two images, got {self.count}; evaluate more images")
        if self.scatter is not None:
            return Moments(self.mean, self.scatter / (self.count - 1))
        centered = self.rows().double() - self.mean
        return Moments(self.mean, centered.mT @ centered / (self.count - 1))

    def rows(self) -> Tensor:
        """Return the features, (N, d).

        Raises:
            ValueError: if only moments were kept.
        """
        if self.features is None:
            raise ValueError("this set kept moments only; accumulate with keep=True for metrics that compare features")
        return self.features

    def part(self, number: int, parts: int) -> "FeatureSet":
        """Return one of several equal parts of the features, each a set of its own."""
        size = self.width // parts
        columns = slice(number * size, (number + 1) * size)
        return FeatureSet(
            self.count,
            self.mean[columns],
            None if self.scatter is None else self.scatter[columns, columns],
            None if self.features is None else self.features[:, columns],
        )


class FeatureAccumulator:
    """Gathers features by the index of their image; one that comes twice counts once.

    The result does not depend on the order of updates, nor, where features are kept, on how images were shared out.

    Args:
        keep: keep all features (4 N d bytes), as kernel and neighbor metrics and small sets need; otherwise only sums
            in float64, shifted by the first batch's mean, are kept.
    """

    def __init__(self, keep: bool = True) -> None:
        self.keep = keep
        self._seen: set[int] = set()
        self._rows: list[Tensor] = []
        self._indices: list[int] = []
        self._shift: Tensor | None = None
        self._sum: Tensor | None = None
        self._products: Tensor | None = None

    def update(self, features: Tensor, index: Tensor) -> None:
        """Add features.

        Args:
            features: (B, d), any floating type.
            index: (B,) place of each image in the whole set.

        Raises:
            ValueError: if shapes do not fit or a feature is not finite.
        """
        if features.ndim != 2 or index.shape != (len(features),):
            raise ValueError(
                f"expected (B, d) features and (B,) indices, got {tuple(features.shape)} and {tuple(index.shape)}"
            )
        places = [int(place) for place in index.tolist()]
        fresh = [row for row, place in enumerate(places) if place not in self._seen and places.index(place) == row]
        if not fresh:
            return
        self._seen.update(places[row] for row in fresh)
        self._indices += [places[row] for row in fresh]
        rows = features.detach()[fresh]
        if not bool(rows.isfinite().all()):
            raise ValueError("features are not finite; look at the images and the extractor's weights")
        if self.keep:
            self._rows.append(rows.float().cpu())
            return
        rows = rows.double()
        if self._shift is None or self._sum is None or self._products is None:
            self._shift, self._sum = rows.mean(0), torch.zeros_like(rows[0])
            self._products = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64, device=rows.device)
        rows = rows - self._shift
        self._sum += rows.sum(0)
        self._products.addmm_(rows.mT, rows)

    def compute(self, everywhere: bool = True) -> FeatureSet | None:
        """Return the set of all images, the same on every process; None if there are none.

        Args:
            everywhere: take in what the other processes saw, which all must ask for; else this one's images alone.

        Raises:
            ValueError: if sums were kept and two processes saw the same image.
        """
        mine = (self._indices, torch.cat(self._rows) if self._rows else None, self._moments())
        parts = gather_objects(mine) if everywhere else [mine]
        if self.keep:
            places = [place for indices, _, _ in parts for place in indices]
            tensors = [rows for _, rows, _ in parts if rows is not None]
            if not tensors:
                return None
            first = {place: row for row, place in reversed(list(enumerate(places)))}  # a duplicate's first row counts
            order = [first[place] for place in sorted(first)]
            return FeatureSet.of(torch.cat(tensors)[order])
        _check_disjoint([indices for indices, _, _ in parts])
        found = [moments for _, _, moments in parts if moments is not None]
        return _merged(found) if found else None

    def _moments(self) -> FeatureSet | None:
        if self._shift is None or self._sum is None or self._products is None:
            return None
        count = len(self._indices)
        offset = self._sum / count
        scatter = self._products - count * torch.outer(offset, offset)
        return FeatureSet(count, (self._shift + offset).cpu(), ((scatter + scatter.mT) / 2).cpu(), None)


def _merged(sets: list[FeatureSet]) -> FeatureSet:
    """Combine sums of disjoint sets (Chan, Golub & LeVeque 1983)."""
    count, mean, scatter = sets[0].count, sets[0].mean, sets[0].scatter
    for other in sets[1:]:
        if scatter is None or other.scatter is None:
            raise ValueError("expected sets that kept moments")
        apart, total = other.mean - mean, count + other.count
        scatter = scatter + other.scatter + torch.outer(apart, apart) * (count * other.count / total)
        mean, count = mean + apart * (other.count / total), total
    return FeatureSet(count, mean, scatter, None)


def _check_disjoint(shares: list[list[int]]) -> None:
    together = [place for share in shares for place in share]
    if len(set(together)) != len(together):
        raise ValueError("two processes evaluated the same image; share images out without padding, or keep features")


def gather_objects(mine: Item) -> list[Item]:
    """Return what every process has, in the order of their ranks."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return [mine]
    everything: list[Item] = [mine] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everything, mine)
    return everything
