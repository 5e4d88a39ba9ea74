"""Layers that know the statistics of several domains: the base of what takes a batch norm's place, and the store."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from stylebench.functional.moments import MeanAndVariance
from stylebench.nn.moments_over_processes import moments_over_processes

SOURCE, TARGET = "source", "target"
PLAIN = (nn.BatchNorm1d.forward, nn.SyncBatchNorm.forward)  # BatchNorm1d, 2d and 3d share one


class DomainStatistics(nn.Module):
    """Means and variances of a layer, one pair a domain: in no `state_dict`, and float64 whatever `.half()` does."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def put(self, domain: str, statistics: MeanAndVariance) -> None:
        """Keep the (C,) statistics of a domain, in the place of those that it may have."""
        if domain not in self.names:
            self.names.append(domain)
        place = self.names.index(domain)
        for part, values in zip(("mean", "variance"), statistics, strict=True):
            self.register_buffer(f"{part}_{place}", values.detach().clone().to(torch.float64), persistent=False)

    def get(self, domain: str) -> MeanAndVariance:
        """Return the (C,) float64 statistics of a domain that is kept."""
        place = self.names.index(domain)
        return MeanAndVariance(self.get_buffer(f"mean_{place}"), self.get_buffer(f"variance_{place}"))

    def _apply(self, fn: Any, recurse: bool = True) -> "DomainStatistics":
        """Follow a move to another device, but to no other type."""
        for name, buffer in self._buffers.items():
            assert buffer is not None
            device = fn(torch.empty(0, device=buffer.device)).device
            self._buffers[name] = buffer.to(device if device.type != "mps" else "cpu")
        return self


