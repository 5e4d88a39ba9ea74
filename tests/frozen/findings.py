"""What a run left behind, as flat names and values that can be compared one by one."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from stylebench.files import read_pickle
from stylebench.run_folder import RunFolder
from tests.frozen import renamed

Findings = dict[str, Any]
RECORD_KEYS = (
    "status", "name", "method", "seed", "batches", "parameters", "flops_per_batch", "precision", "encoder", "data",
    "health", "health_failures",
)  # fmt: skip
MACHINE_KEYS = ("path",)  # of a domain: where it lies


def run_findings(folder: Path, method: str = "") -> Findings:
    """Return what a run folder holds: its checkpoints, its columns, its record and its sample grids.

    Args:
        folder: the run folder.
        method: given for a folder of the frozen commit, whose names are translated.
    """
    found: Findings = {}
    for file in sorted((folder / "checkpoints").glob("*.ckpt")):
        found |= {f"{name} of {file.stem}": value for name, value in checkpoint_findings(file, method).items()}
    columns = {_column(name, method): values for name, values in read_columns(folder / "metrics.csv").items()}
    found |= {f"column {name}": values for name, values in columns.items()}
    found |= {f"record {name}": value for name, value in record_findings(folder, method).items()}
    return found | {f"picture samples/{file.name}": read_picture(file) for file in (folder / "samples").glob("*.png")}


def checkpoint_findings(file: Path, method: str = "") -> Findings:
    """Return every tensor and plain value of a checkpoint but what `renamed.LEFT_OUT` names, in present names.

    Those of the current code's folders are translated, too: one that it goes on in keeps the old checkpoints.
    """
    flat = {f"checkpoint.{name}": value for name, value in flatten(read_pickle(file))}
    kept = {name.removeprefix("checkpoint."): value for name, value in flat.items() if not renamed.is_left_out(name)}
    return {renamed.translate(name, renamed.CHECKPOINT, method): value for name, value in kept.items()}


def read_columns(file: Path) -> dict[str, list[str]]:
    """Return the columns of metrics.csv, each with its cells."""
    with file.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    return {name: [row[name] for row in rows] for name in rows[0]}


def record_findings(folder: Path, method: str = "") -> Findings:
    """Return what the record says of the result: no times, no machine, nothing that an evaluation added later."""
    run = RunFolder(folder)
    record = run.record
    kept = {key: record[key] for key in RECORD_KEYS if key in record}
    kept["values"] = {name: run.values(name) for name in run.sets() if name.startswith("val-")}
    found = {_translate_value(name, method): value for name, value in flatten(kept)}
    found = {name: value for name, value in found.items() if name.rpartition(".")[2] not in MACHINE_KEYS}
    final = {_column(name, method): value for name, value in record["final"].items() if not name.startswith("test/")}
    return found | {f"final.{name}": value for name, value in final.items()}


def value_findings(file: Path, method: str = "") -> Findings:
    """Return the values that `evaluate` wrote."""
    found = flatten(json.loads(file.read_text(encoding="utf-8")))
    return {f"value {_translate_value(name, method)}": value for name, value in found}


def read_picture(file: Path) -> torch.Tensor:
    """Return the pixels of a picture: (H, W, 3) uint8."""
    with Image.open(file) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB")))


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings and sequences under their names, joined by dots; empty ones as themselves."""
    if isinstance(value, dict | list | tuple) and value:
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flatten(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def differences(old: Findings, new: Findings) -> list[str]:
    """Return a line for each name that one side lacks or whose values are not the same bit for bit."""
    missing = [f"{name}: only 77a0089 has it" for name in old if name not in new]
    added = [f"{name}: only the current code has it" for name in new if name not in old]
    differing = [
        f"{name}: {_told(old[name], new[name])}" for name in old if name in new and not same(old[name], new[name])
    ]
    return missing + added + differing


def same(old: Any, new: Any) -> bool:
    """Tell whether two leaves are equal: tensors bit for bit, numbers as themselves, NaN equal to NaN."""
    if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor):
        alike = old.dtype == new.dtype and old.shape == new.shape
        return alike and old.contiguous().numpy().tobytes() == new.contiguous().numpy().tobytes()
    return type(old) is type(new) and (old == new or (old != old and new != new))


def _told(old: Any, new: Any) -> str:
    """Say how two leaves differ."""
    if not (isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor)):
        return f"{str(old)[:200]} -> {str(new)[:200]}"
    if old.dtype != new.dtype or old.shape != new.shape:
        return f"{old.dtype} {tuple(old.shape)} -> {new.dtype} {tuple(new.shape)}"
    return f"differs by up to {float((old.double() - new.double()).abs().max()):.3g}"


def _translate_value(name: str, method: str) -> str:
    return renamed.translate_value(name, method) if method else name


def _column(name: str, method: str) -> str:
    return renamed.translate(name, renamed.COLUMNS, method, "/") if method else name
