"""Configs of commands, composed and checked."""

from collections.abc import Iterator
from typing import Any

from stylebench.checks import UsageError
from stylebench.cli.arguments import key_of
from stylebench.cli.help import KINDS
from stylebench.cli.own_models import offer_models

Config = dict[str, Any]
CONF = "pkg://stylebench.conf"
VERSION_BASE = "1.3"


def compose(command: str, overrides: list[str], allow_missing: bool = False) -> Config:
    """Return the resolved config of a command.

    Args:
        command: name of the entry file in `conf/`.
        overrides: Hydra overrides.
        allow_missing: leave mandatory values that were not given as `???`.

    Raises:
        UsageError: naming a mandatory value that is missing.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    offer_models(overrides)
    with hydra.initialize_config_module("stylebench.conf", version_base=VERSION_BASE):
        cfg = hydra.compose(command, overrides=overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    plain = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    plain._set_parent(cfg)  # so that ${hydra:...} and ${now:...} resolve
    config: Any = OmegaConf.to_container(plain, resolve=True, throw_on_missing=not allow_missing)
    return dict(config)


def check_switch(config: Config, key: str) -> None:
    """Refuse a value that is neither true nor false."""
    if not isinstance(config[key], bool):
        raise UsageError(f"{key} must be true or false, got {config[key]!r}")


def known_keys(command: str, arguments: list[str]) -> list[str]:
    """Return the groups and dotted keys of a command's config, with the groups' options that were chosen."""
    groups = set(KINDS.values())
    try:
        config = compose(command, [a for a in arguments if key_of(a) in groups], allow_missing=True)
    except Exception:  # a group's option is wrong too: the defaults will do for a suggestion
        config = compose(command, [], allow_missing=True)
    return [*groups, *_dotted(config)]


def _dotted(node: Config, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
