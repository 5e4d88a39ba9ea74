"""Weights of an adapted network as those of the plain network that it was: for programs that know batch norm alone."""

import torch
from torch import Tensor, nn

from stylebench.nn.domain_norms import DomainNorm
from stylebench.nn.normalization import BATCH, CURRENT, IMAGE, batch_norms, using


def plain_weights(network: nn.Module, statistics: str) -> dict[str, Tensor]:
    """Return a `state_dict` with chosen statistics as the running ones, whatever layers the network was given.

    The plain network gives with it what the network gives within `using(network, statistics)`.

    Args:
        network: any network with batch norm, converted or not.
        statistics: `running`, or a domain whose statistics are kept.

    Returns:
        Copies, by the names of the plain network.

    Raises:
        NoBatchNormError: if the network has no batch norm.
        ValueError: if no statistics are kept of the domain, or they would be those of each batch or image.
    """
    layers = batch_norms(network)
    if statistics in (BATCH, IMAGE, CURRENT):
        raise ValueError(
            f"statistics={statistics} are those of what a layer is shown, which no weights hold; name a domain whose "
            "statistics are kept, or running"
        )
    with using(network, statistics):
        found = {name: value.detach().clone() for name, value in network.state_dict().items()}
        for name, layer in layers.items():
            if isinstance(layer, DomainNorm):
                _replace(found, f"{name}." if name else "", layer)
    return found


def _replace(found: dict[str, Tensor], prefix: str, layer: DomainNorm) -> None:
    """Put the weights of a plain batch norm in the place of a layer's."""
    for own in layer.state_dict():
        del found[f"{prefix}{own}"]
    weight, bias, mean, variance = (part.detach().to(layer.weight.dtype, copy=True) for part in layer.plain())
    found |= {f"{prefix}weight": weight, f"{prefix}bias": bias}
    found |= {f"{prefix}running_mean": mean, f"{prefix}running_var": variance}
    found[f"{prefix}num_batches_tracked"] = torch.tensor(0, device=weight.device)
