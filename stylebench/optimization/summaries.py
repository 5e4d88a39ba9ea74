"""What style losses keep of feature maps: sums over positions, which add up over the tiles of a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from stylebench.functional.gram import gram_matrix
from stylebench.functional.precision import at_least_float32


class Window(NamedTuple):
    """Where a tile lies in the feature map of the whole picture, in positions."""

    top: int
    left: int
    rows: int
    columns: int
    height: int
    width: int


@dataclass(frozen=True)
class Summary:
    """What a style loss keeps of a feature map; the summaries of disjoint tiles add up to that of the whole.

    Attributes:
        count: positions that were summed over.
        parts: sums over these positions, at least float32, differentiable.
    """

    count: int
    parts: tuple[Tensor, ...]

    def __add__(self, other: "Summary") -> "Summary":
        """Return the summary of both tiles."""
        return Summary(self.count + other.count, tuple(a + b for a, b in zip(self.parts, other.parts, strict=True)))

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the sums, for a vector-Jacobian product."""
        return self.parts

    def with_tensors(self, parts: Sequence[Tensor]) -> "Summary":
        """Return the summary with other sums: leaves, to differentiate by."""
        return Summary(self.count, tuple(parts))


class StyleLoss(nn.Module):
    """Base of style losses: stateless, one for all layers.

    Attributes:
        width: how many tensors a summary of this loss holds.
        varies: whether two evaluations of one picture differ, by the positions that are drawn.
    """

    width: int
    varies: bool = False

    def summarize(self, features: Tensor, window: Window | None = None, step: int = 0) -> Summary:
        """Sum what the loss needs over the positions of a map or tile.

        Args:
            features: (B, C, H, W) activations, any real range.
            window: the tile's place in the whole map; None where it is the whole.
            step: number of the evaluation, for losses that sample new positions.

        Returns:
            The summary; its graph leads to the features.

        Raises:
            ValueError: if shapes do not fit.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define summarize()")

    def target(self, summary: Summary, layer: str = "this layer") -> Any:
        """Prepare, once, what maps are compared with.

        Args:
            summary: of a style's features, of 1 or B samples.
            layer: its name, for the error.

        Returns:
            Something that `distance` takes, without gradients.

        Raises:
            ValueError: if the style cannot be the unit of the distance.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define target()")

    def distance(self, summary: Summary, target: Any) -> Tensor:
        """Return how far the summarized maps are from a target; (B,), differentiable by the summary's sums."""
        raise NotImplementedError(f"{type(self).__name__} does not define distance()")


def count_positions(features: Tensor) -> int:
    """Return the number of positions of (B, C, H, W) features.

    Raises:
        ValueError: for another shape.
    """
    if features.ndim != 4:
        raise ValueError(f"a style loss expects (B, C, H, W), got shape {tuple(features.shape)}; add or drop axes")
    return features.shape[2] * features.shape[3]


def sum_features(features: Tensor) -> Tensor:
    """Return the sum of (B, C, H, W) features over positions, (B, C), at least float32."""
    return at_least_float32(features).flatten(2).sum(2)


def sum_products(features: Tensor, count: int) -> Tensor:
    """Return the sum of the products of channels over the `count` positions of a map, (B, C, C), at least float32."""
    return gram_matrix(features) * count
