"""A small CSV logger whose file survives a resume: one row per logged batch, columns added as they appear."""

import csv
import io
import math
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from stylebench.files import atomic_write
from stylebench.run_folder import BATCHES, METRICS


class CSVLog(Logger):
    """Write metrics to `<folder>/metrics.csv`; the first column is the number of finished batches.

    Numbers are written with `repr`, so that reading them back gives the same float64. Metrics of one batch share a row,
    whatever the number of calls that bring them. A new column rewrites the file once, atomically.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / METRICS
        self._columns: list[str] = [BATCHES]
        self._rows: list[dict[str, str]] = []
        self._last_row_at = 0
        self._waits = False

    @property
    def name(self) -> str:
        """The name of the run folder."""
        return self.path.parent.name

    @property
    def version(self) -> str:
        """The CSV has no versions: a resumed run continues its file."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Ignore the configuration: `config.yaml` and `record.json` hold it."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add metrics to the row of batch `step`.

        Args:
            metrics: finite or non-finite floats by name.
            step: number of finished batches.

        Raises:
            ValueError: without a step, or with one before the last row's.
        """
        last = int(self._rows[-1][BATCHES]) if self._rows else -1
        if step is None or step < last:
            raise ValueError(
                f"metrics.csv has a row of batch {last}; the next must be of that batch or later, got {step}"
            )
        if step > last:
            self._rows.append({BATCHES: str(step)})
        self._rows[-1].update({name: repr(float(value)) for name, value in metrics.items() if name != BATCHES})
        fresh = [name for name in metrics if name not in self._columns]
        if self._waits:
            self._columns.extend(fresh)
        elif fresh or not self.path.exists():
            self._columns.extend(fresh)
            self._rewrite()
        else:
            self._write_last(starts_row=step > last)

    @rank_zero_only
    def rewind(self, batches: int, keep_evaluation: bool) -> None:
        """Read the file of an interrupted run and drop what came after a checkpoint; `begin` writes what is left.

        Args:
            batches: the checkpoint's batch; later rows go.
            keep_evaluation: whether the `val/` entries of that very batch stay. A longer run would not have
                evaluated at a batch that only the end of a shorter budget made an evaluation.
        """
        if not self.path.exists():
            return
        self._waits = True
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            self._columns = list(reader.fieldnames or [BATCHES])
            complete = [row for row in reader if None not in row.values() and row[BATCHES].isdigit()]
        self._rows = [{k: v for k, v in row.items() if v} for row in complete if int(row[BATCHES]) <= batches]
        if self._rows and not keep_evaluation and int(self._rows[-1][BATCHES]) == batches:
            self._rows[-1] = {k: v for k, v in self._rows[-1].items() if not k.startswith("val/")}
            if len(self._rows[-1]) == 1:
                self._rows.pop()
        used = {name for row in self._rows for name in row}
        self._columns = [BATCHES, *(name for name in self._columns if name in used and name != BATCHES)]

    @rank_zero_only
    def begin(self) -> None:
        """Write what `rewind` left and what was logged since; from now on every row at once."""
        if self._waits:
            self._waits = False
            self._rewrite()

    def last_values(self) -> dict[str, float]:
        """Return the newest finite value of each column."""
        values: dict[str, float] = {}
        for row in self._rows:
            values.update({k: float(v) for k, v in row.items() if k != BATCHES and math.isfinite(float(v))})
        return values

    def evaluations(self) -> list[dict[str, float]]:
        """Return the finite values of each row that an evaluation wrote, with the batch, in order."""
        rows = [row for row in self._rows if any(name.startswith("val/") for name in row)]
        return [{k: float(v) for k, v in row.items() if math.isfinite(float(v))} for row in rows]

    def _line(self, values: list[str]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(values)
        return text.getvalue().encode()

    def _row_line(self, row: dict[str, str]) -> bytes:
        return self._line([row.get(name, "") for name in self._columns])

    def _rewrite(self) -> None:
        with atomic_write(self.path) as file:
            file.write(self._line(self._columns))
            for row in self._rows:
                self._last_row_at = file.tell()
                file.write(self._row_line(row))

    def _write_last(self, starts_row: bool) -> None:
        with self.path.open("r+b") as file:
            self._last_row_at = file.seek(0, io.SEEK_END) if starts_row else file.seek(self._last_row_at)
            file.write(self._row_line(self._rows[-1]))
            file.truncate()
