"""The run folder: the names of its files, what they say, and how its run ended. Needs neither torch nor Hydra.

A run folder is the only thing that passes between training and reporting. The command that makes it writes
`record.json`; every evaluation writes files of its own under `evaluation/<set>/`, so that an evaluation of a run that
is still training loses nothing.
"""

import contextlib
import csv
import hashlib
import io
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from stylebench import locks
from stylebench.checks import UsageError
from stylebench.files import (
    DamagedFileError,
    atomic_write,
    check_writable,
    csv_text,
    json_file,
    safe_name,
    write_json,
    yaml_file,
)

RECORD = "record.json"
CONFIG = "config.yaml"
METRICS = "metrics.csv"
SAMPLES = "samples"
CHECKPOINTS = "checkpoints"
LOG = "train.log"
REPORT = "report.html"
ALPHAS = "alpha.png"  # of the layers that learn how far domains share statistics, over batches
EVALUATION = "evaluation"
STATISTICS = "statistics"
VALUES = "values.json"
ROWS = "rows.csv"
MANIFEST = "manifest.json"
LOCK = ".lock"
EARLIER = "earlier-"  # a run that another one replaced lies in `earlier-<n>`
RUN_FILES = (  # of one run, set aside together
    RECORD, CONFIG, METRICS, SAMPLES, CHECKPOINTS, EVALUATION, STATISTICS, ALPHAS,
)  # fmt: skip

RECORD_FORMAT = 3  # 2: evaluations inside the record, no kind, no config
VALUES_FORMAT = 1
CHECKPOINT_FORMAT = 2
CHECKPOINT_KEY = "stylebench"  # what a checkpoint holds beside Lightning's own entries
CHECKPOINT_PATTERN = "batch-*.ckpt"
BATCHES = "train/batches"  # the first column of metrics.csv: finished batches, the only clock

# Kinds of run: a model, pictures optimized one by one, or a folder of images that somebody made.
TRAINING, OPTIMIZATION, FOLDER = "training", "optimization", "folder"
TRAIN = "train"  # the command that made a folder whose record names none
RUNNING, FINISHED, STOPPED, FAILED, KILLED = "running", "finished", "stopped", "failed", "killed"
HEARTBEAT_SECONDS = 60.0  # how often a training run says that it is alive
_UNKNOWN_HEARTBEAT_SECONDS = 3600.0  # of a record that does not say how often: those written at checkpoints alone
_MISSED_BEATS = 3

# What a run is: with another value of one of these, or of a key below it, it is another run. Its data and the weights
# of its encoder bind it by their content (see binding.py), wherever they lie.
BINDING_KEYS = (
    "seed", "init.networks", "model", "adaptation", "ema", "dataset.size_px", "dataset.resize_px", "dataset.flip",
    "dataset.batch_size", "dataset.on_small", "dataset.protocol", "dataset.direction", "dataset.degradation",
    "dataset.store.val_fraction", "dataset.store.test_fraction", "dataset.store.photographs.val_fraction",
    "dataset.store.photographs.test_fraction", "trainer.precision", "trainer.gradient_clip_val",
    "trainer.gradient_clip_algorithm", "trainer.accumulate_grad_batches",
)  # fmt: skip

SHOWN = ("dashboard", "table", "record")  # everywhere, not on dashboards, not even in tables
NOT_APPLICABLE = "not_applicable"
UNTOUCHED = "untouched"  # entry of a record: what the contents themselves score, by dashboard key
IMAGE_COLUMNS = ("index", "content_id", "style_id", "seed")  # of rows.csv, before the metrics


