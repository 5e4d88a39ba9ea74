"""The typed words of a command, before Hydra reads them: recorded overrides, controls, stray options."""

import contextlib
import difflib
import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from stylebench.checks import UnknownControlError, UsageError, closest
from stylebench.renames import CONTROLS, present_key, updated_override
from stylebench.run_folder import RECORD, RunFolder
from stylebench.shipped import conf_folder, groups, keys, options

_RECORDABLE = re.compile(r"\+{0,2}[A-Za-z_][\w./]*=|~[A-Za-z_][\w./]*(=|$)", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z_./][\w./-]*(?<!-)", re.ASCII)  # the path of a folder that needs no quotes
_WORDS = ("null", "true", "false", "nan", "inf")  # that Hydra reads as no text
PRECISION = "trainer.precision"
_HYDRA_FLAGS = (
    "-m", "--multirun", "-c", "--cfg", "--resolve", "-p", "--package", "-i", "--info", "--hydra-help", "-cd",
    "--config-dir",
)  # fmt: skip


def before_overrides(added: list[str], arguments: list[str]) -> list[str]:
    """Put overrides in front of the typed ones, behind flags such as -m: argparse wants all of them in one piece."""
    first = next((i for i, argument in enumerate(arguments) if "=" in argument), len(arguments))
    return [*arguments[:first], *added, *arguments[first:]]


def recorded_overrides(arguments: list[str]) -> list[str]:
    """Return the overrides that the run named by `run=` was started with, so that naming it is enough to go on.

    A folder without a checkpoint has nothing to go on from. What the record says is not trusted: it may set keys of the
    run, never Hydra's own, which start programs.
    """
    named = given_run(arguments)
    if named is None or {"-m", "--multirun"} & set(arguments):
        return []
    run = RunFolder(named)
    if not run.has_record or not run.checkpoints():
        return []
    taken = {key_of(argument) for argument in arguments} | {"run", "resume"}
    kept = [override for override in _read_overrides(run) if key_of(override) not in taken]
    return kept if PRECISION in taken else [*kept, *_kept_precision(run, arguments, kept)]


def _kept_precision(run: RunFolder, arguments: list[str], recorded: list[str]) -> list[str]:
    """Return an override that keeps the run's precision where another trainer is chosen: that alone is no new run."""
    if not any(key_of(argument) == "trainer" for argument in arguments) or PRECISION in map(key_of, recorded):
        return []
    trainer = run.config.get("trainer")
    precision = trainer.get("precision") if isinstance(trainer, Mapping) else None
    return [f"{PRECISION}={precision}"] if re.fullmatch(r"[a-z0-9-]+", str(precision)) and precision else []


def set_aside_here(arguments: list[str]) -> str:
    """Return, for a message, where the run lies that was in the folder named by `run=`; empty if there is none."""
    named = given_run(arguments)
    return "" if named is None else RunFolder(named).elsewhere()


def started_elsewhere(arguments: list[str]) -> str | None:
    """Return the folder that the run named by `run=` was started in, where that is another than this one."""
    try:
        directory = RunFolder(given_run(arguments) or "").record["directory"]
    except (OSError, ValueError, LookupError, TypeError):  # no run, no readable record: nothing to say here
        return None
    return directory if isinstance(directory, str) and directory != os.getcwd() else None


def _read_overrides(run: RunFolder) -> list[str]:
    """Return the overrides in a run record.

    Raises:
        ValueError: if the file is damaged, or an override would do more than set a key of the run.
    """
    path, overrides = run.path / RECORD, run.record.get("overrides")
    if not isinstance(overrides, list):
        raise ValueError(f"{path} is damaged: 'overrides' should be a list, found {type(overrides).__name__}")
    for override in overrides:
        if not isinstance(override, str) or not _RECORDABLE.match(override) or "hydra" in key_of(override):
            raise ValueError(
                f"{path} holds {override!r} among the run's overrides, which sets no key of a run; nothing was run. Do "
                "not use this folder if you do not know where it comes from"
            )
    return [updated_override(override, str(run.record.get("method"))) for override in overrides]


def typed(key: str, value: object) -> str:
    """Return `key=value` as a shell and Hydra read it: in quotes where a character means something to either."""
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return f"{key}={text}"
    quoted = text.replace('"', '\\"')
    return shlex.quote(f'{key}="{quoted}"')


def key_of(override: str) -> str:
    """Return the key or group that an override sets: `+model.x=3` sets `model.x`."""
    return override.partition("=")[0].lstrip("+~")


def check_flags(command: str, arguments: list[str]) -> None:
    """Refuse words with dashes that are no option: argparse, inside Hydra, would answer with its own list."""
    allowed = _HYDRA_FLAGS if command == "train" else ()
    for argument in arguments:
        if argument.startswith("-") and argument.partition("=")[0] not in allowed:
            key = argument.lstrip("-")
            plain = f"write {key}, without dashes" if "=" in key else "keys are given as key=value"
            raise UsageError(f"unknown option {argument!r}: {plain}; see stylebench {command} --help")


