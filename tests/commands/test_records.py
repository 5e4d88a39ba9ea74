"""Run folders that no training makes: their record, whatever happens to the command, and who may write there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import nn

from stylebench.checks import UsageError
from stylebench.cli.main import stylize
from stylebench.commands.records import record_of_pictures, recorded
from stylebench.files import json_digest, write_json
from stylebench.inference.loading import load
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.run_folder import (
    FAILED,
    FINISHED,
    FOLDER,
    OPTIMIZATION,
    RECORD,
    RUNNING,
    STOPPED,
    TRAINING,
    RunFolder,
    find_runs,
)
from stylebench.training.resume import find_start

CONFIG = {"generated": "theirs", "metrics": {"num_images": 3}}


def kept(folder: Path, command: str = "evaluate", config: Mapping[str, Any] = CONFIG) -> Any:
    return recorded(folder, FOLDER, command, dict(config), {"name": "theirs"})


def test_the_record_says_what_runs_and_then_what_came_out(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with kept(folder) as record:
        assert RunFolder(folder).status == RUNNING
        record["final"] = {"psnr": 20.0}
    run = RunFolder(folder)
    assert (run.record["kind"], run.status, run.record["error"], run.maker) == (FOLDER, FINISHED, None, "evaluate")
    assert (run.config, run.final(), run.record["name"]) == (CONFIG, {"psnr": 20.0}, "theirs")
    (folder / RECORD).unlink()
    assert RunFolder(folder).config == CONFIG  # of config.yaml


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), FAILED), (KeyboardInterrupt(), STOPPED), (SystemExit(143), STOPPED)]
)
def test_the_record_says_how_a_command_broke_off(error: BaseException, status: str, tmp_path: Path) -> None:
    with pytest.raises(type(error)), kept(tmp_path):
        raise error
    run = RunFolder(tmp_path)
    assert (run.status, run.record["error"]) == (status, f"{type(error).__name__}: {error}")


def test_each_session_says_under_which_config_it_worked(tmp_path: Path) -> None:
    other = {**CONFIG, "metrics": {"num_images": 4}}
    for config in (CONFIG, other):
        with kept(tmp_path, config=config):
            pass
    record = RunFolder(tmp_path).record
    assert record["config"] == other
    assert [session["config_digest"] for session in record["sessions"]] == [json_digest(CONFIG), json_digest(other)]
    assert record["started"] == record["sessions"][0]["started"]


@pytest.mark.parametrize(("record", "maker"), [({"kind": TRAINING}, "train"), ({"command": "stylize"}, "stylize")])
def test_the_folder_of_another_command_is_left_as_it_is(record: dict[str, str], maker: str, tmp_path: Path) -> None:
    write_json(tmp_path / RECORD, record)
    with pytest.raises(UsageError, match=f"{tmp_path} holds a run that stylebench {maker} made"), kept(tmp_path):
        pass
    assert RunFolder(tmp_path).record == record
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_two_commands_never_fill_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with kept(folder):
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(UsageError, match=f"{folder} is in use by process"), kept(folder):
            pass
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with kept(folder):
        pass
    assert len(RunFolder(folder).record["sessions"]) == 2


def test_no_training_starts_in_the_folder_of_another_command_nor_is_a_model_read_there(tmp_path: Path) -> None:
    with kept(tmp_path):
        pass
    for mode in ("auto", "never", "must"):
        with pytest.raises(ValueError, match=f"{tmp_path} holds what stylebench evaluate made"):
            find_start(tmp_path, mode, {})
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} is what stylebench evaluate made and holds no model"):
        load(tmp_path)


def test_a_folder_of_optimized_pictures_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (20, 24), (90, 60, 30)).save(tmp_path / "in" / f"{name}.png")
    given = [
        f"input={tmp_path}/in", f"style={tmp_path}/in/b.png", f"output={tmp_path}/out", "model=gatys", "device=cpu",
        "seed=3", "model.evaluations=1",
    ]  # fmt: skip
    stylize(given)
    (run,) = find_runs(tmp_path)
    assert (run.path, run.record["kind"], run.status) == (tmp_path / "out", OPTIMIZATION, FINISHED)
    assert run.record["pictures"] == {"written": 2, "skipped": 0, "failed": 0}
    assert (run.record["seed"], run.config["model"]["evaluations"]) == (3, 1)
    assert run.record["encoder"]["name"].startswith("compact-")
    assert sorted(path.name for path in run.path.glob("*.png")) == ["a.png", "b.png"]
    stylize(given)  # a job that is started again
    assert RunFolder(run.path).record["pictures"] == {"written": 0, "skipped": 2, "failed": 0}
    assert len(RunFolder(run.path).record["sessions"]) == 2


def test_what_a_trained_model_makes_is_no_run(tmp_path: Path) -> None:
    assert record_of_pictures(ImageToImage(nn.Identity()), tmp_path, {}) is None
