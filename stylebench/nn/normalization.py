"""Whose statistics a network's batch norms normalize by: the one switch, and the statistics of further domains.

`using(network, statistics)` works on any network with batch norm, converted or not, and gives everything back after its
block: `"running"` are the averages of training, `"batch"` those of the batch, `"image"` each image's own, and any other
word names a domain whose statistics are kept (`keep`); `"current"` are those that someone has put in the place of the
running ones meanwhile (`replaced`). The domain `source` is that of the running averages, which are
never written to.

The statistics of a domain stand beside a layer's weights as float64 buffers that no `state_dict` holds, so a checkpoint
loads wherever it did before; they have files of their own.
"""

import contextlib
import copy
import functools
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stylebench.functional.moments import MeanAndVariance, mixture
from stylebench.functional.precision import at_least_float32, float32_island
from stylebench.nn.domain_norms import PLAIN, SOURCE, TARGET, DomainNorm, DomainStatistics

RUNNING, BATCH, IMAGE, CURRENT = "running", "batch", "image", "current"
MODES = (RUNNING, BATCH, IMAGE, CURRENT)
_ORIGINAL = "_original_statistics"  # attribute of a layer whose own ones are replaced for a while
_KEPT = "domains"  # name of the child that holds a layer's statistics of further domains


class NoBatchNormError(ValueError):
    """The network has no batch norm, so there are no statistics of a domain to exchange."""


def is_batch_norm(part: nn.Module) -> bool:
    """Tell whether a part of a network is a batch norm: one of torch's, a frozen one, or a `DomainNorm`."""
    return isinstance(part, _BatchNorm | DomainNorm) or _is_frozen(part)


def batch_norms(network: nn.Module) -> dict[str, nn.Module]:
    """Return the batch norms of a network by the names of its parts: torch's, frozen ones, and those of `DomainNorm`.

    Raises:
        NoBatchNormError: if there is none; the message says which norms there are.
    """
    found = {name: part for name, part in network.named_modules() if is_batch_norm(part)}
    if found:
        return found
    others = sorted({type(part).__name__ for part in network.modules() if "Norm" in type(part).__name__})
    told = f"it has {', '.join(others)}" if others else "it has no norm at all"
    per_image = " Norms of each image by its own statistics adapt to every image already." if others else ""
    raise NoBatchNormError(
        f"{type(network).__name__} has no batch norm, so it keeps no statistics of a domain that could be exchanged: "
        f"{told}.{per_image} Choose a network with batch norm"
    )


def has_batch_norm(network: nn.Module) -> bool:
    """Tell whether a network has a batch norm."""
    return any(is_batch_norm(part) for part in network.modules())


def kept(network: nn.Module) -> tuple[str, ...]:
    """Return the domains whose statistics every batch norm of a network keeps, in the order of the first layer."""
    layers = list(batch_norms(network).values())
    names = [set(_domains(layer)) for layer in layers]
    return tuple(name for name in _domains(layers[0]) if all(name in each for each in names))


def keep(network: nn.Module, domain: str, statistics: Mapping[str, MeanAndVariance]) -> None:
    """Keep the statistics of a domain beside the weights of a network.

    Args:
        network: any network with batch norm.
        domain: name to select them by in `using`.
        statistics: (C,) of each layer, by the names of `batch_norms`; layers that are left out keep the running ones.

    Raises:
        ValueError: if the name has a meaning of its own, a layer is unknown, or has another number of channels.
    """
    layers = batch_norms(network)
    if domain in MODES or not domain:
        raise ValueError(f"a domain cannot be called {domain!r}; {', '.join(MODES)} are modes of a norm")
    if domain == SOURCE and not all(isinstance(layer, DomainNorm) for layer in layers.values()):
        raise ValueError(
            "the source's statistics are the running ones, which training alone writes; name another domain"
        )
    for name in statistics:
        if name not in layers:
            raise ValueError(f"the network has no batch norm {name!r}; it has {', '.join(layers)}")
    for name, layer in layers.items():
        given = statistics.get(name) or running_statistics(layer)
        if given.mean.shape != (channels_of(layer),) or given.variance.shape != given.mean.shape:
            raise ValueError(
                f"layer {name} has {channels_of(layer)} channels, got statistics of shapes {tuple(given.mean.shape)} "
                f"and {tuple(given.variance.shape)}"
            )
        if isinstance(layer, DomainNorm) and domain in (SOURCE, TARGET):
            for part, values in zip(("mean", "variance"), given, strict=True):
                layer.get_buffer(f"{domain}_{part}").copy_(values)
            continue
        if _KEPT not in layer._modules:
            layer.add_module(_KEPT, DomainStatistics())
        device = next(layer.buffers(), torch.empty(0)).device
        cast(DomainStatistics, layer._modules[_KEPT]).put(domain, MeanAndVariance(*(each.to(device) for each in given)))


