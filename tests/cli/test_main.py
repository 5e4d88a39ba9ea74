"""The command line as a newcomer meets it: help, lists, completion, and one clear message for every mistake."""

import json
import logging
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import stylebench
from stylebench import download
from stylebench.cli.arguments import key_of, recorded_overrides
from stylebench.cli.help import COMMANDS, KINDS
from stylebench.cli.main import main
from stylebench.files import read_pickle
from stylebench.shipped import conf_folder, keys, options
from tests.helpers.tiny import TINY


class Shown(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Shown]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command in this process, in an empty folder, and return its exit code and what it showed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    before = list(logging.getLogger().handlers)

    def call(*arguments: str) -> Shown:
        monkeypatch.setattr(sys, "argv", ["stylebench", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as error:
            code = int(error.code or 0)
        finally:
            for handler in set(logging.getLogger().handlers) - set(before):  # Hydra's, bound to streams of this test
                logging.getLogger().removeHandler(handler)
                handler.close()
        shown = capsys.readouterr()
        return Shown(code, shown.out, shown.err)

    return call


def message(shown: Shown) -> str:
    """Return the one message of a failed command."""
    assert shown.code in (1, 2), shown
    lines = [line for line in shown.err.splitlines() if line and not re.search(r"^(INFO|WARNING):|it/s|\d%\|", line)]
    assert lines[0].startswith("stylebench: error: "), shown.err
    assert "Traceback" not in shown.out + shown.err
    assert "Error executing job" not in shown.err
    assert "ERROR:" not in shown.out + shown.err
    assert (lines[-1] == "(HYDRA_FULL_ERROR=1 shows where it came from)") == (shown.code == 1)
    return "\n".join(lines).removeprefix("stylebench: error: ")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_config: Callable[..., dict[str, Any]]) -> Path:
    """A run of two batches, with the overrides that it was started with."""
    from stylebench.commands.train import train

    overrides = [*TINY, "budget.batches=2", "budget.evaluate_every=2"]
    folder = tmp_path_factory.mktemp("finished")
    train(tiny_config(*overrides, "ema=null"), folder, [*overrides, "ema=null"])
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run that may be spoiled."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


# Help


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["help"]])
def test_general_help_names_every_command(run: Run, arguments: list[str]) -> None:
    shown = run(*arguments)
    assert shown.code == 0
    assert all(re.search(rf"^  {command}\s", shown.out, re.MULTILINE) for command in COMMANDS)
    assert "stylebench <command> --help" in shown.out


@pytest.mark.parametrize("command", COMMANDS)
def test_command_help_has_examples_and_every_key(run: Run, command: str) -> None:
    shown = run(command, "--help")
    assert shown.code == 0
    assert f"  stylebench {command}" in shown.out
    if command == "list":
        return
    for key in keys(command):
        assert re.search(rf"^  {key}:", shown.out, re.MULTILINE), key


def test_train_help_lists_groups_with_options_and_defaults(run: Run) -> None:
    shown = run("train", "-h")
    for group in ("model", "dataset", "encoder", "trainer", "logger"):
        line = next(line for line in shown.out.splitlines() if line.startswith(f"  {group} "))
        assert all(path.stem in line for path in Path(str(conf_folder())).joinpath(group).glob("*.yaml"))
        assert "(default " in line


def test_help_prose_shows_every_example_with_known_commands_and_keys() -> None:
    from stylebench.cli.help import EXAMPLES, examples

    assert set(EXAMPLES) == set(COMMANDS)
    for command, lines in EXAMPLES.items():
        assert all(line.startswith(f"stylebench {command} ") for line in lines)
    given = [line for command in COMMANDS for line in examples(command) if line not in EXAMPLES[command]]
    written = [line for text in options("model").values() for line in text.splitlines() if "# example:" in line]
    assert sorted(f"# example: {line}" for line in given) == sorted(written)


def test_version(run: Run) -> None:
    assert run("--version").out == f"stylebench {stylebench.__version__}\n"


QUICK = """
import sys
from stylebench.cli.arguments import key_of, recorded_overrides
from stylebench.cli.main import main
sys.argv = ["stylebench", *sys.argv[1:]]
main()
heavy = {"torch", "hydra", "omegaconf", "pytorch_lightning", "numpy", "PIL"} & set(sys.modules)
raise SystemExit(f"imported {sorted(heavy)}" if heavy else 0)
"""


