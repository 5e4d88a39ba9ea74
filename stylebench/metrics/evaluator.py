"""The evaluator: every image is looked at once by each network, and all metrics are taken from that."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylebench.functional.precision import float32_island
from stylebench.metrics.batch import EvaluationBatch, Views
from stylebench.metrics.combined import ArtFD
from stylebench.metrics.extractors.base import Extractor
from stylebench.metrics.features import FeatureAccumulator, FeatureSet, gather_objects
from stylebench.metrics.pairs import PairMetric, is_main
from stylebench.metrics.records import Value
from stylebench.metrics.sets import SetMetric
from stylebench.metrics.weights import MissingWeightsError
from stylebench.statistics.intervals import Interval, crossed_interval, t_interval

KEPT_UP_TO = 10_000  # images of which single features are kept even if no metric needs them: for small-set forms
Metric = SetMetric | PairMetric | ArtFD
Row = tuple[int, str, str, float]  # index, style, content, value


class Evaluator:
    """Gathers images batch by batch, on any number of processes, and computes what is asked for.

    Networks are plain attributes of this object: no checkpoint, optimizer or moving average ever sees them.

    Args:
        extractors: networks by the name under which metrics ask for them; in place of one whose weights are not here,
            the error that says so.
        metrics: by name; in place of one that cannot be built because weights are missing, the error.
        train_encoder: record name of the encoder that trained the method; a style metric on the same features is
            refused.
        allow_same_encoder: measure with that encoder too; the key says so.
        expected: images of the larger set; up to 10,000 their features are kept even if no metric needs them, since
            small sets have faster and more exact forms.
        hidden: metrics that stand in records alone, on no dashboard.
        required: metrics that must apply, see `check_required`.

    Raises:
        ValueError: if a metric asks for an extractor that there is not, or for the training encoder.
    """

    def __init__(
        self,
        extractors: Mapping[str, Extractor | MissingWeightsError],
        metrics: Mapping[str, Metric | MissingWeightsError],
        *,
        train_encoder: str | None = None,
        allow_same_encoder: bool = False,
        expected: int = 0,
        hidden: Sequence[str] = (),
        required: Sequence[str] = (),
    ) -> None:
        self.extractors = {name: part for name, part in extractors.items() if isinstance(part, Extractor)}
        self.missing = {name: str(part) for name, part in extractors.items() if not isinstance(part, Extractor)}
        self.metrics = dict(metrics)
        self.expected = expected
        self.hidden, self.required = set(hidden), tuple(required)
        self.same = self._same_encoder(train_encoder, allow_same_encoder)
        for name, metric in self._able().items():
            wanted = metric.extractor
            if wanted is not None and wanted not in extractors:
                raise ValueError(
                    f"metric {name} asks for the extractor {wanted!r}; metrics.extractors has "
                    f"{', '.join(extractors) or 'none'}"
                )
        self._layers = self._wanted_layers()
        self._check_twice()
        self.reset()

    def _check_twice(self) -> None:
        """Check that no two metrics would claim one dashboard key."""
        seen: dict[tuple[str, str | None], str] = {}
        for name, metric in self._able().items():
            key = (metric.stem, metric.extractor)
            if key in seen:
                raise ValueError(
                    f"the metrics {seen[key]} and {name} would both be recorded as {metric.stem}"
                    f"{f'_{metric.extractor}' if metric.extractor else ''}; leave one out, or give one an extractor of "
                    "another alias"
                )
            seen[key] = name

    def _wanted_layers(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Return the taps that metrics ask for by extractor and role, where these are not all."""
        wanted: dict[tuple[str, str], set[str] | None] = {(name, "image"): None for name in self.set_extractors()}
        for metric in self._pair_metrics().values():
            if metric.extractor in self.extractors:
                for role in ("image", metric.against):
                    before = wanted.get((metric.extractor, role), set())
                    whole = before is None or metric.layers is None
                    wanted[metric.extractor, role] = None if whole else {*(before or ()), *(metric.layers or ())}
        return {
            (name, role): tuple(tap for tap in self.extractors[name].taps if tap in layers)
            for (name, role), layers in wanted.items()
            if layers is not None
        }

    def _able(self) -> dict[str, SetMetric | PairMetric]:
        return {n: m for n, m in self.metrics.items() if isinstance(m, SetMetric | PairMetric)}

    def _same_encoder(self, train_encoder: str | None, allowed: bool) -> set[str]:
        """Return the extractors that look with the training encoder's weights."""
        digest = (train_encoder or "-").rpartition("-")[2]
        same = {name for name, part in self.extractors.items() if train_encoder and part.name.endswith(digest)}
        used = sorted(
            name
            for name, metric in self._able().items()
            if metric.extractor in same or (train_encoder and str(getattr(metric, "digest", "-")).startswith(digest))
        )
        if used and not allowed:
            raise ValueError(
                f"{', '.join(used)} would measure with {train_encoder}, which trained the method: any method looks "
                "good to its own loss. Choose another extractor, or set metrics.allow_same_encoder=true (the key then "
                "says so)"
            )
        return same

    def check_required(self, roles: Collection[str]) -> None:
        """Check, before anything is computed, that inputs are here for the metrics that were asked for by name.

        Args:
            roles: what there is: `reference`, `content`, `style`, `target`, `world` ...

        Raises:
            ValueError: naming the metrics that cannot be measured, and what they need.
        """
        absent = []
        for name in self.required:
            metric = self.metrics[name]
            needed = ("reference",) if isinstance(metric, SetMetric) else getattr(metric, "inputs", ())
            lacking = [role for role in needed if role not in roles]
            if lacking:
                absent.append(f"{name} needs {' and '.join(lacking)}")
        if absent:
            raise ValueError(f"metrics.required asks for what cannot be measured here: {'; '.join(absent)}")

    def to(self, device: torch.device) -> "Evaluator":
        """Move the networks to a device."""
        for extractor in self.extractors.values():
            extractor.to(device)
        return self

    def reset(self) -> None:
        """Forget all images."""
        self._features = {name: FeatureAccumulator(self.keeps(name)) for name in self.set_extractors()}
        self._rows: dict[str, dict[str, dict[int, Row]]] = {}
        self._seen: dict[int, tuple[str, str]] = {}  # content and style of each image
        self._sizes: set[tuple[int, int]] = set()

    def set_extractors(self) -> list[str]:
        """List the extractors whose features set metrics compare."""
        return sorted({metric.extractor for metric in self._set_metrics().values()} & set(self.extractors))

    def keeps(self, extractor: str) -> bool:
        """Tell whether single features of an extractor are kept, not only their moments."""
        few = self.expected <= KEPT_UP_TO
        return few or any(metric.keeps for metric in self._set_metrics().values() if metric.extractor == extractor)

    def _set_metrics(self) -> dict[str, SetMetric]:
        return {name: metric for name, metric in self.metrics.items() if isinstance(metric, SetMetric)}

    def _pair_metrics(self) -> dict[str, PairMetric]:
        return {name: metric for name, metric in self.metrics.items() if isinstance(metric, PairMetric)}

    @torch.no_grad()
    def update(self, batch: EvaluationBatch) -> None:
        """Add images; those whose index was added before are left out.

        Args:
            batch: at most a few hundred images: feature maps of all of them are held at once.

        Raises:
            TypeError: if pictures are not uint8.
            ValueError: if shapes do not fit, or a metric cannot take these pictures.
        """
        batch.check()
        with float32_island(batch.image):
            views = Views(batch, self.extractors, self._layers)
            self._sizes.add((batch.image.shape[2], batch.image.shape[3]))
            for name, accumulator in self._features.items():
                accumulator.update(views.features(name, "image"), batch.index)
            for name, metric in self._pair_metrics().items():
                if self._applies(metric, batch):
                    self._add_rows(name, metric.rows(views), batch)
        nobody = [""] * len(batch.image)
        names = zip(batch.content_id or nobody, batch.style_id or nobody, strict=True)
        for place, pair in zip(batch.index.tolist(), names, strict=True):
            self._seen.setdefault(place, pair)

    def _applies(self, metric: PairMetric, batch: EvaluationBatch) -> bool:
        here = all(getattr(batch, role) is not None for role in metric.inputs)
        return here and min(batch.image.shape[2:]) >= metric.smallest_px and metric.extractor not in self.missing

    def _add_rows(self, name: str, rows: Mapping[str, Tensor], batch: EvaluationBatch) -> None:
        places = batch.index.tolist()
        styles = batch.style_id or [""] * len(places)
        contents = batch.content_id or [str(place) for place in places]
        for variant, values in rows.items():
            table = self._rows.setdefault(name, {}).setdefault(variant, {})
            for place, style, content, value in zip(places, styles, contents, values.tolist(), strict=True):
                table.setdefault(place, (place, style, content, value))

    def reference_features(self, name: str, batches: Any) -> FeatureSet:
        """Pass reference images through an extractor.

        Args:
            name: the extractor.
            batches: yields ((B, 3, H, W) uint8 images, (B,) indices).

        Raises:
            ValueError: if there is no image.
        """
        accumulator = FeatureAccumulator(self.keeps(name))
        with torch.no_grad():
            for images, index in batches:
                device = next(iter(self.extractors[name].buffers()), images).device
                accumulator.update(self.extractors[name](images.to(device)), index)
        found = accumulator.compute(everywhere=False)
        if found is None:
            raise ValueError("the reference holds no image")
        return found

    def compute(self, reference: Mapping[str, FeatureSet]) -> list[Value]:
        """Compute all metrics; every process gets the same values.

        Args:
            reference: features of the reference images by extractor; an extractor without any makes its set metrics
                not applicable.

        Returns:
            The values, also those that do not apply.
        """
        values: list[Value] = []
        main: dict[str, Value] = {}
        count = len({place for share in gather_objects(self._seen) for place in share})
        generated = {name: accumulator.compute() for name, accumulator in self._features.items()}
        for name, metric in self.metrics.items():
            if isinstance(metric, SetMetric):
                found = self._set_values(metric, reference.get(metric.extractor), generated.get(metric.extractor))
            elif isinstance(metric, PairMetric):
                found = self._pair_values(name, metric, count)
            elif isinstance(metric, ArtFD):
                continue  # made of the others, below
            else:
                found = [Value(_plain_name(name), None, _plain_name(name), n_gen=count, missing=(str(metric),))]
            if name in self.hidden:
                found = [replace(value, shown="table") if value.shown == "dashboard" else value for value in found]
            main[name] = found[0]
            values += found
        combined = [metric.combine(main) for metric in self.metrics.values() if isinstance(metric, ArtFD)]
        return values + [replace(value, shown="table") for value in combined]

    def _set_values(self, metric: SetMetric, reference: FeatureSet | None, generated: FeatureSet | None) -> list[Value]:
        extractor = self.extractors.get(metric.extractor)
        if extractor is None:
            stem = f"{metric.stem}_{metric.extractor}"
            return [Value(metric.stem, None, stem, metric.extractor, missing=(self.missing[metric.extractor],))]
        family = metric.word if metric.word in extractor.canonical and metric.word else metric.stem
        alias = family if family == metric.word else f"{metric.stem}_{extractor.alias}"
        n_ref, n_gen = (0 if part is None else part.count for part in (reference, generated))
        common: dict[str, Any] = {
            "extractor": extractor.name, "resize": extractor.resize, "n_ref": n_ref, "n_gen": n_gen,
            "flags": self._flags(metric.extractor),
        }  # fmt: skip
        if reference is None or generated is None or min(n_ref, n_gen) < metric.fewest:
            short = [
                f"{metric.fewest} {role} images"
                for role, n in (("reference", n_ref), ("generated", n_gen))
                if n < metric.fewest
            ]
            return [Value(family, None, alias, missing=tuple(short), **common)]
        facts = {"larger_is_better": metric.larger_is_better, "network": extractor.describe()}
        return [
            Value(
                family, result.value, f"{alias}_{result.variant}" if result.variant else alias, variant=result.variant,
                interval=result.interval, details={**facts, **result.details}, **common,
            )
            for result in metric(reference, generated, extractor.parts)
        ]  # fmt: skip

    def _pair_values(self, name: str, metric: PairMetric, count: int) -> list[Value]:
        extractor = None if metric.extractor is None else self.extractors.get(metric.extractor)
        suffix = "" if metric.extractor is None else f"_{extractor.alias if extractor else metric.extractor}"
        alias = f"{metric.stem}{suffix}"
        common = self._pair_facts(metric)
        tables = self._gathered(name)
        if not tables:
            missing = list(metric.inputs)
            if metric.extractor in self.missing:
                missing = [self.missing[metric.extractor]]
            elif any(min(size) < metric.smallest_px for size in self._sizes):
                missing = [f"images of at least {metric.smallest_px} px a side"]
            return [Value(metric.stem, None, alias, n_gen=count, missing=tuple(missing), **common)]
        values = []
        for variant, rows in tables.items():
            interval = mean_over(rows)
            part = not is_main(variant)  # such as a layer: in the record, on no dashboard
            details = {**metric.describe(), "design": interval.design}
            values.append(
                Value(
                    metric.stem, interval.mean, f"{alias}_{variant}" if part else alias, n_gen=len(rows),
                    variant=variant, tag=metric.tag, interval=interval.bounds, details=details,
                    shown="record" if part else "dashboard",
                    missing=("an image on which it can be read",) if math.isnan(interval.mean) else (), **common,
                )
            )  # fmt: skip
        return values

    def _gathered(self, name: str) -> dict[str, list[Row]]:
        """Return the rows of a metric from all processes, in the order of their index, by variant."""
        tables: dict[str, dict[int, Row]] = {}
        for share in gather_objects(self._rows.get(name, {})):
            for variant, rows in share.items():
                table = tables.setdefault(variant, {})
                for place, row in rows.items():
                    table.setdefault(place, row)
        return {variant: [rows[place] for place in sorted(rows)] for variant, rows in tables.items()}

    def _pair_facts(self, metric: PairMetric) -> dict[str, Any]:
        extractor = None if metric.extractor is None else self.extractors.get(metric.extractor)
        return {
            "extractor": extractor.name if extractor else None, "resize": extractor.resize if extractor else None,
            "flags": self._flags(metric.extractor),
        }  # fmt: skip

    def table(self) -> list[dict[str, Any]]:
        """Return a row per image in the order of their index, the same on every process: ids, then every pair metric.

        A metric's column has the record key of its value, which is the mean over the column.
        """
        seen = {place: names for share in gather_objects(self._seen) for place, names in share.items()}
        table = {
            place: {"index": place, "content_id": seen[place][0], "style_id": seen[place][1]} for place in sorted(seen)
        }
        for name, metric in self._pair_metrics().items():
            for variant, rows in self._gathered(name).items():
                made: dict[str, Any] = {"variant": variant, "tag": metric.tag, **self._pair_facts(metric)}
                key = Value(metric.stem, None, "", n_gen=len(rows), **made).key
                for place, _, _, value in rows:
                    table[place][key] = value
        return list(table.values())

    def rows(self) -> dict[str, dict[str, list[Row]]]:
        """Return every pair metric's values, image by image, by metric and variant."""
        return {name: self._gathered(name) for name in self._pair_metrics()}

    def _flags(self, extractor: str | None) -> tuple[str, ...]:
        return ("train-encoder",) if extractor in self.same else ()


