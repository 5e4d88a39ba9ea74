"""Every data set with every task: it trains, or it is refused with the names of data sets that would do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stylebench.build import build
from stylebench.cli.config import compose
from stylebench.commands.prepare import open_domains
from stylebench.commands.train import train
from stylebench.data.serving import check_serves
from stylebench.data.tasks import TASKS
from stylebench.shipped import dataset_tasks
from tests.helpers.dummy_methods import TARGETS

SIZES = [
    "encoder=squeezenet",
    "encoder.weights=random",
    "budget.batches=2",
    "budget.evaluate_every=2",
    "budget.validation_images=2",
    "samples=2",
    "ema=null",
]
WORLDS = ("procstyle", "filterstyle")
BUILT_IN = (*WORLDS, "folders", "procedural")


def write_photographs(folder: Path, count: int = 12, size: tuple[int, int] = (40, 48)) -> None:
    """Write smooth pictures in two class folders, others in a folder of another name."""
    rng = np.random.default_rng(sum(folder.name.encode()))
    for number in range(count):
        path = folder / ("cat" if number % 2 else "dog") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        small.resize((size[1], size[0]), Image.Resampling.BICUBIC).save(path)


def overrides(dataset: str, root: Path) -> list[str]:
    """Return what a user would write to have a small run on a data set."""
    small = [f"dataset={dataset}", "dataset.size_px=32", "dataset.num_workers=0", "dataset.batch_size=4"]
    if dataset == "procstyle":
        sizes = [f"dataset.store.{split}_images=6" for split in ("train", "val", "test")]
        return [*small, "dataset.store.size_px=32", *sizes]
    if dataset == "procedural":
        return [*small, "dataset.store.count=12", "dataset.store.size_px=48"]
    if dataset == "filterstyle":
        write_photographs(root / "photos", 24)
        fractions = [f"dataset.store.photographs.{split}_fraction=0.2" for split in ("val", "test")]
        return [*small, f"dataset.content={root / 'photos'}", "dataset.store.size_px=32", *fractions]
    for name in ("one", "two"):
        write_photographs(root / name)
    roles = {"content": "one", "style": "two", "input": "one", "target": "two", "a": "one", "b": "two", "source": "one"}
    named = [f"dataset.{role}={root / folder}" for role, folder in roles.items()]
    fractions = ["dataset.store.val_fraction=0.3", "dataset.store.test_fraction=0.3"]
    return [*small, *named, f"dataset.domains=[{root / 'one'},{root / 'two'}]", *fractions]


def run_on(config: dict[str, Any], task: str, folder: Path) -> dict[str, Any]:
    """Train the dummy of a task; return the run's record."""
    train({**config, "model": {"_target_": TARGETS[task]}}, folder, [])
    return dict(json.loads((folder / "record.json").read_text()))


@pytest.mark.parametrize("task", sorted(TARGETS))
@pytest.mark.parametrize("dataset", BUILT_IN)
def test_every_pair_trains_or_is_refused(dataset: str, task: str, tmp_path: Path) -> None:
    # Exact answers for one task of each world: reading strengths off the results costs hundreds of renders a domain.
    answers = [] if task == "style" or dataset not in WORLDS else ["metrics.scenes=0"]
    config = compose("train", [*SIZES, *overrides(dataset, tmp_path), *answers])
    if task in dataset_tasks()[dataset]:
        record = run_on(config, task, tmp_path / "run")
        assert record["status"] == "finished"
        assert record["final"]["val/loss/fit"] > 0
        assert len(record["data"]) >= 2
        assert len(list((tmp_path / "run" / "samples").iterdir())) == 1
    else:
        able = "|".join(name for name, tasks in dataset_tasks().items() if task in tasks)
        with pytest.raises(
            ValueError, match=rf"needs the task {task}; choose one of dataset={able.replace('|', r'.')}"
        ):
            run_on(config, task, tmp_path / "run")


def test_every_dataset_says_which_tasks_it_serves() -> None:
    known = {task.name for task in TASKS}
    assert all(tasks and set(tasks) <= known for tasks in dataset_tasks().values())
    assert all(set(dataset_tasks()[world]) == known for world in WORLDS)