def test_help_and_lists_import_nothing_heavy() -> None:
    """So that they answer at once: one process for all of them."""
    code = QUICK.replace("main()\n", "[(sys.argv.__setitem__(slice(1, None), a.split()), main()) for a in asked]\n", 1)
    asked = ["", "--help", "--version", *(f"{command} --help" for command in COMMANDS)]
    asked += [f"list {kind}" for kind in KINDS]
    code = code.replace("sys.argv = ", f"asked = {asked!r}\nsys.argv = ")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_module_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["stylebench", "--version"])
    runpy.run_module("stylebench", run_name="__main__")
    assert capsys.readouterr().out.startswith("stylebench ")


# Lists


@pytest.mark.parametrize("kind", KINDS)
def test_list_shows_every_option_with_its_purpose(run: Run, kind: str) -> None:
    shown = run("list", kind)
    folder = Path(str(conf_folder())).joinpath(KINDS[kind])
    files = {path.stem for path in folder.glob("*.yaml")}
    files = files or {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")}
    lines = [line.split(maxsplit=1) for line in shown.out.splitlines()]
    assert {name for name, _ in lines} == files
    assert all(len(purpose) > 10 for _, purpose in lines)


def test_list_says_which_encoder_is_for_evaluation_only(run: Run) -> None:
    purposes = dict(line.split(maxsplit=1) for line in run("list", "encoders").out.splitlines())
    assert {name for name, purpose in purposes.items() if "evaluation only" in purpose.lower()} == {"compact_judge"}


def test_list_controls_shows_range_default_and_meaning(run: Run, finished: Path) -> None:
    shown = run("list", "controls", f"run={finished}")
    assert re.fullmatch(r"alpha +0 \.\. 1, default 1: .*content \(0\).*stylized.*\(1\)\n", shown.out)


def test_list_controls_without_a_run_names_those_of_the_default_model(run: Run) -> None:
    shown = run("list", "controls")
    assert shown.code == 0
    assert re.search(r"^weight_style +0 \.\. 1e\+12, default \d+: ", shown.out, re.MULTILINE)
    assert "color        none | coral | luminance, default none: " in shown.out


def test_list_of_a_mistyped_kind_suggests(run: Run) -> None:
    assert "'modles' to list (did you mean 'models'?)" in message(run("list", "modles"))
    assert "list models takes no more words, got package=x" in message(run("list", "models", "package=x"))


def test_list_alone_shows_all_kinds(run: Run) -> None:
    shown = run("list")
    assert shown.code == 0
    assert all(f"stylebench list {kind}" in shown.out for kind in KINDS)
    assert "fast_transfer, gatys" in shown.out


# Mistakes on the command line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "tain",
            r"unknown command 'tain' \(did you mean 'train'\?\); there are: train, stylize, classify, calibrate",
        ),
        ("train dataset.contnet=x", r"no key 'dataset\.contnet' \(did you mean 'dataset\.content'\?\)"),
        ("train model.weight_stile=3", r"no key 'model\.weight_stile' \(did you mean 'model\.weight_style'\?\)"),
        ("train modle=adain", r"no key 'modle' \(did you mean 'model'\?\); see the keys with --help"),
        ("train model/genrator=x", r"no key 'model/genrator' \(did you mean 'model/generator'\?\)"),
        ("train dataset=procedural dataset.store.cuont=3", r"did you mean 'dataset\.store\.count'\?"),
        (
            "train dataset=procstyle dataset.domains={a:photo,b:flat}",
            r"a list cannot become a mapping, .*'~dataset\.domains' '\+dataset\.domains=\{a:photo,b:flat\}'",
        ),
        (
            "train model=cyclegan dataset=procstyle model.discriminator_b.width=8",
            r"'model\.discriminator_b\.width' cannot be set alone: model\.discriminator_b follows another part",
        ),
        ("train ~sede", r"no key 'sede' \(did you mean 'seed'\?\)"),
        ("train model=fast_transfr", r"model has no option 'fast_transfr' \(did you mean 'fast_transfer'\?\); there"),
        ("train trainer=tpu", r"trainer has no option 'tpu'.*; there are: cpu, ddp, ddp_cpu, gpu"),
        ("train trainer=", r"trainer has to be given an option; there are: cpu"),
        ("train", r"dataset\.content is not set; give it on the command line: dataset\.content=\.\.\."),
        ("train dataset.content=x", r"dataset\.style is not set; give it"),
        ("train seed=1,2", r"seed got several values, 1,2: add -m to train one run for each, or write 'seed=\[1,2\]'"),
        ("train foo", r"cannot read the argument 'foo': arguments have the form key=value"),
        ("train run=a(1)", r"cannot read the argument 'run=a\(1\)': put the value into quotes: 'run=\"a\(1\)\"'"),
        ("train --seed=3", r"unknown option '--seed=3': write seed=3, without dashes; see stylebench train --help"),
        ("train --fast", r"unknown option '--fast': keys are given as key=value; see stylebench train --help"),
        ("stylize -m", r"unknown option '-m'.*see stylebench stylize --help"),
        ("train experiment=johnson2016/lau", r"no experiment 'johnson2016/lau' \(did you mean 'johnson2016/lua'\?\)"),
        ("train experiment=nope", r"no experiment 'nope'; there are: .*quickstart/procstyle"),
        ("profile experiment=nope", r"no experiment 'nope'; there are: "),
        ("profile", r"dataset\.content is not set"),
        ("prepare datset.content=x", r"did you mean 'dataset\.content'\?"),
        ("stylize", r"name what to stylize: input="),
        ("stylize input=y model=fast_transfer", r"has to be trained first: name a run of it by run="),
        ("stylize run=x input=y overwrite=maybe", r"overwrite must be true or false, got 'maybe'"),
        ("export run=x", r"output is not set"),
        ("export run=x output=y weigths=raw", r"did you mean 'weights'\?"),
    ],
)
def test_mistyped_line_gets_one_message_and_code_2(run: Run, line: str, expected: str, tmp_path: Path) -> None:
    shown = run(*line.split())
    assert re.search(expected, message(shown)), shown.err
    assert shown.code == 2
    assert shown.out == ""
    assert not list(tmp_path.rglob("train.log")), "nothing was begun, so nothing is left"


