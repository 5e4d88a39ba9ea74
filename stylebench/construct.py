"""Objects from config nodes, one's own or a file's: plain mappings in, objects out; Hydra is not needed.

A node with a `_target_` is a call of that class with the node's other keys, built innermost first. `_args_` are its
positional arguments, `_partial_: true` leaves the call to whoever gets the object, and `_recursive_: false` leaves the
nodes inside as they are. A mapping without a target stays a mapping.
"""

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stylebench.checks import UsageError
from stylebench.own_packages import importing
from stylebench.trusted import check_targets, resolve

_GRAMMAR = frozenset({"_target_", "_args_", "_partial_", "_convert_", "_recursive_"})


def construct(
    node: Any,
    path: str = "config",
    *,
    listed: frozenset[str] | None,
    owners: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Any:
    """Build the objects that a plain config describes.

    An error of a constructor keeps its type and says at which node it arose: `model.schedule: every must be ...`.

    Args:
        node: nested mappings, sequences and plain values.
        path: where the node stands in the config.
        listed: names of the classes that a node from a file may name, `module.qualname`; None for one's own config,
            which may name anything.
        owners: nodes that others repeat, by their paths: an error in a copy is reported where the key is set.
        extra: arguments of the outermost object beside those of its node, taken as they are.

    Raises:
        TrustError: before anything is built, if a target is not listed.
        UsageError: if a target of one's own config leads nowhere.
        ValueError: if a class does not take the arguments it is given, or refuses a value.
    """
    if listed is not None:
        check_targets(node, listed, path)
    return _Construction(listed, owners or {}).build(node, path, extra or {})


def locate(target: Any, path: str = "config") -> Any:
    """Return the class or function that a dotted path of one's own config names.

    Raises:
        UsageError: if it leads nowhere.
        BrokenModuleError: if the module on its way fails while it is imported.
    """
    parts = target.split(".") if isinstance(target, str) else []
    for count in range(len(parts) - 1, 0, -1) if all(parts) else ():
        name = ".".join(parts[:count])
        try:
            with importing(name):
                found: Any = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None)
        if callable(found):
            return found
        break
    raise UsageError(f"{path} names {target!r}; expected the dotted path of a class, such as torch.optim.Adam")


@dataclass(frozen=True)
class _Construction:
    """One walk through a node.

    Attributes:
        listed: see `construct`.
        owners: see `construct`.
    """

    listed: frozenset[str] | None
    owners: Mapping[str, Any] = field(default_factory=dict)

    def build(self, node: Any, path: str, extra: Mapping[str, Any]) -> Any:
        if isinstance(node, list | tuple):
            return [self.build(value, f"{path}[{index}]", {}) for index, value in enumerate(node)]
        if not isinstance(node, Mapping):
            return node
        settings = {key: value for key, value in node.items() if key not in _GRAMMAR}
        positional = list(node.get("_args_", ()))
        if node.get("_recursive_", True):
            settings = {key: self.build(value, f"{path}.{key}", {}) for key, value in settings.items()}
            positional = self.build(positional, f"{path}._args_", {})
        if "_target_" not in node:
            return settings
        target = node["_target_"]
        made = locate(target, path) if self.listed is None else resolve(target, self.listed, path)
        call = functools.partial(made, *positional, **{**settings, **extra})
        return call if node.get("_partial_", False) else self._call(call, node, path)

    def _call(self, call: functools.partial[Any], node: Mapping[str, Any], path: str) -> Any:
        try:
            return call()
        except TypeError as error:  # a key that is not taken, or text where a number belongs
            raise ValueError(
                f"{self._owner(node, path)}: {node['_target_']} cannot be built from its settings: {error}"
            ) from error
        except Exception as error:
            if len(error.args) == 1 and isinstance(error.args[0], str):
                error.args = (f"{self._owner(node, path)}: {error.args[0]}",)
            raise

    def _owner(self, node: Mapping[str, Any], path: str) -> str:
        return next((owner for owner, shared in self.owners.items() if shared == node), path)
