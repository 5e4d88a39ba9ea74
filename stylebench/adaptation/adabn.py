"""AdaBN: the statistics of batch norm taken over a target domain; the weights stay as they are.

Paper: Li, Wang, Shi, Liu, Hou, "Revisiting Batch Normalization for Practical Domain Adaptation", 2016; "Adaptive Batch
Normalization for practical domain adaptation", Pattern Recognition 80, 2018.

For every batch norm the mean and variance of its inputs over all images of the domain replace those of the source. What
a deep layer is shown depends on how the layers before it normalize, and there are two ways to collect:

- `sequential`, the definition: layers are adapted front to back, each on what it is shown once all before it are
  adapted. One pass over the images for each level of the network. The result does not depend on batches or their order.
- `batch`: one pass, in which every layer normalizes by the statistics of the batch, while the moments of the whole set
  are merged. Approximate, better the larger the batches, which should be shuffled and of 64 images or more.

Collecting all layers at once in a network that still normalizes by the source's statistics is neither: deep layers
would be given the statistics of activations that the adapted network never has.

Deviations: the population's biased variance is kept, by which batch norm normalizes in training; `unbiased` keeps the
one that torch writes into `running_var`.
"""

import contextlib
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stylebench.adaptation.base import Strategy
from stylebench.adaptation.depth import levels
from stylebench.adaptation.merging import agreed_levels, merge_over_processes
from stylebench.adaptation.reports import CalibrationReport, Forward, LayerReport
from stylebench.checks import check_choice, check_number, check_optional_whole, check_switch
from stylebench.functional.moments import MeanAndVariance, Moments, blend, domain_distance
from stylebench.inference.base import evaluating
from stylebench.nn.domain_norms import SOURCE, TARGET
from stylebench.nn.normalization import (
    NoBatchNormError,
    batch_norms,
    channels_of,
    keep,
    like_layer,
    replaced,
    running_statistics,
    statistics_of,
    using,
)

PROPAGATIONS = ("sequential", "batch")
FEWEST_IMAGES = 2
FEW_IMAGES = 32  # fewer make statistics that are mostly noise
_PROBED = 2  # images that the levels are found with

log = logging.getLogger(__name__)


class AdaBN(Strategy):
    """Take the statistics of the target before it is tested; training sees the source alone.

    Args:
        propagate: see `recalibrate`, as the others.
        layers: batch norms to adapt.
        max_images: of the target at most.
        prior_images: weight of the source's statistics.
        unbiased: keep the unbiased variance.

    Raises:
        ValueError: if a setting is out of its range.
    """

    own_statistics = TARGET

    def __init__(
        self, propagate: str, layers: str | int, max_images: int | None, prior_images: float, unbiased: bool
    ) -> None:
        super().__init__()
        check_choice("adaptation.propagate", propagate, PROPAGATIONS)
        check_optional_whole("adaptation.max_images", max_images, FEWEST_IMAGES)
        check_number("adaptation.prior_images", prior_images)
        check_switch("adaptation.unbiased", unbiased)
        self.settings: dict[str, Any] = {
            "propagate": propagate, "layers": layers, "max_images": max_images, "prior_images": prior_images,
            "unbiased": unbiased,
        }  # fmt: skip

    def convert(self, network: nn.Module) -> nn.Module:
        """Check that there are batch norms to adapt, before anything is trained."""
        for layer in _chosen(network, self.settings["layers"]).values():
            running_statistics(layer)
        return network

    def calibrate(
        self, network: nn.Module, batches: Iterable[Any], domain: str, forward: Forward | None = None
    ) -> CalibrationReport | None:
        """Take the statistics of a domain and keep them beside the weights; the source's are the running ones."""
        if domain == SOURCE:
            return None
        report = recalibrate(network, batches, forward=forward, **self.settings)
        keep(network, domain, report.statistics)
        return report