def test_quoted_values_reach_the_key_as_the_message_promises(run: Run) -> None:
    assert "no folder or image" in message(run("prepare", 'dataset.content="a (1), b=c"'))


def test_mistake_in_a_group_of_another_option_still_suggests(run: Run) -> None:
    shown = run("train", "encoder=vgg16", "encoder.poling=avg")
    assert "(did you mean 'encoder.pooling'?)" in message(shown)


def test_full_error_shows_the_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="unknown command"):
        run("tain")


def test_a_fault_of_the_program_is_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: list[str]) -> None:
        raise KeyError("internal")

    monkeypatch.setitem(stylebench.cli.main.HANDLERS, "list", broken)
    with pytest.raises(KeyError, match="internal"):
        run("list", "models")


def test_nothing_of_the_environment_is_left_changed(run: Run) -> None:
    before = dict(os.environ)
    run("train", *TINY, "budget.batches=0")
    assert dict(os.environ) == before


# Values, files and machines that do not fit

BAD_VALUES = [
    ("budget.batches=abc", r"budget\.batches must be a whole number of at least 1, got 'abc'"),
    ("budget.batches=1.5", r"budget\.batches must be a whole number of at least 1, got 1\.5"),
    ("seed=null", r"seed must be a whole number of at least 0, got None"),
    ("checkpoint.keep=x", r"checkpoint\.keep must be a whole number of at least 1, got 'x'"),
    ("dataset.batch_size=0", r"dataset\.batch_size must be a whole number of at least 1, got 0"),
    ("dataset.num_workers=-1", r"dataset\.num_workers must be a whole number of at least 0, got -1"),
    ("dataset.flip=x", r"dataset\.flip must be true or false, got 'x'"),
    ("compile=x", r"compile must be true or false, got 'x'"),
    ("ema.decay=x", r"ema\.decay must be a number in \[0, 1\), got 'x'"),
    ("model.weight_style=abc", r"model: weight_style must be a finite number of at least 0, got 'abc'"),
    ("model.weight_style=-1", r"model: weight_style must be a finite number of at least 0, got -1"),
    ("+model.weight_stile=1", r"FastTransfer cannot be built from its settings: .*'weight_stile'"),
    ("model.generator.width=x", r"model\.generator: width must be a whole number of at least 1, got 'x'"),
    ("model.gram_norm=cosine", r"'cosine'"),
    ("model.style_layers=[relu9_9]", r"relu9_9"),
    ("trainer.devices=x", r"devices"),
    ("trainer.precision=half", r"Precision 'half' is invalid"),
    ("resume=yes please", r"resume must be one of never, auto, must, restart, got 'yes please'"),
    ("resume=must", r"resume=must, but .* holds no checkpoint; start it with resume=auto"),
    ("dataset.size_px=64", r"12 of 12 images .*smaller than the crop of 64 px.*Lower dataset\.size_px"),
    ("encoder.weights=none.pth", r"weights must be imagenet, random or the path.*no file none\.pth"),
    ("encoder.weights=random-x", r"weights must be random-<seed> with a whole number.*got 'random-x'"),
    ("dataset.style=leaves", r"learns one style image.*name one of them"),
]