def statistics_of(network: nn.Module, domain: str) -> dict[str, MeanAndVariance]:
    """Return the (C,) statistics of a domain, or the running ones, by layer.

    Raises:
        ValueError: if no statistics are kept of the domain; the message names those that are.
    """
    layers = batch_norms(network)
    if domain == RUNNING:
        return {name: running_statistics(layer) for name, layer in layers.items()}
    if domain not in kept(network):
        raise unknown_domain(domain, kept(network))
    return {name: _of_domain(layer, domain) for name, layer in layers.items()}


def unknown_domain(domain: str, known: tuple[str, ...]) -> ValueError:
    """Return the error for a domain that has no statistics."""
    return ValueError(
        f"no statistics of a domain {domain!r}; there are those of {', '.join(known) or 'no domain'}, and "
        f"{', '.join(MODES)}. Those of another domain are made by: stylebench calibrate run=... domain=<folder>"
    )


@contextlib.contextmanager
def using(network: nn.Module, statistics: str, share: float = 1.0) -> Iterator[None]:
    """Have the batch norms of a network normalize by chosen statistics, for a `with` block.

    Nothing else of the network changes: dropout and other layers keep their modes, no running average moves, gradients
    flow as they do. Blocks may be nested; the innermost counts.

    Args:
        network: any network with batch norm.
        statistics: `running`, `batch`, `image`, `current`, or a domain whose statistics are kept.
        share: of the domain in a mixture with the running statistics, in [0, 1]; 1 for the domain alone.

    Raises:
        NoBatchNormError: if the network has no batch norm.
        ValueError: if no statistics are kept of the domain, a layer cannot work in the mode, or a share is given where
            there is nothing to mix.
    """
    layers = batch_norms(network)
    if not 0 <= share <= 1 or (share < 1 and statistics in (BATCH, IMAGE, CURRENT)):
        raise ValueError(f"a share of {share} of statistics={statistics}: a domain's mix by a share in [0, 1]")
    if statistics not in MODES and statistics not in kept(network):
        raise unknown_domain(statistics, kept(network))
    undo = contextlib.ExitStack()
    with undo:
        for name, layer in layers.items():
            undo.enter_context(_switched(layer, name, statistics, share))
        yield


def channels_of(layer: nn.Module) -> int:
    """Return the number of channels of a batch norm."""
    if isinstance(layer, DomainNorm):
        return layer.channels
    return layer.num_features if isinstance(layer, _BatchNorm) else len(cast(Tensor, layer.weight))


def running_statistics(layer: nn.Module) -> MeanAndVariance:
    """Return the (C,) float64 statistics that a layer learned in training; of a `DomainNorm` those of its branch.

    Raises:
        ValueError: if it keeps none.
    """
    original: MeanAndVariance | None = layer.__dict__.get(_ORIGINAL)
    if original is None:
        original = MeanAndVariance(*(cast(Tensor, layer._buffers.get(name)) for name in _slots(layer)))
    if original.mean is None or original.variance is None:
        raise ValueError(
            "a batch norm without running statistics (track_running_stats=False) normalizes every batch by itself, in "
            "evaluation too; build the network with track_running_stats=True and train it, or use statistics=batch"
        )
    return MeanAndVariance(original.mean.to(torch.float64), original.variance.to(torch.float64))


@torch.no_grad()
def write_running(network: nn.Module, statistics: Mapping[str, MeanAndVariance]) -> None:
    """Write (C,) statistics of layers over their running ones: of weights that were averaged, say, not trained.

    Raises:
        KeyError: if a layer is unknown.
    """
    layers = batch_norms(network)
    for name, given in statistics.items():
        for slot, values in zip(_slots(layers[name]), given, strict=True):
            layers[name].get_buffer(slot).copy_(values)


