"""Views of batches that differ only in their images: what they are compared with is looked at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stylebench.grading.grade import Values
from stylebench.grading.rungs import Stage
from stylebench.grading.subjects import Subject
from stylebench.metrics.batch import EvaluationBatch, Views
from stylebench.metrics.extractors.base import Extractor
from stylebench.metrics.features import FeatureSet
from stylebench.metrics.pairs import PairMetric
from stylebench.metrics.sets import SetMetric


class SharedViews:
    """Everything of a batch but its images.

    Args:
        batch: with any images.
        extractors: the networks.
    """

    def __init__(self, batch: EvaluationBatch, extractors: Mapping[str, Extractor]) -> None:
        batch.check()
        self.batch, self.extractors = batch, extractors
        self.views = Views(batch, extractors)

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.batch.image)

    def of(self, images: Tensor) -> Views:
        """Return a view of other images, (B, 3, H, W) uint8, for the same contents, styles and targets."""
        return _Sharing(replace(self.batch, image=images), self.extractors, self.views)


class _Sharing(Views):
    def __init__(self, batch: EvaluationBatch, extractors: Mapping[str, Extractor], shared: Views) -> None:
        super().__init__(batch, extractors)
        self._shared = shared

    def maps(self, extractor: str, role: str) -> dict[str, Tensor]:
        """See `Views`."""
        return super().maps(extractor, role) if role == "image" else self._shared.maps(extractor, role)


def batch_of(stage: Stage, ids: Sequence[str], styles: Sequence[str], others: Sequence[str]) -> EvaluationBatch:
    """Return a batch whose images are the contents themselves.

    Args:
        stage: renders it.
        ids: contents.
        styles: one a content.
        others: the contents of the style images.
    """
    world = stage.world
    content = stage.photo(ids)
    return EvaluationBatch(
        image=content,
        index=torch.arange(len(ids)),
        content=content,
        style=world.render(others, styles, purpose="reference"),
        target=world.render(ids, styles, draw=0)[:, None],
        style_id=list(styles),
        content_id=list(ids),
        world=world,
    )


def value_of(subject: Subject, views: Views) -> Values:
    """Return a pair metric's values, (B,), larger = better.

    Raises:
        TypeError: if it is not a metric of pairs.
    """
    if not isinstance(subject.metric, PairMetric):
        raise TypeError(f"expected a metric of pairs, got {subject.name}; sets are compared with `set_value`")
    values = np.asarray(subject.metric.rows(views)[subject.variant], dtype=np.float64)
    return values if subject.larger_is_better else -values


def set_value(metric: SetMetric, reference: FeatureSet, generated: FeatureSet, parts: int) -> dict[str, float]:
    """Return a set metric's values by variant."""
    return {result.variant: result.value for result in metric(reference, generated, parts)}
