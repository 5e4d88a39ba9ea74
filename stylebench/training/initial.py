"""Weights to start from: those of a trained model, into all networks of a method or into some."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylebench.files import file_digest
from stylebench.inference.loading import CHECKPOINT_SUFFIXES, EXPORT_TENSORS, MODEL, read_checkpoint, read_model
from stylebench.methods.base import Method
from stylebench.methods.image_pool import ImagePool

log = logging.getLogger(__name__)
State = dict[str, Tensor]
_SHOWN = 4  # tensors that an error names


@dataclass(frozen=True)
class Initial:
    """Weights in a file.

    Attributes:
        file: that holds them.
        weights: `ema` or `raw`: which those of the model are; other networks have no average.
        networks: tensors by network.
    """

    file: Path
    weights: str
    networks: dict[str, State]


def check_init(setting: Any) -> tuple[Path, list[str] | None]:
    """Return the path and the names of networks, None for all, that a value of `init` gives.

    Raises:
        ValueError: if it is neither a path nor a mapping of `path` and `networks`.
    """
    given: Any = {"path": setting} if isinstance(setting, str) else setting
    names: Any = given.get("networks") if isinstance(given, Mapping) else None
    listed = names is None or (isinstance(names, list) and names and all(isinstance(name, str) for name in names))
    if not isinstance(given, Mapping) or not isinstance(given.get("path"), str) or {*given} - {"path", "networks"}:
        raise ValueError(f"init is a path, or {{path: <path>, networks: [<network>, ...]}}; got {setting!r}")
    if not listed:
        raise ValueError(f"init.networks must be a list of names, got {names!r}")
    return Path(given["path"]).expanduser(), names


def read_initial(path: Path) -> Initial:
    """Read the networks of a run, a checkpoint or an export; see `stylebench.load` for the errors."""
    model = read_model(path)
    state = {f"{MODEL}.{key}": value for key, value in model.state.items()}
    if model.origin.suffix not in CHECKPOINT_SUFFIXES:
        return Initial(model.origin.parent / EXPORT_TENSORS, model.weights, _by_network(state))
    whole = {**read_checkpoint(model.origin)["state_dict"], **state}
    return Initial(model.origin, model.weights, _by_network(whole))


def initialize(method: Method, setting: Any) -> dict[str, Any]:
    """Load weights into the networks of a method.

    Args:
        method: that will be trained.
        setting: the value of `init`: a path, or `{path: ..., networks: [...]}`.

    Returns:
        For the record: path, digest of the file, which weights they are, and the networks that got them.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: if a network is on one side alone, its tensors do not fit, or they are not finite.
    """
    path, names = check_init(setting)
    initial, own = read_initial(path), _networks(method)
    chosen = [name for name in own if name in initial.networks] if names is None else names
    unknown = [name for name in chosen if name not in own or name not in initial.networks]
    if unknown or not chosen:
        wrong = f"{', '.join(unknown)} is not" if unknown else "no network is"
        raise ValueError(
            f"init: {wrong} on both sides: {initial.file} holds "
            f"{', '.join(initial.networks) or 'none'}, and {method.name} trains {', '.join(own)}; name some of both by "
            f"init={{path: {path}, networks: [...]}}"
        )
    for name in chosen:
        _check_fits(name, own[name].state_dict(), initial.networks[name], initial.file)
    for name in chosen:
        own[name].load_state_dict(initial.networks[name], strict=True)
    left = [name for name in own if name not in chosen]
    log.info("starting from %s: %s%s", initial.file, ", ".join(chosen), f"; drawn: {', '.join(left)}" if left else "")
    about = {"path": str(path), "digest": file_digest(initial.file), "weights": initial.weights}
    return {**about, "networks": chosen}


def _networks(method: Method) -> dict[str, nn.Module]:
    """Return what learns of a method, by name: the parts of its model, and networks beside it."""
    kept = method.state_dict()
    parts = {**dict(method.model.named_children()), **dict(method.named_children())}
    prefixes = {name: name if name in dict(method.named_children()) else f"{MODEL}.{name}" for name in parts}
    return {
        name: part
        for name, part in parts.items()
        if name != MODEL
        and not isinstance(part, ImagePool)
        and any(key.startswith(f"{prefixes[name]}.") for key in kept)
    }


def _by_network(state: Mapping[str, Tensor]) -> dict[str, State]:
    """Group tensors by network; what is not a tensor, such as a pool's state, belongs to none."""
    found: dict[str, State] = {}
    for key, value in state.items():
        name, _, rest = key.removeprefix(f"{MODEL}.").partition(".")
        if isinstance(value, Tensor) and rest:
            found.setdefault(name, {})[rest] = value
    return found


def _check_fits(name: str, own: State, given: State, file: Path) -> None:
    wrong = [f"{key} is not there" for key in own if key not in given]
    wrong += [f"{key} is not expected" for key in given if key not in own]
    wrong += [
        f"{key} has {tuple(given[key].shape)} in place of {tuple(value.shape)}"
        for key, value in own.items()
        if key in given and given[key].shape != value.shape
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ValueError(
            f"init: {name} of {file} does not fit: {'; '.join(wrong[:_SHOWN])}{more}; choose the settings of the model "
            "that it was trained with, or leave it out by init={path: ..., networks: [...]}"
        )
    if spoiled := [key for key, value in given.items() if not torch.isfinite(value).all()]:
        raise ValueError(
            f"init: {name} of {file} is not finite: {', '.join(spoiled[:_SHOWN])}; take another checkpoint"
        )
