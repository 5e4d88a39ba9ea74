"""One evaluation: a plan's contents through a model, results through the evaluator, references from the cache."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from stylebench.data.plan import Piece, Plan
from stylebench.functional.bicubic import resize
from stylebench.functional.pixels import quantize
from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.cache import ReferenceCache
from stylebench.metrics.evaluator import Evaluator
from stylebench.metrics.extractors import has_inception
from stylebench.metrics.features import FeatureSet, gather_objects
from stylebench.metrics.pairs import PairMetric
from stylebench.metrics.records import Value
from stylebench.metrics.sets import SetMetric
from stylebench.metrics.weights import MissingWeightsError

_log = logging.getLogger(__name__)
_told: set[str] = set()
Translate = Callable[[Piece], Tensor]
Translated = Callable[[Tensor, Mapping[str, Tensor], Mapping[str, Any]], Tensor]
Watcher = Callable[[EvaluationBatch], None]


def measure_method(
    evaluator: Evaluator,
    plan: Plan,
    translate: Translate,
    *,
    cache: ReferenceCache,
    size: int,
    device: torch.device,
    rank: int = 0,
    processes: int = 1,
    watch: Watcher | None = None,
) -> list[Value]:
    """Evaluate a method on a plan; every process must call it, and gets the same values.

    Args:
        evaluator: what to measure.
        plan: what to measure it on.
        translate: takes a piece of the plan, returns (B, 3, H, W) images in [0, 1].
        cache: of the reference's features.
        size: images at a time.
        device: of the method and the networks.
        rank: this process.
        processes: how many share the images.
        watch: sees every batch, such as to save its images.
    """
    evaluator.check_required(plan.roles())
    evaluator.to(device).reset()
    error: Exception | None = None
    try:
        for piece in plan.pieces(size, rank, processes, device):
            with torch.no_grad():
                images = quantize(translate(piece))
                others = [quantize(translate(_asking(piece, request))) for request in plan.alternatives]
            alternatives = torch.stack(others, 1) if others else None  # (B, K, 3, H, W)
            batch = EvaluationBatch(image=images, alternatives=alternatives, **piece.known)
            evaluator.update(batch)
            if watch is not None:
                watch(batch)
    except Exception as caught:  # the others must hear of it before they wait for this process
        error = caught
    _raise_together(error)
    if plan.reference_count() < 2:
        return evaluator.compute({})
    facts = plan.reference_facts()
    return evaluator.compute(reference_sets(evaluator, cache, facts, lambda: plan.reference_batches(size)))


def asking(translated: Translated, **controls: Any) -> Translate:
    """Return how a model is called for the pieces of a plan: by their request, and what a user has set beside it.

    Args:
        translated: takes images, the pictures beside them and the request; see `translate_as_asked`.
        **controls: declared controls of the model.
    """
    return lambda piece: translated(piece.images, piece.pictures, {**piece.request, **controls})


def fair_to_untouched(evaluator: Evaluator) -> Evaluator:
    """Return an evaluator of what untouched contents do not win by being what they are compared with.

    It shares the networks, and leaves out metrics against the content, of a rendered world, and of how results
    differ from each other.
    """
    fair = {
        name: metric
        for name, metric in evaluator.metrics.items()
        if isinstance(metric, SetMetric) or (isinstance(metric, PairMetric) and metric.against in ("style", "target"))
    }
    known = {name: metric for name, metric in fair.items() if metric.extractor not in evaluator.missing}
    hidden = tuple(evaluator.hidden & set(known))
    return Evaluator(evaluator.extractors, known, allow_same_encoder=True, expected=evaluator.expected, hidden=hidden)


def untouched(piece: Piece) -> Tensor:
    """Return a piece's contents as they are; those that are smaller than the right answers, enlarged bicubically."""
    target: Tensor | None = piece.known.get("target")  # (B, K, 3, H, W)
    if target is None or target.shape[-2:] == piece.images.shape[-2:]:
        return piece.images
    return resize(piece.images, *target.shape[-2:]).clamp(0, 1)


def _asking(piece: Piece, request: Mapping[str, Any]) -> Piece:
    """Return a piece with another request."""
    return piece._replace(request={**piece.request, **request})


def _raise_together(error: Exception | None) -> None:
    """Raise an error on every process if one of them has one: none may wait in a collective call for another."""
    told = gather_objects(None if error is None else f"{type(error).__name__}: {error}")
    if error is not None:
        raise error
    others = [f"process {rank}: {text}" for rank, text in enumerate(told) if text is not None]
    if others:
        raise RuntimeError(f"the evaluation failed in {'; '.join(others)}")


def reference_sets(
    evaluator: Evaluator,
    cache: ReferenceCache,
    facts: dict[str, Any],
    batches: Callable[[], Iterator[tuple[Tensor, Tensor]]],
) -> dict[str, FeatureSet]:
    """Return the reference's features by extractor, from the cache where they are.

    Args:
        evaluator: whose set metrics need them.
        cache: where they are kept.
        facts: what the reference's images follow from.
        batches: yields the images, (B, 3, H, W) uint8, and their indices.
    """
    found = {}
    for name in evaluator.set_extractors():
        known = {**facts, "extractor": evaluator.extractors[name].describe(), "features": evaluator.keeps(name)}
        found[name] = cache.get(known, lambda name=name: evaluator.reference_features(name, batches()))  # type: ignore[misc]
    return found


def tell_missing(evaluator: Evaluator) -> None:
    """Log once per process which networks are missing and how to get them; FID's network always."""
    lines = list(evaluator.missing.values())
    if not lines and not has_inception():
        lines.append(
            "fid: its network is not here; get it with: stylebench prepare encoder=inception, for metrics=report"
        )
    lines += [str(metric) for metric in evaluator.metrics.values() if isinstance(metric, MissingWeightsError)]
    for line in lines:
        if line not in _told:
            _told.add(line)
            _log.info("not measured: %s", line)
