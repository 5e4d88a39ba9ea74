"""The studies of pixel optimization: their measures, their counting, their files, and a tiny run of each."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.gatys2015 import textures
from experiments.gatys2016 import claims, measures, pairs, runs, verdicts
from experiments.li2017_mmd import losses
from stylebench.data.images import write_png
from stylebench.worlds.procstyle.world import ProcStyle


def step(column: int) -> torch.Tensor:
    """Return a picture that is black left of a column and white from there on."""
    image = torch.zeros(1, 3, 40, 40)
    image[..., column:] = 1.0
    return image


# -- measures


def test_edges_may_lie_two_pixels_apart_and_no_more() -> None:
    assert measures.edge_agreement(step(20), step(20)) == 1
    assert measures.edge_agreement(step(20), step(22)) == 1
    # A tenth of 40 columns: 4 columns of edge each, around the step; 10 px apart none is near another.
    assert measures.edge_map(step(20)).sum() == 4 * 40
    assert measures.edge_agreement(step(15), step(25)) == 0


def test_edges_do_not_depend_on_contrast() -> None:
    assert measures.edge_agreement(step(20), 0.5 + 0.1 * step(20)) == 1
    flat = torch.full((1, 3, 40, 40), 0.5)
    assert not measures.edge_map(flat).any()
    assert measures.edge_agreement(flat, flat) == 1
    assert measures.edge_agreement(flat, step(20)) == 0


@pytest.mark.parametrize("period", [4, 8])
def test_wavelength_of_a_wave_is_its_period(period: int) -> None:
    wave = 0.5 + 0.4 * torch.cos(2 * math.pi * torch.arange(64) / period)
    image = wave.expand(1, 3, 64, 64)
    assert measures.wavelength(image) == pytest.approx(period, rel=0.05)  # the window spreads the line by 1/64 a pixel
    assert measures.wavelength(image.mT) == pytest.approx(measures.wavelength(image))


def test_distances_of_the_judge_are_zero_from_a_picture_to_itself() -> None:
    image = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    assert measures.style_distance(image, image) == pytest.approx(0, abs=1e-9)
    assert measures.perceptual_distance(image, image) == pytest.approx(0, abs=1e-9)
    moved = image.roll(16, -1)
    assert measures.style_distance(image, moved) < 0.1 * measures.perceptual_distance(image, moved)


# -- what tables count


def test_half_of_a_range_is_interpolated() -> None:
    assert verdicts.half_lost([1.0, 0.0]) == 0.5
    assert verdicts.half_lost([10.0, 9.0, 8.0, 2.0, 0.0]) == 2.5  # half is 5: between 8 and 2 half way
    assert verdicts.half_lost([10.0, 4.0, 3.0, 2.0, 0.0]) == pytest.approx(5 / 6)  # 10 to 4: (10 - 5) / 6
    assert verdicts.half_lost([1.0, 1.0]) == 0


def test_monotone_means_at_every_step() -> None:
    assert verdicts.rising([1, 2, 3])
    assert not verdicts.rising([1, 2, 2])
    assert verdicts.spread([9.0, 11.0, 10.0]) == pytest.approx(0.2)


def test_evaluations_to_a_goal_count_from_one() -> None:
    assert verdicts.evaluations_to([5, 3, 4, 1], 3) == 2
    assert verdicts.evaluations_to([5, 3, 4, 1], 2) == 4
    assert verdicts.evaluations_to([5, 3, 4, 1], 0) is None
    assert verdicts.geometric([1.0, 4.0]).mean == pytest.approx(2)


def row(study: str, setting: str, pair: str = "a", **values: Any) -> runs.Row:
    return {"study": study, "group": "real", "seed": 0, "pair": pair, "setting": setting, **values}


def test_tradeoff_counts_pairs_whose_terms_are_monotone() -> None:
    rows = []
    for pair, style in (("a", [5, 4, 3, 2, 1]), ("b", [5, 4, 3, 2, 2.5])):  # b fails at the last weight only
        for place, ratio in enumerate(claims.RATIOS):
            values = {"style": style[place], "content": 1.0 + place, "ssim": 0.5, "judged": 0.1}
            rows.append(row("tradeoff", f"{ratio:g}", pair, **values))
    rows.append(row("tradeoff", "1", "incomplete", style=1, content=1, ssim=0.5, judged=0.1))
    cells = verdicts.tradeoff(rows).splitlines()[-1].split(" | ")
    assert [cell.split()[0] for cell in cells[1:5]] == ["1/2", "2/2", "1/2", "2/2"]
    assert cells[5] == "x 5"  # 5 / 1


def test_optimizers_compare_evaluations_at_equal_loss() -> None:
    fast, slow = [2.0 ** -(2 * k) for k in range(100)], [2.0**-k for k in range(200)]  # half as many for the same
    table = verdicts.optimizers([row("optimizers", "lbfgs", curve=fast), row("optimizers", "adam 0.02", curve=slow)])
    # Adam's loss after 25 evaluations is 2^-24, which L-BFGS has at its 13th.
    assert "| adam 0.02 | 25 | 1 | 1/1" in table
    assert "| 13 [13, 13] | 1.92 |" in table


def test_textures_count_each_pair_of_channels_once() -> None:
    # 24: 300, 48: 1176, 96: 4656, 144: 10440 numbers per layer.
    assert textures.parameters(textures.POOL) == 300 + 300 + 1176 + 4656 + 10440
    assert textures.parameters(textures.FULL) == 3 * (300 + 1176 + 4656 + 10440)
    assert textures.parameters(textures.POOL, 16) == 5 * 136


# -- files and pairs


def test_results_are_written_at_once_and_not_computed_again(tmp_path: Path) -> None:
    found = runs.Results(tmp_path / "deep" / "rows.jsonl")
    found.add(row("init", "all", value=1))
    again = runs.Results(found.path)
    assert again.rows == found.rows
    assert again.has(row("init", "all"))
    assert not again.has(row("init", "all", "b"))


def test_real_pairs_cross_contents_and_styles(tmp_path: Path) -> None:
    for folder in ("photos", "paintings"):
        for level in (0, 100, 200):
            write_png(np.full((40, 50, 3), level, np.uint8), tmp_path / folder / f"{folder}{level}.png")
    found = pairs.real_pairs(tmp_path / "photos", tmp_path / "paintings", 2, 32)
    assert len({pair.name for pair in found}) == 4
    assert found[0].content.shape == (1, 3, 32, 32)
    assert torch.equal(found[0].content, found[1].content)
    assert torch.equal(found[0].style, found[2].style)


def test_seeds_share_no_pair_and_fewer_pairs_are_the_first() -> None:
    world = ProcStyle(32, train_images=30, val_images=1, test_images=26, packed=False, cache=None)
    few, more, other = (pairs.world_pairs(world, seed, count) for seed, count in ((0, 1), (0, 2), (1, 1)))
    assert few[0].name == more[0].name != other[0].name
    assert torch.equal(few[0].style, more[0].style)
    with pytest.raises(ValueError, match=r"procstyle must hold 37 contents .* found 26 and 30"):
        pairs.world_pairs(world, 3, 1)


# -- a tiny run of each


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("study", "rows"),
    [
        ("tradeoff", 5), ("init", 1), pytest.param("content_layer", 2, marks=SLOW),
        pytest.param("depth", 10, marks=SLOW), pytest.param("optimizers", 3, marks=SLOW),
        pytest.param("scale", 3, marks=SLOW),
    ],
)  # fmt: skip
def test_studies_run_and_print(study: str, rows: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "rows.jsonl"
    words = ["--output", str(output), "--groups", "procstyle", "--pairs", "1", "--seeds", "1", "--size", "32"]
    claims.main([*words, "--evaluations", "2", "--studies", study])
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["study"] for line in found] == [study] * rows
    assert capsys.readouterr().out.startswith("## ")
    claims.main([*words, "--tables"])
    assert len(output.read_text().splitlines()) == rows


@SLOW
def test_losses_are_measured_by_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "rows.jsonl"
    words = ["--groups", "procstyle", "--pairs", "1", "--size", "32", "--evaluations", "2", "--of-each", "1"]
    losses.main(["--output", str(output), *words])
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["setting"] for line in found] == list(losses.LOSSES)
    assert all(set(losses.LOSSES) <= set(line) for line in found)
    assert "`w2`" in capsys.readouterr().out


@SLOW
def test_textures_grow_from_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    for name in ("brick", "cloth"):
        write_png(generator.integers(0, 256, (40, 40, 3), np.uint8), tmp_path / "textures" / name / "one.png")
    output = tmp_path / "rows.jsonl"
    words = ["--count", "2", "--seeds", "1", "--size", "32", "--evaluations", "2"]
    textures.main(["--textures", str(tmp_path / "textures"), "--output", str(output), *words])
    assert len(output.read_text().splitlines()) == 2 * len(textures.models())
    assert "| full | 49,716 |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="must hold 3 folders of pictures, found 2"):
        list(textures.textures(tmp_path / "textures", 3, 1, 32))