@pytest.mark.parametrize(
    ("task", "given", "message"),
    [
        (
            "paired",
            {"input": "one", "target": "fewer"},
            r"12 images of .*one \(input\) and 9 of .*fewer \(target\) 3 have",
        ),
        ("multi_domain", {"domains": ["one"]}, r"at least 2 domains, got 1 \(one\)"),
        ("multi_domain", {"domains": ["one", "single"]}, r"at least 2 training images of single, but .* has 1"),
        ("unpaired", {"a": "one", "b": None}, r"dataset\.b is not set; give it on the command line"),
        ("unpaired", {"a": "one", "b": "eno"}, r"no folder or image .*eno; .* holds fewer, one, plain, single"),
        (
            "adaptation",
            {"source": "plain", "target": "one"},
            r"needs a class for every source image, but .*plain has none",
        ),
    ],
)
def test_bad_domains_are_refused_before_anything_is_trained(
    task: str, given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    write_photographs(data / "one")
    write_photographs(data / "fewer", 9)
    write_photographs(data / "single", 1)
    (data / "plain").mkdir()
    for number, path in enumerate(sorted((data / "one").rglob("*.png"))):
        (data / "plain" / f"{number}.png").write_bytes(path.read_bytes())
    config = compose("train", [*SIZES, "dataset=folders", "dataset.size_px=32"])
    place = {
        key: [str(data / name) for name in value] if isinstance(value, list) else value and str(data / value)
        for key, value in given.items()
    }
    config["dataset"].update(place)
    expected = ValueError if "no folder" not in message else FileNotFoundError
    with pytest.raises(expected, match=message):
        run_on(config, task, tmp_path / "run")
    if "is not set" not in message:  # what is not named is not prepared
        with pytest.raises(expected, match=message):
            open_domains(build(config["dataset"]["store"]), config["dataset"])
    assert not (tmp_path / "run" / "record.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["dataset.size_px=41"], r"12 images of .*one \(content\) are smaller than the crop of 41 px"),
        (["dataset.resize_px=16"], r"resize_px"),
    ],
)
def test_prepare_refuses_what_no_training_could_use(settings: list[str], message: str, tmp_path: Path) -> None:
    write_photographs(tmp_path / "one")
    domains = [f"dataset.{role}={tmp_path / 'one'}" for role in ("content", "style")]
    dataset = compose("prepare", ["dataset.size_px=32", *domains, *settings])["dataset"]
    with pytest.raises(ValueError, match=message):
        open_domains(build(dataset["store"]), dataset)


@pytest.mark.parametrize("dataset", BUILT_IN)
def test_prepare_accepts_what_trains(dataset: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = compose("prepare", overrides(dataset, tmp_path))["dataset"]
    assert open_domains(build(settings["store"]), settings)
    assert not [record for record in caplog.records if record.name == "stylebench.commands.prepare"]


def test_prepare_accepts_a_small_style_picture_and_a_set_for_testing_alone(tmp_path: Path) -> None:
    write_photographs(tmp_path / "one")
    write_photographs(tmp_path / "small", 1, (20, 20))
    write_photographs(tmp_path / "tests" / "test")
    for named in (("content=one", "style=small"), ("input=tests", "target=tests")):
        values = [f"dataset.{key}={tmp_path / name}" for key, name in (entry.split("=") for entry in named)]
        settings = compose("prepare", ["dataset.size_px=32", *values])["dataset"]
        assert open_domains(build(settings["store"]), settings)


def test_prepare_of_a_world_only_tells_which_task_its_contents_cannot_serve(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = compose("prepare", overrides("filterstyle", tmp_path))["dataset"]
    for number, path in enumerate(sorted((tmp_path / "photos").rglob("*.png"))):
        path.rename(tmp_path / "photos" / f"{number}.png")  # no class folders
    for folder in ("cat", "dog"):
        (tmp_path / "photos" / folder).rmdir()
    assert open_domains(build(settings["store"]), settings)
    told = [record for record in caplog.records if record.name == "stylebench.commands.prepare"]
    assert [record.args[0] for record in told] == ["adaptation"]
    assert "needs a class for every source image" in caplog.text


def test_a_named_data_set_that_is_not_there_names_the_command(tmp_path: Path) -> None:
    config = compose("train", [*SIZES, "dataset=horse2zebra", f"dataset.root={tmp_path / 'none'}"])
    with pytest.raises(FileNotFoundError, match=r"no folder or image .*A; .*: stylebench prepare dataset=horse2zebra"):
        run_on(config, "unpaired", tmp_path / "run")


@pytest.mark.parametrize("dataset", ["facades", "procedural"])
def test_refusals_name_data_sets_that_would_do(dataset: str, tmp_path: Path) -> None:
    config = compose("train", [*SIZES, f"dataset={dataset}"])
    with pytest.raises(
        ValueError, match=r"serves the tasks .* needs the task adaptation; choose one of dataset=digits.*\|pacs"
    ):
        run_on(config, "adaptation", tmp_path / "run")


@pytest.mark.parametrize("dataset", sorted(dataset_tasks()))
def test_every_data_set_refuses_the_tasks_it_does_not_serve(dataset: str) -> None:
    settings = compose("prepare", [f"dataset={dataset}"], allow_missing=True)["dataset"]
    for task in TASKS:
        if task.name in settings["tasks"]:
            check_serves(settings, task)
        else:
            with pytest.raises(ValueError, match=rf"needs the task {task.name}; choose one of dataset=.*procstyle"):
                check_serves(settings, task)
