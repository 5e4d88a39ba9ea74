"""What the configuration files that ship with the package say: options, keys, tasks of data sets, and classes."""

import functools
import importlib.resources
import re
from collections.abc import Iterator
from typing import Any

_TARGET = re.compile(r"^[^#\n]*?\b_target_: *([A-Za-z_][\w.]*)", re.MULTILINE | re.ASCII)


def conf_folder() -> Any:
    """Return the folder of the configuration groups, wherever the package is installed."""
    return importlib.resources.files("stylebench.conf")


def keys(command: str) -> list[str]:
    """Return the top-level keys of a command's own config file."""
    found = re.findall(r"^(\w+):", (conf_folder() / f"{command}.yaml").read_text(), flags=re.MULTILINE)
    return [key for key in found if key not in ("defaults", "hydra")]


def groups(command: str) -> list[str]:
    """Return the config groups that a command's own file chooses from."""
    return re.findall(r"^  - (\w+): \w+", (conf_folder() / f"{command}.yaml").read_text(), flags=re.MULTILINE)


def options(group: str) -> dict[str, str]:
    """Return the option names of a config group with their files' text; of folders of options `<folder>/<name>`."""
    folder = conf_folder()
    for part in group.split("/"):
        folder = folder / part
    items = sorted(folder.iterdir(), key=lambda item: item.name)
    files = {item.name.removesuffix(".yaml"): item.read_text() for item in items if item.name.endswith(".yaml")}
    return files or {
        f"{item.name}/{name}": text
        for item in items
        if item.is_dir() and not item.name.startswith("_")
        for name, text in options(f"{group}/{item.name}").items()
    }


def first_comment(text: str) -> str:
    """Return what the first line of a config file says of it, below Hydra's own header."""
    line = next((line for line in text.splitlines() if not line.startswith("# @")), "")
    line = line if line.startswith("#") else ""
    return re.sub(r"^#\s*(\S+\.yaml\s+--\s*)?", "", line)


def dataset_tasks() -> dict[str, list[str]]:
    """Return the tasks that each data set serves, as its config says."""
    found = {}
    for name, text in options("dataset").items():
        line = re.search(r"^tasks: \[(.*?)\]", text, flags=re.MULTILINE)
        found[name] = re.findall(r"\w+", line[1]) if line else []
    return found


@functools.cache
def shipped_targets() -> frozenset[str]:
    """Return the dotted path of every class that a shipped config file names; nothing is imported."""
    return frozenset(target for text in _texts(conf_folder()) for target in _TARGET.findall(text))


def _texts(folder: Any) -> Iterator[str]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _texts(item)
        elif item.name.endswith(".yaml"):
            yield item.read_text(encoding="utf-8")
