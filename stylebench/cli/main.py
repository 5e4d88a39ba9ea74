"""The command line: `stylebench <command> key=value ...`.

A command reads its config (`conf/<command>.yaml`), applies the overrides and calls one function. Nothing heavy is
imported before the command is known, so help and completion answer at once.
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from stylebench.checks import UsageError, closest, read_path
from stylebench.cli.arguments import (
    check_experiments,
    check_flags,
    check_keys,
    check_trained_model_is_alone,
    controls_apart,
    data_apart,
    given_controls,
    keys_suggested,
)
from stylebench.cli.completion import complete
from stylebench.cli.config import Config, check_switch, compose, known_keys
from stylebench.cli.errors import explain, is_expected, is_usage
from stylebench.cli.help import COMMANDS, KINDS, LISTED_KINDS, command_help, general_help
from stylebench.cli.own_models import models_here, trusted_models
from stylebench.cli.train import FULL_ERROR, how_to_use, train
from stylebench.machine import limit_spinning
from stylebench.shipped import first_comment, options

NEW_WORDS = 2  # what is made, and its name
_OPTIONAL = ("output", "sheet")  # files that lie somewhere else, or nowhere, where none is named


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
            f"{explain(error, lambda: known_keys(command, arguments[1:]))}",
            file=sys.stderr,
        )
        if not is_usage(error):
            print(f"({FULL_ERROR}=1 shows where it came from)", file=sys.stderr)
        raise SystemExit(2 if is_usage(error) else 1) from None
    return None


def stylize(arguments: list[str]) -> None:
    """Apply a model, trained or not, to pictures; unknown keys are taken for controls of the model."""
    check_trained_model_is_alone(arguments)
    config = compose("stylize", controls_apart(arguments))
    check_switch(config, "overwrite")
    check_switch(config, "keep_alpha")
    from stylebench.build import build_translator
    from stylebench.commands.records import record_of_pictures
    from stylebench.commands.stylize.asked import read_asked
    from stylebench.commands.stylize.pictures import choose_device, default_output, stylize_path, synthesize

    config = _with_paths(config, "run", "input", "output")
    translator = build_translator(config, choose_device(config["device"]))
    if config["input"] is None and translator.takes("content"):
        raise UsageError("name what to stylize: input=<a picture, or a folder of pictures>")
    declared = [control.name for control in translator.controls]
    with keys_suggested("stylize"):
        controls, guides, variations = read_asked(translator, config, given_controls(config, arguments, declared))
    source = Path(config["input"] or guides.files[0])
    target = Path(config["output"]) if config["output"] else default_output(source)
    common = {"guides": guides, "variations": variations, "overwrite": config["overwrite"], "every": config["every"],
              **controls}  # fmt: skip
    if config["input"] is None:
        side = translator.canvas_px if config["size_px"] is None else config["size_px"]
        summary = synthesize(translator, target, (side, side), **common)
    else:
        size_px = translator.default_px if config["size_px"] is None else config["size_px"]
        summary = stylize_path(
            translator, source, target, suffix=config["suffix"], max_pixels=config["max_pixels"], size_px=size_px,
            keep_alpha=config["keep_alpha"], record=record_of_pictures(translator, target, config), **common,
        )  # fmt: skip
    print(f"{summary.words}: {target}")
    if summary.failed:
        raise SystemExit(1)


def _with_paths(config: Config, *keys: str) -> Config:
    """Return a config with the paths of some keys read; those that are not set stay so, an empty output is not set."""
    unset = {key: None for key in keys if config[key] is None or (config[key] == "" and key in _OPTIONAL)}
    return {**config, **unset, **{key: read_path(key, config[key]) for key in keys if key not in unset}}


def calibrate(arguments: list[str]) -> None:
    """Take the statistics of a domain for a trained model."""
    config = compose("calibrate", arguments)
    check_switch(config, "unbiased")
    from stylebench.commands import train as run
    from stylebench.commands.calibrate import calibrate as take

    run.quieten()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    calibrated = take(config)
    print(f"{calibrated.table()}\nwritten  {os.path.relpath(calibrated.file)}\nuse it   statistics={calibrated.name}")


def classify(arguments: list[str]) -> None:
    """Write the classes of pictures as a table."""
    config = compose("classify", arguments)
    check_switch(config, "overwrite")
    from stylebench.commands.classify import classify as label
    from stylebench.data.listing import left_out_words

    classified = label(config)
    counts = ", ".join(f"{name} {count}" for name, count in classified.counts.items())
    left = f", {left_out_words(classified.left_out)}" if classified.left_out else ""
    print(f"{counts or 'nothing'}{left}\nwritten  {classified.path}")
    if classified.failed:
        print("\n".join(f"not read: {name}: {reason}" for name, reason in classified.failed), file=sys.stderr)
        raise SystemExit(1)


def export(arguments: list[str]) -> None:
    """Write a trained model for use elsewhere."""
    config = _with_paths(compose("export", arguments), "run", "output")
    check_switch(config, "overwrite")
    from stylebench.inference.export import export as write_export

    folder = write_export(config["run"], config["output"], weights=config["weights"], overwrite=config["overwrite"])
    from stylebench.inference.loading import load

    model = load(folder)
    print(f"exported to {folder}; use it with: {how_to_use(folder, model.command, model.inputs)}")


def profile(arguments: list[str]) -> None:
    """Measure a training step, and what the frame costs."""
    check_experiments(arguments)
    config = _with_paths(compose("profile", arguments), "output")
    from stylebench.commands import train as run
    from stylebench.commands.profile import profile, report, to_json

    run.quieten()
    figures = profile(config)
    print(report(figures))
    if config["output"]:
        to_json(figures, Path(config["output"]))


def prepare(arguments: list[str]) -> None:
    """Get a data set where it can be had, check and pack it, and draw a contact sheet; or get a network's weights."""
    networks = [argument.removeprefix("encoder=") for argument in arguments if argument.startswith("encoder=")]
    if networks:
        return _prepare_network(networks[-1])
    config = _with_paths(compose("prepare", arguments, allow_missing=True), "sheet")
    from stylebench.build import build
    from stylebench.commands import prepare
    from stylebench.data.listing import left_out_words

    settings = config["dataset"]
    if settings["release"] is not None:
        build(settings["release"], "dataset.release").prepare(Path(read_path("dataset.root", settings["root"])))
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
        if domain.left_out:
            print(f"  {left_out_words(domain.left_out)}")
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
    config = compose("evaluate", controls_apart(data_apart(arguments), "evaluate"))
    check_switch(config, "save_images")
    from stylebench.commands import train as run
    from stylebench.commands.evaluate import evaluate as measure
    from stylebench.commands.evaluate_table import tables

    run.quieten()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with keys_suggested("evaluate"):
        evaluated = measure(config)
    print(tables(evaluated.sets, evaluated.means))
    for path in evaluated.written:
        print(f"written  {os.path.relpath(path)}")
    if evaluated.unwritten:
        print("\n".join(f"not written: {reason}" for reason in evaluated.unwritten), file=sys.stderr)
        raise SystemExit(1)


