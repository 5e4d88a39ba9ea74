"""Experiments on AdaIN: the baseline's step computes what ours does; conditions, measures and verdict of the study."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.adain2017 import shuffled, speed, verdicts
from stylebench.functional.channel_statistics import ChannelStatistics
from stylebench.inference.translators.adain import AdaINTranslator
from stylebench.nn.encoders import CompactEncoder
from stylebench.statistics.intervals import Interval


def pictures(count: int, size: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_the_baseline_has_our_networks_and_losses() -> None:
    """With our variance and the same weights: features, pictures, and the losses before and after an update."""
    encoder = speed.build_encoder()
    method = speed.build_method(encoder)
    batches = [(pictures(1), pictures(1, seed=1))]
    x = batches[0][0]
    for part, tap in zip(speed.baseline_encoder(encoder), speed.STYLE, strict=True):
        x = part(x)
        torch.testing.assert_close(x, encoder(batches[0][0], [tap])[tap], rtol=1e-4, atol=1e-4 * float(x.max()))
    decoder = speed.baseline_decoder(method.model.decoder)
    torch.testing.assert_close(decoder(x), method.model.decoder(x), rtol=1e-4, atol=1e-4)
    baseline = speed.baseline_step(encoder, method.model.decoder, batches, correction=0)
    ours = speed.our_step(method, batches, bf16=False)
    losses = [[step(k) for k in range(2)] for step in (baseline, ours)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0][1] != losses[0][0]


def test_summary_of_one_program_has_no_ratio() -> None:
    both = speed.summary({"baseline": [2.0, 4.0, 9.0], "ours": [1.0, 2.0, 30.0]})
    assert both["medians"] == {"baseline": 4.0, "ours": 2.0}
    assert both["ours_over_baseline"] == 0.5
    assert speed.summary({"ours": [1.0]})["ours_over_baseline"] is None


def statistics(channels: int = 40, seed: int = 0) -> ChannelStatistics:
    generator = torch.Generator().manual_seed(seed)
    return ChannelStatistics(
        torch.rand(1, channels, generator=generator), 3 * torch.rand(1, channels, generator=generator)
    )


def test_conditions_change_what_they_say() -> None:
    style, other = statistics(), statistics(seed=1)
    found = shuffled.changed(style, other, 0)
    assert set(found) == set(verdicts.CONDITIONS) - {"none"}
    pairs = {(float(a), float(b)) for a, b in zip(style.mean[0], style.std[0], strict=True)}

    def kept(condition: str) -> set[tuple[float, float]]:
        return pairs & {(float(a), float(b)) for a, b in zip(*(part[0] for part in found[condition]), strict=True)}

    assert torch.equal(found["mean"].mean.sort().values, style.mean.sort().values)
    assert not torch.equal(found["mean"].mean, style.mean)
    assert torch.equal(found["mean"].std, style.std)
    assert torch.equal(found["std"].mean, style.mean)
    assert torch.equal(found["std"].std.sort().values, style.std.sort().values)
    assert kept("joint") == pairs  # a mean keeps the deviation of its channel
    assert len(kept("indep")) < 10
    assert found["resample"] is other


def test_controls_have_the_energy_they_say() -> None:
    style = statistics()
    found = shuffled.changed(style, statistics(seed=1), 0)

    def energy(condition: str) -> Tensor:
        return sum(((a - b).square() for a, b in zip(found[condition], style, strict=True)), torch.zeros(()))

    for name in ("mean", "std"):
        torch.testing.assert_close(energy(f"{name}_flipped"), energy(name))  # channel by channel
        assert not torch.equal(torch.cat(found[f"{name}_flipped"]), torch.cat(found[name]))
    torch.testing.assert_close(energy("mean_matched").sum(), energy("std_matched").sum())
    assert energy("std").sum() > energy("mean").sum()  # deviations spread three times as far
    assert torch.equal(found["mean_matched"].mean, found["mean"].mean)
    torch.testing.assert_close(energy("std_matched").sum(), energy("mean").sum())


def test_permutations_are_those_of_the_seed() -> None:
    first, again, third = (shuffled.changed(statistics(), statistics(seed=1), seed) for seed in (0, 0, 1))
    assert torch.equal(first["indep"].std, again["indep"].std)
    assert not torch.equal(first["indep"].std, third["indep"].std)


def test_matching_factors_known_answer() -> None:
    assert shuffled.matching_factors(4.0, 1.0) == (0.5, 1.0)  # (0.5 d)^2 = d^2 / 4
    assert shuffled.matching_factors(1.0, 16.0) == (1.0, 0.25)
    assert shuffled.matching_factors(0.0, 2.0) == (1.0, 0.0)


def test_delta_e_known_answer() -> None:
    black, white = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    half = torch.cat((black[..., :2], white[..., :2]), 3)
    assert shuffled.delta_e(black, white).item() == pytest.approx(100, abs=0.05)  # L from 0 to 100
    assert shuffled.delta_e(black, half).item() == pytest.approx(50, abs=0.05)  # half of the pixels
    assert shuffled.delta_e(half, half).item() == 0


def test_layout_distance_ignores_the_statistics_of_channels() -> None:
    maps = torch.randn(2, 5, 6, 6, generator=torch.Generator().manual_seed(0))
    scale = torch.linspace(0.5, 3, 5).view(1, 5, 1, 1)
    torch.testing.assert_close(shuffled.layout_distance(scale * maps + 7, maps), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(shuffled.layout_distance(-maps, maps), torch.full((2,), 2.0), atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def study() -> shuffled.Study:
    torch.manual_seed(0)
    encoder = CompactEncoder("shipped", ["relu2_2"], ["relu1_1", "relu2_1"], "relu2_1")
    model = AdaINTranslator(encoder=encoder, transfer="adain", norm="none")
    with torch.no_grad():
        return shuffled.Study(model, ["relu1_1", "relu2_1"], pictures(2), pictures(3, seed=1).square())


def test_rows_of_a_study_are_complete_and_make_tables(study: shuffled.Study) -> None:
    with torch.no_grad():
        rows = list(study.rows(1))
        laws = list(study.laws(pictures(9, seed=2), 1))
    shown = [row for row in rows if row["kind"] == "picture"]
    assert len(shown) == 3 * 2 * 10  # styles, contents, conditions
    plain = [row for row in shown if row["condition"] == "none"]
    assert all(abs(row[name]) < 1e-6 for row in plain for name in verdicts.DISTANCES)
    assert all(row["delta_e"] > 0 for row in shown if row["condition"] == "joint")
    distances = {row["condition"]: row["distance"] for row in laws}
    assert distances["resample"] == pytest.approx(distances["none"], rel=1e-6)  # the same styles in another order
    assert distances["std"] > distances["none"]
    setting = {"kind": "setting", "layers": ["relu1_1", "relu2_1"]}
    text = verdicts.tables([setting, *rows, *laws])
    assert text.count("\n| `") == 10 + 5
    assert "3 styles" in text


def test_a_model_without_statistics_is_refused() -> None:
    encoder = CompactEncoder("shipped", ["relu2_2"], ["relu1_1"], "relu2_1")
    model = AdaINTranslator(encoder=encoder, transfer="concat", norm="none")
    with pytest.raises(ValueError, match="train with transfer=adain"):
        shuffled.Study(model, ["relu1_1"], pictures(1), pictures(1))


def row(condition: str, style: int, content: int, seed: int, value: float) -> dict[str, Any]:
    return {"kind": "picture", "condition": condition, "style": style, "content": content, "seed": seed, "x": value}


def test_grid_averages_the_permutations() -> None:
    rows = [row("mean", style, content, seed, 10 * style + content + seed)
            for style in range(2) for content in range(3) for seed in range(3)]  # fmt: skip
    assert verdicts.grid(rows, "mean", "x").tolist() == [[1, 2, 3], [11, 12, 13]]  # seeds add 0, 1, 2: 1 on average
    with pytest.raises(ValueError, match="1 pairs of mean were not measured"):
        verdicts.grid([row for row in rows if (row["style"], row["content"]) != (0, 0)], "mean", "x")
    with pytest.raises(ValueError, match="no row of the condition 'std'"):
        verdicts.grid(rows, "std", "x")


def test_ratios_of_proportional_grids_are_certain() -> None:
    other = np.random.default_rng(0).uniform(1, 9, (4, 5))
    for found in (verdicts.ratio_of_medians(2 * other, other, 50), verdicts.ratio_of_pairs(2 * other, other)):
        assert [found.mean, found.low, found.high] == pytest.approx([2, 2, 2])


def test_ratio_of_medians_holds_the_truth_and_notices_styles() -> None:
    random = np.random.default_rng(0)
    noise = np.exp(0.1 * random.normal(size=(12, 12)))
    by_style = np.exp(0.8 * random.normal(size=(12, 1)))
    plain, spread = verdicts.ratio_of_medians(3 * noise, noise.T, 300), verdicts.ratio_of_medians(by_style, noise, 300)
    assert plain.bounds is not None
    assert spread.bounds is not None
    assert plain.bounds[0] < 3 < plain.bounds[1]
    assert plain.bounds[1] / plain.bounds[0] < 1.2 < spread.bounds[1] / spread.bounds[0]


def test_wilcoxon_known_answer() -> None:
    one = np.arange(1.0, 7.0).reshape(2, 3)
    assert verdicts.wilcoxon(one, np.zeros((2, 3))) == pytest.approx(2 / 2**6)  # all six signs alike, both ways


@pytest.mark.parametrize(
    ("mean", "low", "high", "p", "matched", "expected"),
    [
        (2.0, 1.6, 2.5, 1e-5, 1.2, "supported"),
        (2.0, 1.6, 2.5, 0.02, 1.2, "refuted"),
        (2.0, 1.6, 2.5, 1e-5, 0.9, "refuted"),  # at equal energy the deviations change more
        (1.6, 1.2, 2.0, 1e-5, 1.2, "undecided"),
        (1.4, 1.2, 2.0, 1e-5, 1.2, "undecided"),
        (0.7, 0.5, 0.9, 1e-5, 3.0, "refuted"),
    ],
)
def test_verdict(mean: float, low: float, high: float, p: float, matched: float, expected: str) -> None:
    assert verdicts.verdict(Interval(mean, low, high, ""), p, matched) == expected
