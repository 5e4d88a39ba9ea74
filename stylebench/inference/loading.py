"""Read trained models: run folders, checkpoints and exports become inference modules, without Lightning or Hydra.

Nothing in these files is trusted: tensors are read by `weights_only=True` or safetensors, and the networks that a file
asks for must be on `trusted.inference_classes()`.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylebench.checks import check_choice
from stylebench.construct import construct
from stylebench.files import DamagedFileError, file_digest, read_pickle
from stylebench.inference.base import Inference
from stylebench.inference.statistics import attach_statistics, statistics_files, weights_digest
from stylebench.inference.translators.base import Translator
from stylebench.renames import updated_checkpoint, updated_export
from stylebench.run_folder import (
    CHECKPOINT_FORMAT,
    CHECKPOINT_KEY,
    CHECKPOINT_PATTERN,
    CHECKPOINTS,
    RECORD,
    TRAIN,
    RunFolder,
    checkpoint_files,
)
from stylebench.trusted import TrustError, inference_classes

log = logging.getLogger(__name__)

CHECKPOINT_SUFFIXES = (".ckpt", ".pt", ".pth")
EXPORT_FORMAT = 2
EXPORT_TENSORS, EXPORT_FACTS = "model.safetensors", "model.json"
MODEL = "model"  # the name of what is used after training: a method's attribute, an export's key
INFERENCE = "inference"  # the node of a config's `model` that describes it
WEIGHTS = ("auto", "ema", "raw")


@dataclass(frozen=True)
class TrainedModel:
    """What a file says of a model, before anything is built from it.

    Attributes:
        origin: the file.
        node: the model's config: nested dictionaries with `_target_`.
        state: its tensors.
        weights: `ema` or `raw`: which weights they are.
        trained: plain facts about the training.
        config: the run's config, untrusted; empty for an export.
    """

    origin: Path
    node: dict[str, Any]
    state: dict[str, Tensor]
    weights: str
    trained: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Inference:
        """Return the model with its weights, in evaluation mode, on the CPU.

        Raises:
            TrustError: if the file names a class that is not listed.
            FileNotFoundError: if the model reads an encoder's weights from a file that is not here.
            ValueError: if the classes of this version do not take the file's settings or tensors, or the encoder's
                weights are not those of the training.
        """
        try:
            model = construct(self.node, INFERENCE, listed=inference_classes())
        except TrustError as error:
            raise TrustError(f"{self.origin}: {error}") from None
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self.origin} needs the weights of the encoder that it was trained with, SHA-256 "
                f"{self._encoder_digest()}, where they were in training: {error}; put that file there"
            ) from error
        except ValueError as error:
            raise ValueError(
                f"{self.origin} describes a model that this version cannot build: {error}; use the version it was "
                f"written with ({self.trained.get('version', 'unknown')})"
            ) from error
        if not isinstance(model, Inference):
            raise ValueError(
                f"{self.origin} describes a {type(model).__name__}, which is neither a translator nor a classifier"
            )
        found, expected = getattr(getattr(model, "encoder", None), "digest", None), self._encoder_digest()
        if found is not None and expected is not None and found != expected:
            raise ValueError(
                f"{self.origin} was trained with encoder weights of SHA-256 {expected}, and the ones found have "
                f"{found}; put the file of the training where it was"
            )
        try:
            model.load_state_dict(self.state, strict=True)
        except (RuntimeError, TypeError, AttributeError) as error:
            found = " ".join(str(error).split())[:600]
            raise ValueError(f"the tensors in {self.origin} do not fit its own description: {found}") from error
        return model.eval()

    def _encoder_digest(self) -> str | None:
        """Return the digest of the encoder's weights that the record of the training names; the record is untrusted."""
        record = self.trained.get("record")
        encoder = record.get("encoder") if isinstance(record, dict) else None
        digest = encoder.get("digest") if isinstance(encoder, dict) else None
        return digest if isinstance(digest, str) else None


