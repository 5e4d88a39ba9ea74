"""Run folders that no training makes: pictures that were optimized one by one, or folders of anybody's images."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from stylebench.build import Config
from stylebench.checks import UsageError
from stylebench.files import atomic_write, is_json, json_digest, write_json
from stylebench.inference.translators.base import OptimizingTranslator, Translator
from stylebench.run_folder import (
    CONFIG,
    FAILED,
    FINISHED,
    HEARTBEAT_SECONDS,
    OPTIMIZATION,
    RECORD,
    RECORD_FORMAT,
    RUNNING,
    STOPPED,
    RunFolder,
    now,
)
from stylebench.training.callbacks.run_record import machine, source_commit, versions


@contextlib.contextmanager
def recorded(
    folder: Path, kind: str, command: str, config: Config, facts: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Keep `record.json` of a run folder while a command fills it: running at first, then how it ended.

    Args:
        folder: the run folder; created.
        kind: of run: `optimization` or `folder`.
        command: that makes it; the folder of another command is refused.
        config: the command's resolved config.
        facts: plain values known before (name, data).

    Yields:
        The record; what the block puts into it is written at its end.

    Raises:
        UsageError: if the folder holds a run of another command.
    """
    run = RunFolder(folder)
    if run.has_record and run.maker != command:
        raise UsageError(f"{folder} holds a run that stylebench {run.maker} made; name another folder by output=")
    with run.held():
        record = _opening(RunFolder(folder), kind, command, config, facts)
        write_config(folder, config)
        write_json(folder / RECORD, {**record, "status": RUNNING, "error": None, "updated": now()})
        status, error = FAILED, None
        try:
            yield record
            status = FINISHED
        except BaseException as exception:
            status = STOPPED if isinstance(exception, SystemExit | KeyboardInterrupt) else FAILED
            error = f"{type(exception).__name__}: {exception}"
            raise
        finally:
            write_json(folder / RECORD, {**record, "status": status, "error": error, "updated": now()})


def _opening(run: RunFolder, kind: str, command: str, config: Config, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record as a session begins, with the sessions before it."""
    before = run.record if run.has_record else {}
    plain = config if is_json(config) else None
    session = {"started": now(), "config_digest": plain and json_digest(plain)}
    return {
        "format": RECORD_FORMAT,
        "kind": kind,
        "command": command,
        "heartbeat_seconds": HEARTBEAT_SECONDS,
        **facts,
        "config": plain,
        "started": before.get("started", session["started"]),
        "commit": source_commit(),
        "versions": versions(),
        "machine": machine(),
        "sessions": [*before.get("sessions", []), session],
    }


def record_of_pictures(
    translator: Translator, folder: Path, config: Config
) -> contextlib.AbstractContextManager[dict[str, Any]] | None:
    """Return the record of a folder of pictures that are optimized one by one; None where a trained model makes them.

    Args:
        translator: what makes the pictures.
        folder: where they go.
        config: the resolved config of `stylize`.
    """
    if not isinstance(translator, OptimizingTranslator):
        return None
    encoder = getattr(translator, "encoder", None)
    facts = {
        "name": folder.resolve().name,
        "method": type(translator).__name__,
        "seed": config["seed"],
        "encoder": None if encoder is None else encoder.describe(),
    }
    return recorded(folder, OPTIMIZATION, "stylize", config, facts)


def write_config(folder: Path, config: Config) -> None:
    """Write a run's resolved config as `config.yaml`."""
    with atomic_write(folder / CONFIG) as file:
        file.write(OmegaConf.to_yaml(OmegaConf.create(config)).encode())
