"""Moments of all processes together: gathered once, merged in the order of the processes, alike on each."""

from collections.abc import Mapping

import torch
from torch import Tensor, distributed

from stylebench.functional.moments import Moments, merge_all


def merge_over_processes(moments: Mapping[str, Moments]) -> dict[str, Moments]:
    """Return each layer's moments over all processes; without distributed processes, what was given.

    All layers travel in one float64 tensor. Every process merges in the order of the ranks, so all have the same bits.

    Args:
        moments: by layer, the same layers on every process; a count of 0 where a process has seen nothing.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return dict(moments)
    packed = torch.cat([_packed(each) for each in moments.values()])
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    gathered = [torch.empty_like(packed, device=device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, packed.to(device))
    unpacked = [_unpacked(each.to(packed.device), moments) for each in gathered]
    return {name: merge_all(each[name] for each in unpacked) for name in moments}


def agreed_levels(levels: list[list[str]]) -> list[list[str]]:
    """Return the levels of a network that the first process with images has found, for all to work through alike.

    Raises:
        ValueError: if no process has images.
    """
    found: list[list[list[str]]] = [levels]
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        found = [[] for _ in range(distributed.get_world_size())]
        distributed.all_gather_object(found, levels)
    agreed = next((each for each in found if each), None)
    if agreed is None:
        raise ValueError("there are no images to take statistics of; expected at least 2")
    return agreed


def _packed(moments: Moments) -> Tensor:
    count = moments.mean.new_tensor([moments.count])  # exact up to 2^53
    return torch.cat([count, moments.mean, moments.squares])


def _unpacked(packed: Tensor, like: Mapping[str, Moments]) -> dict[str, Moments]:
    found, start = {}, 0
    for name, each in like.items():
        channels = len(each.mean)
        count, mean, squares = torch.split(packed[start : start + 1 + 2 * channels], [1, channels, channels])
        found[name] = Moments(int(count), mean, squares)
        start += 1 + 2 * channels
    return found
