"""Grading of metrics: ladders of images whose order is known, attacks, and what a metric earns on them."""

from stylebench.metrics.grading.attack import EDITS, attack, edit
from stylebench.metrics.grading.design import Design
from stylebench.metrics.grading.grade import Card, GameFacts, grade, make_card
from stylebench.metrics.grading.grading import Grading
from stylebench.metrics.grading.ladders import ANCHORS, LADDERS, Ladder
from stylebench.metrics.grading.photograph_rungs import PhotographStage
from stylebench.metrics.grading.rungs import Stage
from stylebench.metrics.grading.scene_rungs import SceneStage
from stylebench.metrics.grading.subjects import Headline, Subject, Taps, standard_subjects

__all__ = [
    "ANCHORS",
    "EDITS",
    "LADDERS",
    "Card",
    "Design",
    "GameFacts",
    "Grading",
    "Headline",
    "Ladder",
    "PhotographStage",
    "SceneStage",
    "Stage",
    "Subject",
    "Taps",
    "attack",
    "edit",
    "grade",
    "make_card",
    "standard_subjects",
]  # fmt: skip
