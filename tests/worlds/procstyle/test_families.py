"""Families: domains with inner variety, whose members no two splits share."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from stylebench.data.stores import Part
from stylebench.data.world import PURPOSES
from stylebench.worlds.procstyle import (
    PHOTO,
    POOL_SIZE,
    Style,
    family_member,
    interpolate,
    parse_style,
    prior_style,
    style_digest,
)
from stylebench.worlds.procstyle.families import LIGHTER, OCTAVES, OWN, STROKE_AMOUNT, STROKE_OCTAVES, TINTED
from stylebench.worlds.procstyle.world import ProcStyle
from stylebench.worlds.strength.measurement import measure, survey

DOTTED = 4  # prints in dots, with a stroke


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ProcStyle:
    return ProcStyle(32, 6, 6, 6, packed=False, cache=str(tmp_path_factory.mktemp("cache")))


def colors(style: Style) -> np.ndarray:
    return np.array([*style.palette.materials, *style.palette.backgrounds])


def test_members_stay_within_the_radius() -> None:
    middle = prior_style(DOTTED, "prior")
    members = [family_member(DOTTED, number) for number in range(300)]
    moves = np.stack([colors(member) - colors(middle) for member in members])  # (300, 10, 3)
    lighter, tints = moves.mean(-1), np.linalg.norm(moves - moves.mean(-1, keepdims=True), axis=-1)
    assert 0.9 * LIGHTER < np.abs(lighter).max() <= (1 + OWN) * LIGHTER
    assert 0.9 * TINTED < tints.max() <= (1 + OWN) * TINTED
    assert np.abs(moves.mean(0)).max() < 0.02  # the style of the prior is in the middle
    finer = np.log2([member.texture.dots.frequency / middle.texture.dots.frequency for member in members])
    assert 0.9 * OCTAVES < np.abs(finer).max() <= OCTAVES
    wider = np.log2([member.stroke.width / middle.stroke.width for member in members])
    assert 0.9 * STROKE_OCTAVES < np.abs(wider).max() <= STROKE_OCTAVES
    opaque = np.array([member.stroke.amount - middle.stroke.amount for member in members])
    assert 0.9 * STROKE_AMOUNT < np.abs(opaque).max() <= STROKE_AMOUNT
    assert {member.shading for member in members} == {middle.shading}
    assert {member.texture.dots.orientation for member in members} == {middle.texture.dots.orientation}


def test_no_split_and_no_purpose_shares_a_member(world: ProcStyle) -> None:
    seen: dict[tuple[str, str], set[int]] = {}
    for part in (None, Part(0, 3, True), Part(1, 3, True), Part(2, 3, False)):
        contents = world.contents(part)
        for split in ("train", "val", "test"):
            ids = [contents.ids[i] for i in contents.layout.splits[split]]
            for purpose in PURPOSES:
                drawn = {n for draw in range(4) for n in world.nuisance(ids, ["family-4"] * len(ids), purpose, draw)}
                seen.setdefault((split, purpose), set()).update(drawn)
    assert all(not one & other for one, other in combinations(seen.values(), 2))
    assert len({family_member(DOTTED, n) for n in seen["val", "truth"]}) == len(seen["val", "truth"])


def test_a_domain_shows_the_member_of_each_picture(world: ProcStyle) -> None:
    domain = world.open("family-4")
    assert domain.digest != world.open("prior-4").digest
    ids = domain.ids[:3]
    numbers = world.nuisance(ids, ["family-4"] * 3, "reference", 0)
    styles = [parse_style("family-4", number) for number in numbers]
    assert styles == [family_member(DOTTED, number) for number in numbers]
    shown = np.stack(domain.views(range(3)))
    rendered = world.render(ids, "family-4", purpose="reference").permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(shown, rendered)
    assert parse_style("family-4@0.5", 7) == interpolate(PHOTO, family_member(DOTTED, 7), 0.5)


def test_members_are_the_same_in_every_process() -> None:
    assert style_digest(family_member(DOTTED, 9)) == "2498cebf17a18560db662539ae667d2cd200ea0fce188cc2d23c056b1ebe3d9b"


@pytest.mark.parametrize("name", [f"family-{POOL_SIZE}", "family-x", "family"])
def test_names_that_say_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=r"family|style number"):
        parse_style(name)


def test_a_picture_belongs_to_the_nearest_family(tmp_path: Path) -> None:
    """Over 95 % of members are nearest to their own family in color, texture and outline."""
    world = ProcStyle(32, 1, 1, 6, packed=False, cache=str(tmp_path))
    ids = [id_ for id_ in world.contents(None).ids if id_.startswith("test")]
    ground = survey(world.anatomy(ids))
    families, draws = range(6), 4

    def read(family: int, draw: int) -> list[torch.Tensor]:
        found = measure(world.render(ids, f"family-{family}", draw=draw) / 255, ground)
        return [part.flatten(1) for part in (found.colors, found.correlation, found.profile)]

    every = [[read(family, draw) for draw in range(draws)] for family in families]
    distance = torch.zeros(len(families), draws // 2, len(families), len(ids))  # of a member to each family
    for part in range(3):
        values = torch.stack([torch.stack([looks[part] for looks in own]) for own in every])  # (F, T, B, D)
        known, asked = values.split(draws // 2, dim=1)
        apart = (asked[:, :, None] - known.mean(1)[None, None]).square().sum(-1)  # (F, T/2, F, B)
        distance += apart / known.var(1).sum(-1).mean(0)
    right = distance.argmin(2) == torch.arange(len(families))[:, None, None]
    assert right.float().mean() > 0.95
