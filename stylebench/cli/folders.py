"""Run folders as Hydra sees them: one for each job, however many start in one second, and the log of a run."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict

from stylebench.checks import UsageError
from stylebench.cli.arguments import key_of
from stylebench.run_folder import RunFolder

_NAMED_BY = ("run", "hydra.run.dir", "hydra.sweep.dir")
_sweeps = contextlib.ExitStack()


class OwnFolder(Callback):
    """Give a job whose folder nobody named one that no other has, and hold the folder of a sweep."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the run folder before Hydra does, under another name where it is there already."""
        if not _is_named(config):
            _choose(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the folder of a sweep, tell the jobs, and hold it until `release`."""
        if not _is_named(config):
            quoted = _choose(config).replace("\\", "\\\\").replace("'", "\\'")
            config.hydra.overrides.task.append(f"run='{quoted}'")
        HydraConfig.instance().set_config(config)
        try:
            _sweeps.enter_context(RunFolder(config.hydra.sweep.dir).held())
        except (UsageError, OSError) as error:
            raise RefusedError(error) from error


class RefusedError(BaseException):
    """A folder that cannot be held, which `error` explains; Hydra makes warnings of lesser errors in a callback."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def release() -> None:
    """Let go of the folders of sweeps."""
    _sweeps.close()


def _is_named(config: DictConfig) -> bool:
    given = [*config.hydra.overrides.task, *config.hydra.overrides.hydra]
    return any(key_of(override) in _NAMED_BY for override in given)


def _choose(config: DictConfig) -> str:
    """Make a new folder, called as the config says or, where that is taken, `<name>-2` and so on; return its path."""
    HydraConfig.instance().set_config(config)
    wanted = str(config.run)
    folder, number = Path(wanted), 1
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            folder = Path(f"{wanted}-{number}")
            continue
        with open_dict(config):
            config.run = str(folder)
        return str(folder)


class RunLog(logging.Handler):
    """Keep a run's messages until it begins, then write them and all that follow; a run that never begins has none.

    Args:
        path: the file, which is continued.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._kept: list[str] = []
        self._file: IO[str] | None = None
        self.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))

    @contextlib.contextmanager
    def attached(self) -> Iterator["RunLog"]:
        """Listen to all messages for the time of a `with` block."""
        root = logging.getLogger()
        root.addHandler(self)
        try:
            yield self
        finally:
            root.removeHandler(self)
            self.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep or write a message."""
        line = self.format(record) + "\n"
        if self._file is None:
            self._kept.append(line)
        else:
            self._file.write(line)
            self._file.flush()

    def begin(self) -> None:
        """Write what was kept, and from now on everything."""
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8")
            self._file.writelines(self._kept)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()
