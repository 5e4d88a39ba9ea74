"""Statistics of further domains beside a trained model: their files, and the control that chooses among them."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylebench.files import DamagedFileError, atomic_write, safe_name
from stylebench.functional.moments import MeanAndVariance
from stylebench.inference.base import STATISTICS as CONTROL
from stylebench.inference.base import STATISTICS_SHARE, Choice, Control, Inference
from stylebench.inference.classifier import Classifier
from stylebench.nn.normalization import has_batch_norm, keep, kept
from stylebench.run_folder import STATISTICS

FORMAT = "1"
_SUFFIX = ".safetensors"
_PARTS = MeanAndVariance._fields
_CHOICE = 2  # domains from which on there is one
_AGAIN = "take them again: stylebench calibrate run=... domain=..."

log = logging.getLogger(__name__)


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a model's tensors, names and types included: statistics belong to certain weights."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def statistics_files(folder: Path) -> list[Path]:
    """Return the files of statistics that lie beside a model, by name."""
    return sorted((folder / STATISTICS).glob(f"*{_SUFFIX}"))


def write_statistics(
    folder: Path, domain: str, weights: str, statistics: Mapping[str, MeanAndVariance], facts: Mapping[str, Any]
) -> Path:
    """Write the statistics of a domain beside a model, whole or not at all.

    Args:
        folder: of the run or export; the file is `statistics/<domain>.safetensors` in it, with `<layer>.mean` and
            `<layer>.variance`, (C,) float64 each.
        domain: its name.
        weights: digest of the weights that they were taken with.
        statistics: by layer.
        facts: plain values about how they were taken.

    Returns:
        The file.
    """
    from safetensors.torch import save

    tensors = {
        f"{layer}.{part}": value.cpu().contiguous()
        for layer, each in statistics.items()
        for part, value in each._asdict().items()
    }
    about = {"format": FORMAT, "domain": domain, "weights": weights, "facts": json.dumps(dict(facts))}
    path = folder / STATISTICS / f"{safe_name(domain)}{_SUFFIX}"
    with atomic_write(path) as file:
        file.write(save(tensors, about))
    return path


def read_statistics(path: Path) -> tuple[dict[str, str], dict[str, MeanAndVariance]]:
    """Read the statistics of a domain: what the file says of itself, and the tensors by layer.

    Raises:
        DamagedFileError: if the file is damaged, or another program's.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(f"{path} cannot be read: {error}; {_AGAIN}") from error
    layers = [name.removesuffix(".mean") for name in tensors if name.endswith(".mean")]
    if about.get("format") != FORMAT or set(tensors) != {f"{each}.{part}" for each in layers for part in _PARTS}:
        raise DamagedFileError(f"{path} holds no statistics of a domain in format {FORMAT}; {_AGAIN}")
    found = {name: MeanAndVariance(tensors[f"{name}.mean"], tensors[f"{name}.variance"]) for name in layers}
    if any(
        not bool(part.isfinite().all()) or bool((each.variance < 0).any()) for each in found.values() for part in each
    ):
        raise DamagedFileError(f"{path} holds statistics that are no numbers, or variances below 0; {_AGAIN}")
    return about, found


def attach_statistics(model: Inference, files: Iterable[Path], weights: str) -> None:
    """Keep the statistics of domains that lie in files beside a model's weights, and declare the choice.

    Those that were taken with other weights, as before a training went on, are left out with a word.

    Args:
        model: with batch norm, if there is a file.
        files: of `write_statistics`.
        weights: digest of the model's weights.

    Raises:
        DamagedFileError: if a file cannot be read.
        ValueError: if statistics do not fit the model's layers.
    """
    for path in files:
        about, statistics = read_statistics(path)
        if about.get("weights") != weights:
            log.warning("%s is left out: it was taken with other weights than these; %s", path, _AGAIN)
            continue
        keep(model, about["domain"], statistics)
    declare_statistics(model)


def declare_statistics(model: Inference) -> None:
    """Declare the controls that choose whose statistics normalize, where a model keeps those of several domains.

    A classifier needs none: `classify` has an argument for it.
    """
    if isinstance(model, Classifier) or not has_batch_norm(model) or len(domains := kept(model)) < _CHOICE:
        return
    options = dict.fromkeys((model.own_statistics, *domains))
    choice = Choice(
        CONTROL, tuple(options), model.own_statistics, "domain whose statistics the batch norms normalize by"
    )
    share = Control(
        STATISTICS_SHARE, 0.0, 1.0, 1.0, "part of that domain's statistics in a mixture with those of the training"
    )
    model.controls = (
        *(control for control in model.controls if control.name not in (CONTROL, share.name)),
        choice,
        share,
    )