@contextlib.contextmanager
def replaced(layer: nn.Module, statistics: MeanAndVariance) -> Iterator[None]:
    """Have a layer in evaluation normalize by given (C,) tensors, which may be filled meanwhile; its own come back."""
    names = _slots(layer)
    before = [layer._buffers.get(name) for name in names]
    outermost = _ORIGINAL not in layer.__dict__
    if outermost:
        layer.__dict__[_ORIGINAL] = MeanAndVariance(*before)  # type: ignore[arg-type]
    for name, values in zip(names, statistics, strict=True):
        layer._buffers[name] = values
    try:
        yield
    finally:
        for name, buffer in zip(names, before, strict=True):
            layer._buffers[name] = buffer
        if outermost:
            del layer.__dict__[_ORIGINAL]


def like_layer(layer: nn.Module, statistics: MeanAndVariance) -> MeanAndVariance:
    """Return statistics in the type and on the device that a layer normalizes with."""
    own = next(iter(layer.buffers()))
    return MeanAndVariance(*(part.to(own.device, own.dtype) for part in statistics))


def _is_frozen(part: nn.Module) -> bool:
    """Tell whether a part is a FrozenBatchNorm2d, torchvision's or another library's of that name."""
    return type(part).__name__ == "FrozenBatchNorm2d"


def _slots(layer: nn.Module) -> tuple[str, str]:
    """Return the names of the buffers that a layer normalizes by in evaluation."""
    if isinstance(layer, DomainNorm):
        return f"{layer.branch}_mean", f"{layer.branch}_variance"
    return "running_mean", "running_var"


def _domains(layer: nn.Module) -> list[str]:
    own = [SOURCE, TARGET] if isinstance(layer, DomainNorm) else [SOURCE]
    further = layer._modules.get(_KEPT)
    return [*own, *(cast(DomainStatistics, further).names if further is not None else [])]


def _of_domain(layer: nn.Module, domain: str) -> MeanAndVariance:
    if isinstance(layer, DomainNorm) and domain in (SOURCE, TARGET):
        return layer.statistics(domain)
    if domain == SOURCE:
        return running_statistics(layer)
    return cast(DomainStatistics, layer._modules[_KEPT]).get(domain)


def _mixed(layer: nn.Module, statistics: str, share: float) -> MeanAndVariance:
    """Return a domain's statistics in a mixture with the running ones."""
    given = running_statistics(layer) if statistics == RUNNING else _of_domain(layer, statistics)
    return given if share == 1 else mixture(share, given, running_statistics(layer))


def _switched(layer: nn.Module, name: str, statistics: str, share: float) -> contextlib.AbstractContextManager[None]:
    if isinstance(layer, DomainNorm):
        return _domain_norm(layer, name, statistics, share)
    if statistics in (BATCH, IMAGE):
        if _is_frozen(layer):
            raise ValueError(
                f"layer {name} is a frozen batch norm, which knows its running statistics alone; "
                f"statistics={statistics} needs torch.nn.BatchNorm2d in its place"
            )
        return _own_statistics(cast(_BatchNorm, layer), by_image=statistics == IMAGE)
    if statistics == CURRENT:
        return _evaluating(layer)
    given = _mixed(layer, statistics, share)
    if statistics in (RUNNING, SOURCE) and _ORIGINAL not in layer.__dict__:
        return _evaluating(layer)
    buffers = (layer._buffers.get(name) for name in ("running_mean", "running_var"))
    kind = next((each.dtype for each in buffers if each is not None), torch.float32)
    return _both(_evaluating(layer), replaced(layer, MeanAndVariance(*(each.to(kind) for each in given))))


