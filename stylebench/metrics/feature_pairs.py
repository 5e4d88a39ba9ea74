"""Metrics of an image and another picture on an extractor's feature maps. One value an image."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stylebench.functional.gram import gram_matrix
from stylebench.functional.self_similarity import self_similarity_divergence
from stylebench.functional.style_distance import channel_moments, relative_distance
from stylebench.metrics.batch import Views, by_image
from stylebench.metrics.pairs import PairMetric, nearest_of
from stylebench.metrics.perceptual import LPIPS

_LEAST = 1e-10  # length below which a feature has no direction


class MapMetric(PairMetric):
    """A pair metric on feature maps.

    Args:
        extractor: the extractor's name in the config; it must have maps.
        layers: taps that are compared, None = all of the extractor's.
        against: see `PairMetric`.
    """

    def __init__(self, extractor: str, layers: Sequence[str] | None, against: str) -> None:
        super().__init__(against, extractor)
        self._chosen = None if layers is None else tuple(layers)

    @property
    def layers(self) -> tuple[str, ...] | None:
        """Taps that are compared; None for all."""
        return self._chosen

    @property
    def tag(self) -> str:
        """The taps, where they are chosen."""
        return "+".join(self._chosen or ())

    def maps(self, views: Views, role: str) -> dict[str, Tensor]:
        """Return the maps of a role at the layers to compare."""
        maps = views.maps(str(self.extractor), role)
        unknown = [layer for layer in self.layers or () if layer not in maps]
        if unknown:
            raise ValueError(f"{self.extractor} has no maps {', '.join(unknown)}; there are {', '.join(maps)}")
        return maps if self.layers is None else {layer: maps[layer] for layer in self.layers}

    def describe(self) -> dict[str, Any]:
        """Name the layers."""
        return {**super().describe(), "layers": "all" if self.layers is None else list(self.layers)}

    def rows(self, views: Views) -> dict[str, Tensor]:
        """Return the mean over layers, and each layer; of several targets the one with the least mean counts."""
        ours, others = self.maps(views, "image"), self.maps(views, self.against)
        count = len(views.batch.image)
        by_layer = {layer: _to_each(self.compare, ours[layer], others[layer], count) for layer in ours}  # (B, K)
        mean = torch.stack(list(by_layer.values())).mean(0)  # (B, K)
        best = mean.argmin(1, keepdim=True)
        rows = {nearest_of(mean.shape[1]): mean.gather(1, best)[:, 0]}
        return rows | {layer: values.gather(1, best)[:, 0] for layer, values in by_layer.items()}

    def compare(self, maps: Tensor, others: Tensor) -> Tensor:
        """Return (B,) distances between maps (B, C, h, w) and others, (B or 1, C, h', w')."""
        raise NotImplementedError


class GramDistance(MapMetric):
    """Style distance: Gram matrices, relative to their own energy, in [0, 1], averaged over layers.

    Args:
        extractor: see `MapMetric`; one that trained no method under test.
        layers: see `MapMetric`.
        against: see `PairMetric`.
    """

    stem, usual = "style", "style"

    def __init__(self, extractor: str, layers: Sequence[str] | None = None, against: str = "style") -> None:
        super().__init__(extractor, layers, against)

    def compare(self, maps: Tensor, others: Tensor) -> Tensor:
        """Compare Gram matrices."""
        return relative_distance(gram_matrix(maps).double(), gram_matrix(others).double())


class MomentDistance(MapMetric):
    """Style distance: means and standard deviations of channels, relative to their own energy, in [0, 1]."""

    stem, usual = "style_moments", "style"

    def __init__(self, extractor: str, layers: Sequence[str] | None = None, against: str = "style") -> None:
        super().__init__(extractor, layers, against)

    def compare(self, maps: Tensor, others: Tensor) -> Tensor:
        """Compare moments."""
        return relative_distance(channel_moments(maps), channel_moments(others))


class FeatureDistance(MapMetric):
    """Content distance: maps position by position, relative to their own energy, averaged over layers."""

    stem, usual = "content", "content"

    def __init__(self, extractor: str, layers: Sequence[str] | None = None, against: str = "content") -> None:
        super().__init__(extractor, layers, against)

    def compare(self, maps: Tensor, others: Tensor) -> Tensor:
        """Compare maps of one size."""
        return relative_distance(maps, others)


class CFSD(MapMetric):
    """Content distance: which positions resemble which, by the divergence of self-similarity, averaged over rows.

    Args:
        extractor: see `MapMetric`.
        layers: a tap of stride 4, as VGG-19's conv3_1 of the source; several are averaged.
        against: see `PairMetric`.
    """

    stem, usual = "cfsd", "content"

    def __init__(self, extractor: str, layers: Sequence[str], against: str = "content") -> None:
        super().__init__(extractor, layers, against)

    def compare(self, maps: Tensor, others: Tensor) -> Tensor:
        """Compare self-similarity of maps of one size."""
        return self_similarity_divergence(maps, others)


class PerceptualMaps(MapMetric):
    """LPIPS's form on any extractor: squared differences of unit-length features, averaged, all channels alike."""

    stem, usual = "pd", "content"

    def __init__(self, extractor: str, layers: Sequence[str] | None = None, against: str = "content") -> None:
        super().__init__(extractor, layers, against)

    def compare(self, maps: Tensor, others: Tensor) -> Tensor:
        """Compare directions of features."""
        return (_unit(maps) - _unit(others)).square().sum(1).flatten(1).mean(1)