def load(path: str | Path, weights: str = "auto", device: str | torch.device = "cpu") -> Inference:
    """Load a trained model for use.

    Args:
        path: a run folder (its newest intact checkpoint is taken), a checkpoint file, or an exported folder. Statistics
            of domains that lie in the folder come with it: the control `statistics` chooses.
        weights: `ema`, `raw`, or `auto`: the moving average where there is one.
        device: where the model is put.

    Returns:
        The model, in evaluation mode: `load(path).translate(images, **controls)` of a translator, `.classify(images)`
        of a classifier.

    Raises:
        FileNotFoundError: if there is nothing, no model, or no checkpoint yet.
        DamagedFileError: if the file cannot be read, or no checkpoint of the run is intact.
        TrustError: if the file names a class that is not listed.
        ValueError: if the file is another program's or too new, or lacks the weights that were asked for.
        RuntimeError: if there is no such device.
    """
    trained = read_model(Path(path), weights)
    model = trained.build()
    if files := statistics_files(Path(path)):
        attach_statistics(model, files, weights_digest(trained.state))
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RuntimeError(f"the model cannot be put on device={device}: {reason}; use device=cpu") from error


def load_translator(path: str | Path, weights: str = "auto", device: str | torch.device = "cpu") -> Translator:
    """Load a trained model that makes pictures; see `load` for the arguments and errors.

    Raises:
        ValueError: if the model makes none.
    """
    model = load(path, weights, device)
    if not isinstance(model, Translator):
        raise ValueError(
            f"the model in {path} is a {type(model).__name__}, which gives pictures labels and makes none; name a "
            "run of a model that makes pictures (stylebench list models)"
        )
    return model


