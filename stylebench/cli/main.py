"""The command line: `stylebench <command> key=value ...`.

A command reads its config (`conf/<command>.yaml`), applies the overrides and calls one function. Nothing heavy is
imported before the command is known, so help and completion answer at once.
"""

import contextlib
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylebench.checks import UsageError, closest
from stylebench.cli.arguments import (
    before_overrides,
    check_experiments,
    check_flags,
    check_keys,
    check_shared_folder,
    check_trained_model_is_alone,
    controls_apart,
    key_of,
    recorded_overrides,
    started_elsewhere,
)
from stylebench.cli.errors import explain, is_expected, is_usage
from stylebench.cli.help import COMMANDS, KINDS, command_help, general_help
from stylebench.machine import limit_spinning
from stylebench.run_folder import LOG
from stylebench.shipped import first_comment, keys, options

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from stylebench.inference.base import Picture

Config = dict[str, Any]
CONF = "pkg://stylebench.conf"
VERSION_BASE = "1.3"
LISTED_KINDS = [*KINDS, "controls"]
FULL_ERROR = "HYDRA_FULL_ERROR"


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
    try:
        if command not in COMMANDS:
            raise UsageError(
                f"unknown command {command!r}{closest(command, COMMANDS)}; there are: {', '.join(COMMANDS)}"
            )
        if {"-h", "--help"} & set(arguments[1:]):
            return print(command_help(command))
        check_flags(command, arguments[1:])
        check_keys(command, arguments[1:])
        limit_spinning()  # before a command imports torch
        HANDLERS[command](arguments[1:])
    except Exception as error:
        if FULL_ERROR in os.environ or not is_expected(error):
            raise
        rank = int(os.environ.get("LOCAL_RANK", "0"))
        print(
            f"stylebench: error{f' in process {rank}' if rank else ''}: "
            f"{explain(error, lambda: _known_keys(command, arguments[1:]))}",
            file=sys.stderr,
        )
        if not is_usage(error):
            print(f"({FULL_ERROR}=1 shows where it came from)", file=sys.stderr)
        raise SystemExit(2 if is_usage(error) else 1) from None
    return None


