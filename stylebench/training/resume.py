"""Which checkpoint a run continues from: the newest intact one of the same configuration in its own folder."""

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylebench.checks import check_choice
from stylebench.files import DamagedFileError, json_digest
from stylebench.inference.loading import read_checkpoint
from stylebench.run_folder import CHECKPOINT_KEY, CHECKPOINTS, EARLIER, RUN_FILES, TRAIN, RunFolder

log = logging.getLogger(__name__)
MODES = ("never", "auto", "must")
SCHEDULE_LENGTH = "model.schedule.batches"

# What may differ between a run and its continuation: where it is written, how long it is, how it is watched, on what.
FREE_KEYS = (
    "run", "name", "resume", "panel", "logger", "optimized_metric", "metrics", "compile", "channels_last", "checkpoint",
    "samples",
    "budget.batches", "dataset.num_workers", "dataset.store.cache", "dataset.store.packed", "dataset.tasks",
    "dataset.release", "dataset.groups",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.deterministic",
)  # fmt: skip


@dataclass(frozen=True)
class Start:
    """Where training begins: from nothing, or from a checkpoint with its batches and the record so far.

    Attributes:
        inputs: digests of the data and weights that the checkpoint was trained with, by name.
    """

    checkpoint: Path | None = None
    batches: int = 0
    record: dict[str, Any] | None = None
    inputs: dict[str, str] = field(default_factory=dict)


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested mapping as dotted keys and values."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def binding_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves of a resolved config that decide the trained weights."""
    return {
        key: value
        for key, value in flatten(config)
        if not any(key == free or key.startswith(f"{free}.") for free in FREE_KEYS)
    }


def fingerprint(config: Mapping[str, Any]) -> str:
    """Return the digest of what decides the trained weights; runs may only be continued under the same one."""
    return json_digest(binding_part(config))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Return `old -> new` for every binding key whose value differs."""
    before, after = binding_part(old), binding_part(new)
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return {key: f"{before.get(key, '(none)')} -> {after.get(key, '(none)')}" for key in keys}


def find_start(folder: Path, mode: str, config: Mapping[str, Any], *, first_process: bool = True) -> Start:
    """Decide whether the run in `folder` is continued, begun, or refused.

    Args:
        folder: the run folder, which need not exist.
        mode: `never`, `auto` or `must`.
        config: the resolved config of the run that is to start.
        first_process: whether this process may move files.

    Returns:
        The checkpoint to continue from, or an empty start.

    Raises:
        ValueError: for an unknown mode, a folder that another command made, one that holds a run under `never`, under
            `must` a folder without an intact checkpoint of this config, or a run that another length would make another
            run.
    """
    check_choice("resume", mode, MODES)
    run = RunFolder(folder)
    if run.has_record and run.maker != TRAIN:
        raise ValueError(f"{folder} holds what stylebench {run.maker} made; name another folder by run=")
    if mode == "never":
        if run.has_record and first_process:
            raise ValueError(
                f"{folder} already holds a run; continue it with resume=auto, or name another folder by run="
            )
        return Start()
    start, reason = _newest_matching(folder, config)
    if start is not None:
        return start
    if mode == "must":
        raise ValueError(f"resume=must, but {reason}")
    if run.has_record and first_process and run.checkpoints():
        log.warning("%s; starting over, the earlier run is kept in %s", reason, _set_aside(folder))
    return Start()


def _newest_matching(folder: Path, config: Mapping[str, Any]) -> tuple[Start | None, str]:
    """Return the start from the newest intact checkpoint, or None and why there is none."""
    run = RunFolder(folder)
    files = run.checkpoints()
    if not files:
        return None, f"{folder / CHECKPOINTS} holds no checkpoint; start it with resume=auto, or name a run by run="
    for path in files:
        try:
            checkpoint = read_checkpoint(path)
        except DamagedFileError as error:
            log.warning("%s", error)
            continue
        entry = checkpoint[CHECKPOINT_KEY]
        if changed := differences(entry["config"], config):
            if set(changed) == {SCHEDULE_LENGTH}:
                raise ValueError(
                    f"the learning rate of the run in {folder} falls over its length ({SCHEDULE_LENGTH}: "
                    f"{changed[SCHEDULE_LENGTH]}): another length would have changed its learning rates from "
                    "the first batch; name another folder by run= for that, or keep the length (only a run that was "
                    "started with model/schedule=constant can be made longer)"
                )
            shown = "; ".join(f"{key}: {values}" for key, values in list(changed.items())[:8])
            shown += "; ..." if len(changed) > 8 else ""
            return None, f"the run in {folder} has another config ({shown})"
        record = run.record if run.has_record else None
        return Start(path, int(entry["batches"]), record, input_digests(entry["record"])), ""
    return None, f"none of the {len(files)} checkpoints in {folder / CHECKPOINTS} is intact"


def input_digests(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of each domain and of the encoder's weights that a run's facts name."""
    found = {f"dataset.{role}": domain["digest"] for role, domain in facts.get("data", {}).items()}
    encoder = facts.get("encoder")
    return {**found, "encoder.weights": encoder["digest"]} if encoder else found


def check_inputs(start: Start, facts: Mapping[str, Any]) -> None:
    """Refuse to continue on other data or weights: batch k would no longer be the batch that it was.

    Raises:
        ValueError: naming the config key whose content has changed.
    """
    now = input_digests(facts)
    for key, digest in start.inputs.items():
        if key in now and now[key] != digest:
            raise ValueError(
                f"{key} is no longer what the run was trained with (digest {digest[:12]}, now {now[key][:12]}); "
                "restore it, or start a new run in another folder by run="
            )


def _set_aside(folder: Path) -> Path:
    """Move the files of an earlier run into a numbered sub-folder, so that nothing is overwritten."""
    number = 1
    while (target := folder / f"{EARLIER}{number}").exists():
        number += 1
    target.mkdir()
    for name in RUN_FILES:
        if (folder / name).exists():
            os.replace(folder / name, target / name)
    return target
