"""A grading run: every metric on every ladder of a world, then attacks, then cards."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylebench.grading.design import Design
from stylebench.grading.games import Games
from stylebench.grading.grade import Card, GameFacts, Values, make_card
from stylebench.grading.ladders import ANCHORS, CHECKPOINTS, CONTENT, LADDERS, Ladder
from stylebench.grading.rungs import Stage
from stylebench.grading.subjects import Headline, Subject
from stylebench.grading.views import SharedViews, batch_of, set_value, value_of
from stylebench.metrics.batch import Views
from stylebench.metrics.extractors.base import Extractor
from stylebench.metrics.features import FeatureSet
from stylebench.metrics.pairs import PairMetric
from stylebench.metrics.sets import SetMetric
from stylebench.statistics.tradeoff import Anchors, worse_of

_log = logging.getLogger(__name__)
_AT_ONCE = 32  # references through an extractor


@dataclass
class Grading:
    """Grade metrics in a world.

    Args:
        stage: renders the ladders.
        extractors: by the name under which metrics ask for them.
        subjects: the metrics.
        headlines: axes made of two of them.
        design: how much is measured.
        contents: ids, at least `seeds * scenes`.
        references: ids of other contents, `design.references` of them; they lend the style images too.
        values: what was measured: by metric and ladder, one array (samples, rungs) a style, larger = better; empty
            where nothing in a style moves along the ladder.
        utilities: ends of the headline axes.
    """

    stage: Stage
    extractors: Mapping[str, Extractor]
    subjects: Sequence[Subject]
    headlines: Sequence[Headline]
    design: Design
    contents: Sequence[str]
    references: Sequence[str]
    values: dict[str, dict[str, list[Values]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    utilities: dict[str, tuple[Anchors, Anchors]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        needed = self.design.seeds * self.design.scenes
        if len(self.contents) < needed or len(self.references) < max(self.design.references, self.design.scenes):
            raise ValueError(
                f"expected {needed} contents and {max(self.design.references, self.design.scenes)} others, got "
                f"{len(self.contents)} and {len(self.references)}; name more or shrink the design"
            )

    def climb(self) -> None:
        """Measure every metric on every ladder."""
        with torch.no_grad():
            for place, style in enumerate(self.design.styles):
                self._climb(style, self.design.styles[place - 1])
                _log.info("%s: style %d of %d climbed", self.stage.world.name, place + 1, len(self.design.styles))
        self.utilities = self._add_headlines()

    def play(self) -> dict[str, GameFacts]:
        """Attack what was climbed, and return what every metric falls for."""
        games = Games(self.stage, self.extractors, self.subjects, self.headlines, self.design)
        return games.play(self.contents, self.references, self.utilities)

    def cards(self, facts: Mapping[str, GameFacts]) -> list[Card]:
        """Return a card per metric, of what was climbed and played."""
        items: list[Subject | Headline] = [*self.subjects, *self.headlines]
        return [self._card(item, facts.get(item.name, GameFacts())) for item in items]

    def without(self) -> dict[str, str]:
        """Return the ladders that are not climbed here, with the reason."""
        return {**self.stage.missing, CHECKPOINTS: "no run whose checkpoints could be climbed"}

    def span(self, name: str, axis: str) -> float:
        """Return a metric's range: from the content up to the target, or for content from another one up to itself."""
        found = [array[np.isfinite(array).all(1)] for array in self.values[name][ANCHORS.name]]
        if not any(map(len, found)):
            return 0.0
        content, target, other = np.mean([array.mean(0) for array in found if len(array)], 0).tolist()
        return float(content - other if axis == CONTENT else target - content)

    def _climb(self, style: str, other: str) -> None:
        """Climb all ladders in one style."""
        pairs: dict[tuple[str, str], list[Values]] = defaultdict(list)
        features: dict[tuple[str, str], list[list[Tensor]]] = defaultdict(list)
        still: dict[str, int] = {}
        for seed in range(self.design.seeds):
            ids = self.contents[seed * self.design.scenes : (seed + 1) * self.design.scenes]
            shared = [self._shared(ids[:count], style, seed) for count in (len(ids), self.design.sparing)]
            for ladder in (ANCHORS, *LADDERS.values()):
                rungs = None if ladder.sets_only else self.stage.rungs(ladder, ids, style, other, seed)
                if rungs is None:
                    continue  # this world does not render it
                if all(torch.equal(rung, rungs[0]) for rung in rungs[1:]):
                    self._stand_still(ladder, len(rungs), pairs)
                    still[ladder.name] = len(rungs)
                    continue
                views = [[base.of(rung[: base.count]) for rung in rungs] for base in shared]
                self._pairs(ladder, views, pairs)
                for name in self.extractors:
                    features[name, ladder.name].append([view.features(name, "image") for view in views[0]])
        for (name, ladder_name), arrays in pairs.items():
            self.values[name][ladder_name].append(np.concatenate(arrays))
        self._sets(style, features)
        climbed = {ladder_name for _, ladder_name in features}
        for subject in self.subjects:
            for ladder_name in still.keys() - climbed if isinstance(subject.metric, SetMetric) else ():
                self.values[subject.name][ladder_name].append(np.zeros((0, still[ladder_name])))

    def _stand_still(self, ladder: Ladder, rungs: int, found: dict[tuple[str, str], list[Values]]) -> None:
        """Note that nothing in a style moves along a ladder, so that every ladder has one array a style."""
        for subject in self.subjects:
            if isinstance(subject.metric, PairMetric):
                found[subject.name, ladder.name].append(np.zeros((0, rungs)))

    def _shared(self, ids: Sequence[str], style: str, seed: int) -> SharedViews:
        start = seed * self.design.scenes
        others = [self.references[(start + place) % len(self.references)] for place in range(len(ids))]
        return SharedViews(batch_of(self.stage, ids, [style] * len(ids), others), self.extractors)

    def _pairs(
        self, ladder: Ladder, views: Sequence[Sequence[Views]], found: dict[tuple[str, str], list[Values]]
    ) -> None:
        for subject in self.subjects:
            if isinstance(subject.metric, PairMetric):
                rows = [value_of(subject, view) for view in views[1 if subject.sparing else 0]]
                found[subject.name, ladder.name].append(np.stack(rows, 1))  # (B, R)

    def _sets(self, style: str, features: Mapping[tuple[str, str], Sequence[Sequence[Tensor]]]) -> None:
        """Compare sets of all seeds with the reference."""
        pictures = self.stage.world.render(self.references[: self.design.references], style, purpose="reference")
        for name, extractor in self.extractors.items():
            reference = FeatureSet.of(torch.cat([extractor(part) for part in torch.split(pictures, _AT_ONCE)]))
            ladders = {
                key: [torch.cat(parts) for parts in zip(*seeds, strict=True)]
                for (owner, key), seeds in features.items()
                if owner == name
            }
            ladders["L11"] = [_collapsed(ladders[ANCHORS.name][1], amount) for amount in LADDERS["L11"].amounts]
            for key, rungs in ladders.items():
                self._compare(key, extractor, name, reference, [FeatureSet.of(rung) for rung in rungs])

    def _compare(
        self, key: str, extractor: Extractor, name: str, reference: FeatureSet, rungs: Sequence[FeatureSet]
    ) -> None:
        made: dict[int, list[dict[str, float]]] = {}
        for subject in self.subjects:
            metric = subject.metric
            if isinstance(metric, SetMetric) and metric.extractor == name:
                if id(metric) not in made:
                    made[id(metric)] = [set_value(metric, reference, rung, extractor.parts) for rung in rungs]
                sign = 1 if subject.larger_is_better else -1
                row = [sign * values[subject.variant] for values in made[id(metric)]]
                self.values[subject.name][key].append(np.array([row]))

    def _add_headlines(self) -> dict[str, tuple[Anchors, Anchors]]:
        """Compute the axes from their members' distances, and return what fixes their ends."""
        found: dict[str, tuple[Anchors, Anchors]] = {}
        for headline in self.headlines:
            both = [self.values[member] for member in headline.members]
            ends = [_anchors(values[ANCHORS.name]) for values in both]
            found[headline.name] = (ends[0], ends[1])
            for key in both[0]:
                self.values[headline.name][key] = [
                    worse_of(ends[0].style_utility(-first), ends[1].style_utility(-second))
                    for first, second in zip(both[0][key], both[1][key], strict=True)
                ]
        return found

    def _card(self, item: Subject | Headline, game: GameFacts) -> Card:
        values = {key: arrays for key, arrays in self.values[item.name].items() if key != ANCHORS.name}
        sets = isinstance(item, Subject) and isinstance(item.metric, SetMetric)
        missing = self.without() | ({} if sets else {"L11": "tells only of sets"})
        missing |= {key: "no style of this design moves along it" for key in LADDERS if key not in values | missing}
        design: dict[str, Any] = asdict(self.design)
        if isinstance(item, Subject):
            network = item.metric.extractor
            design |= {"extractor": None if network is None else self.extractors[network].name}
            if item.sparing:
                design["scenes"] = self.design.sparing
        return make_card(
            item.name, item.axis, self.stage.world.name, values, self.span(item.name, item.axis), game,
            doses=isinstance(item, Subject) and item.doses,
            color_only=isinstance(item, Subject) and item.color_only,
            missing=missing, design={**design, "size_px": self.stage.world.size_px},
        )  # fmt: skip


def _collapsed(rows: Tensor, halvings: float) -> Tensor:
    """Return as many features as there are, of a share of them over and over."""
    distinct = max(1, round(len(rows) / 2**halvings))
    return rows[torch.arange(len(rows)) % distinct]


def _anchors(arrays: Sequence[Values]) -> Anchors:
    content, target, _ = (-float(np.mean([array[:, rung].mean() for array in arrays])) for rung in range(3))
    return Anchors(0.0, 1.0, style_identity=content, style_real=target)
