"""Moments of a batch that is spread over processes, with the gradient of each reaching the maps of all."""

import math
from typing import Any, cast

import torch
from torch import Tensor, distributed

from stylebench.functional.moments import MeanAndVariance


def several_processes() -> bool:
    """Tell whether others train beside this process."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def moments_over_processes(maps: Tensor) -> MeanAndVariance | None:
    """Return the (C,) mean and biased variance of all processes' maps; None where there is no image at all.

    Every process has to call it, whether it has images or not, as often as the others do.

    Args:
        maps: (N, C) or (N, C, ...) of this process, N >= 0.

    Raises:
        ValueError: if there is a single entry in each channel, over all processes.
    """
    axes = (0, *range(2, maps.ndim))
    shape = (1, -1, *(1 for _ in maps.shape[2:]))
    entries = maps.new_tensor([len(maps) * math.prod(maps.shape[2:])], dtype=torch.float64)
    distributed.all_reduce(entries)
    count = int(entries)
    if count == 1:
        raise ValueError(
            "a domain has a single entry in each channel, over all processes, so normalizing by its moments leaves "
            "nothing of it; use more images at a time"
        )
    mean = _total(maps.sum(axes)) / max(count, 1)
    variance = _total((maps - mean.view(shape)).square().sum(axes)) / max(count, 1)
    return MeanAndVariance(mean, variance) if count else None


def _total(values: Tensor) -> Tensor:
    """Return the sum over all processes, whose gradient is summed over them, too."""
    return cast(Tensor, _Total.apply(values))


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        found = values.clone()
        distributed.all_reduce(found)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        found = grads[0].clone()
        distributed.all_reduce(found)
        return found
