"""A user's own packages: where they are, and which of them a file from elsewhere may name.

The one list is the user's, `~/.config/stylebench/trusted_packages`, a line for each package: the path of its folder, or
the name of an installed one. No config, checkpoint or export can add to it, and the current folder alone proves
nothing: it may have come from elsewhere, too.
"""

import contextlib
import importlib.util
import os
import shlex
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

_SETTINGS_VARIABLE = "XDG_CONFIG_HOME"
_TRUSTED = "trusted_packages"


def trust_file() -> Path:
    """Return the user's list of trusted packages: in `$XDG_CONFIG_HOME/stylebench`, else `~/.config/stylebench`."""
    chosen = Path(os.environ.get(_SETTINGS_VARIABLE, ""))
    base = chosen if chosen.is_absolute() else Path.home() / ".config"  # a relative one would follow the current folder
    return base / "stylebench" / _TRUSTED


def trusted_packages() -> dict[str, Path]:
    """Return the folders of the packages that the user trusts, by their names.

    Of several with one name the one in the current folder counts, else the first.

    Raises:
        ValueError: naming the line of the list that is neither a package's name nor an absolute path.
    """
    path = trust_file()
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found: dict[str, Path] = {}
    for number, line in enumerate(lines, start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        folder = Path(entry).expanduser()
        if not folder.name.isidentifier() or not (folder.is_absolute() or entry == folder.name):
            raise ValueError(
                f"{path}, line {number}: expected the absolute path of a package's folder, or the name of an installed "
                f"package, found {entry!r}"
            )
        place = folder.resolve() if folder.is_absolute() else _installed_elsewhere(entry)
        if place is not None and (folder.name not in found or place.parent == Path.cwd()):
            found[folder.name] = place
    return found


def own_package(name: str) -> Path | None:
    """Return the folder of a package that the user named on the command line; None if there is none.

    One in the current folder counts, then a trusted one, then an installed one.
    """
    here = Path.cwd() / name
    if (here / "__init__.py").is_file():
        return here
    return trusted_packages().get(name) or installed_package(name)


def installed_package(name: str) -> Path | None:
    """Return the folder of a package on Python's path, without importing it; None if there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # `__main__` and the like, which no import made
        return None
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        return None
    return Path(spec.origin).resolve().parent


class BrokenModuleError(ImportError):
    """A module that is there and fails while it is imported; the message names the file, the line and the error."""


@contextlib.contextmanager
def importing(name: str) -> Iterator[None]:
    """Say where a module of the user's fails, in place of the traceback of an import.

    Args:
        name: dotted name of the module that a `with` block imports; of this package's own, errors stay as they are.

    Raises:
        ModuleNotFoundError: if there is no such module.
        BrokenModuleError: if it is there and fails.
    """
    try:
        yield
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        package = name.partition(".")[0]
        if package == __name__.partition(".")[0] or (missing and f"{name}.".startswith(f"{missing}.")):
            raise
        told = error.msg if isinstance(error, SyntaxError) else str(error).partition("\n")[0]
        raise BrokenModuleError(
            f"the module {name} cannot be imported: {_place(error, package)}: {type(error).__name__}: {told}", name=name
        ) from error


def _place(error: Exception, package: str) -> str:
    """Return file and line of an error: the innermost that is in the package, else the innermost."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames, folder = traceback.extract_tb(error.__traceback__), own_package(package)
    own = [frame for frame in frames if folder is not None and Path(frame.filename).is_relative_to(folder)]
    last = (own or frames)[-1]
    return f"{last.filename}, line {last.lineno}"


def import_package(name: str, folder: Path) -> None:
    """Import a package from this folder and from no other; its modules can then be imported by their names.

    Raises:
        ImportError: if the folder holds no package, or this process has imported another one of that name.
        BrokenModuleError: if the package fails while it is imported.
    """
    start = folder / "__init__.py"
    loaded = sys.modules.get(name)
    if loaded is not None:
        other = Path(loaded.__file__ or "").resolve().parent
        if other != folder.resolve():
            raise ImportError(f"the package {name} of {folder} is wanted, and {other} was imported before", name=name)
        return
    spec = importlib.util.spec_from_file_location(name, start, submodule_search_locations=[str(folder)])
    if not start.is_file() or spec is None or spec.loader is None:
        raise ImportError(f"{folder} holds no package: there is no {start.name} in it", name=name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with importing(name):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def how_to_trust(name: str) -> str:
    """Return the command line that puts a package on the user's list."""
    folder, path = own_package(name), trust_file()
    entry = shlex.quote(str(folder)) if folder is not None else f"<folder of {name}>"
    make = "" if path.parent.is_dir() else f"mkdir -p {shlex.quote(str(path.parent))} && "
    return f"{make}echo {entry} >> {shlex.quote(str(path))}"


def _installed_elsewhere(name: str) -> Path | None:
    """Return where a package is installed, unless that is the current folder, which whoever wrote it may have named."""
    folder = installed_package(name)
    return None if folder is None or folder.parent == Path.cwd() else folder
