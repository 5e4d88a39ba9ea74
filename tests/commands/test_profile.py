"""The profile: that the bare loop is the same training, and that its figures add up."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from stylebench.build import build_data, build_method, open_data
from stylebench.cli.config import compose
from stylebench.commands.profile import PARTS, BareStep, Figures, Stopwatch, profile, report, summarize, to_json
from stylebench.methods.base import Method
from tests.helpers.dummy_methods import DUEL
from tests.helpers.games import Styles, TwoPlayers, fit_players
from tests.helpers.tiny import TINY

Make = Callable[..., dict[str, Any]]
SCENES = ["dataset=procstyle", "dataset.store.size_px=16", "dataset.store.train_images=8"]


@pytest.fixture(scope="module")
def figures() -> Figures:
    return profile(compose("profile", [*TINY, "batches=2", "rounds=2", "dataset.batch_size=2"]))


def test_every_part_is_measured(figures: Figures) -> None:
    assert tuple(figures.parts) == PARTS
    assert all(seconds > 0 for seconds in figures.parts.values())
    assert figures.frame_seconds > 0
    assert figures.bare_seconds > 0
    assert len(figures.frame_over_bare_rounds) == 2
    assert figures.images_per_second == pytest.approx(2 / figures.frame_seconds)


def test_sizes_are_those_of_the_run(figures: Figures) -> None:
    assert (figures.method, figures.device, figures.precision) == ("FastTransfer", "cpu", "32-true")
    assert (figures.batch_size, figures.size_px, figures.parameters) == (2, 32, 28_467)
    assert figures.switches == {"compile": False, "channels_last": False}
    assert figures.flops_per_batch is not None
    assert figures.flops_per_batch > 0
    assert figures.peak_memory_bytes > 2**20


def test_report_shows_what_was_asked_for(figures: Figures) -> None:
    text = report(figures)
    for part in ("inside the frame", "bare loop", "frame over bare", "peak memory", "parameters", "FLOPs", *PARTS):
        assert part in text
    shares = [float(line.split()[-2]) for line in text.splitlines() if line.endswith(" %")]
    assert sum(shares) == pytest.approx(100, abs=0.5)  # five numbers rounded to 0.1


def test_json_reads_back(figures: Figures, tmp_path: Path) -> None:
    to_json(figures, tmp_path / "a" / "figures.json")
    read = json.loads((tmp_path / "a" / "figures.json").read_text())
    assert read["images_per_second"] == figures.images_per_second
    assert read["parts"] == figures.parts


def test_medians_and_ratios_are_taken_round_by_round() -> None:
    data = SimpleNamespace(task=SimpleNamespace(batch_size=4, size_px=8))
    rounds: Any = SimpleNamespace(
        frame=[2.0, 9.0, 4.0], bare=[1.0, 3.0, 4.0], parts={part: [1.0, 2.0, 9.0] for part in PARTS},
        precision="32-true", data=data,
    )  # fmt: skip
    record = {"devices": {"kind": "cpu"}, "peak_memory_bytes": 1, "parameters": 2, "flops_per_batch": None}
    figures = summarize(rounds, object(), record, {})  # type: ignore[arg-type]
    assert (figures.frame_seconds, figures.bare_seconds) == (4.0, 3.0)
    assert figures.frame_over_bare == 2.0  # of 2, 3 and 1; the ratio of the medians would be 4/3
    assert figures.parts == dict.fromkeys(PARTS, 2.0)
    assert "FLOPs" not in report(figures)


def built(config: dict[str, Any]) -> tuple[Any, Any]:
    torch.manual_seed(0)
    data = build_data(config, open_data(config))
    return build_method(config, data), data.task.finish(data.task.batch(0))


def test_the_bare_step_takes_the_step_of_the_method(tiny_config: Make) -> None:
    method, batch = built(tiny_config())
    other, _ = built(tiny_config())
    optimizer = method.configure_optimizers()
    step = BareStep(other, [other.configure_optimizers()], "32-true")
    for _ in range(2):
        optimizer.zero_grad()
        method.training_step(batch, 0).backward()
        optimizer.step()
        step.optimize(batch)
    for one, two in zip(method.parameters(), other.parameters(), strict=True):
        # the terms are added in another order
        torch.testing.assert_close(one, two, rtol=1e-4, atol=2e-5)


def test_the_bare_step_logs_nothing_and_gives_the_method_back(tiny_config: Make) -> None:
    method, batch = built(tiny_config())
    BareStep(method, [method.configure_optimizers()], "32-true").optimize(batch)
    assert method.latest["train"] == {}
    assert (method.stage, method.batches_done) == ("train", 1)
    method.training_step(batch, 0)
    assert method.latest["train"]


def test_the_bare_step_follows_the_precision(tiny_config: Make) -> None:
    method, batch = built(tiny_config())
    seen: list[torch.dtype] = []
    convolution = next(part for part in method.model.modules() if isinstance(part, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda module, given, output: seen.append(output.dtype))
    for precision in ("32-true", "bf16-mixed"):
        BareStep(method, [method.configure_optimizers()], precision).optimize(batch)
    assert seen == [torch.float32, torch.bfloat16]


def test_the_bare_step_moves_every_player_in_turn() -> None:
    method, batch = built({**compose("train", SCENES), "model": {"_target_": DUEL}})
    optimizers = method.configure_optimizers()
    step, watch = BareStep(method, optimizers, "32-true"), Stopwatch(method.device)
    before = [weight.clone() for weight in method.model.parameters()]
    moved = []
    for _ in range(4):
        step.optimize(batch, watch)
        moved.append(not all(map(torch.equal, before, method.model.parameters())))
        before = [weight.clone() for weight in method.model.parameters()]
    assert moved == [False, True, False, True]
    assert all(watch.totals[part] > 0 for part in ("forward", "backward", "optimizer"))
    assert method.latest["train"] == {}


def test_the_watch_takes_inner_parts_out_of_outer_ones() -> None:
    watch = Stopwatch(torch.device("cpu"))
    begin = time.perf_counter()
    watch.timed("forward", lambda: [watch.timed("backward", lambda: time.sleep(0.05)) for _ in range(2)])
    elapsed = time.perf_counter() - begin
    assert watch.totals["backward"] >= 0.1
    assert sum(watch.totals.values()) <= elapsed
    assert watch.totals["forward"] <= elapsed - 0.1


def test_a_method_that_trains_nothing_is_refused(tiny_config: Make) -> None:
    method, _ = built(tiny_config("model=gatys"))
    with pytest.raises(ValueError, match="profile measures training steps, and Gatys trains nothing"):
        BareStep(method, [], "32-true")


@pytest.mark.parametrize("game", [TwoPlayers, Styles])  # one that clips, one with a phase of two players
def test_the_bare_step_takes_the_phases_of_the_trainer(game: type[Method]) -> None:
    torch.manual_seed(0)
    framed, bare = game(), game()
    bare.load_state_dict(framed.state_dict())
    torch.manual_seed(1)
    fit_players(framed, 3)
    torch.manual_seed(1)
    step = BareStep(bare, bare.configure_optimizers(), "32-true")
    for batch in DataLoader(TensorDataset(torch.randn(3, 2)), batch_size=1):
        step.optimize(batch)
    for one, two in zip(framed.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)
    assert (bare.batches_done, bare.latest["train"]) == (3, {})