@pytest.mark.parametrize(("override", "expected"), BAD_VALUES)
def test_value_that_cannot_work_is_named(run: Run, override: str, expected: str, tmp_path: Path) -> None:
    shown = run("train", *TINY, override, f"run={tmp_path / 'r'}")
    assert re.search(expected, message(shown), re.DOTALL), shown.err
    assert shown.out == ""


def test_a_batch_that_cannot_be_divided_is_refused_before_processes_start(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

    def started(*args: Any, **settings: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(_SubprocessScriptLauncher, "launch", started)
    shown = run("train", *TINY, "trainer=ddp_cpu", "dataset.batch_size=3", f"run={tmp_path / 'r'}")
    assert "cannot be divided over 2 devices; set it to 2 or 4" in message(shown)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_names_the_other_trainer(run: Run, tmp_path: Path) -> None:
    assert "try trainer=cpu" in message(run("train", *TINY, "trainer=gpu", f"run={tmp_path / 'r'}"))


def photos(folder: Path, count: int = 4, side: int = 40) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def spoil_empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def spoil_truncated(folder: Path) -> None:
    path = folder / "1.png"
    path.write_bytes(path.read_bytes()[:300])


def spoil_corrupt(folder: Path) -> None:
    data = bytearray((folder / "1.png").read_bytes())
    data[60:200] = bytes(140)
    (folder / "1.png").write_bytes(bytes(data))


def spoil_text(folder: Path) -> None:
    (folder / "note.jpg").write_text("this is no picture")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (shutil.rmtree, r"no folder or image .*photos.*dataset\.content"),
        (spoil_empty, r"no images .*photos"),
        (spoil_truncated, r"1\.png.*(truncated|damaged).*on_unreadable=skip"),
        (spoil_corrupt, r"1\.png.*(truncated|damaged).*on_unreadable=skip"),
        (spoil_text, r"note\.jpg.*is no JPEG, PNG, WebP, BMP or TIFF image.*on_unreadable=skip"),
    ],
)
def test_unusable_pictures_are_named_with_the_way_out(
    run: Run, spoil: Callable[[Path], None], expected: str, tmp_path: Path
) -> None:
    spoil(photos(tmp_path / "photos"))
    photos(tmp_path / "style", 1)
    real = [override for override in TINY if not override.startswith("dataset")]
    given = ["dataset.content=photos", "dataset.style=style/0.png", "dataset.size_px=32", "dataset.num_workers=0"]
    shown = run("train", *real, *given, "run=r")
    assert re.search(expected, message(shown), re.DOTALL), shown.err


def test_small_pictures_are_listed(run: Run, tmp_path: Path) -> None:
    photos(tmp_path / "photos", side=20)
    shown = run("train", *TINY, "dataset=folders", "~dataset.store.count", "dataset.content=photos")
    assert shown.code == 2  # the tiny config sets keys that folders do not have: the message says which
    given = ["dataset.content=photos", "dataset.style=photos/0.png", "dataset.size_px=32", "dataset.num_workers=0"]
    shown = run("train", *[o for o in TINY if not o.startswith("dataset")], *given, "run=r")
    assert "smaller than the crop of 32 px" in message(shown)