def check_keys(command: str, arguments: list[str]) -> None:
    """Refuse keys of earlier versions.

    Raises:
        UsageError: naming the present key.
    """
    model = _model_name(command, arguments)
    controls = CONTROLS if command in ("stylize", "list") or _names_a_run(arguments) else {}
    for argument in arguments:
        key = key_of(argument)
        if (present := controls.get(key) or present_key(key, model)) != key:
            raise UsageError(f"{key} is {present} now; write {present}")


def given_run(arguments: list[str]) -> str | None:
    """Return what the last `run=` on a command line names, read by Hydra's grammar; None if there is none."""
    named = [argument for argument in arguments if key_of(argument) == "run" and "=" in argument]
    if not named:
        return None
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return str(OverridesParser.create().parse_override(named[-1]).value())
    except HydraException:  # Hydra is about to say what is wrong with it
        return None


def _names_a_run(arguments: list[str]) -> bool:
    return any(key_of(argument) == "run" and "=" in argument for argument in arguments)


def _model_name(command: str, arguments: list[str]) -> str:
    """Return the name of the model that a command line chooses, itself or by an experiment; empty if none is chosen."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    experiment = options("experiment").get(given.get("experiment", ""), "")
    file = {"profile": "train", "list": "stylize"}.get(command, command)
    shipped = (conf_folder() / f"{file}.yaml").read_text()
    chosen = re.search(r"override /model: (\w+)", experiment) or re.search(r"^  - model: (\w+)", shipped, re.MULTILINE)
    return given.get("model") or (chosen[1] if chosen else "")


def check_experiments(arguments: list[str]) -> None:
    """Refuse studies that are not there: Hydra would list those of one paper alone.

    Raises:
        UsageError: naming the nearest, and all there are.
    """
    studies = options("experiment")
    for argument in arguments:
        if argument.startswith("experiment="):
            for name in argument.removeprefix("experiment=").split(","):
                if name not in (*studies, "null"):
                    raise UsageError(f"no experiment {name!r}{closest(name, studies)}; there are: {', '.join(studies)}")


def check_shared_folder(arguments: list[str]) -> None:
    """Processes that were started apart (torchrun, srun) must be told one run folder: each would name its own."""
    apart = "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1
    named = any(key_of(argument) in ("run", "hydra.run.dir") for argument in arguments)
    if apart and not named and int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1:
        raise UsageError(
            "several processes were started at once; give them one run folder: run=outputs/<name>/<folder>"
        )


def check_trained_model_is_alone(arguments: list[str]) -> None:
    """Refuse choices of another model beside `run=`: they would change nothing.

    Raises:
        UsageError: naming them.
    """
    given = {key_of(argument) for argument in arguments if "=" in argument}
    other = sorted(key for key in given if key.partition("/")[0].partition(".")[0] in groups("stylize"))
    if "run" in given and other:
        raise UsageError(
            f"{', '.join(other)}: run= brings its own model and encoder; leave these out, or run=. What can be changed "
            "are its controls: stylebench list controls run=..."
        )


def controls_apart(arguments: list[str], command: str = "stylize") -> list[str]:
    """Turn `alpha=0.7` into `+controls.alpha=0.7` where `alpha` is no key of the command; the model checks it.

    What it does not know may be a key that was mistyped: see `keys_suggested`.
    """
    known = [*keys(command), *groups(command)]
    turned = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and re.fullmatch(r"\w+", name) and name not in known:
            argument = f"+controls.{name}={value}"
        turned.append(argument)
    return turned


@contextlib.contextmanager
def keys_suggested(command: str) -> Iterator[None]:
    """Say of a control that the model does not have, for a `with` block, which key of the command it resembles.

    Raises:
        UsageError: naming the key.
    """
    try:
        yield
    except UnknownControlError as error:
        known = [*keys(command), *groups(command)]
        if close := difflib.get_close_matches(error.name, known, n=1, cutoff=0.75):
            raise UsageError(f"unknown key {error.name!r}; did you mean {close[0]!r}? {error}") from None
        raise


def data_apart(arguments: list[str]) -> list[str]:
    """Let `dataset.content=x` stand beside `run=`, whose config has that key; the run says whether it does.

    Raises:
        UsageError: if a data set is chosen as a whole.
    """
    for argument in arguments:
        if key_of(argument) == "dataset":
            raise UsageError(f"{argument}: name the keys that change, such as dataset.content=<folder>")
    return [
        f"++{argument.lstrip('+')}" if key_of(argument).startswith("dataset.") and argument[0] != "~" else argument
        for argument in arguments
    ]


def given_controls(config: Mapping[str, Any], arguments: list[str], declared: Collection[str]) -> dict[str, Any]:
    """Return what a command line gives for a model's controls.

    Args:
        config: the composed config of the command: `controls`, and its own keys.
        arguments: as typed.
        declared: names of the model's controls. Where one is a key of the command, too (`seed`), a typed value counts
            for both; the command's default does not.
    """
    typed = {key_of(argument) for argument in arguments}
    return {**config["controls"], **{name: config[name] for name in declared if name in typed and name in config}}