def train(arguments: list[str]) -> None:
    """Hand the overrides to Hydra, which makes the run folder and, with -m, one job after the other."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    check_experiments(arguments)
    check_shared_folder(arguments)
    recorded = recorded_overrides(arguments)
    program, everything = sys.argv[0], [*sys.argv[:2], *recorded, *arguments]
    asked_for_traceback = os.environ.get(FULL_ERROR)
    failed: list[Exception] = []

    def task(cfg: "DictConfig") -> float | None:
        from stylebench.commands import train as run

        sys.argv = everything  # DDP starts its other processes with this command line
        run.quieten()
        if int(os.environ.get("LOCAL_RANK", "0")) > 0:
            logging.getLogger().setLevel(logging.WARNING)
        job = HydraConfig.get()
        folder = Path(job.runtime.output_dir)
        try:
            with _environment(FULL_ERROR, asked_for_traceback):
                config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
                if recorded:
                    run.check_recorded(config)
                result = run.train(config, folder, list(job.overrides.task))
        except Exception as error:
            if job.mode == RunMode.RUN:  # Hydra would print its own message before ours
                failed.append(error)
                _remove_unused(folder)
                return None
            logging.getLogger(__name__).error("%s", explain(error))  # the sweep's other jobs go on
            raise
        if run.first_process():
            _say_where(result)
        if config["panel"] and run.first_process():
            page = run.report(config, result, shlex.join(["stylebench", "train", *arguments]))
            print(f"report      {os.path.relpath(page)}")
        return result.metrics.get(config["optimized_metric"])

    sys.argv = [program, *before_overrides(recorded, arguments)]
    with _environment(FULL_ERROR, "1"):  # Hydra then lets exceptions through, and `main` words them
        hydra.main(config_path=CONF, config_name="train", version_base=VERSION_BASE)(task)()
    if failed:
        directory = started_elsewhere(arguments) if recorded else None
        if directory and isinstance(failed[0], FileNotFoundError):
            raise FileNotFoundError(
                f"{failed[0]} (the run was started in {directory}; its relative paths are read from where you are now)"
            ) from failed[0]
        raise failed[0]


def stylize(arguments: list[str]) -> None:
    """Apply a model, trained or not, to pictures; unknown keys are taken for controls of the model."""
    check_trained_model_is_alone(arguments)
    config = compose("stylize", controls_apart(arguments))
    _check_switch(config, "overwrite")
    from stylebench.build import build_translator
    from stylebench.commands.stylize.guides import read_guides
    from stylebench.commands.stylize.pictures import choose_device, default_output, stylize_path, synthesize

    translator = build_translator(config, choose_device(config["device"]))
    if config["input"] is None and translator.takes("content"):
        raise UsageError("name what to stylize: input=<a picture, or a folder of pictures>")
    if any(argument.startswith("seed=") for argument in arguments):  # of a loaded model: a control, if it has one
        config["controls"] |= {"seed": config["seed"]} if "seed" in {part.name for part in translator.controls} else {}
    controls = translator.check_controls(**config["controls"])
    guides = read_guides(
        translator, _as_list(config["style"]), config["style_weights"] and _as_list(config["style_weights"]),
        _as_list(config["masks"]), config["max_pixels"], **controls,
    )  # fmt: skip
    source = Path(config["input"] or _as_list(config["style"])[0])
    target = Path(config["output"]) if config["output"] else default_output(source)
    common = {"guides": guides, "overwrite": config["overwrite"], "every": config["every"], **controls}
    if config["input"] is None:
        side = translator.canvas_px if config["size_px"] is None else config["size_px"]
        summary = synthesize(translator, target, (side, side), **common)
    else:
        size_px = translator.default_px if config["size_px"] is None else config["size_px"]
        summary = stylize_path(
            translator, source, target, suffix=config["suffix"], max_pixels=config["max_pixels"], size_px=size_px,
            **common,
        )  # fmt: skip
    print(
        f"{len(summary.written)} written, {len(summary.skipped)} already there, {len(summary.failed)} failed: {target}"
    )
    if summary.failed:
        raise SystemExit(1)


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def export(arguments: list[str]) -> None:
    """Write a trained model for use elsewhere."""
    config = compose("export", arguments)
    _check_switch(config, "overwrite")
    from stylebench.inference.export import export as write_export

    folder = write_export(config["run"], config["output"], weights=config["weights"], overwrite=config["overwrite"])
    from stylebench.inference.loading import load

    print(f"exported to {folder}; use it with: {_how_to_use(folder, load(folder).inputs)}")


def profile(arguments: list[str]) -> None:
    """Measure a training step, and what the frame costs."""
    check_experiments(arguments)
    config = compose("profile", arguments)
    from stylebench.commands import train as run
    from stylebench.commands.profile import report, to_json

    run.quieten()
    figures = run.profile(config)
    print(report(figures))
    if config["output"]:
        to_json(figures, Path(config["output"]))


def prepare(arguments: list[str]) -> None:
    """Get a data set where it can be had, check and pack it, and draw a contact sheet; or get a network's weights."""
    networks = [argument.removeprefix("encoder=") for argument in arguments if argument.startswith("encoder=")]
    if networks:
        return _prepare_network(networks[-1])
    config = compose("prepare", arguments, allow_missing=True)
    from stylebench.build import build
    from stylebench.commands import prepare

    settings = config["dataset"]
    if settings["release"] is not None:
        build(settings["release"], "dataset.release").prepare(Path(settings["root"]))
    store = build(settings["store"], "dataset.store")
    domains = prepare.open_domains(store, settings)
    for role, domain in domains.items():
        facts = domain.describe()
        splits = ", ".join(f"{count} {split}" for split, count in facts["splits"].items())
        print(
            f"{role}: {facts['count']} images of {facts['path']} ({splits}), {len(domain.skipped)} left out, "
            f"digest {facts['digest'][:12]}"
        )
        for name, reason in domain.skipped:
            print(f"  left out {name}: {reason}")
    if config["sheet"]:
        prepare.write_sheet(store, domains, Path(config["sheet"]))
        print(f"contact sheet  {config['sheet']}")
    return None


