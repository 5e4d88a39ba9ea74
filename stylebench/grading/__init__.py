"""Grading of metrics: ladders of images whose order is known, attacks, and what a metric earns on them."""

from stylebench.grading.attack import EDITS, attack, edit
from stylebench.grading.design import Design
from stylebench.grading.grade import Card, GameFacts, grade, make_card
from stylebench.grading.grading import Grading
from stylebench.grading.ladders import ANCHORS, LADDERS, Ladder
from stylebench.grading.photograph_rungs import PhotographStage
from stylebench.grading.rungs import Stage
from stylebench.grading.scene_rungs import SceneStage
from stylebench.grading.subjects import Headline, Subject, Taps, standard_subjects

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
