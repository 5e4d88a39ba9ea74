"""Ladders: images in rungs whose order is known from how they were rendered, so that metrics can be held against it."""

from typing import NamedTuple

STYLE, CONTENT, TARGET, DISTRIBUTION = AXES = ("style", "content", "target", "distribution")
OWN = {  # ladders whose order a metric of an axis should find
    STYLE: ("L1", "L8", "L9", "L13", "L16"),
    CONTENT: ("L6", "L7", "L15"),
    TARGET: ("L1", "L5", "L6", "L7", "L9", "L13", "L15", "L16"),
    DISTRIBUTION: ("L1", "L8", "L9", "L11", "L13", "L16"),
}
OTHER = {STYLE: OWN[CONTENT], CONTENT: OWN[STYLE], DISTRIBUTION: OWN[CONTENT], TARGET: ()}  # which it should not heed
FLAT = {
    STYLE: ("L6", "L7", "L14", "L15"),
    CONTENT: ("L14",),
    TARGET: ("L14",),
    DISTRIBUTION: ("L6", "L7", "L14", "L15"),
}
CIRCULAR = ("L2", "L3", "L4", "L8")  # steps away from the very picture that a distance to the target compares with
MAIN = {STYLE: "L1", CONTENT: "L6", TARGET: "L1", DISTRIBUTION: "L1"}  # on which resolution is told


class Ladder(NamedTuple):
    """One ladder.

    Attributes:
        name: by which cards call it.
        title: what happens from rung to rung.
        amounts: what each rung is rendered with.
        truth: how good each rung is on the axis that moves; None where all are equally good for every metric.
        sets_only: whether only sets of images can tell the rungs apart.
    """

    name: str
    title: str
    amounts: tuple[float, ...]
    truth: tuple[float, ...] | None
    sets_only: bool = False


def _falling(name: str, title: str, *amounts: float, sets_only: bool = False) -> Ladder:
    return Ladder(name, title, amounts, tuple(-amount for amount in amounts), sets_only)


def _rising(name: str, title: str, *amounts: float) -> Ladder:
    return Ladder(name, title, amounts, amounts)


LADDERS = {
    ladder.name: ladder
    for ladder in (
        _rising("L1", "strength of the style", 0.0, 0.25, 0.5, 0.75, 1.0),
        _rising("L2", "share of the target in a blend with the content", 0.0, 1 / 3, 2 / 3, 1.0),
        _falling("L3", "blur of the target, sigma in 64ths of its side", 2.0, 1.0, 0.5, 0.0),
        _falling("L4", "noise on the target, levels", 32.0, 16.0, 8.0, 0.0),
        _rising("L5", "JPEG quality of the target", 10.0, 25.0, 50.0, 90.0),
        _falling("L6", "objects off their places, deviation in sides", 0.0, 0.02, 0.04, 0.08),
        _falling("L7", "objects missing or added", 0.0, 1.0, 2.0, 3.0),
        _rising("L8", "amplitude of the texture", 0.0, 1 / 3, 2 / 3, 1.0),
        _falling("L9", "share of another style's palette", 1.0, 2 / 3, 1 / 3, 0.0),
        _rising("L10", "wrong style of the right content, right style of the wrong content", 0.0, 1.0),
        _falling("L11", "log2 of results for one content", 0.0, 1.0, 2.0, 3.0, 4.0, sets_only=True),
        _rising("L13", "share of regions with texture", 0.0, 1 / 3, 2 / 3, 1.0),
        Ladder("L14", "other draws of what a style leaves open", (0.0, 1.0, 2.0, 3.0), None),
        _falling("L15", "objects shifted, 64ths of a side", 0.0, 1.0, 2.0, 4.0),
        _falling("L16", "strength beyond the style", 1.0, 1.125, 1.25, 1.5),
    )
}
ANCHORS = Ladder("anchors", "the content, the target in another draw, another content", (0.0, 1.0, 2.0), None)
CHECKPOINTS = "L12"  # in training order: needs a run, see `grading.Grading.without`


def truth_for(ladder: Ladder, axis: str, doses: bool = False) -> tuple[float, ...] | None:
    """Return how good a metric of an axis should find each rung, or None where the ladder asks it for no order.

    Args:
        ladder: the ladder.
        axis: of the metric.
        doses: whether the metric tells an amount of style, which goes on beyond the style's own.
    """
    if ladder.truth is None or (ladder.name == "L10" and axis == TARGET):
        return None
    turned = (ladder.name == "L10" and axis == CONTENT) or (ladder.name == "L16" and doses)
    return tuple(-value for value in ladder.truth) if turned else ladder.truth
