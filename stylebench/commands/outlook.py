"""What a finished run is worth, in words: how long it should have been, and whether untouched contents do better."""

import math
from collections.abc import Mapping
from typing import Any

from stylebench.build import Config
from stylebench.run_folder import UNTOUCHED
from stylebench.training.resume import spans_its_length

SHORT = 10  # times as long as the run was, from which its pictures say little of the model


def how_to_go_on(config: Config) -> str:
    """Say whether a finished run can be made longer."""
    if spans_its_length(config):
        return "something in it went to its end with them, so a longer run is another run, in a folder of its own"
    return "a larger budget.batches continues it"


def of_short_run(config: Config, done: int, argument: str, planned: int) -> str | None:
    """Say what to expect of a run of a small part of the batches that its config plans; None of another.

    Args:
        config: the run's resolved config.
        done: batches that the run has, which may be more than were asked for last.
        argument: that names the run folder on a command line, `run=...`.
        planned: batches that the config has where nobody sets their number.
    """
    if SHORT * done > planned:
        return None
    where = "... run=<another folder>" if spans_its_length(config) else argument
    return (
        f"{done:,} of {planned:,} batches: enough to see that it works, not how good the model becomes; for that, "
        f"stylebench train {where} budget.batches={planned}"
    )


def against_untouched(metrics: Mapping[str, float], record: Mapping[str, Any]) -> str | None:
    """Say that untouched contents do better, where most metrics find so; None else.

    Args:
        metrics: the run's newest, by dashboard key.
        record: the run's record, which holds the values of the untouched contents.
    """
    known = {
        key: entry
        for key, entry in (record.get(UNTOUCHED) or {}).items()
        if math.isfinite(metrics.get(key, math.nan)) and math.isfinite(entry["value"])
    }
    lost = []
    for key, entry in known.items():
        gain = metrics[key] - entry["value"]
        if not (gain > 0 if entry["larger_is_better"] else gain < 0):
            lost.append(f"{key} {metrics[key]:.4g}, theirs {entry['value']:.4g}")
    if 2 * len(lost) <= len(known):
        return None
    return (
        f"the untouched contents are no worse than what it makes of them ({'; '.join(lost)}): look at the pictures; a "
        "longer run, or other weights of its terms, may do better"
    )
