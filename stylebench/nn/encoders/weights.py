"""Find an encoder's weights: a given file, torch hub's cache, or a verified download; never a silent substitute."""

import hashlib
import math
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import safetensors
import torch
from filelock import FileLock
from torch import Tensor
from torchvision.models import WeightsEnum

from stylebench.download import DownloadError, discard_partial, download
from stylebench.files import DamagedFileError, file_digest, read_pickle

RANDOM = "random"
_MAX_BYTES = 8 * 2**30  # of a download: far more than any encoder's weights take
_NAMED_AT_MOST = 3  # keys in a message
_SAFETENSORS = ".safetensors"
_STORED = (torch.float16, torch.bfloat16, torch.float32)  # what a safetensors file of weights may hold
_SEEDS = 2**63  # seeds of a generator are smaller


class Source(NamedTuple):
    """Where published weights are, and how their file's SHA-256 begins."""

    url: str
    digest: str

    @property
    def file_name(self) -> str:
        """The name in torch hub's cache."""
        return Path(urllib.parse.urlparse(self.url).path).name


class Shipped(NamedTuple):
    """A file of weights that is part of the package, and its whole SHA-256."""

    path: Path
    digest: str


class WeightFile(NamedTuple):
    """A file of weights and its whole SHA-256."""

    path: Path
    digest: str


def torchvision_source(entry: WeightsEnum) -> Source:
    """Read address and digest of torchvision weights from their enum; the digest ends the file's name.

    Args:
        entry: such as `VGG16_Weights.IMAGENET1K_V1`.

    Returns:
        The source.

    Raises:
        ValueError: if the file's name carries no digest.
    """
    found = re.search(r"-([0-9a-f]{8,64})\.[a-z]+$", entry.url)
    if found is None:
        raise ValueError(f"expected a digest at the end of the file's name, got {entry.url}")
    return Source(entry.url, found.group(1))


def random_seed(weights: str) -> int | None:
    """Return the seed that `random` (0) or `random-<seed>` asks for, None where `weights` is something else.

    Args:
        weights: what the configuration says.

    Raises:
        ValueError: if what follows `random-` is not a seed, and no file is called so.
    """
    if weights == RANDOM:
        return 0
    head, _, tail = weights.partition("-")
    if head != RANDOM or "-" not in weights:
        return None
    if re.fullmatch("[0-9]{1,19}", tail) and int(tail) < _SEEDS:
        return int(tail)
    if Path(weights).is_file():
        return None
    raise ValueError(
        f"weights must be {RANDOM}-<seed> with a whole number from 0 to {_SEEDS - 1}, as {RANDOM}-1, got {weights!r}"
    )


def resolve_weights(weights: str, known: Mapping[str, Source | Shipped]) -> WeightFile:
    """Return the file of weights, downloading a published one that torch hub's cache does not have.

    Args:
        weights: a name out of `known`, or the path of a file.
        known: published and shipped weights by name.

    Returns:
        The file and its digest. A named file's digest is checked, a given path's is taken as it is.

    Raises:
        FileNotFoundError: if `weights` is neither, or the package's own file is missing.
        DamagedFileError: if a file has another digest than its name promises.
        RuntimeError: if the download fails.
    """
    if weights not in known:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"weights must be {', '.join([*known, RANDOM])} or the path of a file of weights, found no file {path}"
            )
        return WeightFile(path, file_digest(path))
    source = known[weights]
    if isinstance(source, Shipped):
        return _check_shipped(source)
    path = Path(torch.hub.get_dir()) / "checkpoints" / source.file_name
    if not path.is_file():
        fetch(source, path)
    digest = file_digest(path)
    if not digest.startswith(source.digest):
        raise DamagedFileError(
            f"{path} should have a SHA-256 that begins {source.digest}, found {digest}; remove the file to have it "
            f"downloaded again, or set weights to the path of another"
        )
    return WeightFile(path, digest)


def _check_shipped(source: Shipped) -> WeightFile:
    """Return the package's own file if it is the one that the code was made with."""
    way_out = "reinstall stylebench, or set weights to the path of a copy"
    if not source.path.is_file():
        raise FileNotFoundError(f"the installation is incomplete: it has no {source.path}; {way_out}")
    digest = file_digest(source.path)
    if digest != source.digest:
        raise DamagedFileError(
            f"the installation is damaged: {source.path} should have the SHA-256 {source.digest or '(none recorded)'}, "
            f"found {digest}; {way_out}"
        )
    return WeightFile(source.path, digest)


