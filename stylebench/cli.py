"""The command line: `stylebench <command> key=value ...`.

A command reads its config (`conf/<command>.yaml`), applies the overrides and calls one function. Nothing heavy is
imported before the command is known, so help and completion answer at once.
"""

import difflib
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylebench.help import (
    COMMANDS,
    KINDS,
    command_help,
    conf_folder,
    experiments,
    first_comment,
    general_help,
    options,
)

if TYPE_CHECKING:
    from omegaconf import DictConfig

Config = dict[str, Any]
CONF = "pkg://stylebench.conf"
VERSION_BASE = "1.3"
FULL_ERROR = "HYDRA_FULL_ERROR"


class UsageError(ValueError):
    """A command line that cannot be understood; the message says what can."""


def main() -> None:
    """Run the command that `sys.argv` names; end with exit code 0, 1 (failed), 2 (usage) or 143 (SIGTERM)."""
    arguments = sys.argv[1:]
    if "-sc" in arguments or "--shell-completion" in arguments:
        return complete(arguments)
    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help", "help"):
        return print(general_help())
    if command == "--version":
        import stylebench

        return print(f"stylebench {stylebench.__version__}")
    full = FULL_ERROR in os.environ
    try:
        if command not in COMMANDS:
            raise UsageError(
                f"unknown command {command!r}{_closest(command, COMMANDS)}; there are: {', '.join(COMMANDS)}"
            )
        if {"-h", "--help"} & set(arguments[1:]):
            return print(command_help(command))
        HANDLERS[command](arguments[1:])
    except Exception as error:
        if full or not _is_for_the_user(error):
            raise
        print(f"stylebench: error: {_message(error)}", file=sys.stderr)
        print(f"({FULL_ERROR}=1 shows where it came from)", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, UsageError) else 1) from None
    return None


def train(arguments: list[str]) -> None:
    """Hand the overrides to Hydra, which makes the run folder and, with -m, one job after the other."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    arguments = _expand_experiment(arguments)
    _check_shared_folder(arguments)
    recorded = _recorded_overrides(arguments)
    program, everything = sys.argv[0], list(sys.argv)

    def task(cfg: "DictConfig") -> float | None:
        from stylebench import run

        sys.argv = everything  # DDP starts its other processes with this command line
        run.quieten()
        if int(os.environ.get("LOCAL_RANK", "0")) > 0:
            logging.getLogger().setLevel(logging.WARNING)
        try:
            config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
            if recorded:
                run.check_recorded(config)
            job = HydraConfig.get()
            result = run.train(config, Path(job.runtime.output_dir), list(job.overrides.task))
        except Exception as error:
            logging.getLogger(__name__).error("%s", _message(error))  # in a sweep the other jobs go on
            raise
        _say_where(result.folder)
        return result.metrics.get(config["objective"])

    os.environ[FULL_ERROR] = "1"  # Hydra then lets exceptions through, and `main` words them
    sys.argv = [program, *recorded, *arguments]
    hydra.main(config_path=CONF, config_name="train", version_base=VERSION_BASE)(task)()


def stylize(arguments: list[str]) -> None:
    """Load a trained model and apply it; unknown keys are taken for controls of the model."""
    config = compose("stylize", _controls_apart(arguments))
    from stylebench.loading import load
    from stylebench.stylize import choose_device, default_output, stylize_path

    device = choose_device(config["device"])
    translator = load(config["run"], weights=config["weights"], device=device)
    source = Path(config["input"])
    target = Path(config["output"]) if config["output"] else default_output(source)
    summary = stylize_path(
        translator, source, target, overwrite=config["overwrite"], suffix=config["suffix"],
        max_pixels=config["max_pixels"], **config["controls"],
    )  # fmt: skip
    print(
        f"{len(summary.written)} written, {len(summary.skipped)} already there, {len(summary.failed)} failed: {target}"
    )
    for path, reason in summary.failed:
        print(f"  {path}: {reason}", file=sys.stderr)
    if summary.failed:
        raise SystemExit(1)


def export(arguments: list[str]) -> None:
    """Write a trained model for use elsewhere."""
    config = compose("export", arguments)
    from stylebench.export import export as write_export

    folder = write_export(config["run"], config["output"], weights=config["weights"], overwrite=config["overwrite"])
    print(f"exported to {folder}; use it with: stylebench stylize run={folder} input=<picture>")


def profile(arguments: list[str]) -> None:
    """Measure a training step, and what the frame costs."""
    config = compose("profile", _expand_experiment(arguments))
    from stylebench import run
    from stylebench.profile import report, to_json

    run.quieten()
    figures = run.profile(config)
    print(report(figures))
    if config["output"]:
        to_json(figures, Path(config["output"]))


def prepare(arguments: list[str]) -> None:
    """Scan and pack the domains that are named."""
    config = compose("prepare", arguments, allow_missing=True)
    from stylebench import run

    for role, domain in run.open_domains(config).items():
        facts = domain.describe()
        print(
            f"{role}: {facts['count']} images of {facts['path']}, {len(domain.skipped)} left out, "
            f"digest {facts['digest'][:12]}"
        )
        for name, reason in domain.skipped:
            print(f"  left out {name}: {reason}")


def list_kind(arguments: list[str]) -> None:
    """Print what there is of one kind, one line each."""
    kinds = [*KINDS, "experiments", "controls"]
    kind = arguments[0] if arguments else ""
    if kind not in kinds:
        raise UsageError(f"list what?{_closest(kind, kinds)} stylebench list {'|'.join(kinds)}")
    if kind == "controls":
        config = compose("stylize", _controls_apart([*arguments[1:], "input=none"]))
        from stylebench.loading import load

        for control in load(config["run"], weights=config["weights"]).controls:
            print(
                f"{control.name:<12} {control.low:g} .. {control.high:g}, default {control.default:g}: {control.help}"
            )
    elif kind == "experiments":
        for name, text in experiments().items():
            print(f"{name:<28} {first_comment(text)}")
    else:
        for name, text in options(KINDS[kind]).items():
            print(f"{name:<16} {first_comment(text)}")


HANDLERS: dict[str, Callable[[list[str]], None]] = {
    "train": train, "stylize": stylize, "export": export, "profile": profile, "prepare": prepare, "list": list_kind,
}  # fmt: skip


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

    with hydra.initialize_config_module("stylebench.conf", version_base=VERSION_BASE):
        cfg = hydra.compose(command, overrides=overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    plain = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    plain._set_parent(cfg)  # so that ${hydra:...} and ${now:...} resolve
    config: Any = OmegaConf.to_container(plain, resolve=True, throw_on_missing=not allow_missing)
    return dict(config)


def complete(arguments: list[str]) -> None:
    """Answer the shell: the commands, or what Hydra knows for the command that the typed line names."""
    import hydra

    words = os.environ.get("COMP_LINE", "").split()
    typed = words[1] if len(words) > 1 else ""
    asks = any(argument.startswith("query=") for argument in arguments)
    if asks and typed not in COMMANDS:
        return print(" ".join(name for name in COMMANDS if name.startswith(typed)))
    if asks and typed == "list":
        return print(" ".join([*KINDS, "experiments", "controls"]))
    line = os.environ.get("COMP_LINE", "")
    os.environ["COMP_LINE"] = re.sub(rf"^(\s*\S+\s+){re.escape(typed)}\s?", r"\1", line)
    sys.argv = [sys.argv[0], *arguments]
    name = typed if typed in COMMANDS else "train"
    return hydra.main(config_path=CONF, config_name=name, version_base=VERSION_BASE)(lambda cfg: None)()  # type: ignore[no-any-return]


def _expand_experiment(arguments: list[str]) -> list[str]:
    """Replace `experiment=<paper>/<study>` by the study's base overrides; later arguments win over them."""
    chosen = [argument for argument in arguments if argument.startswith("experiment=")]
    if not chosen:
        return arguments
    import yaml

    name = chosen[-1].removeprefix("experiment=")
    studies = experiments()
    if name not in studies:
        raise UsageError(f"no experiment {name!r}{_closest(name, studies)}; there are: {', '.join(studies) or 'none'}")
    base = yaml.safe_load(studies[name])["base"]
    return [*base, *(argument for argument in arguments if argument not in chosen)]


