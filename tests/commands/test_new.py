"""New methods: each skeleton runs as it is written, by the commands that are printed with it."""

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from stylebench.cli.main import main
from stylebench.commands import new
from stylebench.commands.new import LIKE
from stylebench.own_packages import trust_file

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[[str], str]
FEW = "metrics=none dataset.store.train_images=8 dataset.store.val_images=4 dataset.store.test_images=4"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Return a function that runs a command line in an empty folder and returns what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    before = set(sys.modules)

    def call(line: str) -> str:
        monkeypatch.setattr(sys, "argv", shlex.split(line, comments=True))
        capsys.readouterr()
        main()
        return capsys.readouterr().out

    yield call
    for name in set(sys.modules) - before:
        if name.partition(".")[0].startswith("own_"):
            del sys.modules[name]


def refused(run: Run, line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the message of a command that must fail."""
    with pytest.raises(SystemExit):
        run(line)
    return capsys.readouterr().err


def printed_commands(shown: str) -> list[str]:
    return re.findall(r"^  ([^#\s].*)$", shown, flags=re.MULTILINE)


@pytest.mark.parametrize("like", [LIKE[1], *(pytest.param(like, marks=pytest.mark.slow) for like in LIKE[::2])])
def test_a_skeleton_runs_by_the_commands_that_are_printed(
    run: Run, tmp_path: Path, like: str, capsys: pytest.CaptureFixture[str]
) -> None:
    package = f"own_{like}"
    shown = run(f"stylebench new method my_art like={like} package={package}")
    assert {path.name for path in (tmp_path / package).iterdir()} >= {"__init__.py", "my_art.py", "my_art.yaml"}
    train, test, trust, stylize, evaluate, longer = printed_commands(shown)
    assert trust in run(f"{train} {FEW}")  # the run says, too, what comes before others use it
    samples = tmp_path / "outputs" / "my_art" / "tiny" / "samples"
    assert [path.name for path in sorted(samples.iterdir())] == ["batch-000000002.png", "batch-000000004.png"]
    assert f"'{package}.my_art.MyArt'" in refused(run, evaluate, capsys)
    elsewhere = [evaluate, "stylebench train run=outputs/my_art/tiny budget.batches=6"]
    if like == "arbitrary_style":  # what is used after training has a class of its own, too
        elsewhere += [stylize, "stylebench export run=outputs/my_art/tiny output=exported"]
    for line in elsewhere:
        assert trust in refused(run, line, capsys)

    subprocess.run(trust, shell=True, check=True)
    assert f"\n{package}.my_art" in run("stylebench list models")
    run(stylize)
    with (
        Image.open(tmp_path / "stylized" / "my_art.png") as painted,
        Image.open(samples / "batch-000000004.png") as seen,
    ):
        assert painted.size == seen.size
    assert "fd_rand_ms" in run(f"{evaluate} metrics.num_images=4")
    run("stylebench export run=outputs/my_art/tiny output=exported")
    run(f"{stylize} run=exported output=again.png")
    assert Path("again.png").read_bytes() == Path("stylized/my_art.png").read_bytes()
    run(f"{longer} debug=tiny dataset.store.size_px=32 {FEW} budget.batches=1 budget.evaluate_every=1 run=longer")
    assert (tmp_path / "longer" / "report.html").is_file() == ("panel=true" in longer)
    run("stylebench train run=outputs/my_art/tiny budget.batches=6")
    record = json.loads((tmp_path / "outputs" / "my_art" / "tiny" / "record.json").read_text())
    assert (record["status"], record["batches"], record["name"]) == ("finished", 6, f"{package}.my_art")

    assert test == f"python -m pytest {package}/test_my_art.py"
    module = importlib.import_module(f"{package}.test_my_art")
    checks = [check for name, check in vars(module).items() if name.startswith("test_")]
    assert len(checks) == 3
    for check in checks:
        check()


def test_a_second_method_joins_the_package(run: Run, tmp_path: Path) -> None:
    first = run("stylebench new method one package=own_art")
    assert "written  own_art/__init__.py" in first
    subprocess.run(printed_commands(first)[2], shell=True, check=True)
    (tmp_path / "own_art" / "__init__.py").write_text("# mine\n")
    second = run("stylebench new method two package=own_art like=adversarial")
    assert "__init__" not in second
    assert len(printed_commands(second)) == len(printed_commands(first)) - 1, "the package is trusted already"
    assert (tmp_path / "own_art" / "__init__.py").read_text() == "# mine\n"
    assert "own_art.one " in run("stylebench list models")
    assert "own_art.two " in run("stylebench list models")


def test_what_is_there_is_never_overwritten(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("stylebench new method my_art package=own_art")
    before = {path: path.read_bytes() for path in (tmp_path / "own_art").iterdir() if path.is_file()}
    (tmp_path / "own_art" / "my_art.py").unlink()
    assert "own_art/my_art.yaml" in refused(run, "stylebench new method my_art package=own_art", capsys)
    assert not (tmp_path / "own_art" / "my_art.py").exists()
    del before[tmp_path / "own_art" / "my_art.py"]
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("method", "stylebench new method <name>"),
        ("", "stylebench new method <name>"),
        ("dataset my_art", "stylebench new method <name>"),
        ("method my-art", "'my-art'"),
        ("method 3d", "'3d'"),
        ("method class", "'class'"),
        ("method MyArt", "'MyArt'"),
        ("method ../art", "'../art'"),
        ("method tensor", "Tensor"),
        ("method my_art like=gan", "single_style, arbitrary_style, adversarial, got 'gan'"),
        ("method my_art lik=adversarial", "did you mean 'like'"),
        ("method my_art package=own.art", "'own.art'"),
        ("method my_art package=json", "package=json"),
        ("method my_art package=torch", "package=torch"),
        ("method my_art package=stylebench", "package=stylebench"),
        ("method my_art package=pictures", "__init__.py"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(
    run: Run, tmp_path: Path, line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    assert said in refused(run, f"stylebench new {line}", capsys)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_first_package_is_my_methods(run: Run, tmp_path: Path) -> None:
    run("stylebench new method my_art")
    assert "stylebench.skeletons" not in "".join(
        path.read_text() for path in (tmp_path / "my_methods").glob("my_art.*")
    )
    assert "_target_: my_methods.my_art.MyArt" in (tmp_path / "my_methods" / "my_art.yaml").read_text()


def test_a_model_that_is_not_there_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no package own_art" in refused(run, "stylebench train model=own_art.my_art", capsys)
    run("stylebench new method my_art package=own_art")
    said = refused(run, "stylebench train model=own_art.my_arts", capsys)
    assert "own_art/my_arts.yaml" in said
    assert "did you mean 'own_art.my_art'" in said


@pytest.mark.slow
def test_several_own_models_are_swept(run: Run, tmp_path: Path) -> None:
    run("stylebench new method one package=own_art")
    run("stylebench new method two package=own_art like=adversarial")
    shown = run(
        "stylebench train -m model=own_art.one,own_art.two dataset=procstyle dataset.store.size_px=32 debug=tiny "
        "budget.batches=1 metrics=none run=sweep"
    )
    assert shown.count("\nrun folder  ") == 2
    records = [json.loads((tmp_path / "sweep" / job / "record.json").read_text()) for job in "01"]
    assert [record["method"] for record in records] == ["one", "two"]


def test_completion_knows_own_models(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("stylebench new method one package=own_art")
    monkeypatch.setenv("COMP_LINE", "stylebench train model=own_art.one model.weight_")
    monkeypatch.setenv("COMP_POINT", "47")
    assert "model.weight_style=" in run("stylebench -sc query=bash")
    assert "own_art" not in sys.modules
    subprocess.run(printed_commands(first)[2], shell=True, check=True)
    monkeypatch.setenv("COMP_LINE", "stylebench train model=own")
    assert "model=own_art.one" in run("stylebench -sc query=bash")


def test_in_a_checkout_the_files_join_those_of_the_house(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("stylebench/methods", "stylebench/inference/translators", "conf/model", "tests/methods"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(new, "checkout", lambda: tmp_path)
    shown = run("stylebench new method my_art like=arbitrary_style")
    written = ["stylebench/methods/my_art.py", "stylebench/inference/translators/my_art.py", "conf/model/my_art.yaml"]
    assert [line.removeprefix("written  ") for line in shown.splitlines() if line.startswith("written")] == [
        *written, "tests/methods/test_my_art.py",
    ]  # fmt: skip
    texts = [(tmp_path / path).read_text() for path in written]
    assert "from stylebench.inference.translators.my_art import MyArtTranslator" in texts[0]
    assert "_target_: stylebench.methods.my_art.MyArt" in texts[2]
    assert not any(word in text for text in texts for word in ("skeletons", "my_method", "MyMethod"))
    assert not any(str(trust_file()) in command for command in printed_commands(shown))
    for name in ("adain", "generator"):
        assert f"model={name}" in refused(run, f"stylebench new method {name}", capsys)


@pytest.mark.parametrize("like", LIKE)
def test_the_name_that_help_and_readme_give_works(like: str, run: Run, tmp_path: Path) -> None:
    run(f"stylebench new method my_method like={like} package=my_art")
    assert "my_art.my_method" in run("stylebench list models")
    assert "class MyMethod(Method)" in (tmp_path / "my_art" / "my_method.py").read_text()
    assert "_target_: my_art.my_method.MyMethod" in (tmp_path / "my_art" / "my_method.yaml").read_text()


@pytest.mark.slow
def test_in_a_checkout_every_check_takes_new_methods_up(tmp_path: Path) -> None:
    """Copy the checkout, add a method by each skeleton, and run there what the house runs."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        pictures = name.startswith(("experiments", "tests/frozen")) and not name.endswith(".py")
        if not pictures and (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / name)
    link = tmp_path / "stylebench" / "conf"
    link.symlink_to(tmp_path / "conf")  # in front of the one that is installed

    def here(*command: str) -> str:
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    names = {f"new_{like}": like for like in LIKE}
    for name, like in names.items():
        here("-m", "stylebench", "new", "method", name, f"like={like}")
    here("tests/test_readme.py")
    link.unlink()  # it is a module of nobody
    here("-m", "ruff", "format", "--check", ".")
    here("-m", "ruff", "check", ".")
    link.symlink_to(tmp_path / "conf")
    here("-m", "mypy")
    tests = ["tests/test_conf.py", "tests/test_readme.py", "tests/test_trusted.py", "tests/test_architecture.py"]
    here("-m", "pytest", "-q", *tests, *(f"tests/methods/test_{name}.py" for name in names))
    here("-m", "pytest", "-q", "tests/test_smoke.py", "-k", " or ".join(names))