def read_model(path: Path, weights: str = "auto") -> TrainedModel:
    """Read a run folder, checkpoint or export; see `load` for the arguments and errors."""
    check_choice("weights", weights, WEIGHTS)
    if not path.exists():
        raise FileNotFoundError(f"there is nothing at {path}; expected a run folder, checkpoint or exported folder")
    if path.is_file():
        if path.name in (EXPORT_TENSORS, EXPORT_FACTS):
            return _read_export(path.parent, weights)
        return _from_checkpoint(path, read_checkpoint(path), weights)
    if (path / EXPORT_FACTS).is_file():
        return _read_export(path, weights)
    return _read_run(path, weights)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that training wrote; every byte is checked, and nothing in it is run.

    Returns:
        The checkpoint; `checkpoint["stylebench"]` has `format`, `version`, `batches`, `config`, `ema`, `record`. The
        whole has the present names of what an earlier version called otherwise.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: if it is truncated or damaged, or holds other than tensors and plain values.
        ValueError: if it was written by another program or by a newer format of this one.
    """
    checkpoint = read_pickle(path)
    entry = checkpoint.get(CHECKPOINT_KEY) if isinstance(checkpoint, dict) else None
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(entry, dict) or not isinstance(state, dict) or not isinstance(entry.get("config"), dict):
        raise ValueError(
            f"{path} is not a stylebench checkpoint: it lacks the entries {CHECKPOINT_KEY!r} and 'state_dict' that "
            "training writes; name a file from the checkpoints folder of a run"
        )
    _check_format(path, entry.get("format"), CHECKPOINT_FORMAT, entry.get("version"))
    return updated_checkpoint(checkpoint)


def _check_format(path: Path, found: Any, newest: int, version: Any) -> None:
    if not isinstance(found, int) or found < 1:
        raise ValueError(f"{path} does not say its format (expected a number up to {newest}, found {found!r})")
    if found > newest:
        raise ValueError(
            f"{path} has format {found}, written by stylebench {version}; this version reads formats up to {newest}: "
            "upgrade stylebench"
        )


def _read_run(folder: Path, weights: str) -> TrainedModel:
    """Read the newest intact checkpoint of a run folder."""
    checkpoints, run = folder / CHECKPOINTS, RunFolder(folder)
    if not checkpoints.is_dir() and not run.has_record:
        way_out = run.elsewhere() or "; name the folder that training printed, a .ckpt file, or an exported folder"
        raise FileNotFoundError(
            f"{folder} is neither a run folder (it has no {RECORD} and no {CHECKPOINTS}/) nor an export (no "
            f"{EXPORT_FACTS}){way_out}"
        )
    files = checkpoint_files(checkpoints)
    if not files and run.has_record and run.maker != TRAIN:
        raise FileNotFoundError(f"{folder} is what stylebench {run.maker} made and holds no model; name a trained run")
    if not files:
        raise FileNotFoundError(
            f"the run {folder} has no checkpoint yet (none matches {CHECKPOINTS}/{CHECKPOINT_PATTERN})"
            f"{run.elsewhere() or '; wait for its first one, or train it again'}"
        )
    for file in files:
        try:
            return _from_checkpoint(file, read_checkpoint(file), weights)
        except DamagedFileError as error:
            log.warning("%s; trying the checkpoint before it", error)
    raise DamagedFileError(f"none of the {len(files)} checkpoints in {checkpoints} is intact; train the run again")


def _from_checkpoint(path: Path, checkpoint: Mapping[str, Any], weights: str) -> TrainedModel:
    entry = checkpoint[CHECKPOINT_KEY]
    averaged = ((entry.get("ema") or {}).get("networks") or {}).get(MODEL)
    if weights == "ema" and averaged is None:
        raise ValueError(f"{path} holds no moving average of the weights; use weights=raw (or auto)")
    prefix = f"{MODEL}."
    raw = {key.removeprefix(prefix): value for key, value in checkpoint["state_dict"].items() if key.startswith(prefix)}
    model = entry["config"].get("model")
    node = model.get(INFERENCE) if isinstance(model, dict) else None
    if not isinstance(node, dict):
        raise ValueError(f"{path} does not describe a translator or classifier (its config has no model.{INFERENCE})")
    trained = {"version": entry.get("version"), "batches": entry.get("batches"), "record": entry.get("record") or {}}
    if averaged is None or weights == "raw":
        return TrainedModel(path, node, raw, "raw", trained, entry["config"])
    return TrainedModel(path, node, averaged, "ema", trained, entry["config"])


def _read_export(folder: Path, weights: str) -> TrainedModel:
    """Read an exported folder and check its digest."""
    from safetensors.torch import load_file

    facts_path, tensors_path = folder / EXPORT_FACTS, folder / EXPORT_TENSORS
    if not facts_path.is_file() or not tensors_path.is_file():
        missing = EXPORT_FACTS if tensors_path.is_file() else EXPORT_TENSORS
        raise FileNotFoundError(f"the export {folder} is incomplete: it has no {missing}; export the run again")
    try:
        facts = json.loads(facts_path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{facts_path} is not JSON: {error}; export the run again") from error
    facts = updated_export(facts) if isinstance(facts, dict) else {}
    if not isinstance(facts.get(MODEL), dict):
        raise ValueError(f"{facts_path} does not describe a model; it was written by another program")
    _check_format(facts_path, facts.get("format"), EXPORT_FORMAT, facts.get("version"))
    if weights not in ("auto", facts.get("weights")):
        raise ValueError(f"the export {folder} holds {facts.get('weights')} weights, not {weights}; use weights=auto")
    found = file_digest(tensors_path)
    if found != facts.get("digest"):
        raise DamagedFileError(
            f"{tensors_path} is not the file that {EXPORT_FACTS} describes: its digest is {found[:16]}..., expected "
            f"{str(facts.get('digest'))[:16]}...; export the run again"
        )
    state = load_file(tensors_path)
    trained = {"version": facts.get("version"), **(facts.get("trained") or {})}
    return TrainedModel(facts_path, facts[MODEL], state, str(facts.get("weights")), trained)
