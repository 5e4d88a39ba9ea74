"""What the command line says when something goes wrong: one message that names the way out, in place of a traceback."""

import errno
import re
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from stylebench.checks import UsageError, closest

_PACKAGE = Path(__file__).resolve().parents[1]


def is_usage(error: BaseException) -> bool:
    """Tell whether the command line itself is wrong: a key, an option, the way it is written."""
    return isinstance(error, UsageError) or _comes_from(error, "hydra", "omegaconf")


def is_expected(error: BaseException) -> bool:
    """Tell whether an error speaks of the input or the machine, not of a fault in the program.

    Errors of PyTorch and Lightning count only where their text helps a user; every `raise` of this package does.
    """
    if is_usage(error) or isinstance(error, ValueError | OSError | FloatingPointError | MemoryError):
        return True
    if type(error).__name__ in ("MisconfigurationException", "OutOfMemoryError"):
        return True
    if isinstance(error, ModuleNotFoundError):
        return "pip install" in str(error)
    return _is_out_of_space(error) or _is_our_own(error)


def explain(error: BaseException, known_keys: Callable[[], Iterable[str]] = tuple) -> str:
    """Return what a newcomer needs to act on an error.

    Args:
        error: what was raised.
        known_keys: returns the configuration keys that there are; called where a key is unknown.
    """
    text = str(error).strip() or type(error).__name__
    if _comes_from(error, "hydra", "omegaconf"):
        return _explain_config(error, text, known_keys)
    if _is_out_of_space(error):
        return f"no space left on the disk ({text}); free some, or name a run folder on another disk by run="
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"not enough memory: {text.splitlines()[0]} Lower dataset.batch_size or dataset.size_px"
    if "backend found" in text:
        return f"{text.rstrip('!')}: this machine has no such device that torch can use; try trainer=cpu"
    if isinstance(error, OSError) and error.filename is not None and not _is_our_own(error):
        return f"{error.strerror}: {error.filename}"
    return text


def _explain_config(error: Any, text: str, known_keys: Callable[[], Iterable[str]]) -> str:
    """Say in our words what Hydra and OmegaConf found."""
    if text.startswith("Missing mandatory value"):
        key = getattr(error, "full_key", None) or text.splitlines()[0].partition(": ")[2]
        return f"{key} is not set; give it on the command line: {key}=..."
    if unknown := re.search(r"(?:Could not override|Could not delete from config\.) '([\w.@/]+)'", text):
        return _explain_unknown(unknown[1], list(known_keys()))
    if getattr(error, "missing_cfg_file", None) and error.options is not None:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        named = f"no option {option!r}{closest(option, error.options)}" if option else "to be given an option"
        return f"{group} has {named}; there are: {', '.join(error.options)}"
    if several := re.search(r"Ambiguous value for argument '([^=]+)=(.*)'", text):
        key, values = several[1], several[2]
        return (
            f"{key} got several values, {values}: add -m to train one run for each, or write '{key}=[{values}]' for a "
            f"list, or '{key}=\"{values}\"' for one text with a comma in it"
        )
    merged = re.match(r"Error merging override (([^=]+)=.*)", text)
    if merged and "Cannot merge DictConfig with ListConfig" in str(error.__cause__):
        key = merged[2].lstrip("+")
        whole = merged[1].lstrip("+")
        return (
            f"of {key} a list cannot become a mapping, or the reverse; where it may be either, as dataset.domains, "
            f"replace it: '~{key}' '+{whole}'"
        )
    override = getattr(error, "override", None)
    if override is not None:
        key, equals, value = str(override).partition("=")
        quoted = f"'{key}=\"{value}\"'"
        way_out = f"put the value into quotes: {quoted}" if equals else "arguments have the form key=value"
        return f"cannot read the argument {override!r}: {way_out}"
    cause = error.__cause__
    return text if cause is None or str(cause) in text else f"{text}: {cause}"


def _explain_unknown(key: str, known: Collection[str]) -> str:
    """Say why a key cannot be set: there is none, or it is seen only through a reference to another part."""
    if key in known:
        part = key.rpartition(".")[0]
        return (
            f"{key!r} cannot be set alone: {part} follows another part of the configuration, which --cfg job shows; "
            "set the key there"
        )
    return f"there is no key {key!r}{closest(key, known)}; see the keys with --help"


def _comes_from(error: BaseException, *packages: str) -> bool:
    return any(kind.__module__.split(".")[0] in packages for kind in type(error).__mro__)


def _is_our_own(error: BaseException) -> bool:
    """Tell whether a `raise` statement of this package made the error, rather than something it called."""
    last = traceback.extract_tb(error.__traceback__, limit=-1)
    if not last or isinstance(error, NotImplementedError):
        return False
    return Path(last[0].filename).is_relative_to(_PACKAGE) and (last[0].line or "").startswith("raise ")


def _is_out_of_space(error: BaseException) -> bool:
    """Tell whether a full disk is behind an error: torch reports one as a RuntimeError of its own."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return any(isinstance(each, OSError) and each.errno in full for each in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it, each once: an error that was unwrapped leads back to itself."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
