"""Scale an encoder's rectified channels to mean activation 1 without changing what it computes.

A rectified channel may be divided by a positive number where it is made and multiplied by it where it is read: ReLU,
max-pooling, average pooling and concatenation commute with that. Then one loss weight means the same for every encoder.

Source: Gatys, Ecker & Bethge 2015, section 2 (the idea, for VGG-19); fire modules and the built-in pictures are ours.
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stylebench.files import cache_dir, json_digest, write_json
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.nn.encoders.stages import FrozenConv

_log = logging.getLogger(__name__)

BUILT_IN = {"count": 32, "size_px": 192, "seed": 0}  # arguments of `dead_leaves` for the built-in pictures
_LEAST_MEAN = 1e-6  # a channel below this is dead and stays as it is


class Group(NamedTuple):
    """A rectified map: the tap that shows it, the convolutions that make its channels (in order) and that read them."""

    tap: str
    producers: tuple[FrozenConv, ...]
    consumers: tuple[FrozenConv, ...]


def calibration_name(calibration: Tensor | None) -> str:
    """Name the pictures that means are measured on, so that different pictures never share a name.

    Args:
        calibration: (N, 3, H, W) uint8 pictures, or None for the built-in ones.

    Returns:
        `dead_leaves` with its arguments, or `given`, each with 12 digits of the pictures' (or a sample's) SHA-256.

    Raises:
        ValueError: if the pictures are of another type or shape.
    """
    if calibration is None:
        sample = dead_leaves(1, 32, BUILT_IN["seed"])  # stands for the generator's version
        return f"dead_leaves-{BUILT_IN['count']}x{BUILT_IN['size_px']}-seed{BUILT_IN['seed']}-{_digest(sample)}"
    if calibration.dtype != torch.uint8 or calibration.ndim != 4 or calibration.shape[1] != 3 or not len(calibration):
        raise ValueError(
            f"calibration expects (N, 3, H, W) uint8 RGB pictures, got {calibration.dtype} of shape "
            f"{tuple(calibration.shape)}"
        )
    return f"given-{len(calibration)}x{calibration.shape[2]}x{calibration.shape[3]}-{_digest(calibration)}"


def _digest(pictures: Tensor) -> str:
    return hashlib.sha256(pictures.contiguous().cpu().numpy().tobytes()).hexdigest()[:12]


def measure_means(
    encoder: Callable[[Tensor, Sequence[str]], dict[str, Tensor]], taps: Sequence[str], calibration: Tensor | None
) -> dict[str, Tensor]:
    """Average every channel at `taps` over pictures and positions.

    Args:
        encoder: takes images in [0, 1] and taps, as `Encoder` does.
        taps: where to measure.
        calibration: (N, 3, H, W) uint8 pictures, or None for the built-in ones.

    Returns:
        (C,) float64 means by tap.
    """
    pictures = dead_leaves(**BUILT_IN) if calibration is None else calibration
    totals: dict[str, Tensor] = {}
    with torch.no_grad():
        for picture in torch.split(pictures, 1):
            for tap, maps in encoder(picture.float() / 255, taps).items():
                mean = maps.mean((0, 2, 3)).double()  # (C,)
                totals[tap] = totals[tap] + mean if tap in totals else mean
    return {tap: total / len(pictures) for tap, total in totals.items()}


def fold_means(groups: Sequence[Group], means: Mapping[str, Tensor]) -> None:
    """Divide each group's channels by their means where they are made, and multiply where they are read, in place.

    Args:
        groups: the encoder's rectified maps.
        means: (C,) measured means by tap; one below 1e-6 counts as 1.
    """
    for group in groups:
        scale = means[group.tap].double()
        scale = torch.where(scale < _LEAST_MEAN, 1.0, scale)  # (C,)
        parts = torch.split(scale, [conv.weight.shape[0] for conv in group.producers])
        for conv, part in zip(group.producers, parts, strict=True):
            conv.weight.copy_(conv.weight.double() / part[:, None, None, None])
            conv.bias.copy_(conv.bias.double() / part)
        for conv in group.consumers:
            conv.weight.copy_(conv.weight.double() * scale[None, :, None, None])


def load_means(settings: Mapping[str, Any], channels: Mapping[str, int]) -> dict[str, Tensor] | None:
    """Read the means of an earlier measurement.

    Args:
        settings: what the means depend on.
        channels: how many means each tap must have.

    Returns:
        (C,) float64 means by tap; None where there are none, or not whole ones: they are measured again then.
    """
    try:
        stored = json.loads(_path(settings).read_text())
        means = {tap: torch.tensor(stored["means"][tap], dtype=torch.float64) for tap in channels}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    whole = all(means[tap].shape == (count,) and bool(means[tap].isfinite().all()) for tap, count in channels.items())
    return means if whole else None


def save_means(settings: Mapping[str, Any], means: Mapping[str, Tensor]) -> None:
    """Keep means for the next start; a cache that cannot be written costs the time of a measurement, no more.

    Args:
        settings: what the means depend on.
        means: (C,) means by tap.

    Raises:
        ValueError: if a mean is not finite: the weights are no good then.
    """
    values = {tap: mean.tolist() for tap, mean in means.items()}
    broken = [tap for tap, numbers in values.items() if not all(math.isfinite(number) for number in numbers)]
    if broken:
        raise ValueError(
            f"{settings['encoder']} with weights {settings['digest'][:12]} must give finite activations, found others "
            f"at {', '.join(broken)}; get the weights again"
        )
    try:
        write_json(_path(settings), {"settings": dict(settings), "means": values})
    except OSError as error:
        _log.warning("could not keep the measured means (%s); set STYLEBENCH_CACHE to a writable folder", error)


def _path(settings: Mapping[str, Any]) -> Path:
    return cache_dir() / "activation_means" / f"{settings['encoder']}-{json_digest(dict(settings))[:16]}.json"
