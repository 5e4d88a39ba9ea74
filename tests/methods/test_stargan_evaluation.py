"""StarGAN measured: each pair of its domains by itself, and their mean."""

import csv
from pathlib import Path

import pytest

from stylebench.build import open_data
from stylebench.checks import UsageError
from stylebench.cli.config import compose
from stylebench.commands.evaluate import evaluate
from stylebench.commands.evaluate_table import tables
from stylebench.commands.train import train
from stylebench.data.plan import asked_for
from stylebench.run_folder import RunFolder
from tests.methods.test_stargan import DOMAINS, TINY

MEASURED = [
    *TINY, "dataset.store.val_images=6", "dataset.store.test_images=6", "metrics=smoke", "metrics.num_images=5",
    "metrics.scenes=3", "budget.batches=2", "budget.evaluate_every=2",
]  # fmt: skip
NAMES = [f"{source}-to-{target}" for target in DOMAINS for source in DOMAINS if source != target]


def test_groups_of_the_labels_are_the_data_sets_that_results_are_measured_within() -> None:
    groups = "model.labels.groups={first: {photo: [plain], ink_hatch: [lines]}, second: [oil_noise]}"
    opened = open_data(compose("train", [*TINY, groups]))
    assert [plan.name for plan in asked_for(opened.plans("test"), {})] == ["ink_hatch-to-photo", "photo-to-ink_hatch"]


def test_training_logs_means_and_evaluation_tells_plans_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "run"
    train(compose("train", MEASURED), folder, [])
    run = RunFolder(folder)
    metrics = {name: run.values(name) for name in run.sets()}
    assert set(metrics) == {f"val-ema-{name}" for name in NAMES}
    psnr = [entry["value"] for found in metrics.values() for entry in found.values() if entry["alias"] == "psnr"]
    assert len(psnr) == 6
    assert len(set(psnr)) > 1
    with (folder / "metrics.csv").open(newline="") as file:
        logged = [float(row["val/psnr"]) for row in csv.DictReader(file) if row["val/psnr"]]
    assert logged == [pytest.approx(sum(psnr) / 6)]

    chosen = [f"run={folder}", "metrics=smoke", "metrics.num_images=5", "metrics.scenes=3"]
    everything = evaluate(compose("evaluate", [*chosen, "split=val"]))
    assert sorted(everything.sets) == list(metrics)
    assert everything.means["psnr"] == pytest.approx(logged[0], rel=1e-5)
    assert set(everything.record) == {f"{name}/{key}" for name, found in metrics.items() for key in found}
    shown = tables(everything.sets, everything.means)
    assert "val-ema-photo-to-oil_noise\nmetric" in shown
    assert "mean over 6\n" in shown
    assert shown.count("not measured") <= 1
    final = RunFolder(folder).final()
    assert final["val/psnr"] == pytest.approx(logged[0], rel=1e-5)

    some = evaluate(compose("evaluate", [*chosen, "split=val", "+controls.domain=oil_noise"]))
    assert list(some.sets) == [f"val-ema-{source}-to-oil_noise" for source in DOMAINS[:2]]
    assert all(some.sets[name] == everything.sets[name] for name in some.sets)
    assert RunFolder(folder).final() == final

    with pytest.raises(UsageError, match=r"content: .* generated=<folder>"):
        evaluate(compose("evaluate", [*chosen, f"content={folder}"]))
    with pytest.raises(ValueError, match=r"domain.*sepia"):
        evaluate(compose("evaluate", [*chosen, "+controls.domain=sepia"]))
