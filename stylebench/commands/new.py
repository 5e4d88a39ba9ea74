"""Write the files of a new method: one of the skeletons, under another name, and the commands to try it."""

import keyword
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylebench.checks import UsageError, check_choice
from stylebench.own_packages import how_to_trust, installed_package, trusted_packages
from stylebench.shipped import conf_folder, options

SKELETONS = Path(__file__).parents[1] / "skeletons"
LIKE = ("single_style", "arbitrary_style", "adversarial")
PACKAGE = "my_methods"  # a user's own, where none is named
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class Home:
    """Where a method's files go, and what they are called there.

    Attributes:
        option: value of `model=`.
        module: dotted path of the method's module.
        inference: dotted path of the module of what is used after training, where the skeleton has one.
        files: path of each part of a skeleton: `method`, `inference`, `config`, `test`.
        root: the folder from which paths are shown.
        package: the user's own package; None in a checkout.
    """

    option: str
    module: str
    inference: str
    files: Mapping[str, Path]
    root: Path
    package: str | None


@dataclass(frozen=True)
class Created:
    """What was written, and what can be done with it.

    Attributes:
        files: the written files, as seen from the current folder.
        commands: command lines with what each is for.
    """

    files: list[str]
    commands: list[tuple[str, str]]


def new_method(name: str, config: Mapping[str, Any]) -> Created:
    """Write a method that trains as it stands: its module, its config and its test.

    Args:
        name: of the method, in `snake_case`.
        config: the resolved config of the command, with `like` and `package`.

    Raises:
        UsageError: if the name, or that of the package, cannot be used; nothing is written then.
        FileExistsError: if a file of the method is there already.
        ValueError: if there is no such skeleton.
    """
    like = check_choice("like", config["like"], LIKE)
    _check_name("the method's name", name)
    home = _home(name, config["package"])
    texts = {path: _renamed(text, like, name, home) for path, text in _parts(like, home).items()}
    there = [str(path) for path in texts if path.exists()]
    if there:
        raise FileExistsError(f"{', '.join(there)} exists already; choose another name, or move it away first")
    starts = [home.files["method"].parent / "__init__.py"] if home.package is not None else []
    written = [start for start in starts if not start.exists()]
    for start in written:
        start.parent.mkdir(parents=True, exist_ok=True)
        start.write_text(f'"""Methods of {home.package}, for stylebench: model={home.package}.<method>."""\n')
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return Created([str(path.relative_to(home.root)) for path in (*written, *texts)], _commands(name, like, home))


def checkout() -> Path | None:
    """Return the root of the checkout that this package runs from, if the current folder is in it; else None."""
    root = Path(__file__).resolve().parents[2]
    whole = (root / "conf" / "model").is_dir() and (root / "tests" / "methods").is_dir()
    return root if whole and Path.cwd().is_relative_to(root) else None


def _home(name: str, package: str | None) -> Home:
    root = checkout()
    if package is None and root is not None:
        return _in_checkout(name, root)
    return _in_package(name, PACKAGE if package is None else str(package))


def _in_checkout(name: str, root: Path) -> Home:
    if name in options("model") or (Path(str(conf_folder())) / "model" / name).exists():
        raise UsageError(f"model={name} is there already; choose another name")
    files = {
        "method": root / "stylebench" / "methods" / f"{name}.py",
        "inference": root / "stylebench" / "inference" / "translators" / f"{name}.py",
        "config": root / "conf" / "model" / f"{name}.yaml",
        "test": root / "tests" / "methods" / f"test_{name}.py",
    }
    return Home(name, f"stylebench.methods.{name}", f"stylebench.inference.translators.{name}", files, root, None)