class PlainNorm(NamedTuple):
    """A batch norm in evaluation, (C,) each.

    Attributes:
        weight: scale.
        bias: shift.
        mean: that is taken off.
        variance: that is divided by, without eps; float64, as the mean.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor


class DomainNorm(nn.Module):
    """Base of layers that take the place of a batch norm and know two domains, `source` and `target`.

    In training a layer is shown a joint batch, the source's images first; `joint` says how many they are. In evaluation
    it normalizes as `branch` says. `weight` and `bias` keep their names and the moments of both domains start as the
    running averages of the layer it replaces, so `state_dict`s of the plain network load before and after conversion.

    Args:
        layer: the batch norm that it replaces, affine and with running averages.

    Attributes:
        sources: how many images of a joint batch are the source's; None outside of `joint`, where all are.
        branch: the domain whose statistics normalize in evaluation, `source` or `target`.
        synced: whether training takes the moments of a batch over all processes, not for each by itself.

    Raises:
        ValueError: if the layer has no scale and shift or no running averages, or does more than batch norm.
    """

    source_mean: Tensor
    source_variance: Tensor
    target_mean: Tensor
    target_variance: Tensor

    def __init__(self, layer: _BatchNorm) -> None:
        super().__init__()
        if type(layer).forward not in PLAIN:
            raise ValueError(
                f"{type(layer).__name__} does more than batch norm, which a layer that tells domains "
                "apart in its place would lose; build the network with torch.nn.BatchNorm2d and what follows it"
            )
        if layer.weight is None or layer.running_mean is None:
            raise ValueError(
                f"{layer}: a batch norm that tells domains apart needs a scale, a shift and running statistics; build "
                "the network with affine=True and track_running_stats=True"
            )
        self.channels, self.eps = layer.num_features, layer.eps
        self.momentum = 0.1 if layer.momentum is None else layer.momentum
        self.weight, self.bias = layer.weight, layer.bias
        self.sources: int | None = None
        self.branch = TARGET
        self.synced = False
        for domain in (SOURCE, TARGET):
            for part, values in (("mean", layer.running_mean), ("variance", layer.running_var)):
                self.register_buffer(f"{domain}_{part}", cast(Tensor, values).detach().clone().to(torch.float64))
        self.train(layer.training)

    def statistics(self, domain: str) -> MeanAndVariance:
        """Return the (C,) float64 moments of `source` or `target`."""
        return MeanAndVariance(self.get_buffer(f"{domain}_mean"), self.get_buffer(f"{domain}_variance"))

    def plain(self) -> PlainNorm:
        """Return what a plain batch norm would do that does as the layer does in evaluation, by its `branch`."""
        raise NotImplementedError(f"{type(self).__name__} does not define plain()")

    def evaluated(self, maps: Tensor) -> Tensor:
        """Normalize (N, C) or (N, C, ...) maps as in evaluation."""
        weight, bias, mean, variance = self.plain()
        return F.batch_norm(maps, mean.to(maps.dtype), variance.to(maps.dtype), weight, bias, False, 0.0, self.eps)

    def split(self, maps: Tensor) -> dict[str, Tensor]:
        """Return the parts of a joint batch by domain, those that have images.

        Raises:
            ValueError: if a part has a single entry in each channel: its variance is 0, and all of it would become 0.
        """
        count = len(maps) if self.sources is None else self.sources
        parts = {SOURCE: maps[:count], TARGET: maps[count:]}
        positions = maps[:1, 0].numel()
        for domain, part in parts.items():
            if len(part) * positions == 1:
                raise ValueError(
                    f"the {domain} of the batch has a single entry in each channel (1 image of 1 position), so "
                    "normalizing by its moments leaves nothing of it; use more images at a time"
                )
        return {domain: part for domain, part in parts.items() if len(part)}

    def normalize_apart(self, domain: str, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the part of a batch that is one domain's, normalized by its own moments, which are followed."""
        found, mean, inverse = torch.native_batch_norm(maps, weight, bias, None, None, True, 0.0, self.eps)
        self.follow(domain, MeanAndVariance(mean, variance_of(inverse, self.eps)))
        return found

    def moments_over_processes(self, maps: Tensor) -> dict[str, tuple[Tensor, MeanAndVariance]]:
        """Return the parts of a joint batch and each domain's (C,) moments over all processes, which are followed.

        A domain that no process has images of is left out.
        """
        count = len(maps) if self.sources is None else self.sources
        found = {}
        for domain, part in ((SOURCE, maps[:count]), (TARGET, maps[count:])):
            moments = moments_over_processes(part)
            if moments is not None:
                self.follow(domain, moments)
                found[domain] = part, moments
        return found

    @torch.no_grad()
    def follow(self, domain: str, moments: MeanAndVariance) -> None:
        """Move the (C,) averages of a domain toward the moments of a batch."""
        for average, found in zip(self.statistics(domain), moments, strict=True):
            average.lerp_(found.to(average.dtype), self.momentum)

    def beyond_plain(self, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
        """Return what the layer holds beyond the scale and shift of a plain batch norm that is loaded, by name."""
        return {}

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"{self.channels}, eps={self.eps}"

    def _apply(self, fn: Any, recurse: bool = True) -> "DomainNorm":
        """Keep the moments float64 whatever type the weights are given."""
        kept = {name: buffer for name, buffer in self._buffers.items() if buffer is not None}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in kept.items():
            moved = cast(Tensor, self._buffers[name])
            if moved.dtype != torch.float64:
                self._buffers[name] = buffer.to(moved.device)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Read the running averages of a plain batch norm as the moments of both domains."""
        if all(f"{prefix}{name}" in state_dict for name in ("running_mean", "weight", "bias")):
            for name, values in self.beyond_plain(state_dict[f"{prefix}weight"], state_dict[f"{prefix}bias"]).items():
                state_dict.setdefault(f"{prefix}{name}", values)
        for plain, part in (("running_mean", "mean"), ("running_var", "variance")):
            values = state_dict.pop(f"{prefix}{plain}", None)
            if values is not None:
                for domain in (SOURCE, TARGET):
                    state_dict[f"{prefix}{domain}_{part}"] = values
        state_dict.pop(f"{prefix}num_batches_tracked", None)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def normalized(maps: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return (N, C, ...) maps normalized by (C,) statistics, the variance with eps in it, then scaled and shifted."""
    shape = (1, -1, *(1 for _ in maps.shape[2:]))
    scale = weight * variance.rsqrt()
    return (maps - mean.view(shape)) * scale.view(shape) + bias.view(shape)


def variance_of(inverse: Tensor, eps: float) -> Tensor:
    """Return the variance that fused kernels give as 1 / sqrt(variance + eps)."""
    return inverse.double().pow(-2).sub(eps).clamp_min(0).to(inverse.dtype)


@contextlib.contextmanager
def joint(network: nn.Module, sources: int) -> Iterator[None]:
    """Tell the `DomainNorm` layers of a network how many images of the batches, the first ones, are the source's."""
    layers = [part for part in network.modules() if isinstance(part, DomainNorm)]
    before = [layer.sources for layer in layers]
    for layer in layers:
        layer.sources = sources
    try:
        yield
    finally:
        for layer, sources_before in zip(layers, before, strict=True):
            layer.sources = sources_before