def _prepare_network(name: str) -> None:
    """Fetch the weights of a network that only measures."""
    if name != "inception":
        raise UsageError(
            f"prepare encoder= takes inception, got {name!r}; weights of other encoders come with the first run that "
            "uses them"
        )
    from stylebench.metrics.extractors import fetch_inception

    print(f"inception  {fetch_inception()}")


def evaluate(arguments: list[str]) -> None:
    """Measure a finished run, or folders of images, and print the values."""
    config = compose("evaluate", controls_apart(arguments, "evaluate"))
    _check_switch(config, "save_images")
    from stylebench.commands import train as run
    from stylebench.commands.evaluate import evaluate as measure
    from stylebench.commands.evaluate import tables

    run.quieten()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    evaluated = measure(config)
    print(tables(evaluated))
    for path in evaluated.written:
        print(f"written  {os.path.relpath(path)}")


def list_kind(arguments: list[str]) -> None:
    """Print what there is of one kind, one line each."""
    kinds = LISTED_KINDS
    kind = arguments[0] if arguments else ""
    if kind not in kinds:
        wrong = f"nothing called {kind!r} to list{closest(kind, kinds)}" if kind else "say what to list"
        raise UsageError(f"{wrong}: stylebench list {'|'.join(kinds)}")
    if kind == "controls":
        config = compose("stylize", controls_apart(arguments[1:]))
        from stylebench.build import build_translator

        for control in build_translator(config, "cpu").controls:
            print(f"{control.name:<12} {control.span}: {control.help}")
    else:
        found = options(KINDS[kind])
        width = max(16, *map(len, found))
        for name, text in found.items():
            print(f"{name:<{width}} {first_comment(text)}")


HANDLERS: dict[str, Callable[[list[str]], None]] = {
    "train": train, "stylize": stylize, "export": export, "profile": profile, "prepare": prepare, "evaluate": evaluate,
    "list": list_kind,
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
    last = words[-1] if len(words) > 2 and not os.environ["COMP_LINE"].endswith(" ") else ""
    if asks and typed == "list":
        return print(" ".join(kind for kind in LISTED_KINDS if kind.startswith(last)))
    if asks and typed in ("stylize", "export") and "=" not in last:  # no groups: Hydra would offer those of training
        return print(" ".join(f"{key}=" for key in keys(typed) if key.startswith(last)))
    line = os.environ.get("COMP_LINE", "")
    os.environ["COMP_LINE"] = re.sub(rf"^(\s*\S+\s+){re.escape(typed)}\s?", r"\1", line)
    sys.argv = [sys.argv[0], *arguments]
    name = typed if typed in COMMANDS else "train"
    return hydra.main(config_path=CONF, config_name=name, version_base=VERSION_BASE)(lambda cfg: None)()  # type: ignore[no-any-return]


def _check_switch(config: Config, key: str) -> None:
    if not isinstance(config[key], bool):
        raise UsageError(f"{key} must be true or false, got {config[key]!r}")


def _known_keys(command: str, arguments: list[str]) -> list[str]:
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


@contextlib.contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    """Set an environment variable, or unset it by None, for the time of a `with` block."""
    before = os.environ.get(name)
    _set_variable(name, value)
    try:
        yield
    finally:
        _set_variable(name, before)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _remove_unused(folder: Path) -> None:
    """Remove a run folder that holds nothing but an empty log: the run never began."""
    files = list(folder.iterdir()) if folder.is_dir() else []
    if [file.name for file in files] == [LOG] and not files[0].stat().st_size:
        files[0].unlink()
        folder.rmdir()


def _say_where(result: Any) -> None:
    shown = os.path.relpath(result.folder)
    print(f"\nrun folder  {shown}\npictures    {shown}/samples/\nuse it      {_how_to_use(shown, result.inputs)}")


def _how_to_use(run: str | Path, inputs: "Sequence[Picture]") -> str:
    """Return a command line that uses a model: the content is `input`, other pictures have their names."""
    words = ["input" if picture.name == "content" else picture.name for picture in inputs if picture.required]
    return " ".join(["stylebench stylize", f"run={run}", *(f"{word}=<picture>" for word in words)])