class Diversity(MapMetric):
    """Mean `PerceptualMaps` distance between all pairs of results for one content, from one pass a result.

    Read it beside a distribution distance: noise is diverse too.

    Args:
        extractor: see `MapMetric`.
        layers: see `MapMetric`.

    Source: Choi et al. 2020, section 4 (ten results, 45 pairs), there with LPIPS; images weigh alike here.
    """

    stem, usual, larger_is_better = "diversity", "alternatives", True
    allowed = ("alternatives",)

    def __init__(self, extractor: str, layers: Sequence[str] | None = None) -> None:
        super().__init__(extractor, layers, "alternatives")

    def rows(self, views: Views) -> dict[str, Tensor]:
        """Return the mean over pairs and layers, (B,)."""
        count = len(views.batch.image)
        units = [by_image(_unit(maps), count) for maps in self.maps(views, self.against).values()]
        pairs = itertools.combinations(range(units[0].shape[1]), 2)
        values = [
            torch.stack([(unit[:, i] - unit[:, j]).square().sum(1).flatten(1).mean(1) for unit in units]).mean(0)
            for i, j in pairs
        ]
        return {"": torch.stack(values).mean(0).double()}


class LPIPSDiversity(LPIPS):
    """`Diversity` with LPIPS itself, as published: AlexNet, ten results, 45 pairs, ten passes."""

    word, own_word, usual = "lpips_diversity", "pd_diversity", "alternatives"
    larger_is_better = True
    allowed = ("alternatives",)

    def __init__(self, backbone: str = "alex", weights: str = "auto") -> None:
        super().__init__(backbone, weights, "alternatives")

    @torch.no_grad()
    def rows(self, views: Views) -> dict[str, Tensor]:
        """Return the mean over pairs, (B,)."""
        count = len(views.batch.image)
        layers = [by_image(layer, count) for layer in self.embed(views.pictures(self.against))]
        values = [
            self.distance([layer[:, i] for layer in layers], [layer[:, j] for layer in layers])
            for i, j in itertools.combinations(range(layers[0].shape[1]), 2)
        ]
        return {"": torch.stack(values).mean(0).double()}


def _to_each(compare: Any, maps: Tensor, others: Tensor, count: int) -> Tensor:
    """Compare with each of K pictures an image, (B, K) float64; one picture for all images stays one."""
    if len(others) == 1:
        return compare(maps, others).double()[:, None]  # type: ignore[no-any-return]
    sets = by_image(others, count)
    return torch.stack([compare(maps, sets[:, k]).double() for k in range(sets.shape[1])], 1)


def _unit(maps: Tensor) -> Tensor:
    return maps / (maps.square().sum(1, keepdim=True) + _LEAST).sqrt()
