"""Which checkpoint a run continues from: the newest intact one of the same configuration in its own folder."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylebench.binding import binding_part, changed_content, differences
from stylebench.checks import check_choice
from stylebench.files import DamagedFileError, json_digest
from stylebench.inference.loading import read_checkpoint
from stylebench.run_folder import CHECKPOINT_KEY, CHECKPOINTS, EARLIER, TRAIN, RunFolder

log = logging.getLogger(__name__)
_METHOD = "model._target_"
MODES = ("never", "auto", "must", "restart")
LENGTHS = (  # settings that something changes over, and that are budget.batches where nobody says otherwise
    "model.schedule.batches",
    "model.diversity_batches",
    "adaptation.batches",
    "model.inference.adaptation.batches",
)


@dataclass(frozen=True)
class Start:
    """Where training begins: from nothing, or from a checkpoint with its batches and the record so far.

    Attributes:
        checkpoint: to continue from.
        batches: that it has trained.
        record: of the run so far.
        config: that the checkpoint was trained with.
        facts: what it says of its data and weights.
        sets_aside: whether another run lies in the folder, which goes aside once this one has begun.
    """

    checkpoint: Path | None = None
    batches: int = 0
    record: dict[str, Any] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    sets_aside: bool = False


def spans_its_length(config: Mapping[str, Any]) -> bool:
    """Tell whether something in a run changes over the length that it was started with, so that no other will do."""
    found, length = binding_part(config), config["budget"]["batches"]
    return any(found.get(key) == length for key in LENGTHS)


def fingerprint(config: Mapping[str, Any]) -> str:
    """Return the digest of the settings that bind a run."""
    return json_digest(binding_part(config))


def find_start(folder: Path, mode: str, config: Mapping[str, Any]) -> Start:
    """Decide whether the run in `folder` is continued, begun, or refused; nothing is written.

    Args:
        folder: the run folder, which need not exist.
        mode: `never`, `auto`, `must` or `restart`.
        config: the resolved config of the run that is to start.

    Returns:
        The checkpoint to continue from, or an empty start.

    Raises:
        ValueError: for an unknown mode, a folder that another command made, one that holds a run under `never`, one
            that holds a run of other settings unless `restart` asks for another, or under `must` a folder without an
            intact checkpoint.
    """
    check_choice("resume", mode, MODES)
    run = RunFolder(folder)
    if run.has_record and run.maker != TRAIN:
        raise ValueError(f"{folder} holds what stylebench {run.maker} made; name another folder by run=")
    holds = run.has_record or bool(run.checkpoints())
    if mode == "never":
        if holds:
            raise ValueError(
                f"{folder} already holds a run; continue it with resume=auto, or name another folder by run="
            )
        return Start()
    if mode == "restart":
        return Start(sets_aside=holds)
    start, reason = _newest_matching(run, config)
    if start is not None:
        return start
    if mode == "must":
        raise ValueError(f"resume=must, but {reason}")
    if run.checkpoints():
        log.warning("%s; starting over, the earlier run is kept in %s*", reason, folder / EARLIER)
    return Start(sets_aside=bool(run.checkpoints()))


def _newest_matching(run: RunFolder, config: Mapping[str, Any]) -> tuple[Start | None, str]:
    """Return the start from the newest intact checkpoint, or None and why there is none."""
    files = run.checkpoints()
    if not files:
        where = run.elsewhere() or "; start it with resume=auto, or name a run by run="
        return None, f"{run.path / CHECKPOINTS} holds no checkpoint{where}"
    for path in files:
        try:
            checkpoint = read_checkpoint(path)
        except DamagedFileError as error:
            log.warning("%s", error)
            continue
        entry = checkpoint[CHECKPOINT_KEY]
        if changed := differences(entry["config"], config):
            _refuse(run.path, changed)
        record = run.record if run.has_record else None
        return Start(path, int(entry["batches"]), record, entry["config"], entry["record"]), ""
    return None, f"none of the {len(files)} checkpoints in {run.path / CHECKPOINTS} is intact"


def check_content(folder: Path, start: Start, facts: Mapping[str, Any]) -> None:
    """Refuse to continue on other data or weights: batch k would no longer be the batch that it was.

    Args:
        folder: the run folder.
        start: where the run would go on.
        facts: what there is now: `data`, `encoder` and `init`.

    Raises:
        ValueError: naming the config keys whose content has changed.
    """
    if start.checkpoint is not None and (changed := changed_content(start.facts, facts)):
        _refuse(folder, changed)


def _refuse(folder: Path, changed: Mapping[str, str]) -> None:
    """Say why the run in a folder is not continued, and how to begin another one."""
    if _METHOD in changed:  # all other settings of the model differ with it
        changed = {_METHOD: changed[_METHOD]}
    shown = "; ".join(f"{key}: {values}" for key, values in list(changed.items())[:8])
    shown += "; ..." if len(changed) > 8 else ""
    why = ""
    if set(changed) <= set(LENGTHS):
        why = (
            ". A learning rate, a weight or an adaptation changes over its length: another length would have changed "
            "it from the first batch. A run that begins with numbers of its own for these keys can be made longer"
        )
    if set(changed) == {"init"}:
        why = ". A run that goes on has its own weights: leave init= out"
    raise ValueError(
        f"the run in {folder} is bound to other values ({shown}){why}. To continue it, leave them as they were; for "
        "another run name another folder by run=, or give resume=restart to start over in this one: the earlier run is "
        f"then kept in {EARLIER}<n>"
    )
