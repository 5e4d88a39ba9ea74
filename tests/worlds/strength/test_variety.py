"""Variety of looks: that of a rendered domain reads 1, one look reads 0."""

import pytest
import torch
from torch import Tensor

from stylebench.worlds.procstyle.world import ProcStyle
from stylebench.worlds.strength.measurement import survey
from stylebench.worlds.strength.variety import deviations, relative_variety


def renders(world: ProcStyle, style: str, purpose: str, draws: int) -> tuple[list[str], Tensor]:
    ids = [f"test-{number:05d}" for number in range(8)]
    return ids, torch.stack([world.render(ids, style, purpose=purpose, draw=draw) for draw in range(draws)], 1)


def test_right_answers_vary_as_the_domain_does(procstyle: ProcStyle) -> None:
    ids, truth = renders(procstyle, "family-4", "truth", 12)
    ground = survey(procstyle.anatomy(ids))
    _, looks = renders(procstyle, "family-4", "reference", 8)
    for name, ratio in relative_variety(looks, truth, ground).items():
        assert ratio.nanmean().item() == pytest.approx(1, abs=0.15), name
    one = relative_variety(looks[:, :1].expand(-1, 4, -1, -1, -1), truth, ground)
    assert all(ratio.nanmean().item() == pytest.approx(0, abs=1e-6) for ratio in one.values())


def test_half_the_way_to_the_mean_halves_the_spread_of_colors(procstyle: ProcStyle) -> None:
    ids, truth = renders(procstyle, "family-0", "truth", 6)
    mean = truth.float().mean(1, keepdim=True)
    near = ((truth + mean) / 2).round().to(torch.uint8)
    ratio = relative_variety(near, truth, survey(procstyle.anatomy(ids)))["palette"]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.5), atol=0.02, rtol=0)


def test_a_style_of_its_own_has_one_palette(procstyle: ProcStyle) -> None:
    ids, looks = renders(procstyle, "prior-0", "truth", 4)
    ground = survey(procstyle.anatomy(ids))
    assert deviations(looks / 255, ground)["palette"].max() < 1e-3
    assert relative_variety(looks, looks, ground)["palette"].isnan().all()
    _, family = renders(procstyle, "family-0", "truth", 4)
    assert deviations(family / 255, ground)["palette"].mean() > 0.04
