"""Models of a user's own packages, `model=my_package.my_method`: the YAML beside the module, offered to Hydra."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from stylebench.checks import UsageError, closest
from stylebench.own_packages import how_to_trust, import_package, own_package, trusted_packages
from stylebench.shipped import options
from stylebench.trusted import TrustError

_OPTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_PACKAGE_HEADER = re.compile(r"^#\s*@package\s+(\S+)", re.MULTILINE)


def offer_models(arguments: Iterable[str], *, ready: bool = True) -> None:
    """Have Hydra know the models of trusted packages, and those that the user named on the command line.

    Args:
        arguments: the typed words; `model=my_package.my_method` names one, `model=a.b,c.d` two.
        ready: whether their packages will be built from, and not only looked at.

    Raises:
        UsageError: if there is no such package, or no config of that name beside its modules.
    """
    files = dict(trusted_models())
    for option in _own_options(arguments):
        package = option.partition(".")[0]
        folder = own_package(package)
        files[option] = _file_of(option, folder)
        if ready and folder is not None:
            import_package(package, folder)
    if not files:
        return
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    for option, path in files.items():
        text = path.read_text(encoding="utf-8")
        header = _PACKAGE_HEADER.search(text)
        place = header[1] if header else None
        ConfigStore.instance().store(option, OmegaConf.create(text), group="model", package=place, provider=str(path))


def trusted_models() -> Iterator[tuple[str, Path]]:
    """Yield the models of the packages that the user trusts, with their files: a YAML beside a module of its name."""
    for package, folder in trusted_packages().items():
        for path in sorted(folder.rglob("*.yaml")):
            if path.with_suffix(".py").is_file() and "_target_:" in path.read_text(encoding="utf-8"):
                yield ".".join((package, *path.relative_to(folder).with_suffix("").parts)), path


def models_here() -> Iterator[tuple[str, Path]]:
    """Yield the models of packages in the current folder, as `stylebench new` writes them; nothing is imported."""
    for folder in sorted(path for path in Path.cwd().iterdir() if path.is_dir() and path.name.isidentifier()):
        for path in sorted(folder.glob("*.yaml")):
            if path.with_suffix(".py").is_file() and f"_target_: {folder.name}." in path.read_text(encoding="utf-8"):
                yield f"{folder.name}.{path.stem}", path


def check_recorded_models(overrides: Iterable[str]) -> None:
    """Refuse models of packages that are not trusted, in overrides that were read from a run folder.

    Raises:
        TrustError: saying how a package is trusted.
    """
    for option in _own_options(overrides):
        package = option.partition(".")[0]
        if package not in trusted_packages():
            raise TrustError(
                f"the run was trained with model={option}, of a package that is not on your list; nothing was run. If "
                f"you wrote the package {package} yourself, trust its classes: {how_to_trust(package)}"
            )


def untrusted_packages(arguments: Iterable[str]) -> list[str]:
    """Return the packages whose models the user named, and which are not on the user's list."""
    named = {option.partition(".")[0] for option in _own_options(arguments)}
    return sorted(named - set(trusted_packages()))


def _own_options(arguments: Iterable[str]) -> Iterator[str]:
    for argument in arguments:
        if argument.startswith("model="):
            yield from (word for word in argument.removeprefix("model=").split(",") if _OPTION.fullmatch(word))


def _file_of(option: str, folder: Path | None) -> Path:
    package, _, module = option.partition(".")
    if folder is None:
        raise UsageError(
            f"model={option}: there is no package {package}: neither a folder {package}/ with an __init__.py where you "
            "are now, nor an installed one"
        )
    path = folder.joinpath(*module.split(".")).with_suffix(".yaml")
    if not path.is_file():
        there = [f"{package}.{found.stem}" for found in sorted(folder.glob("*.yaml"))]
        raise UsageError(
            f"model={option} needs the config {path}, which is not there{closest(option, there)}; {package} has "
            f"{', '.join(there) or 'none'}, and shipped models are {', '.join(options('model'))}"
        )
    return path
