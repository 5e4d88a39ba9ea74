"""Losses of style at one layer, from sums over positions: what statistics, and how they are compared with a style's.

What a loss needs of a feature map it sums over the positions (`summarize`), so the summaries of tiles add up to that of
the whole map, and derivatives with respect to the sums are the same for all tiles. Every position counts once,
wherever it is: style is what does not depend on the places of things.

`relative` losses are in units of the style's own distance from features that are 0 everywhere. No rescaling of the
encoder's layer changes them, so one weight means the same at every layer.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stylebench.checks import check_choice, check_number, check_whole
from stylebench.functional.channel_statistics import ChannelStatistics, moment_loss
from stylebench.functional.gaussian_wasserstein import GaussianTarget, gaussian_target, squared_wasserstein
from stylebench.functional.gram import GRAM_NORMS, check_gram_energy, gram_loss
from stylebench.functional.kernel_mmd import mmd_gaussian
from stylebench.functional.precision import at_least_float32, float32_island
from stylebench.optimization.summaries import StyleLoss, Summary, Window, count_positions, sum_features, sum_products

__all__ = [
    "BatchStatistics", "Blend", "GaussianMMD", "GaussianWasserstein", "GramStyle", "GramTarget", "LinearMMD",
    "PolynomialMMD", "Prepared", "StyleLoss", "Summary", "Window",
]  # fmt: skip

_LEAST_UNIT = 1e-12  # below this a style is no unit to measure in
_EPS = 1e-5  # added to a variance under the root, as in `channel_statistics`
_SEED_FACTOR = 0x9E3779B1  # odd, so that multiplying by it permutes the 32-bit numbers
_SEEDS = 2**32  # torch's generator for the CPU takes no more


class GramTarget(NamedTuple):
    """Gram matrix (B, k, k), and the directions (B, C, k) that features are projected on before, or None."""

    gram: Tensor
    projection: Tensor | None


class GramStyle(StyleLoss):
    """Gram matrices of all channels, or of the leading principal components of the style's features.

    The components are those of the style's features themselves, not centered: the eigenvectors of its Gram matrix.

    Args:
        norm: one of `gram.GRAM_NORMS`; with components, N is their number.
        components: how many components, at most; None for all channels. A layer with fewer channels keeps them all.

    Raises:
        ValueError: on an unknown norm, or a number of components below 1.

    Source: Gatys et al. 2016, section 2.2; Gatys et al. 2015, "Texture Synthesis Using Convolutional Neural Networks",
        for the components.
    """

    width = 1

    def __init__(self, norm: str = "relative", components: int | None = None) -> None:
        super().__init__()
        check_choice("norm", norm, GRAM_NORMS)
        if components is not None:
            check_whole("components", components)
        self.norm, self.components = norm, components

    def summarize(self, features: Tensor, window: Window | None = None, step: int = 0) -> Summary:
        """Sum the products of channels; (B, C, C)."""
        count = count_positions(features)
        return Summary(count, (sum_products(features, count),))

    def target(self, summary: Summary, layer: str = "this layer") -> GramTarget:
        """Return the Gram matrix; the `relative` norm refuses one that is almost 0."""
        gram = (summary.parts[0] / summary.count).detach()  # (B, C, C)
        projection = None
        if self.components is not None and self.components < gram.shape[1]:
            _, vectors = torch.linalg.eigh(gram.double())  # by ascending eigenvalues
            projection = vectors[..., -self.components :].to(gram.dtype)  # (B, C, k)
        gram = _projected(gram, projection)
        if self.norm == "relative":
            check_gram_energy({layer: gram})
        return GramTarget(gram, projection)

    def distance(self, summary: Summary, target: GramTarget) -> Tensor:
        """Return the squared difference of the Gram matrices, scaled by the norm."""
        gram = _projected(summary.parts[0] / summary.count, target.projection)
        return gram_loss(gram, target.gram, self.norm)


class Prepared(NamedTuple):
    """Constants of a style, and the unit (B,) that distances are divided by, or None."""

    constants: Any
    unit: Tensor | None


class _MomentStyle(StyleLoss):
    """A function of first and second moments, in units of the style's distance from 0 where `relative`.

    Subclasses define `_constants` (of a style's summary), `_unit` (that distance) and `_compare`.
    """

    def __init__(self, relative: bool = True) -> None:
        super().__init__()
        self.relative = relative

    def target(self, summary: Summary, layer: str = "this layer") -> Prepared:
        """Return the style's constants and unit."""
        with torch.no_grad():
            constants = self._constants(summary)
            if not self.relative:
                return Prepared(constants, None)
            unit = self._unit(summary)
        least = unit.min().item()
        if not least >= _LEAST_UNIT:  # also where it is not a number
            raise ValueError(
                f"the style's features must lie at least {_LEAST_UNIT:g} from 0 to measure in that distance, found "
                f"{least:.3g} at {layer}; leave the layer out of the style layers, or use another style image or "
                "relative=false"
            )
        return Prepared(constants, unit)

    def distance(self, summary: Summary, target: Prepared) -> Tensor:
        """Return the distance of the statistics, in its unit."""
        value = self._compare(summary, target.constants)
        return value if target.unit is None else value / target.unit

    def _constants(self, summary: Summary) -> Any:
        raise NotImplementedError

    def _unit(self, summary: Summary) -> Tensor:
        raise NotImplementedError

    def _compare(self, summary: Summary, constants: Any) -> Tensor:
        raise NotImplementedError


class LinearMMD(_MomentStyle):
    """The mean features alone: the squared maximum mean discrepancy under the kernel x.y.

    Args:
        relative: whether in units of the style's squared mean.

    Source: Li et al. 2017, "Demystifying Neural Style Transfer".
    """

    width = 1

    def summarize(self, features: Tensor, window: Window | None = None, step: int = 0) -> Summary:
        """Sum the features; (B, C)."""
        return Summary(count_positions(features), (sum_features(features),))

    def _constants(self, summary: Summary) -> Tensor:
        return summary.parts[0] / summary.count

    def _unit(self, summary: Summary) -> Tensor:
        return self._constants(summary).square().sum(1)

    def _compare(self, summary: Summary, constants: Tensor) -> Tensor:
        return (summary.parts[0] / summary.count - constants).square().sum(1)


class PolynomialMMD(_MomentStyle):
    """The squared maximum mean discrepancy under the kernel (x.y + c)^2, in closed form over all positions.

    (x.y + c)^2 = (x.y)^2 + 2c x.y + c^2: the squared difference of Gram matrices, 2c times that of mean features, and a
    constant that cancels. With c = 0 it is the Gram loss.

    Args:
        c: offset, >= 0; it has the scale of the layer's squared features.
        d: degree; 2 only.
        relative: whether in units of the same distance of the style from 0.

    Raises:
        ValueError: on a negative offset or another degree.

    Source: Li et al. 2017, "Demystifying Neural Style Transfer".
    """

    def __init__(self, c: float = 0.0, d: int = 2, relative: bool = True) -> None:
        super().__init__(relative)
        check_number("c", c)  # below 0 the kernel is no inner product
        if d != 2:
            raise ValueError(
                f"d must be 2, got {d}: degree d takes moments of order d, which are C^d numbers from d = 3 on; d = 1 "
                "is LinearMMD"
            )
        self.c, self.width = c, 2 if c else 1

    def summarize(self, features: Tensor, window: Window | None = None, step: int = 0) -> Summary:
        """Sum the products of channels, (B, C, C), and with an offset the features, (B, C)."""
        count = count_positions(features)
        products = sum_products(features, count)
        return Summary(count, (products, sum_features(features)) if self.c else (products,))

    def _constants(self, summary: Summary) -> tuple[Tensor, ...]:
        return tuple(part / summary.count for part in summary.parts)

    def _unit(self, summary: Summary) -> Tensor:
        return self._energy(*self._constants(summary))

    def _compare(self, summary: Summary, constants: tuple[Tensor, ...]) -> Tensor:
        return self._energy(*(a - b for a, b in zip(self._constants(summary), constants, strict=True)))

    def _energy(self, gram: Tensor, mean: Tensor | None = None) -> Tensor:
        energy = gram.square().sum((1, 2))  # (B,)
        return energy if mean is None else energy + 2 * self.c * mean.square().sum(1)


class BatchStatistics(_MomentStyle):
    """Mean and standard deviation of each channel, the statistics of batch normalization: `moment_loss`, its mean.

    The variance is the difference of raw moments, for these add: with a mean of 100 deviations float32 leaves it three
    digits. Features after a ReLU have a mean of about one.

    Args:
        relative: whether in units of the style's mean square.

    Source: Li et al. 2017, "Demystifying Neural Style Transfer"; lyttonhao/Neural-Style-MMD, bn_loss.py.
    """

    width = 2

    def summarize(self, features: Tensor, window: Window | None = None, step: int = 0) -> Summary:
        """Sum the features and their squares; (B, C) each."""
        squares = at_least_float32(features).flatten(2).square().sum(2)
        return Summary(count_positions(features), (sum_features(features), squares))

    def _constants(self, summary: Summary) -> ChannelStatistics:
        mean, square = (part / summary.count for part in summary.parts)
        return ChannelStatistics(mean, ((square - mean.square()).clamp(min=0) + _EPS).sqrt())

    def _unit(self, summary: Summary) -> Tensor:
        return (summary.parts[1] / summary.count).mean(1)

    def _compare(self, summary: Summary, constants: ChannelStatistics) -> Tensor:
        return moment_loss(self._constants(summary), constants, "mean")


class GaussianWasserstein(_MomentStyle):
    """The squared Wasserstein-2 distance of the Gaussians with the mean and covariance of the features.

    Sums and distances are float64: where a layer has about as many channels as positions, the root of the covariance
    makes the rounding of float32 sums a hundred times larger in the gradient.

    Args:
        relative: whether in units of the style's mean squared feature.

    Source: ours as a style loss; the distance is that of Dowson & Landau 1982.
    """

    width = 2

    def summarize(self, features: Tensor, window: Window | None = None, step: int = 0) -> Summary:
        """Sum the features, (B, C), and the products of channels, (B, C, C); in float64."""
        count = count_positions(features)
        wide = features.double()
        return Summary(count, (sum_features(wide), sum_products(wide, count)))

    def _constants(self, summary: Summary) -> GaussianTarget:
        return gaussian_target(*_gaussian(summary))

    def _unit(self, summary: Summary) -> Tensor:
        return summary.parts[1].diagonal(dim1=1, dim2=2).sum(1) / summary.count

    def _compare(self, summary: Summary, constants: GaussianTarget) -> Tensor:
        return squared_wasserstein(*_gaussian(summary), constants)


class GaussianMMD(StyleLoss):
    """The squared maximum mean discrepancy under a Gaussian kernel, estimated from random pairs of positions.

    Positions are drawn with replacement from the whole map, the same for all its tiles. A style is drawn from once, a
    picture anew at every step, so values of different steps differ by chance: use an optimizer without a line search.
    With the same pairs at all steps (`redraw_every=0`) the loss is deterministic, but pixels then fit these pairs, not
    the style: the estimate falls below 0, where no distance is, and most positions never get a gradient.

    The width of the kernel follows the features, so no rescaling of the layer changes the loss.

    Args:
        samples: positions, even.
        seed: of the draws.
        redraw_every: steps that share their positions; 0 = all steps.

    Raises:
        ValueError: if a number is out of its range.

    Source: Li et al. 2017, "Demystifying Neural Style Transfer"; lyttonhao/Neural-Style-MMD, mmd_loss.py.
    """

    width = 1

    def __init__(self, samples: int = 2048, seed: int = 0, redraw_every: int = 1) -> None:
        super().__init__()
        check_whole("samples", samples)
        check_whole("redraw_every", redraw_every, 0)
        if samples % 2:
            raise ValueError(f"samples must be even, for they are compared in pairs; got {samples}")
        self.samples, self.seed, self.redraw_every = samples, seed, redraw_every
        self.varies = redraw_every > 0

    def positions(self, count: int, step: int) -> Tensor:
        """Return which of `count` positions a step draws; (samples,) int64 on the CPU."""
        draw = step // self.redraw_every if self.redraw_every else 0
        generator = torch.Generator().manual_seed((self.seed * _SEED_FACTOR + draw) % _SEEDS)
        return torch.randint(count, (self.samples,), generator=generator)

    def summarize(self, features: Tensor, window: Window | None = None, step: int = 0) -> Summary:
        """Gather the drawn positions that lie in this map, and leave zeros for the others; (B, C, samples)."""
        count = count_positions(features)
        rows, columns = features.shape[2:]
        place = Window(0, 0, rows, columns, rows, columns) if window is None else window
        if (place.rows, place.columns) != (rows, columns):
            raise ValueError(
                f"expected a tile of {place.rows} x {place.columns} positions, as its window says, got {rows} x "
                f"{columns}; give the window of this layer, without the halo"
            )
        drawn = self.positions(place.height * place.width, step)
        row, column = drawn // place.width - place.top, drawn % place.width - place.left
        inside = ((row >= 0) & (row < rows) & (column >= 0) & (column < columns)).nonzero().squeeze(1)  # (K,)
        own = (row * columns + column)[inside].to(features.device)
        found = at_least_float32(features.flatten(2).index_select(2, own))  # (B, C, K)
        gathered = found.new_zeros(*found.shape[:2], self.samples)
        return Summary(count, (gathered.index_copy(2, inside.to(features.device), found),))

    def target(self, summary: Summary, layer: str = "this layer") -> Tensor:
        """Return the drawn features."""
        return summary.parts[0].detach()

    def distance(self, summary: Summary, target: Tensor) -> Tensor:
        """Return the estimate, in [-2, 2]."""
        return mmd_gaussian(summary.parts[0], target)


class Blend(StyleLoss):
    """A weighted sum of style losses, the one place where weights are part of a distance.

    Args:
        losses: at least one.
        weights: one for each, >= 0 and finite.

    Raises:
        ValueError: if there are no losses, or not as many weights, or a weight is out of range.

    Source: the fusions of Li et al. 2017, "Demystifying Neural Style Transfer".
    """

    def __init__(self, losses: Sequence[StyleLoss], weights: Sequence[float]) -> None:
        super().__init__()
        if not losses or len(losses) != len(weights):
            raise ValueError(f"expected losses and a weight for each, got {len(losses)} and {len(weights)} weights")
        for weight in weights:
            check_number("each of weights", weight)
        self.losses, self.weights = nn.ModuleList(losses), tuple(weights)
        self.widths = [loss.width for loss in losses]
        self.width = sum(self.widths)
        self.varies = any(loss.varies for loss in losses)

    def summarize(self, features: Tensor, window: Window | None = None, step: int = 0) -> Summary:
        """Return the sums of all losses, one after the other."""
        found = [loss.summarize(features, window, step) for loss in self._members()]
        return Summary(found[0].count, tuple(part for summary in found for part in summary.parts))

    def target(self, summary: Summary, layer: str = "this layer") -> tuple[Any, ...]:
        """Return the targets of all losses."""
        own = zip(self._members(), self._split(summary), strict=True)
        return tuple(loss.target(part, layer) for loss, part in own)

    def distance(self, summary: Summary, target: tuple[Any, ...]) -> Tensor:
        """Return the weighted sum of the distances."""
        own = zip(self.weights, self._members(), self._split(summary), target, strict=True)
        return torch.stack([weight * loss.distance(part, goal) for weight, loss, part, goal in own]).sum(0)

    def _members(self) -> list[StyleLoss]:
        return list(self.losses)  # type: ignore[arg-type]

    def _split(self, summary: Summary) -> list[Summary]:
        parts = iter(summary.parts)
        return [summary.with_tensors([next(parts) for _ in range(width)]) for width in self.widths]


def _projected(gram: Tensor, projection: Tensor | None) -> Tensor:
    """Return the Gram matrix (B, k, k) of features projected on (1 or B, C, k) directions."""
    if projection is None:
        return gram
    with float32_island(gram):
        return projection.mT @ gram @ projection


def _gaussian(summary: Summary) -> tuple[Tensor, Tensor]:
    """Return mean (B, C) and biased covariance (B, C, C)."""
    mean, products = (part / summary.count for part in summary.parts)
    return mean, products - mean.unsqueeze(2) * mean.unsqueeze(1)
