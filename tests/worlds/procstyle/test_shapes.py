"""Distances to shapes, against polygons and arcs that are drawn from scratch."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stylebench.worlds.procstyle.shapes import UNIT_SHAPES

Points = NDArray[np.float64]
POINTS = np.random.default_rng(0).uniform(-1.5, 1.5, (1000, 2))


def polygon_distance(points: Points, corners: Points) -> Points:
    """Signed distance to a closed polygon: nearest point of any side, sign by the winding number."""
    start, end = corners, np.roll(corners, -1, axis=0)
    side, to = end - start, points[:, None] - start
    part = np.clip((to * side).sum(2) / (side * side).sum(1), 0, 1)
    near = np.linalg.norm(to - part[..., None] * side, axis=2).min(1)
    angles = np.arctan2(to[..., 1], to[..., 0])
    turn = np.roll(angles, -1, axis=1) - angles
    winding = ((turn + np.pi) % (2 * np.pi) - np.pi).sum(1)
    return np.where(np.abs(winding) > np.pi, -near, near)


def circle(radius: float, center: float = 0.0, start: float = 0.0, end: float = 2 * np.pi) -> Points:
    angle = np.linspace(start, end, 1000, endpoint=False)
    return np.stack([center + radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def regular(count: int, radius: float) -> Points:
    angle = -np.pi / 2 + 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def reference(name: str, points: Points) -> Points:
    if name == "disc":
        return np.linalg.norm(points, axis=1) - 0.92
    if name == "ring":
        return np.maximum(np.linalg.norm(points, axis=1) - 0.97, 0.43 - np.linalg.norm(points, axis=1))
    if name in ("square", "bar"):
        half, corner = {"square": ((0.74, 0.74), 0.08), "bar": ((1.0, 0.24), 0.1)}[name]
        return polygon_distance(points, np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * half) - corner
    if name == "triangle":
        return polygon_distance(points, regular(3, 2 * 0.92 / 3**0.5)) - 0.08
    if name == "star":  # inner corners lie where lines through next-but-one points cross
        outer = regular(5, 1.02)
        waist = np.array([np.sin(np.pi / 5), -np.cos(np.pi / 5)]) * 0.48 * 1.02
        turns = 2 * np.pi * np.arange(5) / 5
        inner = np.stack([np.cos(turns) * waist[0] - np.sin(turns) * waist[1],
                          np.sin(turns) * waist[0] + np.cos(turns) * waist[1]], axis=1)  # fmt: skip
        return polygon_distance(points, np.stack([outer, inner], axis=1).reshape(10, 2)) - 0.06
    if name == "cross":
        arm, half = 0.94, 0.28
        quarter = np.array([(arm, -half), (arm, half), (half, half)])
        turns = [np.array([[0, -1], [1, 0]])]
        for _ in range(2):
            turns.append(turns[-1] @ turns[0])
        return polygon_distance(points, np.concatenate([quarter, *(quarter @ turn.T for turn in turns)])) - 0.07
    shifted = points - (0.38, 0.0)  # crescent: what a disc leaves of another
    tip = (1.02**2 - 0.84**2 + 0.52**2) / (2 * 0.52)
    outer_tip, inner_tip = np.arccos(tip / 1.02), np.arccos((tip - 0.52) / 0.84)
    hull = circle(1.02, start=outer_tip, end=2 * np.pi - outer_tip)
    bite = circle(0.84, center=0.52, start=2 * np.pi - inner_tip, end=inner_tip)
    return polygon_distance(shifted, np.concatenate([hull, bite]))


@pytest.mark.parametrize("name", UNIT_SHAPES)
def test_distance_equals_the_reference(name: str) -> None:
    x, y = torch.from_numpy(POINTS).unbind(1)
    found, wanted = UNIT_SHAPES[name].distance(x, y).numpy(), reference(name, POINTS)
    difference = np.abs(found - wanted)
    # Rounding outer corners moves the nearest point only inside the notches of star and cross.
    notched = (wanted < 0) if name in ("star", "cross") else np.zeros(len(wanted), dtype=bool)
    assert difference[~notched].max() < 2e-3  # the arcs' polygons have 1000 corners
    assert notched.sum() == 0 or difference[notched].max() < 0.035
    np.testing.assert_array_equal(found[difference > 4e-2] < 0, wanted[difference > 4e-2] < 0)


@pytest.mark.parametrize("name", UNIT_SHAPES)
def test_inner_radius_is_the_deepest_distance(name: str) -> None:
    axis = torch.linspace(-1.2, 1.2, 401)
    deepest = -UNIT_SHAPES[name].distance(*torch.meshgrid(axis, axis, indexing="xy")).min()
    assert float(deepest) == pytest.approx(UNIT_SHAPES[name].inner_radius, abs=5e-3)


@pytest.mark.parametrize("name", UNIT_SHAPES)
def test_distance_does_not_depend_on_the_place_in_the_tensor(name: str) -> None:
    x, y = torch.from_numpy(POINTS.astype(np.float32)).unbind(1)
    whole = UNIT_SHAPES[name].distance(x, y)
    parts = [UNIT_SHAPES[name].distance(x[i : i + 7], y[i : i + 7]) for i in range(0, 280, 7)]
    assert torch.equal(whole[:280], torch.cat(parts))
