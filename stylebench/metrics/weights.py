"""Weights of networks that only measure: never fetched in silence."""

from pathlib import Path

import torch

from stylebench.files import DamagedFileError, cache_dir, file_digest
from stylebench.nn.encoders.weights import Source, WeightFile, resolve_weights

AUTO = "auto"
_NAMED = "imagenet"


class MissingWeightsError(FileNotFoundError):
    """Weights that a metric needs are not on this machine."""


def find_weights(weights: str, source: Source, what: str, hint: str | None = None) -> WeightFile:
    """Return the file of a measuring network's weights.

    Args:
        weights: `auto` looks into this package's cache and torch hub's, without a download; `imagenet` downloads what
            is not there; anything else is a path.
        source: where the weights are published.
        what: the network, for messages.
        hint: a command that gets the file; None for "set its weights to imagenet".

    Returns:
        The file and its digest; one by `auto` or `imagenet` is the published one.

    Raises:
        MissingWeightsError: if there is no such file.
        DamagedFileError: if a file that should be the published one is not.
    """
    if weights == _NAMED:
        return resolve_weights(weights, {_NAMED: source})
    if weights != AUTO:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise MissingWeightsError(f"expected the {what} at {path}, found no file; {_way_out(hint)}")
        return WeightFile(path, file_digest(path))
    places = [cache_dir() / "weights" / source.file_name, Path(torch.hub.get_dir()) / "checkpoints" / source.file_name]
    for path in places:
        if path.is_file():
            digest = file_digest(path)
            if not digest.startswith(source.digest):
                raise DamagedFileError(
                    f"{path} should have a SHA-256 that begins {source.digest}, found {digest}; remove the file and "
                    "get it again"
                )
            return WeightFile(path, digest)
    raise MissingWeightsError(
        f"the {what} are not here: no {source.file_name} (SHA-256 {source.digest}...) in "
        f"{' or '.join(str(path.parent) for path in places)}; {_way_out(hint)}"
    )


def _way_out(hint: str | None) -> str:
    return hint or "set weights to the path of the file, or to imagenet to have it downloaded"
