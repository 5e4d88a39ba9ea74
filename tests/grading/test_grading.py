"""Ladders as pictures, and a whole grading at the smallest size."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from stylebench.data.folders import Folders
from stylebench.grading import (
    ANCHORS,
    LADDERS,
    Design,
    Grading,
    Headline,
    PhotographStage,
    SceneStage,
    Stage,
    Subject,
)
from stylebench.metrics.extractors import RandomMultiScale
from stylebench.metrics.feature_pairs import GramDistance
from stylebench.metrics.pairs import PSNR
from stylebench.metrics.sets import FrechetDistance, Manifold
from stylebench.worlds.filterstyle.world import FilterStyle
from stylebench.worlds.procstyle.world import ProcStyle

_PX = 32
_STYLES = ("prior-1", "prior-2")


@pytest.fixture(scope="module")
def scenes() -> SceneStage:
    return SceneStage(ProcStyle(_PX, 12, 1, 6, packed=False, cache=None))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> PhotographStage:
    folder = tmp_path_factory.mktemp("photographs")
    generator = np.random.Generator(np.random.PCG64(0))
    for number in range(4):
        coarse = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((_PX, _PX)).save(folder / f"{number}.png")
    folders = Folders(str(tmp_path_factory.mktemp("cache")), 64, 10**8, "stop", 0.0, 0.5)
    return PhotographStage(FilterStyle(str(folder), _PX, False, folders))


def ids_of(stage: Stage) -> list[str]:
    return stage.world.contents(None).ids[:3]


@pytest.mark.parametrize("world", ["scenes", "photographs"])
def test_ladders_have_their_rungs_and_end_where_they_should(world: str, request: pytest.FixtureRequest) -> None:
    stage: Stage = request.getfixturevalue(world)
    ids, style, other = ids_of(stage), "hatching" if world == "photographs" else "ink_hatch", "watercolor"
    exact = stage.world.render(ids, style, draw=1)  # the first other draw of seed 0
    for ladder in (ANCHORS, *LADDERS.values()):
        if ladder.sets_only:
            continue
        rungs = stage.rungs(ladder, ids, style, other, 0)
        if ladder.name in stage.missing:
            assert rungs is None
            continue
        assert rungs is not None
        assert [rung.shape for rung in rungs] == [(3, 3, _PX, _PX)] * len(ladder.amounts)
        if ladder.name in ("L1", "L9", "L13"):
            assert torch.equal(rungs[-1], exact), ladder.name
        elif ladder.name in ("L6", "L7", "L15", "L16"):
            assert torch.equal(rungs[0], exact), ladder.name
        elif ladder.name in ("L2", "L3", "L4", "L8"):
            assert torch.equal(rungs[-1], stage.target(ids, style)), ladder.name
        if ladder.name != "L14":
            assert not torch.equal(rungs[0], rungs[-1]), ladder.name


def test_blends_start_at_the_content(scenes: SceneStage) -> None:
    rungs = scenes.rungs(LADDERS["L2"], ids_of(scenes), "chalk", "flat", 0)
    assert rungs is not None
    assert torch.equal(rungs[0], scenes.photo(ids_of(scenes)))


def test_equal_rungs_show_other_draws(scenes: SceneStage) -> None:
    rungs = scenes.rungs(LADDERS["L14"], ids_of(scenes), "chalk", "flat", 0)
    assert rungs is not None
    assert torch.equal(rungs[0], scenes.target(ids_of(scenes), "chalk"))
    assert all(not torch.equal(rungs[i], rungs[j]) for i in range(4) for j in range(i))


def test_scenes_lose_or_gain_one_object_a_rung(scenes: SceneStage) -> None:
    ids = ids_of(scenes)
    rungs = scenes.rungs(LADDERS["L7"], ids, "flat", "chalk", 0)
    assert rungs is not None
    changed = [(rung.int() - rungs[0].int()).abs().amax(1).gt(0).flatten(1).sum(1) for rung in rungs]
    assert all((later >= earlier).all() for earlier, later in itertools.pairwise(changed))
    assert (changed[-1] > 0).all()


def test_a_whole_grading(scenes: SceneStage) -> None:
    contents = scenes.world.contents(None)
    test, train = ([contents.ids[int(i)] for i in contents.layout.splits[split]] for split in ("test", "train"))
    subjects = [
        Subject("style_rand_ms", GramDistance("rand_ms", ["s0_1", "s0_2"]), "style"),
        Subject("psnr_target", PSNR(), "target"),
        Subject("fd_rand_ms", FrechetDistance("rand_ms"), "distribution"),
        Subject("coverage_rand_ms", Manifold("rand_ms", 1, 1), "distribution", "coverage"),
    ]
    design = Design(_STYLES, seeds=1, scenes=3, sparing=1, references=6, attacked=1, levels=(4,))
    headlines = [Headline("worse", ("style_rand_ms", "style_rand_ms"))]
    grading = Grading(scenes, {"rand_ms": RandomMultiScale(seeds=1)}, subjects, headlines, design, test, train)
    grading.climb()
    cards = {card.name: card for card in grading.cards(grading.play())}
    style, worse = cards["style_rand_ms"], cards["worse"]
    assert style.ladders["L1"]["tau"][0] > 0.5
    assert style.game.gains["4"] > 0
    assert worse.game.gains["4"] == pytest.approx(style.game.gains["4"], abs=0.3)  # clipped by image, else the same
    assert set(style.game.edits) == {"unsharp", "noise", "palette_swap", "jpeg"}
    assert "checkpoints" in style.ladders["L12"]["left_out"]
    assert "L11" in cards["fd_rand_ms"].ladders
    assert cards["fd_rand_ms"].game.others is not None
    assert cards["psnr_target"].ladders["L2"]["circular"]
    assert cards["psnr_target"].selectivity is None
    assert all(card.grade in ("A", "B", "C") for card in cards.values())


def test_designs_that_cannot_work_are_refused(scenes: SceneStage) -> None:
    with pytest.raises(ValueError, match="two styles"):
        Design(("chalk",))
    with pytest.raises(ValueError, match="references"):
        Design(_STYLES, references=2)
    with pytest.raises(ValueError, match="expected 50 contents"):
        Grading(scenes, {}, [], [], Design(_STYLES), ["a"], ["b"])
