"""The data that a run is evaluated on: its own, wherever they lie now, or others under a name of their own."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stylebench.binding import changed_content, content_digests, differences, flatten
from stylebench.build import Config
from stylebench.checks import UsageError, closest
from stylebench.data.opened import Opened
from stylebench.files import json_digest
from stylebench.inference.loading import TrainedModel


def with_data(config: Config, given: Mapping[str, Any]) -> Config:
    """Return a run's config with other values below `dataset`; what followed a key there follows it now.

    Args:
        config: of the run.
        given: nested values by key below `dataset`.

    Raises:
        UsageError: if the run has no such key.
    """
    changed = copy.deepcopy(config)
    before = dict(flatten(config["dataset"]))
    for key, value in flatten(given):
        if key not in before and not any(other.startswith(f"{key}.") for other in before):
            raise UsageError(f"this run has no key 'dataset.{key}'{closest(key, before)}; it has: {', '.join(before)}")
        follows = [other for other in before if other.endswith(f".{key}") and before[other] == before.get(key)]
        for place in (key, *follows):
            node: Any = changed["dataset"]
            *path, last = place.split(".")
            for part in path:
                node = node[part]
            node[last] = value
    return changed


def data_label(folder: Path, model: TrainedModel, config: Config, opened: Opened, given: Mapping[str, Any]) -> str:
    """Return the name of the data that a run is evaluated on, empty for those that it was trained with.

    Args:
        folder: of the run.
        model: what was read there.
        config: with the data as they were opened.
        opened: those data.
        given: what the command line says of them.

    Raises:
        ValueError: if nothing is said of them and they are no longer those of the training.
    """
    before = model.trained["record"]
    if not before.get("data"):  # nothing is known of them
        return ""
    now = {**before, "data": opened.task.describe()}
    settings = {key: why for key, why in differences(model.config, config).items() if key.startswith("dataset.")}
    changed = {**settings, **changed_content(before, now)}
    if not changed:
        return ""
    if not given:
        shown = "; ".join(f"{key}: {values}" for key, values in changed.items())
        named = [key for key in changed if config["dataset"].get(key.removeprefix("dataset."))] or ["dataset.<role>"]
        raise ValueError(
            f"the data of {folder} are no longer what it was trained with ({shown}); restore them, or measure on what "
            f"there is now, under a name of its own, by naming it: {named[0]}=<folder>"
        )
    chosen = ",".join(f"{key}={value}" for key, value in flatten(given))
    different = {key: value for key, value in flatten(config["dataset"]) if f"dataset.{key}" in settings}
    return f"{chosen}-{json_digest([content_digests(now), different])[:8]}"