def _recorded_overrides(arguments: list[str]) -> list[str]:
    """Return the overrides that the run named by `run=` was started with, so that naming it is enough to go on."""
    folders = [argument.removeprefix("run=") for argument in arguments if argument.startswith("run=")]
    if not folders or {"-m", "--multirun"} & set(arguments):
        return []
    path = Path(folders[-1]) / "record.json"
    if not path.is_file():
        return []
    import json

    given = {argument.split("=")[0].lstrip("+~") for argument in arguments}
    recorded = json.loads(path.read_text())["overrides"]
    return [override for override in recorded if override.split("=")[0].lstrip("+~") not in {*given, "run", "resume"}]


def _check_shared_folder(arguments: list[str]) -> None:
    """Processes that were started apart (torchrun, srun) must be told one run folder: each would name its own."""
    apart = "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1
    named = any(argument.startswith(("run=", "hydra.run.dir=")) for argument in arguments)
    if apart and not named and int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1:
        raise UsageError(
            "several processes were started at once; give them one run folder: run=outputs/<name>/<folder>"
        )


def _controls_apart(arguments: list[str]) -> list[str]:
    """Turn `alpha=0.7` into `+controls.alpha=0.7` where `alpha` is no key of the command; the model checks the name."""
    keys = re.findall(r"^(\w+):", (conf_folder() / "stylize.yaml").read_text(), flags=re.MULTILINE)
    turned = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and re.fullmatch(r"\w+", name) and name not in keys:
            if close := difflib.get_close_matches(name, keys, n=1, cutoff=0.75):
                raise UsageError(f"unknown key {name!r}; did you mean {close[0]!r}?")
            argument = f"+controls.{name}={value}"
        turned.append(argument)
    return turned


def _say_where(folder: Path) -> None:
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        shown = os.path.relpath(folder)
        print(
            f"\nrun folder  {shown}\npictures    {shown}/samples/\n"
            f"use it      stylebench stylize run={shown} input=<picture>"
        )


def _is_for_the_user(error: Exception) -> bool:
    """Tell whether an error speaks of the input, not of a fault in the program."""
    names = {f"{kind.__module__.split('.')[0]}" for kind in type(error).__mro__}
    return bool(names & {"hydra", "omegaconf"}) or isinstance(error, ValueError | OSError | FloatingPointError)


def _message(error: BaseException) -> str:
    """Return an error's text with what a newcomer needs to act on it."""
    text = str(error) or type(error).__name__
    if missing := re.search(r"Missing mandatory value: (\S+)", text):
        return f"{missing[1]} is not set; give it on the command line: {missing[1]}=..."
    if unknown := re.search(r"Could not override '([\w.@/]+)'", text):
        return f"there is no key {unknown[1]!r}; stylebench <command> --help shows the keys\n{text}"
    cause = error.__cause__
    return f"{text}\n{cause}" if cause is not None and str(cause) not in text else text


def _closest(word: str, words: Any) -> str:
    close = difflib.get_close_matches(word, list(words), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