@contextlib.contextmanager
def _both(*contexts: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


@contextlib.contextmanager
def _evaluating(layer: nn.Module) -> Iterator[None]:
    mode = layer.training
    layer.training = False
    try:
        yield
    finally:
        layer.training = mode


@contextlib.contextmanager
def _domain_norm(layer: DomainNorm, name: str, statistics: str, share: float) -> Iterator[None]:
    if statistics in (BATCH, IMAGE):
        raise ValueError(
            f"layer {name} is a {type(layer).__name__}, which normalizes by the statistics of its domains; "
            f"statistics={statistics} needs plain batch norm"
        )
    before = layer.branch
    if statistics in (SOURCE, TARGET):
        layer.branch = statistics
    elif statistics not in (RUNNING, CURRENT):
        layer.branch = TARGET  # whose place a further domain takes
    own = statistics in (SOURCE, TARGET, RUNNING, CURRENT) and share == 1
    further = [] if own else [replaced(layer, _mixed(layer, statistics, share))]
    try:
        with _both(_evaluating(layer), *further):
            yield
    finally:
        layer.branch = before


@contextlib.contextmanager
def _own_statistics(layer: _BatchNorm, by_image: bool) -> Iterator[None]:
    """Have a layer normalize by what it is shown, without a trace in its running averages."""
    modes, kind = (layer.training, layer.track_running_stats), type(layer)
    layer.training, layer.track_running_stats = True, False  # so torch reads and writes no running average
    if by_image:
        layer.__class__ = _by_image(cast(Any, kind))
    try:
        yield
    finally:
        layer.training, layer.track_running_stats = modes
        layer.__class__ = kind


@functools.cache
def _by_image(kind: Any) -> Any:
    """Return a subclass of a batch norm that normalizes each image by its own statistics."""

    class ByImage(kind):
        def forward(self, maps: Tensor) -> Tensor:
            if kind.forward in PLAIN:
                return _normalize_images(self, maps)
            return torch.cat([super(ByImage, self).forward(image) for image in torch.split(maps, 1)])

    ByImage.__name__ = ByImage.__qualname__ = f"{kind.__name__}ByImage"
    return ByImage


def _normalize_images(layer: _BatchNorm, maps: Tensor) -> Tensor:
    """Normalize (N, C, ...) maps by each image's mean and biased variance, with the layer's scales and shifts."""
    layer._check_input_dim(maps)  # type: ignore[no-untyped-call]
    if maps.ndim < 3:
        raise ValueError(
            f"one vector has no statistics of its own: {type(layer).__name__} is shown {tuple(maps.shape)}; image "
            "statistics need maps"
        )
    axes = tuple(range(2, maps.ndim))
    shape = (1, -1, *(1 for _ in axes))
    with float32_island(maps):
        wide = at_least_float32(maps)
        variance, mean = torch.var_mean(wide, axes, correction=0, keepdim=True)  # (N, C, 1, ...) each
        scale = torch.rsqrt(variance + layer.eps)
        if layer.weight is None:
            return ((wide - mean) * scale).to(maps.dtype)
        return ((wide - mean) * (layer.weight.view(shape) * scale) + layer.bias.view(shape)).to(maps.dtype)


def convert(network: nn.Module, make: Any) -> nn.Module:
    """Put other layers in the place of a network's batch norms, in place.

    Hooks and the mode of a layer go over to the new one; layers of `DomainNorm` are left, so a second call changes
    nothing.

    Args:
        network: not wrapped, compiled or copied for averaging yet.
        make: from a batch norm to the layer in its place.

    Returns:
        The network; the new layer if the network is one batch norm alone.

    Raises:
        NoBatchNormError: if there is none.
        ValueError: if a batch norm has no running statistics or is frozen.
    """
    made: dict[nn.Module, nn.Module] = {}
    for name, layer in batch_norms(network).items():
        if isinstance(layer, DomainNorm):
            continue
        if not isinstance(layer, _BatchNorm):
            raise ValueError(f"layer {name} is a frozen batch norm; build the network with torch.nn.BatchNorm2d")
        running_statistics(layer)
        made[layer] = make(layer)
        for hooks in ("_forward_hooks", "_forward_pre_hooks"):
            setattr(made[layer], hooks, copy.copy(getattr(layer, hooks)))
    if network in made:
        return made[network]
    places = [(name, part) for name, part in network.named_modules(remove_duplicate=False) if part in made]
    for name, part in places:  # a layer that stands in two places goes on standing in both
        parent, _, child = name.rpartition(".")
        network.get_submodule(parent).add_module(child, made[part])
    return network
