"""The command `train` through Hydra: a run, or one job of a sweep after the other."""

import contextlib
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from stylebench.checks import UsageError
from stylebench.cli.arguments import (
    before_overrides,
    check_experiments,
    check_shared_folder,
    key_of,
    recorded_overrides,
    set_aside_here,
    started_elsewhere,
    typed,
)
from stylebench.cli.config import CONF, VERSION_BASE
from stylebench.cli.errors import explain, is_usage
from stylebench.cli.own_models import check_recorded_models, offer_models, untrusted_packages
from stylebench.own_packages import how_to_trust
from stylebench.run_folder import LOG

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from stylebench.inference.base import Picture


FULL_ERROR = "HYDRA_FULL_ERROR"
_LENGTH = "budget.batches"


def train(arguments: list[str]) -> None:
    """Hand the overrides to Hydra, which makes the run folder and, with -m, one job after the other."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from stylebench.cli.folders import RunLog

    check_experiments(arguments)
    check_shared_folder(arguments)
    recorded = recorded_overrides(arguments)
    check_recorded_models(recorded)
    offer_models(arguments)
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
        with RunLog(folder / LOG).attached() as run_log:
            try:
                with _environment(FULL_ERROR, asked_for_traceback):
                    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
                    if recorded:
                        run.check_recorded(config)
                    result = run.train(config, folder, list(job.overrides.task), began=run_log.begin)
            except Exception as error:
                if job.mode == RunMode.RUN:  # Hydra would print its own message before ours
                    failed.append(error)
                    _remove_unused(folder)
                    return None
                logging.getLogger(__name__).error("%s", explain(error))  # the sweep's other jobs go on
                if not any(folder.iterdir()):
                    run_log.begin()
                raise
            if run.first_process():
                _say_where(result, config, _planned(config, job.overrides.task), untrusted_packages(arguments))
                if config["panel"]:
                    page = run.report(config, result, shlex.join(["stylebench", "train", *arguments]))
                    print(f"report      {os.path.relpath(page)}")
        return result.metrics.get(config["optimized_metric"])

    sys.argv = [program, *before_overrides(recorded, arguments)]
    _run_hydra(task)
    if failed:
        _fail(failed[0], started_elsewhere(arguments) if recorded else None, set_aside_here(arguments))


def _run_hydra(task: "Callable[[DictConfig], float | None]") -> None:
    """Let Hydra read `sys.argv` and call the task for each job; its exceptions come through, and `main` words them."""
    import hydra

    from stylebench.cli.folders import RefusedError, release

    try:
        with _environment(FULL_ERROR, "1"):
            hydra.main(config_path=CONF, config_name="train", version_base=VERSION_BASE)(task)()
    except RefusedError as refused:
        raise refused.error from None
    finally:
        release()


def _fail(error: Exception, directory: str | None, aside: str) -> NoReturn:
    """Raise what ended a run, with what its folder tells: where it was started, or the run that was set aside there."""
    if aside and is_usage(error):
        raise UsageError(f"{explain(error)}{aside}") from error
    if directory and isinstance(error, FileNotFoundError):
        raise FileNotFoundError(
            f"{error} (the run was started in {directory}; its relative paths are read from where you are now)"
        ) from error
    raise error


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
    """Remove a run folder that holds nothing: the run never began."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _planned(config: dict[str, Any], overrides: Sequence[str]) -> int:
    """Return the batches that a run has where the command line does not say how many."""
    import hydra

    others = [override for override in overrides if key_of(override) != _LENGTH]
    if len(others) == len(overrides):
        return int(config["budget"]["batches"])
    return int(hydra.compose("train", overrides=others).budget.batches)


def _say_where(result: Any, config: dict[str, Any], planned: int, untrusted: Sequence[str]) -> None:
    """Print where a run's results lie, what they are worth where that is little, and else how its model is used."""
    from stylebench.commands.outlook import against_untouched, of_short_run
    from stylebench.data.listing import left_out_words
    from stylebench.run_folder import RunFolder

    shown = os.path.relpath(result.folder)
    for domain in result.opened.domains.values() if result.opened is not None else ():
        if domain.left_out:
            print(f"\n{left_out_words(domain.left_out)} of {domain.path}", end="")
    print(f"\nrun folder  {shown}\npictures    {shown}/samples/")
    if short := of_short_run(config, result.batches, typed("run", shown), planned):
        print(f"short run   {short}")
    if worse := against_untouched(result.metrics, RunFolder(result.folder).record):
        print(f"not yet     {worse}")
    else:
        print(f"use it      {how_to_use(shown, result.command, result.inputs)}")
    for package in untrusted:
        print(f"once before {how_to_trust(package)}   # so that a run folder may name classes of {package}")


def how_to_use(run: str | Path, command: str, inputs: "Sequence[Picture]") -> str:
    """Return a command line that uses a model: the content is `input`, other pictures have their names."""
    words = ["input" if picture.name == "content" else picture.name for picture in inputs if picture.required]
    return " ".join([f"stylebench {command}", typed("run", run), *(f"{word}=<picture>" for word in words)])
