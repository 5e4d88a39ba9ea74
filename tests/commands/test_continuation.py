"""A finished run survives whatever keeps its continuation from starting, and is bound to content, not to places."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stylebench.inference.loading import load
from stylebench.run_folder import RunFolder
from stylebench.training.callbacks.metric_log import MetricLog
from tests.cli.test_main import Run, message, run  # noqa: F401 (a fixture)
from tests.helpers.runs import assert_same_end, record, rows
from tests.helpers.tiny import TINY

PICTURES = [entry for entry in TINY if not entry.startswith("dataset")]
SMALL = ["dataset.size_px=32", "dataset.batch_size=2", "dataset.num_workers=0", "metrics=none", "budget.batches=2"]
SMALL += ["budget.evaluate_every=2", "samples=1", "logger.every_n_batches=1", "dataset.store.test_fraction=0.4"]


def photos(folder: Path, seed: int = 0, count: int = 12, side: int = 40) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng((seed, number)).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with photographs, a style and a finished run of two batches on them, in `R`."""
    from stylebench.cli.main import main

    place = tmp_path_factory.mktemp("original")
    photos(place / "photos")
    photos(place / "other", seed=1)
    photos(place / "tiny", side=20)
    shutil.copy(photos(place / "style", 2, 1) / "0.png", place / "s.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("STYLEBENCH_CACHE", str(place / "cache"))
        line = ["train", *PICTURES, *SMALL, "dataset.content=photos", "dataset.style=s.png", "run=R"]
        patch.setattr("sys.argv", ["stylebench", *line])
        main()
    return place


@pytest.fixture
def place(run: Run, original: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A copy of that place, which is the working directory."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a run; the lock says only who holds the folder now."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def interrupt(patch: pytest.MonkeyPatch) -> None:
    def stop(*args: Any) -> None:
        raise RuntimeError("a device was lost")

    patch.setattr(MetricLog, "on_train_batch_start", stop)


MORE = "budget.batches=6"
CANNOT_START = {
    "no such device": (["trainer=gpu", "trainer.accelerator=tpu", MORE], "torch_xla"),
    "crops larger than the pictures": (["dataset.size_px=500"], r"dataset\.size_px: 32 -> 500"),
    "other size": (["dataset.size_px=16", MORE], r"dataset\.size_px: 32 -> 16"),
    "other seed": (["seed=1", MORE], "seed: 0 -> 1"),
    "other weight of a term": (["model.weight_style=1", MORE], r"model\.weight_style: \S+ -> 1"),
    "other width": (["model.generator.width=8", MORE], r"model\.generator\.width: 4 -> 8"),
    "other precision": (["trainer.precision=bf16-mixed", MORE], r"trainer\.precision: 32-true -> bf16-mixed"),
    "other batch size": (["dataset.batch_size=4", MORE], r"dataset\.batch_size: 2 -> 4"),
    "other average": (["ema.decay=0.5", MORE], r"ema\.decay: 0\.999 -> 0\.5"),
    "other contents": (["dataset.content=other", MORE], r"dataset\.content: digest \w{12} -> \w{12}.*resume=restart"),
    "other contents of a run that is complete": (["dataset.content=other"], r"dataset\.content: digest"),
    "weights to start from": (["init=R", MORE], r"init: digest .*leave init= out"),
    "no contents": (["dataset.content=nowhere", MORE], r"dataset\.content: no folder or image"),
    "pictures that are too small": (["dataset.content=tiny", "resume=restart", MORE], "smaller than the crop"),
    "a style of many pictures": (["dataset.style=photos", MORE], "one style image"),
    "a mode that is none": (["resume=maybe", MORE], "resume must be one of"),
    "a run is there": (["resume=never", MORE], "already holds a run"),
    "a length that is none": (["budget.batches=-6"], r"budget\.batches must be"),
    "a logger that is not there": (["logger.mirror={_target_:nowhere.Logger}", MORE], "nowhere"),
    "a batch that cannot be divided": (["trainer=ddp_cpu", "trainer.devices=3", MORE], "cannot be divided"),
    "an unknown key": (["modle.width=3", MORE], "no key 'modle.width'"),
    "a weight below zero, from anew": (["resume=restart", "model.weight_style=-1"], "weight_style must be"),
    "lost in its first batch": ([MORE], "a device was lost"),
    "lost in its first batch, from anew": (["resume=restart", "seed=3"], "a device was lost"),
}


@pytest.mark.parametrize("part", ["checkpoints", "samples/new"])
def test_no_run_begins_inside_another(part: str, run: Run, place: Path) -> None:  # noqa: F811
    before = contents(place / "R")
    shown = run("train", f"run=R/{part}", "dataset.content=photos", "dataset.style=photos", MORE)
    assert shown.code == 2
    assert re.search(r"run=\S+ is part of the run \S+/R; name that", shown.err), shown.err
    assert contents(place / "R") == before


@pytest.mark.parametrize("why", CANNOT_START)
def test_a_finished_run_survives_a_continuation_that_cannot_start(
    why: str,
    run: Run,  # noqa: F811
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, expected = CANNOT_START[why]
    before = contents(place / "R")
    if why.startswith("lost"):
        interrupt(monkeypatch)
        with pytest.raises(RuntimeError, match=expected):
            run("train", "run=R", *given)
    else:
        shown = run("train", "run=R", *given)
        assert shown.code in (1, 2), shown
        assert re.search(expected, shown.err), shown.err
    assert contents(place / "R") == before
    assert RunFolder("R").status == "finished"
    load("R")


MOMENTS = ["open_data", "build_data", "build_method", "check_content", "make_callbacks", "make_trainer", "first batch"]


@pytest.mark.parametrize(("moment", "mode"), [*((moment, "auto") for moment in MOMENTS), ("first batch", "restart")])
def test_a_finished_run_survives_a_stop_at_any_moment_of_a_start(
    moment: str,
    mode: str,
    run: Run,  # noqa: F811
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stylebench.commands import train

    def stop(*args: Any, **settings: Any) -> None:
        raise SystemExit(143)

    if moment == "first batch":
        monkeypatch.setattr(MetricLog, "on_train_batch_start", stop)
    else:
        monkeypatch.setattr(train, moment, stop)
    before = contents(place / "R")
    assert run("train", "run=R", MORE, f"resume={mode}").code == 143
    assert contents(place / "R") == before
    assert (RunFolder("R").status, (place / "R" / ".lock").read_text()) == ("finished", "")


def test_two_exports_never_fill_one_folder(run: Run, place: Path) -> None:  # noqa: F811
    with RunFolder(place / "x").held():
        (place / "x" / "kept").touch()
        assert "x is in use by process" in message(run("export", "run=R", "output=x", "overwrite=true"))
    assert run("export", "run=R", "output=y").code == 0
    assert sorted(path.name for path in (place / "y").iterdir()) == ["model.json", "model.safetensors"]


def test_the_missing_device_is_named_and_not_the_precision_that_comes_with_it(run: Run, place: Path) -> None:  # noqa: F811
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    before = contents(place / "R")
    shown = message(run("train", "run=R", "trainer=gpu", MORE))
    assert "try trainer=cpu" in shown
    assert "precision" not in shown
    assert contents(place / "R") == before


def test_restart_sets_the_earlier_run_aside_once_a_batch_is_trained(run: Run, place: Path) -> None:  # noqa: F811
    before = contents(place / "R")
    assert run("train", "run=R", "resume=restart", "seed=1").code == 0
    assert (record(place / "R")["seed"], record(place / "R")["batches"]) == (1, 2)
    assert len(record(place / "R")["sessions"]) == 1
    kept = contents(place / "R" / "earlier-1")
    assert kept == {name: data for name, data in before.items() if name in kept}
    assert {"config.yaml", "record.json", "metrics.csv", "checkpoints/batch-000000002.ckpt"} <= kept.keys()
    assert [row["train/batches"] for row in rows(place / "R")] == ["1", "2"]


def test_a_run_goes_on_with_other_trainer_logger_budget_and_place(run: Run, place: Path) -> None:  # noqa: F811
    shutil.copytree(place / "R", place / "straight")
    (place / "photos").rename(place / "moved")
    (place / "elsewhere").mkdir()
    (place / "s.png").rename(place / "elsewhere" / "s.png")
    moved = ["dataset.content=moved", "dataset.style=elsewhere/s.png"]
    changed = ["logger=tensorboard", "trainer.deterministic=true", "checkpoint.keep=1"]
    assert run("train", "run=R", "budget.batches=4", *moved, *changed).code == 0
    assert [session["from_batch"] for session in record(place / "R")["sessions"]] == [0, 2]
    assert not (place / "R" / "earlier-1").exists()
    assert run("train", "run=straight", "budget.batches=4", *moved).code == 0
    assert_same_end(place / "R", place / "straight")


@pytest.mark.parametrize("command", ["stylize", "train", "train must", "evaluate", "export"])
def test_every_command_names_a_run_that_was_set_aside(command: str, run: Run, place: Path) -> None:  # noqa: F811
    RunFolder("R").set_aside()
    lines = {
        "stylize": ["stylize", "run=R", "input=photos"],
        "train": ["train", "run=R"],
        "train must": ["train", "run=R", "resume=must", "dataset.content=photos", "dataset.style=s.png"],
        "evaluate": ["evaluate", "run=R"],
        "export": ["export", "run=R", "output=x"],
    }
    assert "the run that was here lies in" in message(run(*lines[command]))
    assert [path.name for path in (place / "R").iterdir() if path.name not in (".lock", "train.log")] == ["earlier-1"]


def test_a_pair_of_jobs_on_a_finished_run(
    run: Run,  # noqa: F811
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second one comes while the first is at work, and says who that is."""
    before, seen = contents(place / "R"), []
    original_start = MetricLog.on_train_batch_start

    def meanwhile(self: MetricLog, *args: Any) -> None:
        if not seen:
            seen.append(contents(place / "R") == before)
            from stylebench.checks import UsageError
            from stylebench.commands.train import train

            with pytest.raises(UsageError, match="in use by process") as caught:
                train(json.loads(before["record.json"])["config"], place / "R", [])
            seen.append("\n" not in str(caught.value))
            seen.append(contents(place / "R") == before)
        original_start(self, *args)

    monkeypatch.setattr(MetricLog, "on_train_batch_start", meanwhile)
    assert run("train", "run=R", "budget.batches=4").code == 0
    assert seen == [True, True, True]
    assert record(place / "R")["batches"] == 4


# Evaluation: a run's own values are those of its own data


def values(folder: Path, name: str = "test-ema") -> dict[str, float]:
    return {key: entry["value"] for key, entry in RunFolder(folder).values(name).items()}


SMOKE = ["metrics=smoke", "metrics.num_images=3"]
SMOKE += ["+metrics.items.edge._target_=stylebench.metrics.pairs.EdgeSSIM"]


def test_a_run_is_evaluated_on_its_data_wherever_they_lie(run: Run, place: Path) -> None:  # noqa: F811
    assert run("evaluate", "run=R", *SMOKE).code == 0
    own = values(place / "R")
    (place / "photos").rename(place / "moved")
    assert "dataset.content" in message(run("evaluate", "run=R", *SMOKE))
    assert run("evaluate", "run=R", *SMOKE, "dataset.content=moved").code == 0
    assert values(place / "R") == own
    assert RunFolder("R").sets() == ["test-ema"]


def test_another_data_set_gets_a_name_of_its_own(run: Run, place: Path) -> None:  # noqa: F811
    assert run("evaluate", "run=R", *SMOKE).code == 0
    own, final = values(place / "R"), RunFolder("R").final()
    shown = run("evaluate", "run=R", *SMOKE, "dataset.content=other")
    assert shown.code == 0, shown
    other = next(name for name in RunFolder("R").sets() if name != "test-ema")
    assert re.fullmatch(r"test-ema-content=other-[0-9a-f]{8}", other)
    assert values(place / "R", other) != own == values(place / "R")
    assert RunFolder("R").final() == final
    (entry, *_) = RunFolder("R").values(other).values()
    assert entry["data"]["dataset.content"] != record(place / "R")["data"]["content"]["digest"]
    assert "no key 'dataset.contnet' (did you mean 'content'?)" in message(
        run("evaluate", "run=R", "dataset.contnet=x")
    )
    assert "dataset=procedural" in message(run("evaluate", "run=R", "dataset=procedural"))
    folders = message(run("evaluate", "generated=photos", "reference=photos", "dataset.content=x"))
    assert "name a run by run=" in folders


def test_changed_pictures_are_refused_unless_they_are_named(run: Run, place: Path) -> None:  # noqa: F811
    assert run("evaluate", "run=R", *SMOKE).code == 0
    before = contents(place / "R")
    shutil.rmtree(place / "photos")
    photos(place / "photos", seed=3)
    shown = message(run("evaluate", "run=R", *SMOKE))
    assert re.search(
        r"no longer what it was trained with \(dataset\.content: digest \w+ -> \w+\).*dataset\.content=<folder>$",
        shown,
        re.MULTILINE,
    )
    assert contents(place / "R") == before
    assert run("evaluate", "run=R", *SMOKE, "dataset.content=photos").code == 0
    assert len(RunFolder("R").sets()) == 2
    assert contents(place / "R").items() > before.items()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_values_are_shown_before_what_could_not_be_written(
    moment: str,
    run: Run,  # noqa: F811
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stylebench import files, run_folder
    from stylebench.commands import evaluate

    def full(*args: Any, **settings: Any) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    module, name = {"before": (run_folder, "check_writable"), "after": (run_folder, "write_json")}[moment]
    monkeypatch.setattr(module, name, full)
    monkeypatch.setattr(evaluate, "write_json", full)
    before = contents(place / "R")
    shown = run("evaluate", "run=R", *SMOKE, "output=values.json")
    assert shown.code == 1
    assert re.search(r"^edge_ssim +higher +[\d.]+ ", shown.out, re.MULTILINE)
    assert re.search(r"not written: R/evaluation.*No space left on device", shown.err)
    assert "not written: values.json: No space left on device" in shown.err
    assert "written  " not in shown.out
    assert RunFolder("R").sets() == []
    assert {name: data for name, data in contents(place / "R").items() if "/rows.csv" not in name} == before
    assert files  # the writers above are its own


def test_values_of_folders_are_shown_though_the_record_cannot_be_finished(
    run: Run,  # noqa: F811
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*args: Any, **settings: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_evaluation", full)
    shown = run("evaluate", "generated=photos", "reference=other", "metrics=smoke", "output=kept/")
    assert (shown.code, "not written: kept: No space left" in shown.err) == (1, True)
    assert "fd_rand_ms" in shown.out
    assert RunFolder("kept").status == "failed"
