"""Attacks and edits of contents, and what they buy under every metric."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from stylebench.grading.attack import EDITS, Distance, attack, edit, joint, map_distance, psnr_distance
from stylebench.grading.design import Design
from stylebench.grading.grade import LEVEL, GameFacts, Values, gain, partner_of
from stylebench.grading.ladders import CONTENT, STYLE
from stylebench.grading.rungs import Stage
from stylebench.grading.subjects import Headline, Subject
from stylebench.grading.views import SharedViews, batch_of, set_value, value_of
from stylebench.metrics.extractors.base import Extractor
from stylebench.metrics.feature_pairs import MapMetric
from stylebench.metrics.features import FeatureSet
from stylebench.metrics.pairs import PSNR, PairMetric
from stylebench.metrics.sets import SetMetric
from stylebench.statistics.tradeoff import Anchors, worse_of

_log = logging.getLogger(__name__)
_JOINT = "joint:"
_TARGET_DRAW = 1  # another draw than that which pair metrics compare with
Measured = dict[str, Values]
Utilities = Mapping[str, tuple[Anchors, Anchors]]


class Games:
    """Attack contents, and measure what it buys.

    Args:
        stage: renders.
        extractors: by name.
        subjects: the metrics.
        headlines: axes of two of them.
        design: how many contents, and how far.
    """

    def __init__(
        self,
        stage: Stage,
        extractors: Mapping[str, Extractor],
        subjects: Sequence[Subject],
        headlines: Sequence[Headline],
        design: Design,
    ) -> None:
        self.stage, self.extractors, self.design = stage, extractors, design
        self.subjects = {subject.name: subject for subject in subjects}
        self.headlines = {headline.name: headline for headline in headlines}

    def play(self, contents: Sequence[str], references: Sequence[str], utilities: Utilities) -> dict[str, GameFacts]:
        """Attack every differentiable metric, edit, and return what each metric falls for.

        Args:
            contents: ids; the first ones are attacked, in every style.
            references: ids of the contents of style images.
            utilities: ends of the headline axes.
        """
        self._prepare(contents, references, utilities)
        images = self.shared.batch.image
        own: dict[str, dict[str, float]] = {}
        bought: dict[str, dict[str, float]] = {}  # by attack at the graded level and by edit: by metric
        strengths: dict[str, float] = {}
        for name, distance in self._distances().items():
            measured_everywhere = name.startswith(_JOINT) or self.subjects[name].axis != STYLE
            levels = (int(LEVEL),) if measured_everywhere else self.design.levels
            for level in levels:
                changed = attack(distance, images, level)
                everything = str(level) == LEVEL
                found = self._gains(changed, list(self.before) if everything else [name])
                if name in found:
                    own.setdefault(name, {})[str(level)] = found[name]
                if everything:
                    bought[name] = found
                    strengths[name] = self._strength(changed)
            _log.info("attacked %s", name)
        style = self.shared.batch.style
        edits = {key: self._gains(edit(key, images, images if style is None else style), list(self.before))
                 for key in EDITS}  # fmt: skip
        return {name: self._facts(name, own, bought, edits, strengths) for name in self.before}

    def _prepare(self, contents: Sequence[str], references: Sequence[str], utilities: Utilities) -> None:
        """Render the pairs, and measure the contents and the targets."""
        self.utilities = utilities
        styles = [style for style in self.design.styles for _ in range(self.design.attacked)]
        ids = list(contents[: self.design.attacked]) * len(self.design.styles)
        others = [references[place % len(references)] for place in range(len(ids))]
        self.shared = SharedViews(batch_of(self.stage, ids, styles, others), self.extractors)
        spread = list(references[: max(1, self.design.references // len(self.design.styles))])
        pool = [self.stage.world.render(spread, style, purpose="reference") for style in self.design.styles]
        with torch.no_grad():
            self.reference = {
                name: FeatureSet.of(torch.cat([extractor(part) for part in pool]))
                for name, extractor in self.extractors.items()
            }
        names = [*self.subjects, *self.headlines]
        self.before = self._measure(self.shared.batch.image, names)
        self.wanted = self._measure(self.stage.world.render(ids, styles, draw=_TARGET_DRAW), names)

    def _distances(self) -> dict[str, Distance]:
        """Return what is attacked: metrics, and pairs of them jointly."""
        found: dict[str, Distance] = {}
        for subject in self.subjects.values():
            metric = subject.metric
            if not subject.attacked or not isinstance(metric, PairMetric):
                continue
            pictures = self.shared.views.pictures(metric.against)
            if isinstance(metric, MapMetric):
                found[subject.name] = map_distance(metric, self.extractors[str(metric.extractor)], pictures)
            elif isinstance(metric, PSNR):
                found[subject.name] = psnr_distance(metric, pictures)
        for headline in self.headlines.values():
            spans = [float((self.wanted[name] - self.before[name]).mean()) for name in headline.members]
            found[_JOINT + headline.name] = joint([found[name] for name in headline.members], spans)
        return found

    @torch.no_grad()
    def _measure(self, images: Tensor, names: Sequence[str]) -> Measured:
        """Return values of some metrics, larger = better: one an image, or one for the set."""
        views = self.shared.of(images)
        measured: Measured = {}
        sets: dict[int, dict[str, float]] = {}
        for name in names:
            if name in self.headlines:
                continue
            subject = self.subjects[name]
            metric = subject.metric
            if isinstance(metric, SetMetric):
                key = id(metric)
                if key not in sets:
                    made = FeatureSet.of(views.features(metric.extractor, "image"))
                    parts = self.extractors[metric.extractor].parts
                    sets[key] = set_value(metric, self.reference[metric.extractor], made, parts)
                value = sets[key][subject.variant]
                measured[name] = np.array([value if subject.larger_is_better else -value])
            else:
                measured[name] = value_of(subject, views)
        for name in names:
            if name in self.headlines:
                pairs = zip(self.utilities[name], self.headlines[name].members, strict=True)
                measured[name] = worse_of(*(ends.style_utility(-measured[member]) for ends, member in pairs))
        return measured

    def _gains(self, images: Tensor, names: Sequence[str]) -> dict[str, float]:
        """Return what changed images buy; content metrics, which the content satisfies, have nothing to sell."""
        sold = [
            name for name in names
            if name in self.headlines or (name in self.subjects and self.subjects[name].axis != CONTENT)
        ]  # fmt: skip
        measured = self._measure(images, sold)
        gains = {name: gain(self.before[name], after, self.wanted[name]) for name, after in measured.items()}
        return {name: value for name, value in gains.items() if value is not None}

    def _strength(self, images: Tensor) -> float:
        measured = self._measure(images, ["strength"]) if "strength" in self.subjects else {}
        return float(np.nanmean(measured["strength"])) if measured else float("nan")

    def _facts(
        self,
        name: str,
        own: Mapping[str, Mapping[str, float]],
        bought: Mapping[str, Mapping[str, float]],
        edits: Mapping[str, Mapping[str, float]],
        strengths: Mapping[str, float],
    ) -> GameFacts:
        """Collect what one metric falls for."""
        headline = self.headlines.get(name)
        single = {key: found[name] for key, found in bought.items() if name in found and not key.startswith(_JOINT)}
        most = max(single, key=lambda key: single[key]) if single else None
        gains = dict(own.get(name, {}))
        strength = strengths.get(name)
        if headline is not None:
            bought_by = [single[member] for member in headline.members if member in single]
            gains = {LEVEL: max(bought_by)} if bought_by else {}
            strength = max(strengths[member] for member in headline.members)
        transfer = self._transfer(name, bought.get(name, {}))
        origins = {key: extractor.origin for key, extractor in self.extractors.items()}
        attacked = None if headline is not None or not transfer else str(self.subjects[name].metric.extractor)
        return GameFacts(
            gains=gains,
            transfer=transfer,
            others=None if most is None or headline is not None else (most, single[most]),
            joint=bought.get(_JOINT + name, {}).get(name),
            edits={key: found[name] for key, found in edits.items() if name in found},
            strength=strength,
            partner=None if attacked is None else partner_of(transfer, origins, attacked),
        )

    def _transfer(self, name: str, found: Mapping[str, float]) -> dict[str, float]:
        """Return what the attack on a metric buys under the same metric on other extractors."""
        subject = self.subjects.get(name)
        if subject is None or not isinstance(subject.metric, MapMetric):
            return {}
        stem = name.removesuffix(str(subject.metric.extractor))
        return {key: found[stem + key] for key in self.extractors if stem + key in found and stem + key != name}