def recalibrate(
    network: nn.Module,
    batches: Iterable[Any],
    *,
    propagate: str = "batch",
    layers: str | int = "all",
    max_images: int | None = None,
    unbiased: bool = False,
    prior_images: float = 0.0,
    forward: Forward | None = None,
) -> CalibrationReport:
    """Take the statistics of a domain for the batch norms of any network, which is left as it was.

    The result is taken over by an explicit call, `keep(network, domain, report.statistics)`, and used by
    `using(network, domain)`. No gradient, no randomness, no mode of another layer changes.

    Args:
        network: on the device of its weights; not wrapped by DDP.
        batches: of images (N, ...), or tuples whose first part they are; `sequential` reads them more than once. In a
            distributed run each process brings its own share, of any size.
        propagate: `sequential` or `batch`.
        layers: `all`, the number of layers from the front, or a regular expression that names must match in full.
        max_images: stop after so many a process; None for all.
        unbiased: keep the unbiased variance.
        prior_images: weight of the source's statistics, as a number of images beside those of the domain; 0 for none.
        forward: runs the network on a batch, as it was given, where that is not `network(images)`.

    Raises:
        NoBatchNormError: if there is no batch norm, or none of the names chosen.
        ValueError: if an argument is out of its range, there are fewer than 2 images, a layer cannot be adapted, or
            batches that can be read once only are given to `sequential`.
        RuntimeError: if a layer was shown nothing.
    """
    check_choice("propagate", propagate, PROPAGATIONS)
    check_switch("unbiased", unbiased)
    check_number("prior_images", prior_images)
    shown = _Batches(network, batches, check_optional_whole("max_images", max_images, FEWEST_IMAGES), forward or _plain)
    chosen = _chosen(network, layers)
    own = statistics_of(network, SOURCE)
    source = {name: own[name] for name in chosen}
    started = time.monotonic()
    with _calm(network), using(network, "running"):
        collect = _sequential if propagate == "sequential" else _batch
        moments, passes = collect(chosen, shown)
    images = shown.images_over_processes()
    if images < FEW_IMAGES:
        log.warning(
            "statistics of %d images are mostly noise; take %d or more, or let those of the source weigh in by "
            "prior_images",
            images,
            FEW_IMAGES,
        )
    share = images / (images + prior_images)
    statistics = {name: blend(share, each.statistics(unbiased), source[name]) for name, each in moments.items()}
    found = {
        name: LayerReport(
            channels=channels_of(chosen[name]),
            entries=each.count,
            distance=domain_distance(source[name], statistics[name]),
            dead=int((each.squares == 0).sum()),
        )
        for name, each in moments.items()
    }
    return CalibrationReport(images, propagate, passes, time.monotonic() - started, found, statistics)


def shown_moments(network: nn.Module, batches: Iterable[Any], statistics: str) -> dict[str, Moments]:
    """Return the moments of what each batch norm is shown while they normalize by chosen statistics, by layer.

    Args:
        network: on the device of its weights; it is left as it was.
        batches: as for `recalibrate`.
        statistics: see `nn.normalization.using`.

    Raises:
        NoBatchNormError: if there is no batch norm.
        ValueError: if there are fewer than 2 images, or no statistics are kept of the domain.
        RuntimeError: if a layer was shown nothing.
    """
    with _calm(network), using(network, statistics):
        return _collect(batch_norms(network), _Batches(network, batches, None, _plain))


class _Batches:
    """The images of a domain, as often as they are read, and the network that they are shown to."""

    def __init__(self, network: nn.Module, batches: Iterable[Any], most: int | None, forward: Forward) -> None:
        self.network, self.batches, self.most, self.forward = network, batches, most, forward
        self.images = 0

    def show(self) -> None:
        """Show all of them to the network."""
        self.images = 0
        for batch in self.batches:
            left = None if self.most is None else self.most - self.images
            if left == 0:
                break
            part = _cut(batch, left)
            self.images += len(_first(part))
            self.forward(self.network, part)

    def any_here(self) -> bool:
        """Tell whether this process has any."""
        return next(iter(self.batches), None) is not None

    def probe(self) -> None:
        """Show the first two of them to the network."""
        self.forward(self.network, _cut(next(iter(self.batches)), _PROBED))

    def readable_again(self) -> None:
        """Refuse what can be read only once.

        Raises:
            ValueError: if it is an iterator.
        """
        if iter(self.batches) is self.batches:
            raise ValueError(
                "propagate=sequential reads the batches once for each level of the network, but was given an iterator, "
                "which is read only once; give a list or a DataLoader, or use propagate=batch"
            )

    def images_over_processes(self) -> int:
        """Return how many images were shown, over all processes.

        Raises:
            ValueError: if there were fewer than 2.
        """
        images = merge_over_processes({"images": Moments(self.images, _NOTHING, _NOTHING)})["images"].count
        if images < FEWEST_IMAGES:
            raise ValueError(f"statistics of a domain need at least {FEWEST_IMAGES} images, found {images}")
        return images


_NOTHING = torch.zeros(0, dtype=torch.float64)


def _sequential(layers: Mapping[str, nn.Module], shown: _Batches) -> tuple[dict[str, Moments], int]:
    """Adapt the layers level by level, each on what the adapted layers before it make of the images."""
    shown.readable_again()
    found: dict[str, Moments] = {}
    order = agreed_levels(levels(layers, shown.probe) if shown.any_here() else [])
    missed = [name for name in layers if all(name not in level for level in order)]
    with contextlib.ExitStack() as adapted:
        for level in [*order, missed] if missed else order:
            collected = _collect({name: layers[name] for name in level}, shown)
            for name, moments in collected.items():
                mean, variance = (part.clone() for part in like_layer(layers[name], moments.statistics()))
                adapted.enter_context(replaced(layers[name], MeanAndVariance(mean, variance)))
            found.update(collected)
    return {name: found[name] for name in layers}, len(order)