def _in_package(name: str, package: str) -> Home:
    _check_name("package", package)
    folder = Path.cwd() / package
    other = installed_package(package)
    if other is not None and other != folder.resolve():
        raise UsageError(f"package={package}: there is another package of that name, {other}; choose another name")
    if folder.exists() and not (folder / "__init__.py").is_file():
        raise UsageError(f"package={package}: {folder} is no package, as it has no __init__.py; name another one")
    files = {
        "method": folder / f"{name}.py",
        "inference": folder / f"{name}_model.py",
        "config": folder / f"{name}.yaml",
        "test": folder / f"test_{name}.py",
    }
    return Home(f"{package}.{name}", f"{package}.{name}", f"{package}.{name}_model", files, Path.cwd(), package)


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(f"{what} is a Python name in lower case, such as my_method, got {name!r}")


def _parts(like: str, home: Home) -> dict[Path, str]:
    """Return the texts of a skeleton by the files that they go to."""
    sources = {"method": ".py", "inference": "_model.py", "config": ".yaml", "test": "_check.py"}
    found = {home.files[part]: SKELETONS / f"{like}{ending}" for part, ending in sources.items()}
    return {target: source.read_text(encoding="utf-8") for target, source in found.items() if source.is_file()}


def _renamed(text: str, like: str, name: str, home: Home) -> str:
    """Return a skeleton's text with the names of the new method."""
    title = "".join(word.capitalize() for word in name.split("_"))
    if re.search(rf"\b({title}|{title}Translator)\b", text.replace("MyMethod", "")):  # which makes room for it
        raise UsageError(f"the class of {name} would be {title}, a name that its file uses already; choose another one")
    place = f"stylebench.skeletons.{like}"
    words = {  # the longer of two that begin alike first
        f"{place}_model": home.inference,
        place: home.module,
        "model=my_method": f"model={home.option}",
        "# my_method.yaml": f"# {home.option}.yaml",
        "my_method": name,
        "MyMethod": title,
    }
    found = re.compile("|".join(map(re.escape, words)))
    return _with_sorted_imports(found.sub(lambda word: words[word[0]], text))


def _with_sorted_imports(text: str) -> str:
    """Return a module's text with the last block of its imports, of one line each, in the order of their names."""
    block = re.compile(r"(?:^from [^\n]*\n)+(?=\n\n)", re.MULTILINE)
    return block.sub(lambda found: "".join(sorted(found[0].splitlines(keepends=True))), text, count=1)


def _commands(name: str, like: str, home: Home) -> list[tuple[str, str]]:
    """Return command lines that can be run as they stand, in this order."""
    run, picture = f"outputs/{name}/tiny", f"outputs/{name}/tiny/samples/batch-000000004.png"
    data = "dataset=procstyle dataset.style=prior" if like == "arbitrary_style" else "dataset=procstyle"
    style = f" style={picture}" if like == "arbitrary_style" else ""
    panel = "" if like == "adversarial" else " panel=true"  # exact answers beside the results: of the style task alone
    test = home.files["test"].relative_to(home.root)
    commands = [
        (
            f"stylebench train model={home.option} {data} dataset.store.size_px=32 debug=tiny run={run}",
            "seconds: does it run?",
        ),
        (f"python -m pytest {shlex.quote(str(test))}", "its test (pytest: pip install pytest)"),
    ]
    if home.package is not None and home.package not in trusted_packages():
        commands.append(
            (how_to_trust(home.package), f"once: let the files that training writes name classes of {home.package}")
        )
    commands += [
        (
            f"stylebench stylize run={run} input={picture}{style} output=stylized/{name}.png",
            "use it: here on a grid of its run; or on pictures of yours",
        ),
        (f"stylebench evaluate run={run} metrics=smoke", "measure it"),
        (
            f"stylebench train model={home.option} {data} dataset.store.size_px=64 budget.batches=500 "
            f"budget.evaluate_every=250{panel}",
            "minutes: does it learn? look at the pictures in its run folder",
        ),
    ]
    if home.package is None:
        commands.append(("python tests/test_readme.py", "name it in README.md's table of methods"))
    return commands
