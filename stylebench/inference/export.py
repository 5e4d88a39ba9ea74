"""Write a trained model as safetensors and JSON: loadable without Lightning or Hydra, and by other programs."""

import json
from pathlib import Path
from typing import Any

from stylebench import __version__
from stylebench.files import atomic_write, file_digest, write_json
from stylebench.inference.loading import EXPORT_FACTS, EXPORT_FORMAT, EXPORT_TENSORS, MODEL, read_model
from stylebench.inference.statistics import read_statistics, statistics_files, weights_digest, write_statistics
from stylebench.run_folder import LOCK, RunFolder


def export(source: str | Path, target_folder: str | Path, weights: str = "auto", overwrite: bool = False) -> Path:
    """Export a trained model to a folder of two files, beside statistics of further domains where there are any.

    `model.safetensors` holds the model's tensors; `model.json` its config, controls, which weights they are, the
    digest that `stylebench.load` verifies, and facts about the training. The JSON is written last: an export that was
    interrupted lacks it and is refused by `load`.

    Args:
        source: a run folder, a checkpoint, or another export.
        target_folder: the folder to write; created.
        weights: `ema`, `raw`, or `auto`: the moving average where there is one.
        overwrite: replace the two files in a folder that is not empty; other files there are left alone.

    Returns:
        The folder.

    Raises:
        FileExistsError: if the folder is not empty and `overwrite` is off.
        UsageError: if another process writes there.
        NotADirectoryError: if there is a file of that name.
        FileNotFoundError, ValueError: as `stylebench.load`.
    """
    from safetensors.torch import save

    folder = Path(target_folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; name a folder for the export")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(
            f"{folder} is not empty; name another folder, or set overwrite=true to replace its export"
        )
    source_model = read_model(Path(source), weights)
    model = source_model.build()  # fails here, before a file is written, where the export could not be loaded
    trained = dict(source_model.trained)
    version = trained.pop("version", None)
    facts: dict[str, Any] = {
        "format": EXPORT_FORMAT,
        "version": __version__,
        MODEL: source_model.node,
        "controls": [control._asdict() for control in model.controls],
        "weights": source_model.weights,
        "trained": {**trained, "by_version": trained.get("by_version", version)},
    }
    with RunFolder(folder).held():
        (folder / EXPORT_FACTS).unlink(missing_ok=True)
        with atomic_write(folder / EXPORT_TENSORS) as file:
            file.write(save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}))
        write_json(folder / EXPORT_FACTS, {**facts, "digest": file_digest(folder / EXPORT_TENSORS)})
        digest = weights_digest(source_model.state)
        for path in statistics_files(Path(source)):
            about, statistics = read_statistics(path)
            if about.get("weights") == digest:
                write_statistics(folder, about["domain"], digest, statistics, json.loads(about["facts"]))
        (folder / LOCK).unlink()  # an export is these files alone
    return folder
