"""A classifier run: trained once, then scored, asked for labels and loaded without its data."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stylebench
from stylebench.checks import UsageError
from stylebench.cli.config import compose
from stylebench.commands.classify import as_trained, classify
from stylebench.commands.evaluate import Evaluated, evaluate
from stylebench.commands.train import train
from stylebench.data.augmentation import CropSettings
from stylebench.data.central_crops import CentralCrops
from stylebench.data.folders import Folders
from stylebench.data.images import write_png
from stylebench.functional.pixels import to_signed
from stylebench.inference.classifier import Classifier, NetworkClassifier
from stylebench.run_folder import RunFolder

CLASSES = ("dark", "light")


def pictures(folder: Path, name: str, low: int, classes: tuple[str, ...] = CLASSES) -> str:
    """Write noise of two levels a domain, a folder a class."""
    random = np.random.default_rng(low)
    for split, count in (("train", 8), ("val", 3), ("test", 4)):
        for number, kind in enumerate(classes):
            for each in range(count):
                pixels = random.integers(low, low + 40, (16, 16, 3)) + 90 * number
                write_png(pixels.astype(np.uint8), folder / name / split / kind / f"{each}.png")
    return str(folder / name)


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("domains")
    return pictures(folder, "day", 100), pictures(folder, "dusk", 0)


@pytest.fixture(scope="module")
def run(domains: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, target = domains
    config = compose("train", [
        "model=classifier", "adaptation=adabn", f"dataset.source={source}", f"dataset.target={target}",
        "dataset.size_px=16", "model.network.width=4", "metrics=none", "dataset.batch_size=8", "samples=2",
        "budget.batches=30", "budget.evaluate_every=15", "budget.validation_images=4",
        "model.optimizers.network.lr=0.02",
    ])  # fmt: skip
    return train(config, tmp_path_factory.mktemp("run") / "run", []).folder


def evaluated(run: Path, *words: str) -> Evaluated:
    return evaluate(compose("evaluate", [f"run={run}", "device=cpu", *words]))


def values(found: Evaluated) -> dict[str, Any]:
    return {entry["alias"]: entry["value"] for entry in found.record.values()}


def test_classes_stand_in_the_config_and_the_model_loads_without_data(run: Path) -> None:
    config = RunFolder(run).config
    assert config["model"]["classes"] == config["model"]["inference"]["classes"] == list(CLASSES)
    model = stylebench.load(run)
    assert isinstance(model, NetworkClassifier)
    assert model.classes == CLASSES
    assert model.domains == ("source", "target")
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    own, source = model.classify(images), model.classify(images, statistics="source")
    assert torch.equal(own, model.classify(images, statistics="target"))
    assert not torch.equal(own, source)


def test_training_scores_both_domains_and_says_what_validators_choose(run: Path) -> None:
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/accuracy/source"]]
    wanted = ("accuracy", "balanced_accuracy", "calibration_error", "prior_shift")
    assert {f"val/{name}/{domain}" for name in wanted for domain in ("source", "target")} <= set(rows[0])
    assert {f"val/{name}/target" for name in ("entropy", "im", "snd", "bnm", "dev")} <= set(rows[0])
    found = RunFolder(run).record["selection"]
    assert list(found) == ["last", "source_val", "target_entropy", "im", "snd", "bnm", "dev", "oracle"]
    regrets = {name: choice["regret"] for name, choice in found.items() if name != "oracle"}
    assert {name: float(rows[-1][f"val/regret/{name}"]) for name in regrets} == regrets
    assert "val/regret/oracle" not in rows[-1]
    assert found["last"]["batches"] == 30
    assert found["last"]["accuracy"] == float(rows[-1]["val/accuracy/target"])
    assert [name for name, choice in found.items() if choice["oracle"]] == ["oracle"]


def test_a_run_is_scored_on_its_own_data(run: Path) -> None:
    found = evaluated(run)
    model = stylebench.load(run)
    assert isinstance(model, NetworkClassifier)
    right = []
    for number, kind in enumerate(CLASSES):
        for path in sorted((Path(RunFolder(run).config["dataset"]["target"]) / "test" / kind).iterdir()):
            image = torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1) / 255
            right.append(int(model.classify(image).argmax()) == number)
    assert values(found)["accuracy/target"] == pytest.approx(np.mean(right))
    folder = RunFolder(run)
    assert folder.sets() == ["test-raw"]
    entry = folder.values("test-raw")["accuracy/target/n8"]
    assert entry["adaptation"] == {
        "strategy": "adabn", "statistics": "target", "selection": "last", "protocol": "split", "batch_size": 128,
        "calibration": {"target": {"images": 16, "propagate": "batch"}},
    }  # fmt: skip
    assert entry["classes"] == list(CLASSES)
    rows = folder.rows("test-raw")
    assert len(rows) == 16
    on_target = [row for row in rows if row["content_id"].startswith("target/")]
    assert np.mean([row["accuracy/target/n8"] for row in on_target]) == pytest.approx(entry["value"])
    assert all(row["accuracy/source/n8"] is None for row in on_target)
    assert folder.final()["test/accuracy/target"] == entry["value"]


def test_statistics_are_chosen_and_kept_apart(run: Path) -> None:
    found = evaluated(run, "split=val", "+controls.statistics=source")
    assert list(found.sets) == ["val-raw-statistics=source"]
    entry = found.record["accuracy/target/n6"]
    assert entry["controls"] == {"statistics": "source"}
    assert entry["adaptation"]["statistics"] == "source"
    assert values(found) != values(evaluated(run, "split=val"))


def test_another_target_is_calibrated_on_its_own_images(run: Path, tmp_path: Path) -> None:
    night = pictures(tmp_path, "night", 10)
    found = evaluated(run, f"+dataset.target={night}")
    (name,) = found.sets
    assert name.startswith("test-raw-")
    (entry,) = [entry for entry in found.record.values() if entry["alias"] == "accuracy/target"]
    assert entry["adaptation"]["calibration"] == {"target": {"images": 16, "propagate": "batch"}}
    other = pictures(tmp_path, "other", 10, ("dark", "gray"))
    with pytest.raises(ValueError, match=r"light only in .*gray only in"):
        evaluated(run, f"+dataset.target={other}")
    with pytest.raises(ValueError, match=r"the classes dark, light.*dark, gray"):
        evaluated(
            run, f"+dataset.target={other}", f"+dataset.source={pictures(tmp_path, 'third', 50, ('dark', 'gray'))}"
        )


def test_the_distance_of_the_domains_is_that_of_the_calibration(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry,) = [each for each in evaluated(run).record.values() if each["alias"] == "domain_distance/target"]
    assert entry["missing"] == ["32 target images"]
    monkeypatch.setattr("stylebench.commands.evaluate_classifier.FEW_IMAGES", 8)
    found = evaluated(run)
    entry = found.record["domain_distance/target/n8"]
    model = stylebench.load(run)
    assert isinstance(model, NetworkClassifier)
    folder = Path(RunFolder(run).config["dataset"]["target"]) / "test"
    images = [np.asarray(Image.open(path)).copy() for path in sorted(folder.rglob("*.png"))]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
    mapped = model.network.layers[1](model.network.layers[0](to_signed(batch)))  # the first norm's input
    mean, variance = mapped.double().mean((0, 2, 3)), mapped.double().var((0, 2, 3), correction=0)
    norm = model.network.layers[2]
    other = norm.running_mean.double(), norm.running_var.double()
    expected = ((variance / other[1] + other[1] / variance) / 2 - 1).mean()
    expected += ((mean - other[0]) ** 2 * (1 / variance + 1 / other[1]) / 2).mean()
    assert entry["layers"]["layers.2"] == pytest.approx(float(expected.detach()), rel=1e-3)
    assert len(entry["layers"]) == 4
    assert entry["value"] == pytest.approx(np.mean(list(entry["layers"].values())))
    by_source = entry["layers_source"]
    assert by_source["layers.2"] == entry["layers"]["layers.2"]  # no layer lies before it
    assert all(by_source[layer] != entry["layers"][layer] for layer in [*entry["layers"]][1:])
    folder = run / "evaluation" / "test-raw"
    with (folder / "domain_distance.csv").open() as file:
        rows = {row["layer"]: row for row in csv.DictReader(file)}
    for layer, value in entry["layers"].items():
        assert float(rows[layer]["as_tested"]) == value
        assert float(rows[layer]["source_statistics"]) == by_source[layer]
    with Image.open(folder / "domain_distance.png") as picture:
        assert picture.size[0] > 400


@pytest.mark.parametrize(
    ("words", "error", "match"),
    [
        (["save_images=true"], UsageError, "save_images"),
        (["content=here"], UsageError, "content"),
        (["+controls.alpha=1"], ValueError, "alpha"),
        (["+controls.statistics=dawn"], ValueError, "dawn.*source, target"),
    ],
)
def test_what_a_classifier_has_no_use_for_is_refused(
    words: list[str], error: type[Exception], match: str, run: Path
) -> None:
    with pytest.raises(error, match=match):
        evaluated(run, *words)


@pytest.mark.parametrize("resize", [None, 12, [14, 12]])
def test_pictures_are_cut_as_in_the_training_s_evaluations(resize: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((20, 30), (31, 17))]
    for number, pixels in enumerate(images):
        write_png(pixels, tmp_path / "pictures" / f"{number}.png")
    domain = Folders(str(tmp_path / "cache"), 512, 10_000, "stop", 0.0, 0.0).open(tmp_path / "pictures")
    (expected,) = CentralCrops(domain, np.arange(2), CropSettings(10, resize, False), 2)
    model = Classifier()
    model.size_px, model.resize_px = 10, resize
    assert torch.equal(as_trained(model, images), expected)


def test_labels_are_written_as_a_table(run: Path, domains: tuple[str, str], tmp_path: Path) -> None:
    words = [f"run={run}", f"input={domains[1]}/test", f"output={tmp_path / 'labels.csv'}", "device=cpu"]
    found = classify(compose("classify", words))
    before = found.path.read_text()
    with found.path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert list(rows[0]) == ["picture", "label", "probability", "p(dark)", "p(light)"]
    for row in rows:
        shares = {name: float(row[f"p({name})"]) for name in CLASSES}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-6)
        assert row["label"] == max(shares, key=lambda name: shares[name])
        assert float(row["probability"]) == pytest.approx(max(shares.values()), abs=1e-6)
    accuracy = np.mean([row["label"] == row["picture"].split("/")[0] for row in rows])
    assert accuracy == pytest.approx(values(evaluated(run))["accuracy/target"])
    with pytest.raises(FileExistsError, match=r"labels\.csv"):
        classify(compose("classify", words))
    other = classify(compose("classify", [*words, "overwrite=true", "statistics=source"]))
    assert other.path.read_text() != before
    with pytest.raises(ValueError, match=r"dawn.*source, target"):
        classify(compose("classify", [*words, "overwrite=true", "statistics=dawn"]))