def fetch(source: Source, path: Path) -> None:
    """Download a published file unless it is there, one process at a time.

    What a kill leaves unfinished is continued the next time. A failure leaves nothing behind: the folder may be torch
    hub's.

    Args:
        source: what to download; its digest is checked.
        path: where it goes.

    Raises:
        RuntimeError: if the download fails, or brings another file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.is_file():  # another process may have brought it meanwhile
                _download(source, path)
    except (OSError, RuntimeError) as error:
        reason = error.reasons[0][1] if isinstance(error, DownloadError) else error
        raise RuntimeError(
            f"could not download {source.file_name} (SHA-256 begins {source.digest}) from {source.url}: {reason}. Try "
            f"again with a network, put that file into {path.parent}, or set weights to its path"
        ) from error


def _download(source: Source, path: Path) -> None:
    try:
        download([source.url], path, digests={"sha256": source.digest}, size=None, max_bytes=_MAX_BYTES)
    except (OSError, RuntimeError):
        discard_partial(path)
        raise


def load_state(path: Path, shapes: Mapping[str, tuple[int, ...]], name: str) -> dict[str, Tensor]:
    """Read an encoder's convolutions from a state dict of torchvision (whose classifier is left out) or ours.

    Args:
        path: the file: safetensors if it is named so, else written by `torch.save`.
        shapes: the tensors that the encoder needs.
        name: of the encoder, for messages.

    Returns:
        float32 tensors by name, just those of `shapes`.

    Raises:
        ValueError: if the file holds something else, such as another architecture's weights, or non-finite numbers.
        DamagedFileError: if it cannot be read.
    """
    state = _read_safetensors(path)[0] if _is_safetensors(path) else read_pickle(path)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} should hold a state dict of {name} (tensors by name), found {type(state).__name__}")
    found = {key: tuple(value.shape) for key, value in state.items() if not key.startswith("classifier.")}
    problems = [
        ("missing", [key for key in shapes if key not in found]),
        ("unexpected", [key for key in found if key not in shapes]),
        (
            "other shapes",
            [
                f"{key} {found[key]} instead of {shape}"
                for key, shape in shapes.items()
                if found.get(key, shape) != shape
            ],
        ),
    ]
    told = [f"{title}: {_some(entries)}" for title, entries in problems if entries]
    if told:
        raise ValueError(
            f"{path} should hold the weights of {name}, but it differs; {'; '.join(told)}. It is of another "
            "architecture: choose the encoder that fits it, or another file"
        )
    tensors = {key: state[key].float() for key in shapes}
    broken = [key for key, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"{path} should hold finite numbers, found others in {_some(broken)}; get it again")
    return tensors


def load_metadata(path: Path) -> dict[str, str]:
    """Read what a file of weights says of itself.

    Args:
        path: the file.

    Returns:
        The texts in a safetensors file's header; nothing for other files, which have no place for it.

    Raises:
        DamagedFileError: if it cannot be read.
    """
    return _read_safetensors(path)[1] if _is_safetensors(path) else {}


def _is_safetensors(path: Path) -> bool:
    return path.suffix.lower() == _SAFETENSORS


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors and metadata."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
            metadata = dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise DamagedFileError(
            f"{path} cannot be read as safetensors: {error}; it is truncated, damaged, or another kind of file; get it "
            "again"
        ) from error
    others = [f"{key} {tensor.dtype}" for key, tensor in state.items() if tensor.dtype not in _STORED]
    if others:
        raise ValueError(
            f"{path} should hold float16, bfloat16 or float32 weights, found {_some(others)}; convert them, or choose "
            "another file"
        )
    return state, metadata


def _some(entries: list[str]) -> str:
    more = len(entries) - _NAMED_AT_MOST
    return ", ".join(entries[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def random_state(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Draw weights that keep the activations' size from layer to layer; biases are 0.

    Args:
        shapes: the tensors to draw.
        seed: of an own generator; the global random state is neither read nor changed.

    Returns:
        float32 tensors by name.

    Source: He et al. 2015, eq. 10.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
        if len(shape) > 1
        else torch.zeros(shape)
        for key, shape in shapes.items()
    }


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors and their names."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].contiguous().numpy().tobytes())
    return digest.hexdigest()
