"""What ships with the package beside its code: the folder of configuration files, and the classes that they name."""

import functools
import importlib.resources
import re
from collections.abc import Iterator
from typing import Any

_TARGET = re.compile(r"^[^#\n]*?\b_target_: *([A-Za-z_][\w.]*)", re.MULTILINE | re.ASCII)


def conf_folder() -> Any:
    """Return the folder of the configuration groups, wherever the package is installed."""
    return importlib.resources.files("stylebench.conf")


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
