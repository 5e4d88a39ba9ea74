"""Content and style as utilities in [0, 1]: distances between anchors that the data set fixes, not the methods."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stylebench.data.plan import Piece, Plan
from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.evaluator import Evaluator, Row, mean_over
from stylebench.metrics.pairs import PairMetric, is_main
from stylebench.metrics.records import Value
from stylebench.statistics.tradeoff import Anchors, worse_of

CONTENT, STYLE = "content", "style"
ENDS = {CONTENT: ("another", "itself"), STYLE: ("unstyled", "same style")}  # anchors of each axis: far and near


def utilities(
    evaluator: Evaluator, axes: Mapping[str, Sequence[str]], plan: Plan, size: int, device: torch.device
) -> list[Value]:
    """Map the distances that an evaluator has just measured to utilities, one an axis: the smallest of its metrics'.

    Anchors: the content itself, another content, the content as a stylization, and two pictures of one style (right
    answers of a rendered world, else two halves of the style picture), all measured with the same metrics.

    Args:
        evaluator: fed with the method's images.
        axes: names of `content` metrics and of `style` metrics, best with extractors of two origins on each axis.
        plan: what it was evaluated on.
        size: images at a time.
        device: of the networks.

    Returns:
        `utility_content` and `utility_style`; an axis whose metrics do not tell the anchors apart does not apply.

    Raises:
        ValueError: if an axis names something that is not a pair metric.
    """
    names = [name for axis in (CONTENT, STYLE) for name in axes.get(axis, ())]
    chosen = {name: evaluator.metrics.get(name) for name in names}
    wrong = [name for name, metric in chosen.items() if not isinstance(metric, PairMetric)]
    if wrong:
        raise ValueError(f"metrics.axes names {', '.join(wrong)}, which is not a pair metric of metrics.items")
    if not names or not {CONTENT, STYLE} <= plan.roles():
        return []
    measured = evaluator.rows()
    values = []
    for axis, (far, near) in ENDS.items():
        pairs = {name: metric for name in axes.get(axis, ()) if isinstance(metric := chosen[name], PairMetric)}
        if pairs:
            alone = Evaluator(evaluator.extractors, pairs, allow_same_encoder=True).to(device)
            ends = {end: _distances(alone, axis, end, plan, size, device) for end in (far, near)}
            values.append(_axis(axis, {name: _main(measured[name]) for name in pairs}, ends[far], ends[near]))
    return values


def _axis(axis: str, rows: Mapping[str, list[Row]], far: Mapping[str, float], near: Mapping[str, float]) -> Value:
    """Return the utility of one axis, from rows of distances and the distances of both anchors by metric."""
    alias = f"utility_{axis}"
    blind = [name for name in rows if not far.get(name, -math.inf) > near.get(name, math.inf)]
    if blind:
        return Value(f"utility/{axis}", None, alias, missing=(f"anchors that {', '.join(blind)} tells apart",))
    found: list[tuple[float, float, float]] = []
    for name, values in rows.items():
        interval = mean_over(values)
        low, high = interval.bounds or (interval.mean, interval.mean)
        scale = Anchors(near[name], far[name], far[name], near[name])  # both axes of it are this one
        found.append(tuple(float(u) for u in scale.content_utility([high, interval.mean, low])))  # type: ignore[arg-type]
    low, mean, high = worse_of(*found).tolist()
    anchors = {name: {"far": far[name], "near": near[name]} for name in rows}
    details = {"anchors": anchors, "larger_is_better": True, "rule": "the smallest over the metrics counts"}
    count = min(len(values) for values in rows.values())
    return Value(f"utility/{axis}", mean, alias, n_gen=count, interval=(low, high), details=details)


def _distances(
    evaluator: Evaluator, axis: str, end: str, plan: Plan, size: int, device: torch.device
) -> dict[str, float]:
    """Return mean distances of an anchor by metric."""
    evaluator.reset()
    for piece in plan.pieces(size, 0, 1, device):
        images, other = _stand_in(end, piece, answered=plan.scenes > 0)
        if images is not None:
            known: dict[str, Any] = {name: piece.known.get(name) for name in ("style_id", "content_id")}
            evaluator.update(EvaluationBatch(images, piece.known["index"], **{**known, axis: other}))
    return {name: mean_over(_main(variants)).mean for name, variants in evaluator.rows().items() if variants}


def _main(variants: Mapping[str, list[Row]]) -> list[Row]:
    """Return the rows of a metric's main value."""
    return next((rows for variant, rows in variants.items() if is_main(variant)), [])


def _stand_in(end: str, piece: Piece, answered: bool) -> tuple[Tensor | None, Tensor]:
    """Return images that stand for an anchor, (B, 3, H, W) uint8, and what they are compared with."""
    content: Tensor = piece.known["content"]
    style: Tensor | None = piece.known.get("style")
    if end == "itself":
        return content, content
    if end == "another":
        return (content.roll(1, 0) if len(content) > 1 else None), content
    if style is None:
        return None, content
    if end == "unstyled":
        return content, style
    if answered:  # a rendered world: its right answers, for the images that have them
        answers: Tensor | None = piece.known.get("target")
        return (None if answers is None else answers[:, 0]), style
    half = style.shape[-1] // 2
    return style[..., :half].expand(len(content), -1, -1, -1), style[..., half:]
