"""The typed words before Hydra reads them."""

import json
import shlex
from pathlib import Path

import pytest

from stylebench.checks import UsageError
from stylebench.cli.arguments import before_overrides, check_keys, given_controls, started_elsewhere, typed
from stylebench.cli.config import compose


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        (["a=1", "b=2"], ["x=0", "a=1", "b=2"]),
        (["-m", "a=1,2"], ["-m", "x=0", "a=1,2"]),
        (["--cfg", "job", "a=1"], ["--cfg", "job", "x=0", "a=1"]),
        (["--multirun"], ["--multirun", "x=0"]),
        ([], ["x=0"]),
    ],
)
def test_added_overrides_stand_behind_flags_and_before_typed_ones(typed: list[str], whole: list[str]) -> None:
    assert before_overrides(["x=0"], typed) == whole


def test_a_run_of_another_directory_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "record.json").write_text(json.dumps({"directory": "/elsewhere"}))
    assert started_elsewhere([f"run={tmp_path}"]) == "/elsewhere"
    (tmp_path / "record.json").write_text(json.dumps({"directory": str(Path.cwd())}))
    assert started_elsewhere([f"run={tmp_path}"]) is None
    assert started_elsewhere(["run=nowhere"]) is None
    assert started_elsewhere(["seed=1"]) is None


@pytest.mark.parametrize("sign", ["", "+", "++", "~"])
@pytest.mark.parametrize("command", ["train", "stylize", "profile", "list", "evaluate", "export"])
def test_a_key_of_an_earlier_version_is_answered_with_the_present_one(command: str, sign: str) -> None:
    with pytest.raises(UsageError, match=r"^model\.translator\.tile_px is model\.tile_px now"):
        check_keys(command, ["seed=0", f"{sign}model.translator.tile_px=64"])
    with pytest.raises(UsageError, match=r"^model/network is model/generator now"):
        check_keys(command, ["model=fast_transfer", f"{sign}model/network=johnson_paper"])
    check_keys(command, ["model=classifier", f"{sign}model/network=resnet18", f"{sign}model.network.stem=small"])
    with pytest.raises(UsageError, match=r"^model\.discriminator_a\.width is model\.discriminator\.width now"):
        check_keys(command, ["model=cyclegan", f"{sign}model.discriminator_a.width=3"])
    for player, chosen in (("decoder", "model=adain"), ("decoder", "experiment=adain2017/paper"), ("generator", "x=y")):
        with pytest.raises(UsageError, match=rf"^model\.optimizer\.lr is model\.optimizers\.{player}\.lr now"):
            check_keys(command, [chosen, f"{sign}model.optimizer.lr=1"])
    for earlier, present in (("objective", "optimized_metric"), ("report", "panel")):
        with pytest.raises(UsageError, match=rf"^{earlier} is {present} now"):
            check_keys(command, [f"{sign}{earlier}=x"])
    check_keys(command, ["name=model.translator", "model.tile_px=3", "--cfg", "job"])


def test_the_target_of_a_model_is_its_domain_and_that_of_folders_stays() -> None:
    for command, words in (("stylize", []), ("list", ["controls"]), ("evaluate", ["run=x"])):
        with pytest.raises(UsageError, match=r"^target is domain now"):
            check_keys(command, [*words, "target=sketch"])
    check_keys("evaluate", ["generated=theirs", "target=truth"])
    check_keys("train", ["run=x", "+dataset.target=photos"])


def test_a_typed_key_of_the_command_reaches_the_control_of_its_name() -> None:
    config = {"seed": 3, "size_px": 64, "controls": {"alpha": 0.5}}
    typed = ["run=x", "seed=3", "size_px=64", "alpha=0.5"]
    assert given_controls(config, typed, ["alpha", "seed"]) == {"alpha": 0.5, "seed": 3}
    assert given_controls(config, typed, ["alpha"]) == {"alpha": 0.5}  # a model without such a control
    assert given_controls(config, ["run=x", "alpha=0.5"], ["alpha", "seed"]) == {"alpha": 0.5}  # its own seed stays


@pytest.mark.parametrize(
    "folder",
    ["outputs/adain/2026-11-20_10-00-00", "../R", "/a/b", "q,2", "a b=1", "it's", 'say "so"', "[x]", "3", "null"],
)
def test_a_typed_argument_is_read_as_it_was_meant(folder: str) -> None:
    (word,) = shlex.split(typed("run", folder))
    assert compose("export", [word, "output=x"])["run"] == folder