class RunFolder:
    """One run folder, read lazily: the record and the config once, when they are first asked for.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def has_record(self) -> bool:
        """Whether a run left its record here."""
        return (self.path / RECORD).is_file()

    @property
    def enclosing(self) -> Path | None:
        """The run that this folder is a part of, such as its checkpoints; None of a folder of its own."""
        whole = self.path.resolve()
        parts = (run for run in whole.parents if whole.relative_to(run).parts[0] in RUN_FILES)
        return next((run for run in parts if (run / RECORD).is_file()), None)

    @cached_property
    def record(self) -> dict[str, Any]:
        """What `record.json` holds.

        Raises:
            FileNotFoundError: if there is none.
            DamagedFileError: if it is not a JSON object.
        """
        return json_file(self.path / RECORD, "give the run's settings again, and another folder by run=")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration: of the record, or of `config.yaml` where the record has none. Not to be trusted.

        Raises:
            FileNotFoundError: if there is neither.
            DamagedFileError: if the file cannot be read.
        """
        inside = self.record.get("config") if self.has_record else None
        return inside if isinstance(inside, dict) else yaml_file(self.path / CONFIG)

    @property
    def status(self) -> str:
        """How the run ended, or `running`; `killed` follows from what it left.

        A run is killed if its record says running, no process holds its lock, and its last sign of life is older than
        three of its heartbeats. A sign from the future, by another clock, counts as one of now.
        """
        recorded = str(self.record.get("status"))
        if recorded != RUNNING or _beats(self.record) or locks.is_held(self.path / LOCK):
            return recorded
        return KILLED

    @property
    def maker(self) -> str:
        """The command that made the folder: `train`, `stylize` or `evaluate`."""
        return str(self.record.get("command", TRAIN))

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints, newest (most batches) first."""
        return checkpoint_files(self.path / CHECKPOINTS)

    def elsewhere(self) -> str:
        """Return, for a message, where a run lies that was set aside here and left no other; empty if none was."""
        aside = [] if self.checkpoints() else [path for path in self.path.glob(f"{EARLIER}*") if path.is_dir()]
        newest = max(aside, key=lambda path: path.stat().st_mtime, default=None)
        return f"; the run that was here lies in {newest}: name that by run=" if newest else ""

    def set_aside(self) -> Path:
        """Move the run's files into a numbered sub-folder, so that nothing is overwritten; return it."""
        number = 1
        while (target := self.path / f"{EARLIER}{number}").exists():
            number += 1
        target.mkdir()
        for name in RUN_FILES:
            if (self.path / name).exists():
                os.replace(self.path / name, target / name)
        return target

    def set_folder(self, name: str) -> Path:
        """Return the folder of an evaluation."""
        return self.path / EVALUATION / safe_name(name)

    def sets(self) -> list[str]:
        """List the names of what was evaluated, such as `val-ema`, by name; those inside an older record too."""
        found = [json_file(path, "evaluate the run again")["name"] for path in self._files(f"*/{VALUES}")]
        return sorted({*found, *self._recorded()})

    def values(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the entries of an evaluation by record key, each `{"value": ..., "interval": ..., ...}`.

        Raises:
            FileNotFoundError: if nothing was evaluated under this name; the message names those that there are.
            DamagedFileError: if the file is damaged.
        """
        if not (self.set_folder(name) / VALUES).is_file():
            if name not in self._recorded():
                there = ", ".join(self.sets()) or "none"
                raise FileNotFoundError(f"{self.path} has no evaluation {name!r}; there are: {there}")
            return dict(self._recorded()[name])
        found = self._values_file(name)
        return {
            key: {**entry, **({"network": networks[entry["network"]["name"]]} if _is_short(entry) else {}), **facts}
            for facts, networks in [(found["facts"], found["networks"])]
            for key, entry in found["entries"].items()
        }

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return an evaluation's table, a row per image: `IMAGE_COLUMNS`, then every pair metric by its record key.

        A number that could not be read on an image is None.

        Raises:
            FileNotFoundError: if there is none: older runs kept no rows.
            DamagedFileError: if the table is not the one that was written with the values.
        """
        path = self.set_folder(name) / ROWS
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self._values_file(name)["rows_digest"]:
            raise DamagedFileError(f"{path} was not written with the {VALUES} beside it: evaluate the run again")
        return [
            {column: text if column in IMAGE_COLUMNS else float(text) if text else None for column, text in row.items()}
            for row in csv.DictReader(io.StringIO(content.decode(), newline=""))
        ]

    def final(self) -> dict[str, float]:
        """Return the final metrics by dashboard key: those of training, and of evaluations of its last weights.

        Of an evaluation with several sets (a pair of domains each) the means over them count. An evaluation of weights
        from before the run's newest checkpoint is not final, and one with controls that a user chose never is.
        """
        merged = dict(self.record.get("final") or {})
        found = [json_file(path, "evaluate the run again") for path in self._files("means-*.json")]
        for means in sorted(found, key=lambda means: str(means["written"])):
            if means["batches"] is None or means["batches"] >= self.record.get("batches", 0):
                merged |= means["values"]
        return merged

    def write_evaluation(
        self,
        name: str,
        entries: Mapping[str, Mapping[str, Any]],
        rows: Sequence[Mapping[str, Any]],
        facts: Mapping[str, Any],
        images: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write an evaluation's files, each whole or not at all; `values.json` comes last.

        Args:
            name: of the set.
            entries: by record key; the description of a network is kept once, under its name.
            rows: a mapping an image: `IMAGE_COLUMNS` and the metrics.
            facts: plain values that hold for all entries: weights, split, batches, controls ...
            images: file names of saved images, with what each was made from; None if none were saved, which leaves
                those of an earlier evaluation of the same weights in the manifest.

        Returns:
            The set's folder.
        """
        folder = self.set_folder(name)
        networks: dict[str, Any] = {}
        short = {key: _shortened(entry, facts, networks) for key, entry in entries.items()}
        table = csv_text(rows, IMAGE_COLUMNS).encode()
        with atomic_write(folder / ROWS) as file:
            file.write(table)
        if images is None and (folder / MANIFEST).is_file():
            before = json_file(folder / MANIFEST, "evaluate the run again with save_images=true")
            images = before["images"] if before == {**facts, "images": before.get("images")} else {}
        write_json(folder / MANIFEST, {**facts, "images": dict(images or {})})
        about = {"format": VALUES_FORMAT, "name": name, "written": now(), "facts": dict(facts)}
        digest = hashlib.sha256(table).hexdigest()
        write_json(folder / VALUES, {**about, "rows_digest": digest, "networks": networks, "entries": short})
        return folder

    def write_means(self, split: str, weights: str, batches: int | None, means: Mapping[str, float]) -> None:
        """Write the means over the sets of an evaluation after training, for `final`; keys start with the split."""
        written = datetime.now(UTC).isoformat()  # to the microsecond: the newest counts
        about = {"format": VALUES_FORMAT, "written": written, "batches": batches}
        write_json(self.path / EVALUATION / f"means-{split}-{weights}.json", {**about, "values": dict(means)})

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, and hold it for the time of a `with` block: one folder has one writer.

        Others see by its lock that its run is alive. Where nothing was written, nothing is left.

        Raises:
            UsageError: if another process holds it.
            PermissionError: if it cannot be written to.
        """
        made, fresh = not self.path.exists(), not (self.path / LOCK).exists()
        with contextlib.ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locks.held(self.path / LOCK))
                check_writable(self.path)
            except locks.HeldError as error:
                raise UsageError(
                    f"{self.path} is in use by {error}; wait until that ends or end it, or name another folder"
                ) from error
            except OSError as error:
                raise PermissionError(
                    f"cannot write to the folder {self.path} ({error.strerror}); name another one"
                ) from error
            try:
                yield
            finally:
                if fresh and [path.name for path in self.path.iterdir()] == [LOCK]:
                    (self.path / LOCK).unlink()
                    if made:
                        self.path.rmdir()

    def _files(self, pattern: str) -> Collection[Path]:
        return sorted((self.path / EVALUATION).glob(pattern))

    def _values_file(self, name: str) -> dict[str, Any]:
        return json_file(self.set_folder(name) / VALUES, "evaluate the run again")

    def _recorded(self) -> dict[str, Any]:
        """Return the evaluations inside a record of format 2."""
        found = self.record.get("metrics") if self.has_record else None
        return found if isinstance(found, dict) else {}


def find_runs(root: str | Path) -> Iterator[RunFolder]:
    """Yield the run folders at and below a folder, in the order of their paths, as they are found.

    What a run folder holds is not searched: an earlier run that was set aside is not one of its own. Links to folders
    below the first are not followed.

    Args:
        root: where to look; a folder that cannot be read is passed over.
    """
    folder = Path(root)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # gone, or not ours to read
        return
    if any(entry.name == RECORD for entry in entries):
        yield RunFolder(folder)
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from find_runs(entry.path)


def checkpoint_name(batches: int) -> str:
    """Return the name of the checkpoint after a number of batches."""
    return f"batch-{batches:09d}.ckpt"


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, newest (most batches) first."""
    found = [
        path for path in folder.glob(CHECKPOINT_PATTERN) if re.fullmatch(r"batch-\d{9,}\.ckpt", path.name, re.ASCII)
    ]
    return sorted(found, key=lambda path: int(path.stem.removeprefix("batch-")), reverse=True)


def dashboard(entries: Mapping[str, Mapping[str, Any]], stage: str | None = None) -> dict[str, float]:
    """Return the values of entries by dashboard key: `val/fd_compact_judge`; those that do not apply are left out.

    Args:
        entries: by record key.
        stage: `val` or `test`; None for keys without it.
    """
    return {
        entry["alias"] if stage is None else f"{stage}/{entry['alias']}": entry["value"]
        for entry in entries.values()
        if entry["value"] is not None and entry["shown"] == SHOWN[0]
    }


def mean_dashboard(dashboards: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over several evaluations of each value that all of them have.

    Args:
        dashboards: values by dashboard key, one for each evaluation, at least one.
    """
    first, *others = dashboards
    shared = [key for key in first if all(key in other for other in others)]
    return {key: math.fsum(each[key] for each in dashboards) / len(dashboards) for key in shared}


def now() -> str:
    """Return the time as records have it: ISO 8601, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_short(entry: Mapping[str, Any]) -> bool:
    """Tell whether an entry names its network, where the whole description is kept elsewhere."""
    return isinstance(entry.get("network"), Mapping) and list(entry["network"]) == ["name"]


def _shortened(entry: Mapping[str, Any], facts: Mapping[str, Any], networks: dict[str, Any]) -> dict[str, Any]:
    """Return an entry without what holds for all, and put the description of its network among the networks."""
    short = {name: value for name, value in entry.items() if name not in facts or facts[name] != value}
    network = entry.get("network")
    if isinstance(network, Mapping) and networks.setdefault(str(network["name"]), dict(network)) == network:
        short["network"] = {"name": network["name"]}
    return short


def _beats(record: Mapping[str, Any]) -> bool:
    """Tell whether a record's last sign of life is young enough, or from the future."""
    try:
        age = (datetime.now(UTC) - datetime.fromisoformat(str(record.get("updated")))).total_seconds()
        return age <= _MISSED_BEATS * float(record.get("heartbeat_seconds", _UNKNOWN_HEARTBEAT_SECONDS))
    except (ValueError, TypeError):  # no time, or one without its zone: no sign of life
        return False