def test_weights_of_another_architecture(run: Run, tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    shown = run("train", *TINY, "encoder.weights=other.pth", "run=r")
    assert "It is of another architecture: choose the encoder that fits it, or another file" in message(shown)


def test_the_judge_trains_nothing_and_no_data_are_read(run: Run) -> None:
    shown = run("train", "dataset.content=none", "dataset.style=none.jpg", "encoder=compact_judge", "run=r")
    assert re.search(r"compact_judge only scores what others trained.*encoder=compact", message(shown))
    assert not Path("r").exists()


def test_weights_that_are_no_weights(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.pth").write_text("hello")
    shown = message(run("train", *TINY, "encoder.weights=other.pth", "run=r"))
    assert "other.pth cannot be read as tensors and plain values" in shown
    assert "arbitrary code" not in shown


def test_weights_with_another_digest(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "squeezenet1_0-b66bff10.pth").write_bytes(b"half a file")
    shown = run("train", *TINY, "encoder.weights=imagenet", "run=r")
    assert re.search(
        r"should have a SHA-256 that begins b66bff10, found .*remove the file.*set weights to", message(shown)
    )


def test_weights_that_cannot_be_downloaded(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **settings: Any) -> None:
        raise URLError(OSError("the network is unreachable"))

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(download, "_opener", lambda: SimpleNamespace(open=offline))
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)  # between attempts
    shown = message(run("train", *TINY, "encoder.weights=imagenet", "run=r"))
    for part in (
        "squeezenet1_0-b66bff10.pth",
        "SHA-256 begins b66bff10",
        "network is unreachable",
        "encoder: ",
        "set weights",
    ):
        assert part in shown


def test_an_unwritable_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shown = message(run("train", *TINY, f"run={tmp_path / 'file' / 'run'}"))
    assert "file" in shown


def test_a_full_disk_during_a_checkpoint(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*args: Any, **settings: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    shown = run("train", *TINY, "run=r")
    assert "no space left on the disk" in message(shown)
    assert "run=" in shown.err
    assert json.loads((tmp_path / "r" / "record.json").read_text())["status"] == "failed"
    assert not list((tmp_path / "r" / "checkpoints").glob("*"))


def test_a_nan_loss_names_term_batch_and_way_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from stylebench.methods.fast_transfer import FastTransfer

    original = FastTransfer.terms

    def spoiled(self: FastTransfer, *args: Any) -> Any:
        terms = dict(original(self, *args))
        return {**terms, "tv": terms["tv"] * float("nan")}

    monkeypatch.setattr(FastTransfer, "terms", spoiled)
    shown = message(run("train", *TINY, "run=r"))
    assert "the loss is not finite: 'tv' at batch 1" in shown
    assert "model.optimizers.generator.lr" in shown


@pytest.mark.parametrize(("damage", "expected"), [(None, "seed: 0 -> 1"), ("truncated", "none of the 1 checkpoints")])
def test_resume_must_tells_why_not(run: Run, copied: Path, damage: str | None, expected: str) -> None:
    if damage:
        path = next((copied / "checkpoints").glob("*.ckpt"))
        path.write_bytes(path.read_bytes()[:-200])
    shown = run("train", f"run={copied}", "seed=1", "resume=must")
    assert expected in message(shown)


def test_bad_values_of_stylize(run: Run, finished: Path, picture: Path) -> None:
    given = ["stylize", f"run={finished}", f"input={picture}"]
    for extra, expected in {
        "alpha=2": "control alpha lies in [0, 1], got 2",
        "alpha=abc": "control alpha is a number, got str 'abc'",
        "strength=1": "no control 'strength'; its controls: alpha (0 .. 1, default 1)",
        "device=toaster": "device is auto, cpu, cuda or cuda:<number>, got 'toaster'",
        "device=cuda:99": "use device=cpu",
        "weights=best": "weights must be one of auto, ema, raw, got 'best'",
        "output=x.gif": "the suffix decides the format",
    }.items():
        shown = message(run(*given, extra))
        assert expected in shown, shown
    assert "there is nothing at nope" in message(run("stylize", "run=nope", f"input={picture}"))
    assert "there is nothing at input=nope" in message(run("stylize", f"run={finished}", "input=nope"))
    assert "cannot be read as tensors" in message(run("stylize", f"run={picture}", f"input={picture}"))


# What works


def test_stylize_writes_beside_and_never_over(run: Run, finished: Path, picture: Path, tmp_path: Path) -> None:
    shown = run("stylize", f"run={finished}", f"input={picture}", "alpha=0")
    assert shown == Shown(0, "1 written, 0 already there, 0 failed: stylized/picture.png\n", "")
    with Image.open(tmp_path / "stylized" / "picture.png") as image, Image.open(picture) as before:
        assert np.array_equal(np.asarray(image), np.asarray(before))  # alpha=0 is the picture itself
    assert "overwrite=true" in message(run("stylize", f"run={finished}", f"input={picture}"))
    assert run("stylize", f"run={finished}", f"input={picture}", "overwrite=true").code == 0


def test_stylize_reports_unreadable_pictures_and_goes_on(
    run: Run, finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / "note.jpg").write_text("no picture")
    shown = run("stylize", f"run={finished}", "input=photos", "output=painted")
    assert shown.code == 1
    assert shown.out.startswith("2 written, 0 already there, 1 failed: painted")
    assert "Traceback" not in shown.err
    assert "not stylized: photos/note.jpg: is no JPEG, PNG, WebP, BMP or TIFF image" in caplog.text


def test_export_is_usable_at_once(run: Run, finished: Path, picture: Path) -> None:
    shown = run("export", f"run={finished}", "output=exported")
    assert "stylebench stylize run=exported input=<picture>" in shown.out
    assert run("stylize", "run=exported", f"input={picture}").code == 0


def test_prepare_says_what_it_found(run: Run, tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    (tmp_path / "photos" / "note.jpg").write_text("no picture")
    shown = run("prepare", "dataset.content=photos", "dataset.store.on_unreadable=skip")
    assert shown.code == 0
    assert re.search(
        r"content: 4 images of .*photos \(\d train, \d val, \d test\), 1 left out, digest [0-9a-f]{12}\n"
        r"  left out note\.jpg: ",
        shown.out,
    )
    assert "nothing to prepare: name a domain" in message(run("prepare"))


def test_a_run_goes_on_with_nothing_but_its_folder_and_a_budget(run: Run, copied: Path) -> None:
    shown = run("train", f"run={copied}", "budget.batches=4")
    assert shown.code == 0
    assert f"stylebench stylize run={os.path.relpath(copied)}" in shown.out
    facts = json.loads((copied / "record.json").read_text())
    assert (facts["batches"], facts["status"]) == (4, "finished")
    assert [session["from_batch"] for session in facts["sessions"]] == [0, 2]
    assert yaml.safe_load((copied / "config.yaml").read_text())["ema"] is None
    assert set(TINY) - {"budget.batches=6", "budget.evaluate_every=3"} < set(facts["overrides"])


def test_given_values_win_over_recorded_ones(copied: Path) -> None:
    given = ["logger.every_n_batches=1", "+ema.decay=0.5", f"run={copied}"]
    taken = recorded_overrides(given)
    assert "dataset=procedural" in taken
    assert not {key_of(override) for override in taken} & {"logger.every_n_batches", "ema.decay", "run"}
    assert recorded_overrides(["-m", *given]) == []


def test_a_failed_start_is_not_taken_for_a_run_to_continue(run: Run, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    record = {"overrides": ["budget.batches=1", "model.gram_norm=nonsense"]}
    (tmp_path / "r" / "record.json").write_text(json.dumps(record))
    shown = run("train", *TINY, "budget.batches=1", "run=r")
    assert shown.code == 0, shown.err


def test_an_experiment_gives_the_base_and_the_line_wins(run: Run) -> None:
    shown = run("train", "experiment=quickstart/procstyle", "model.weight_style=7", "--cfg", "job")
    config = yaml.safe_load(shown.out)
    assert config["dataset"]["store"]["size_px"] == 64
    assert config["model"]["weight_style"] == 7
    assert config["dataset"]["style"] == "oil_noise/train-1-00003"


def test_experiments_can_be_swept(run: Run, tmp_path: Path) -> None:
    shown = run("train", "-m", "experiment=gatys2016/init,johnson2016/lau", "debug=tiny")
    assert re.search(r"no experiment 'johnson2016/lau' \(did you mean 'johnson2016/lua'\?\)", message(shown))
    for number, study in enumerate(["gatys2016/init", "gatys2015/depth"]):
        config = yaml.safe_load(run("train", f"experiment={study}", "debug=tiny", "--cfg", "job").out)
        used = config["model"]["inference"]["_target_"]
        assert used.endswith(["GatysTranslator", "TextureTranslator"][number])
        assert config["dataset"]["size_px"] == 32  # debug=tiny comes last


def test_relative_paths_are_those_of_the_caller(run: Run, finished: Path, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    assert run("stylize", f"run={os.path.relpath(finished)}", "input=../picture.png", "output=here.png").code == 0
    assert (tmp_path / "elsewhere" / "here.png").exists()


def test_profile_prints_and_writes_figures(run: Run, tmp_path: Path) -> None:
    shown = run("profile", *TINY, "batches=2", "rounds=1", "output=figures.json")
    assert shown.code == 0, shown.err
    assert "frame over bare" in shown.out
    assert json.loads((tmp_path / "figures.json").read_text())["method"] == "FastTransfer"


# Trust: what lies in a run folder runs nothing


def hostile_overrides(sentinel: Path) -> list[str]:
    command = f"touch {sentinel}"
    return [
        "model._target_=torch.utils.collect_env.run",
        f'model={{_target_:torch.utils.collect_env.run,command:"{command}"}}',
        f'+model.optimizers.generator.params={{_target_:os.system,command:"{command}"}}',
        f'model.generator={{_target_:torch.os.system,command:"{command}"}}',
        f"logger.mirror={{_target_:builtins.exec,_args_:[\"open('{sentinel}', 'w')\"]}}",
        f'+dataset.store.more=[{{_target_:subprocess.check_call,args:[touch,"{sentinel}"]}}]',
        f'trainer={{_target_:pytorch_lightning.Trainer,callbacks:{{_target_:os.system,command:"{command}"}}}}',
        f'+hydra.callbacks.evil={{_target_:subprocess.check_call,args:[touch,"{sentinel}"]}}',
        f'hydra.sweeper={{_target_:os.system,command:"{command}"}}',
        f'hydra.job_logging.handlers.console={{"()":os.system,command:"{command}"}}',
        "hydra/launcher=joblib",
        "+logger@hydra.job_logging=csv",
        "hydra.searchpath=[file:///tmp]",
        "--config-dir=/tmp",
        "-m",
        "seed=0\n--config-dir=/tmp",
    ]


@pytest.mark.parametrize("number", range(len(hostile_overrides(Path("x")))))
def test_recorded_overrides_run_nothing(run: Run, copied: Path, number: int, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    path = copied / "record.json"
    facts = json.loads(path.read_text())
    facts["overrides"].append(hostile_overrides(sentinel)[number])
    path.write_text(json.dumps(facts))
    shown = run("train", f"run={copied}", "budget.batches=3")
    assert shown.code in (1, 2)
    assert "stylebench: error: " in shown.err
    assert not sentinel.exists()
    assert json.loads(path.read_text()) == facts, "nothing was trained"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"overrides": 3}', '{"overrides": [3]}', "[" * 100_000, "\udcff"])
def test_a_damaged_record_is_named(run: Run, copied: Path, text: str) -> None:
    (copied / "record.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    shown = run("train", f"run={copied}", "budget.batches=3")
    assert "record.json" in message(shown)


HOSTILE = ["torch.utils.collect_env.run", "torch.os.system", "builtins.exec", "hydra.utils.get_method", "torch.load"]


@pytest.mark.parametrize("target", HOSTILE)
def test_a_hostile_checkpoint_runs_nothing(run: Run, copied: Path, target: str, picture: Path, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    path = next((copied / "checkpoints").glob("*.ckpt"))
    checkpoint = read_pickle(path)
    node = {"_target_": target, "command": f"touch {sentinel}"}
    checkpoint["stylebench"]["config"]["model"]["inference"]["generator"] = node
    torch.save(checkpoint, path)
    assert "not on the list" in message(run("stylize", f"run={copied}", f"input={picture}"))
    assert "not on the list" in message(run("export", f"run={copied}", "output=exported"))
    with pytest.raises(ValueError, match="not on the list"):
        stylebench.load(copied)
    run("train", f"run={copied}", "budget.batches=3", "resume=must")
    assert not sentinel.exists()
    assert not (tmp_path / "exported").exists()


def test_config_yaml_of_a_run_is_never_read(run: Run, copied: Path, picture: Path, tmp_path: Path) -> None:
    hostile = f"model:\n  _target_: os.system\n  command: touch {tmp_path / 'sentinel'}\n"
    (copied / "config.yaml").write_text(hostile)
    assert run("stylize", f"run={copied}", f"input={picture}").code == 0
    assert run("train", f"run={copied}").code == 0
    assert not (tmp_path / "sentinel").exists()


# Completion


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("stylebench ", set(COMMANDS), set()),
        ("stylebench tr", {"train"}, {"stylize"}),
        ("stylebench train mod", {"model", "model."}, {"seed="}),
        ("stylebench train model=", {"model=fast_transfer"}, set()),
        ("stylebench train trainer=d", {"trainer=ddp", "trainer=ddp_cpu"}, {"trainer=cpu"}),
        ("stylebench train ", {"seed=", "budget.", "model", "dataset="}, {"stylize"}),
        ("stylebench train model=fast_transfer model.weight_", {"model.weight_style="}, {"seed="}),
        ("stylebench profile enc", {"encoder=", "encoder."}, set()),
        ("stylebench prepare dataset.con", {"dataset.content="}, set()),
        ("stylebench stylize ", {"run=", "input=", "output=", "weights="}, {"encoder=", "trainer="}),
        ("stylebench stylize we", {"weights="}, {"run="}),
        ("stylebench export o", {"output=", "overwrite="}, {"run="}),
        ("stylebench list ", {"models", "controls", "experiments"}, set()),
        ("stylebench list mo", {"models"}, {"controls"}),
        ("  /usr/bin/stylebench  train  model=", {"model=fast_transfer"}, set()),
    ],
)
def test_bash_completion_offers(
    run: Run, monkeypatch: pytest.MonkeyPatch, line: str, some: set[str], none: set[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    shown = run("-sc", "query=bash")
    offered = set(shown.out.split())
    assert some <= offered, shown
    assert not none & offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_installs(run: Run, shell: str) -> None:
    shown = run("-sc", f"install={shell}")
    assert shown.code == 0
    assert "stylebench" in shown.out


def test_stylize_without_a_run(run: Run, tmp_path: Path) -> None:
    for name, size in (("photo.png", (60, 40)), ("painting.png", (30, 50))):
        pixels = np.random.default_rng(0).integers(0, 256, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size).save(tmp_path / name)
    shown = run(
        "stylize", "input=photo.png", "style=painting.png", "size_px=48", "evaluations=4", "every=2", "weight_style=3"
    )
    assert shown.code == 0
    assert shown.out == "1 written, 0 already there, 0 failed: stylized/photo.png\n"
    with Image.open(tmp_path / "stylized" / "photo.png") as made:
        assert made.size == (48, 32)
    assert {path.name for path in (tmp_path / "stylized").iterdir()} == {
        "photo.png", "photo.csv", "photo-000001.png", "photo-000002.png", "photo-000004.png",
    }  # fmt: skip


def test_texture_needs_no_input(run: Run, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / "t.png")
    shown = run("stylize", "model=texture_synthesis", "style=t.png", "size_px=32", "evaluations=3", "output=grown.png")
    assert shown.code == 0
    with Image.open(tmp_path / "grown.png") as made:
        assert made.size == (32, 32)
    again = run("stylize", "model=texture_synthesis", "style=t.png", "size_px=32", "evaluations=3", "output=grown.png")
    assert "grown.png exists" in message(again)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("input=t.png", "name a picture by style="),
        ("input=t.png style=no.png", r"no picture at style=no\.png"),
        ("input=t.png style=t.png ouput=z.png", r"unknown key 'ouput'; did you mean 'output'\?"),
        (
            "input=t.png style=t.png weight_stile=3",
            r"'weight_stile' \(did you mean 'weight_style'\?\); its controls: ev",
        ),
        ("input=t.png style=t.png encoder=compact_judge", "compact_judge only scores"),
        ("input=t.png style=t.png size_px=0.5", "size_px must be a whole number"),
        ("input=t.png style=t.png size_px=0", "size_px must be a whole number"),
        ("model=texture_synthesis style=t.png size_px=-5", "size_px must be a whole number"),
        ("model=texture_synthesis style=t.png output=t.png overwrite=true", "is one of the pictures that steer it"),
        ("input=. style=t.png every=5", "the input is a folder"),
        ("input=t.png style=t.png run=x encoder=vgg19", "encoder: run= brings its own model"),
        ("input=t.png style=t.png model/style_loss=mmd_gauss", "use Adam as the minimizer"),
        ("input=t.png style=t.png masks=t.png", "no control 'masks'"),
        ("model=texture_synthesis", "name a picture by style="),
    ],
)
def test_wrong_lines_of_stylize_without_a_run(run: Run, tmp_path: Path, line: str, match: str) -> None:
    Image.fromarray(np.zeros((40, 40, 3), dtype=np.uint8)).save(tmp_path / "t.png")
    assert re.search(match, message(run("stylize", *line.split())))
