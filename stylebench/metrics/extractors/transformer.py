"""Vision transformers of the optional `transformers` package, read from this machine and never fetched."""

import importlib
import pickle
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from stylebench.files import DamagedFileError, file_digest
from stylebench.metrics.extractors.base import Extractor
from stylebench.metrics.extractors.levels import normalized, resized_levels
from stylebench.metrics.resizing import protocol
from stylebench.metrics.weights import MissingWeightsError

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in the order in which the package prefers them


class TransformerFeatures(Extractor):
    """A frozen vision transformer; subclasses say which, and which of its outputs are the features.

    Args:
        model: a folder with config.json and one file of weights, or a name in the Hugging Face cache.
        size_px: side to which images are resized; None for the model's own.
        resize: a protocol of `metrics.resizing.PROTOCOLS`.

    Raises:
        RuntimeError: if the package is not installed.
        MissingWeightsError: if the model is not here.
        DamagedFileError: if its weights do not fit.
        ValueError: on an unknown protocol.
    """

    origin = "natural"
    family: ClassVar[str]  # its alias, and the extra that installs the package
    architecture: ClassVar[str]  # the class in the package
    profile: ClassVar[tuple[tuple[float, float, float], tuple[float, float, float]]]  # RGB mean, standard deviation
    mean: Tensor
    std: Tensor

    def __init__(self, model: str, size_px: int | None, resize: str) -> None:
        super().__init__()
        protocol(resize)
        package = _package(self.family)
        folder = _folder(model, self.family)
        weights = _weights(folder)
        self.network = _load(package, self.architecture, folder, weights).eval().requires_grad_(False)
        self.config = self.network.config
        self.digest = file_digest(weights)
        self.resize, self.size_px = resize, int(self.config.image_size) if size_px is None else size_px
        self.side_px = self.size_px
        self.alias = self.family
        self.name = f"{self.family}-{self.config.hidden_size}x{self.config.num_hidden_layers}-{self.digest[:8]}"
        for key, values in zip(("mean", "std"), self.profile, strict=True):
            self.register_buffer(key, torch.tensor(values).view(1, 3, 1, 1))
        self.eval()

    def outputs(self, images: Tensor) -> Any:
        """Return what the network says of (B, 3, H, W) images; see `Extractor` for their type and range."""
        levels = resized_levels(images, self.resize, self.side_px)  # (B, 3, side, side)
        return self.network(pixel_values=normalized(levels, self.mean, self.std))


def _package(extra: str) -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise RuntimeError(
            f"the {extra} extractor needs the transformers package, which is not installed; get it with: pip install "
            f"stylebench[{extra}]"
        ) from error


def _folder(model: str, extra: str) -> Path:
    """Return a model's folder: as given, or in the Hugging Face cache; nothing is downloaded."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    hub = importlib.import_module("huggingface_hub")  # a dependency of transformers
    try:
        return Path(hub.snapshot_download(model, local_files_only=True))
    except (OSError, ValueError) as error:
        raise MissingWeightsError(
            f"expected the {extra} model {model} as a folder or in the Hugging Face cache, found neither; download it "
            f"with: hf download {model}, or set model to a folder that holds config.json and {_WEIGHTS[0]}"
        ) from error


def _weights(folder: Path) -> Path:
    found = [folder / name for name in _WEIGHTS if (folder / name).is_file()]
    if not found or not (folder / "config.json").is_file():
        raise MissingWeightsError(
            f"expected config.json and {' or '.join(_WEIGHTS)} in {folder}, found {_names(folder)}; download the whole "
            "model (weights in several files are not read)"
        )
    return found[0]


def _names(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "nothing"


def _load(package: Any, architecture: str, folder: Path, weights: Path) -> Any:
    """Read a model whole: the package by itself would draw at random what a file lacks."""
    verbosity = package.logging.get_verbosity()
    package.logging.set_verbosity_error()  # it lists the other half of a CLIP, tensor by tensor, as a warning
    try:
        with torch.random.fork_rng(devices=[]):  # a run's random numbers stay the same with and without a metric
            network, info = getattr(package, architecture).from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=weights.suffix == ".safetensors",
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        # torch's own text on a pickle advises to read it without protection.
        pickled = isinstance(error, pickle.UnpicklingError)
        reason = "it is not a file of weights" if pickled else " ".join(str(error).split())[:300]
        raise DamagedFileError(f"{weights} cannot be read as a {architecture}: {reason}; get it again") from error
    finally:
        package.logging.set_verbosity(verbosity)
    missing = sorted(info["missing_keys"])
    if missing:
        raise DamagedFileError(
            f"{weights} should hold a whole {architecture}, but lacks {len(missing)} of its tensors, such as "
            f"{missing[0]}; it is another model: choose the one of this extractor"
        )
    return network.float()