def mean_over(rows: Sequence[Row]) -> Interval:
    """Return the mean of per-image values with the interval that their design allows.

    A complete grid of at least two styles and two contents has crossed random effects. Else, where several styles have
    several images each, their means are the units; otherwise images are.

    Args:
        rows: (index, style, content, value).
    """
    values = np.array([row[3] for row in rows])
    if not np.isfinite(values).all():
        values = values[np.isfinite(values)]
        rows = [row for row in rows if math.isfinite(row[3])]
    if not len(values):
        return Interval(math.nan, None, None, "n=0")
    styles, contents = sorted({row[1] for row in rows}), sorted({row[2] for row in rows})
    cells = {(row[1], row[2]): row[3] for row in rows}
    if min(len(styles), len(contents)) > 1 and len(cells) == len(rows) == len(styles) * len(contents):
        return crossed_interval([[cells[style, content] for content in contents] for style in styles])
    by_style = [values[[row[1] == style for row in rows]] for style in styles]
    if len(styles) > 1 and min(map(len, by_style)) > 1:
        units = t_interval([part.mean() for part in by_style])
        return replace(units, design=f"{len(styles)} styles, {len(rows)} images")
    return t_interval(values)


def _plain_name(name: str) -> str:
    """Return the name under which a metric without its weights is recorded: never one that is reserved for them."""
    return name.replace("lpips", "pd").replace("fid", "fd").replace("kid", "kd")