def new(arguments: list[str]) -> None:
    """Write the files of a new method, and say what to do with them."""
    words = [argument for argument in arguments if "=" not in argument]
    if len(words) != NEW_WORDS or words[0] != "method":
        near = closest(words[0], ["method"]) if words else ""
        raise UsageError(f"write stylebench new method <name>, got {' '.join(words) or 'no name'}{near}")
    config = compose("new", [argument for argument in arguments if "=" in argument])
    from stylebench.commands.new import new_method

    created = new_method(words[1], config)
    for path in created.files:
        print(f"written  {path}")
    print("\nit runs as it stands; change it, and try it:")
    for command, purpose in created.commands:
        print(f"\n  # {purpose}\n  {command}")


def list_kind(arguments: list[str]) -> None:
    """Print what there is of one kind, one line each."""
    kinds = LISTED_KINDS
    if not arguments:
        return print(
            "\n".join(f"stylebench list {kind:<13} {', '.join(options(group))}" for kind, group in KINDS.items())
        )
    kind = arguments[0]
    if kind not in kinds:
        raise UsageError(f"nothing called {kind!r} to list{closest(kind, kinds)}: stylebench list {'|'.join(kinds)}")
    if kind != "controls" and arguments[1:]:
        raise UsageError(f"list {kind} takes no more words, got {' '.join(arguments[1:])}")
    if kind == "controls":
        config = compose("stylize", controls_apart(arguments[1:]))
        from stylebench.build import build_translator

        model = build_translator(config, "cpu")
        for each in (*model.controls, *(picture for picture in model.inputs if picture.name != "content")):
            print(f"{each.name:<12} {each.span}: {each.help}")
    else:
        found = options(KINDS[kind])
        if kind == "models":
            own = {**dict(trusted_models()), **dict(models_here())}
            found |= {name: path.read_text(encoding="utf-8") for name, path in own.items()}
        width = max(16, *map(len, found))
        for name, text in found.items():
            print(f"{name:<{width}} {first_comment(text)}")
    return None


HANDLERS: dict[str, Callable[[list[str]], None]] = {
    "train": train, "stylize": stylize, "classify": classify, "calibrate": calibrate, "export": export,
    "profile": profile, "prepare": prepare, "evaluate": evaluate, "new": new, "list": list_kind,
}  # fmt: skip
