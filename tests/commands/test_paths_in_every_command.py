"""What every command does with a value that should be a path: the same."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stylebench.build import open_data
from stylebench.checks import UsageError
from stylebench.cli import main
from stylebench.cli.config import compose
from stylebench.commands.evaluate import evaluate
from stylebench.construct import construct


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STYLEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pictures(folder: Path, count: int = 3, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def data_of(*given: str) -> Any:
    return open_data(compose("train", ["dataset.size_px=32", *given]))


def evaluated(*given: str) -> object:
    return evaluate(compose("evaluate", ["metrics=smoke", *given]))


COMMANDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "train": (
        "dataset.input",
        lambda value: data_of("model=pix2pix", f"dataset.input={value}", "dataset.target=photos"),
    ),
    "train, pairs": ("dataset.pairs", lambda value: data_of("model=pix2pix", f"dataset.pairs={value}")),
    "prepare": ("dataset.target", lambda value: main.prepare(["dataset.input=photos", f"dataset.target={value}"])),
    "prepare, sheet": ("sheet", lambda value: main.prepare(["dataset.a=photos", f"sheet={value}"])),
    "stylize": ("input", lambda value: main.stylize([f"input={value}", "style=photos/0.png"])),
    "stylize, style": ("style", lambda value: main.stylize(["input=photos", f"style=[photos/0.png,{value}]"])),
    "stylize, output": ("output", lambda value: main.stylize(["input=photos", "style=a.png", f"output={value}"])),
    "evaluate": ("generated", lambda value: evaluated(f"generated={value}", "reference=photos")),
    "evaluate, target": ("target", lambda value: evaluated("generated=photos", f"target={value}")),
    "evaluate, run": ("run", lambda value: evaluated(f"run={value}")),
    "export": ("run", lambda value: main.export([f"run={value}", "output=out"])),
    "profile": ("output", lambda value: main.profile([f"output={value}"])),
}
WRONG = {"list": "[a.png,b.png]", "mapping": "{a: 1}", "switch": "true", "number": "0.5"}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", [*WRONG, "nothing", "nobody's home"])
def test_what_is_no_path_is_one_line_that_names_the_key(command: str, kind: str, here: Path) -> None:
    key, run = COMMANDS[command]
    if kind == "nothing" and key in ("output", "sheet", "dataset.input", "dataset.pairs", "dataset.target"):
        pytest.skip("empty is not set there")
    pictures(here / "photos")
    value = {**WRONG, "nothing": "''", "nobody's home": "'~nobody-here/a'"}[kind]
    with pytest.raises(UsageError, match=rf"^{re.escape(key)}\b") as caught:
        run(value)
    assert "\n" not in str(caught.value)


def test_home_folders_quotes_and_numbers_are_paths(here: Path) -> None:
    pictures(here / "home" / "mine")
    pictures(here / "2020")
    for value in ("'~/mine'", "\"'2020'\"", "2020"):
        assert data_of(f"dataset.content={value}", f"dataset.style={value}").domains["content"].ids[0] == "0.png"
        assert evaluated(f"generated={value}", f"target={value}").record
        main.prepare([f"dataset.a={value}", "sheet='~/sheet.png'"])
    assert (here / "home" / "sheet.png").is_file()


def test_several_folders_are_one_domain_of_contents_or_styles(here: Path) -> None:
    pictures(here / "a", 4)
    pictures(here / "b" / "train", 3, seed=1)
    pictures(here / "b" / "test", 2, seed=2)
    domains = data_of("dataset.content=[a,b]", "dataset.style=[a/0.png,b]", "model=adain").domains
    content = domains["content"]
    assert content.ids == ["1/0.png", "1/1.png", "1/2.png", "1/3.png", "2/test/0.png", "2/test/1.png",
                           "2/train/0.png", "2/train/1.png", "2/train/2.png"]  # fmt: skip
    assert {4, 5} <= {*content.split("test").tolist()}  # the split folders of b count, of a its images are divided
    assert {6, 7, 8} <= {*content.split("train").tolist(), *content.split("val").tolist()}
    assert (content.name, content.describe()["count"], len(domains["style"])) == ("a+b", 9, 6)
    np.testing.assert_array_equal(content.image(6), np.asarray(Image.open(here / "b" / "train" / "0.png")))


def test_one_folder_in_a_list_is_that_folder(here: Path) -> None:
    pictures(here / "a")
    one = data_of("dataset.content=[a]", "dataset.style=a/0.png").domains["content"]
    assert one.digest == data_of("dataset.content=a", "dataset.style=a/0.png").domains["content"].digest


def test_classes_of_several_folders_are_one_set_of_classes(here: Path) -> None:
    for folder in ("a/cat", "b/dog", "b/cat"):
        pictures(here / folder, 2)
    store = construct(compose("train", [])["dataset"]["store"], "store", listed=None)
    domain = store.open(["a", "b"])
    assert (domain.classes, domain.labels.tolist()) == (["cat", "dog"], [0, 0, 0, 0, 1, 1])


def test_a_folder_that_is_named_twice_is_refused(here: Path) -> None:
    pictures(here / "a")
    with pytest.raises(ValueError, match="names a folder twice"):
        data_of("dataset.content=[a,./a]", "dataset.style=a/0.png")


def test_worlds_have_domains_of_one_name(here: Path) -> None:
    with pytest.raises(UsageError, match=r"^dataset.content takes one path, got a list of 2"):
        data_of("dataset=procedural", "dataset.content=[leaves,strokes]")
