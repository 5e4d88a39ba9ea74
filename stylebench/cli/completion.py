"""Answers to the shell that completes a typed line."""

import contextlib
import os
import re
import sys

from stylebench.checks import UsageError
from stylebench.cli.config import CONF, VERSION_BASE
from stylebench.cli.help import COMMANDS, LISTED_KINDS
from stylebench.cli.own_models import offer_models
from stylebench.shipped import keys


def complete(arguments: list[str]) -> None:
    """Answer the shell: the commands, or what Hydra knows for the command that the typed line names."""
    import hydra

    words = os.environ.get("COMP_LINE", "").split()
    typed = words[1] if len(words) > 1 else ""
    asks = any(argument.startswith("query=") for argument in arguments)
    if asks and typed not in COMMANDS:
        return print(" ".join(name for name in COMMANDS if name.startswith(typed)))
    last = words[-1] if len(words) > 2 and not os.environ["COMP_LINE"].endswith(" ") else ""
    if asks and typed == "list":
        return print(" ".join(kind for kind in LISTED_KINDS if kind.startswith(last)))
    if (
        asks and typed in ("stylize", "export", "new") and "=" not in last
    ):  # no groups: Hydra would offer those of training
        return print(" ".join(f"{key}=" for key in keys(typed) if key.startswith(last)))
    line = os.environ.get("COMP_LINE", "")
    os.environ["COMP_LINE"] = re.sub(rf"^(\s*\S+\s+){re.escape(typed)}\s?", r"\1", line)
    sys.argv = [sys.argv[0], *arguments]
    with contextlib.suppress(UsageError):  # a name that is still being typed
        offer_models(words, ready=False)
    name = typed if typed in COMMANDS else "train"
    return hydra.main(config_path=CONF, config_name=name, version_base=VERSION_BASE)(lambda cfg: None)()  # type: ignore[no-any-return]
