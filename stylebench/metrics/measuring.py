"""One evaluation: inputs through a method, results through the evaluator, references from the cache."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from stylebench.functional.pixels import quantize
from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.cache import ReferenceCache
from stylebench.metrics.evaluator import Evaluator
from stylebench.metrics.extractors import has_inception
from stylebench.metrics.features import FeatureSet, gather_objects
from stylebench.metrics.inputs import EvaluationInputs
from stylebench.metrics.records import Value
from stylebench.metrics.weights import MissingWeightsError

_log = logging.getLogger(__name__)
_told: set[str] = set()
Watcher = Callable[[EvaluationBatch], None]


def measure_method(
    evaluator: Evaluator,
    inputs: EvaluationInputs,
    translate: Callable[[Any], Tensor],
    *,
    cache: ReferenceCache,
    size: int,
    device: torch.device,
    rank: int = 0,
    processes: int = 1,
    watch: Watcher | None = None,
) -> list[Value]:
    """Evaluate a method on the images of a split; every process must call it, and gets the same values.

    Args:
        evaluator: what to measure.
        inputs: what to measure it on.
        translate: takes the task's batch, returns (B, 3, H, W) images in [0, 1].
        cache: of the reference's features.
        size: images at a time.
        device: of the method and the networks.
        rank: this process.
        processes: how many share the images.
        watch: sees every batch, such as to save its images.
    """
    evaluator.check_required(inputs.roles())
    evaluator.to(device).reset()
    error: Exception | None = None
    try:
        for piece in inputs.pieces(size, rank, processes, device):
            with torch.no_grad():
                images = quantize(translate(piece.batch))
            batch = EvaluationBatch(image=images, **piece.known)
            evaluator.update(batch)
            if watch is not None:
                watch(batch)
    except Exception as caught:  # the others must hear of it before they wait for this process
        error = caught
    _raise_together(error)
    count = inputs.reference_count()
    facts = inputs.reference_facts() if count else {}
    return evaluator.compute(
        reference_sets(evaluator, cache, facts, lambda: inputs.reference(size)) if count > 1 else {}
    )


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
    """Say once a process which networks are not here, and how to get them; FID's also where nobody asks for it."""
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
