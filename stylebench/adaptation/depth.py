"""Which batch norms wait for which: the levels of a network, found by disturbing it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Run = Callable[[], object]


def levels(layers: Mapping[str, nn.Module], run: Run) -> list[list[str]]:
    """Group layers so that what one is shown depends on layers of earlier groups alone.

    The network is run once as it is and once for each layer with noise added to that layer's output; the layers whose
    inputs change then depend on it. So parallel branches (the shortcut of a residual block) share a level. A network
    with randomness of its own looks like a chain, which costs passes and is never wrong.

    Args:
        layers: modules by name.
        run: runs the network on a small batch, without gradients.

    Returns:
        Names by level, in the order of the calls; layers that are not called are in none.
    """
    inputs, order = _inputs(layers, run)
    depends: dict[str, set[str]] = {name: set() for name in order}
    for disturbed in order:
        with _disturbed(layers[disturbed]):
            changed, _ = _inputs(layers, run)
        for name in order:
            if name != disturbed and not _equal(inputs[name], changed.get(name, [])):
                depends[name].add(disturbed)
    level: dict[str, int] = {}
    for name in order:  # a layer depends on layers that were called before it
        level[name] = 1 + max((level[other] for other in depends[name] if other in level), default=-1)
    return [[name for name in order if level[name] == each] for each in range(max(level.values(), default=-1) + 1)]


def _inputs(layers: Mapping[str, nn.Module], run: Run) -> tuple[dict[str, list[Tensor]], list[str]]:
    """Return what each layer is shown in a run, and the layers in the order of their first calls."""
    shown: dict[str, list[Tensor]] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda layer, inputs: shown.setdefault(name, []).append(inputs[0].detach().clone())

    with contextlib.ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_pre_hook(note(name)).remove)
        run()
    return shown, list(shown)


@contextlib.contextmanager
def _disturbed(layer: nn.Module) -> Iterator[None]:
    generator = torch.Generator().manual_seed(0)

    def disturb(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        noise = torch.randn(output.shape, generator=generator).to(output)
        return output + noise * (1 + output.abs().amax())  # of both signs and large, so that no rectifier hides it

    handle = layer.register_forward_hook(disturb)
    try:
        yield
    finally:
        handle.remove()


def _equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