def _batch(layers: Mapping[str, nn.Module], shown: _Batches) -> tuple[dict[str, Moments], int]:
    """Collect all layers in one pass in which each normalizes by the statistics of the batch."""
    slots = {name: MeanAndVariance(*(part.clone() for part in like_layer(layer, running_statistics(layer))))
             for name, layer in layers.items()}  # fmt: skip

    def normalize_by_batch(name: str, moments: Moments) -> None:
        for slot, values in zip(slots[name], moments.statistics(), strict=True):
            slot.copy_(values)

    with contextlib.ExitStack() as stack:
        for name, layer in layers.items():
            stack.enter_context(replaced(layer, slots[name]))
        return _collect(layers, shown, normalize_by_batch), 1


def _collect(
    layers: Mapping[str, nn.Module], shown: _Batches, each: Callable[[str, Moments], None] | None = None
) -> dict[str, Moments]:
    """Return the moments of what layers are shown, over all processes.

    Args:
        layers: by name.
        shown: the images.
        each: is told the moments of every batch before the layer works on it.

    Raises:
        ValueError: if there are fewer than 2 images.
        RuntimeError: if a layer was shown nothing.
    """
    found: dict[str, Moments] = {}
    calls: Counter[str] = Counter()

    def gather(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            moments = Moments.of(inputs[0])
            calls[name] += 1
            found[name] = found[name].merged(moments) if name in found else moments
            if each is not None:
                each(name, moments)

        return hook

    with contextlib.ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_pre_hook(gather(name)).remove)
        shown.show()
    shown.images_over_processes()
    if reused := [name for name, count in calls.items() if count > min(calls.values())]:
        log.warning("%s: used more than once in a pass; the statistics pool all uses", ", ".join(reused))
    merged = merge_over_processes({name: found.get(name, _empty(layer)) for name, layer in layers.items()})
    if silent := [name for name, moments in merged.items() if not moments.count]:
        raise RuntimeError(
            f"the batch norms {', '.join(silent)} were shown no image, so they have no statistics of the domain. The "
            "network does not call them, or a compiled or exported copy of it ran in its place: calibrate the network "
            "itself, or leave these layers out by layers=<regular expression>"
        )
    return merged


def _chosen(network: nn.Module, layers: str | int) -> dict[str, nn.Module]:
    """Return the layers that are adapted, by name."""
    there = batch_norms(network)
    if layers == "all":
        return there
    if isinstance(layers, int) and not isinstance(layers, bool):
        if not 1 <= layers <= len(there):
            raise ValueError(f"layers={layers}: the network has {len(there)} batch norms; choose 1 .. {len(there)}")
        return dict(list(there.items())[:layers])
    try:
        chosen = {name: layer for name, layer in there.items() if re.fullmatch(str(layers), name)}
    except re.error as error:
        raise ValueError(f"layers={layers!r} is no regular expression: {error}") from error
    if not chosen:
        raise NoBatchNormError(f"layers={layers!r} matches none of the batch norms {', '.join(there)}")
    return chosen


def _empty(layer: nn.Module) -> Moments:
    nothing = torch.zeros(channels_of(layer), dtype=torch.float64, device=next(iter(layer.buffers())).device)
    return Moments(0, nothing, nothing)


@contextlib.contextmanager
def _calm(network: nn.Module) -> Iterator[None]:
    """Run a network without gradients, in evaluation mode and uncompiled, so that hooks fire and nothing else moves."""
    with torch.no_grad(), evaluating(network), torch.compiler.set_stance("force_eager"):
        yield


def _plain(network: nn.Module, batch: Any) -> object:
    like = next(network.parameters(), next(network.buffers(), torch.empty(0)))
    return network(_first(batch).to(like.device))


def _cut(batch: Any, most: int | None) -> Any:
    """Return the first images of a batch, with what belongs to them in a tuple."""
    if most is None or len(_first(batch)) <= most:
        return batch
    if isinstance(batch, Tensor):
        return batch[:most]
    parts = [part[:most] if isinstance(part, Tensor) else part for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)


def _first(batch: Any) -> Tensor:
    images = batch[0] if isinstance(batch, tuple | list) else batch
    if not isinstance(images, Tensor):
        raise ValueError(
            f"expected batches of images, or tuples that begin with them, got {type(images).__name__}; give a "
            "generator of tensors, or a class with __iter__ for propagate=sequential"
        )
    return images
