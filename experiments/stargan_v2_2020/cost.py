"""What a batch of StarGAN v2 costs when its phases are taken as `exact`, `official` and `merged`.

    python -m experiments.stargan_v2_2020.cost --output experiments/stargan_v2_2020/cost.json [--size 128] [--batch 8]
        [--width 128] [--max-width 512] [--pairs 5] [--processes]

Operations (a multiplication and an addition are two) and the peak of what tensors hold are counted on tensors without
numbers, so that no arithmetic is done; workspaces of kernels do not count. `--pairs` measures processor seconds of
`official` and `exact` in turn, on one thread; `--processes` the peak memory of two batches in fresh processes. Both
compute, which takes many minutes in the published widths. Weights, gradients, Adam's averages and the moving average of
the weights are part of every peak.
"""

import argparse
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._pytree import tree_leaves

from experiments.costs import alone, peak_bytes, ratios, tell
from stylebench.build import build, method_node
from stylebench.cli.config import compose
from stylebench.data.tasks import MultiDomainBatch
from stylebench.methods.stargan_v2 import PHASES, StarGANv2
from stylebench.training.callbacks.flop_counter import FlopCounter

DOMAINS = 3
WIDTHS = ("width", "max_width")
BATCHES = 2  # Adam's averages come with the first


class Counter(FlopCounter):
    """Counts operations, and bytes of the tensors that are alive.

    Attributes:
        peak: the most that were alive at a time, in bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._alive = 0
        self._seen: dict[int, weakref.finalize[Any, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count it and what it made."""
        made = super().__torch_dispatch__(func, types, args, kwargs)
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        self.peak = max(self.peak, self._alive)
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._seen:
            self._alive += storage.nbytes()
            self._seen[key] = weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        del self._seen[key]
        self._alive -= size


def step(phases: str, options: argparse.Namespace) -> Callable[[], None]:
    """Return a function that trains on one batch; images are noise, since what is computed does not depend on them."""
    torch.manual_seed(0)
    words = ["model=stargan_v2", "dataset=procstyle", f"dataset.domains=[{','.join(map(str, range(DOMAINS)))}]"]
    words += [f"dataset.{key}={options.size}" for key in ("size_px", "store.size_px")]
    words += [f"model.generator.{key}={getattr(options, key)}" for key in WIDTHS if getattr(options, key)]
    config = compose("train", words)
    method: StarGANv2 = build({**method_node(config["model"]), "phases": phases})
    optimizers = dict(zip(method.players, method.configure_optimizers(), strict=True))
    own = list(method.model.parameters())
    average = [weight.detach().clone() for weight in own]
    images = torch.rand(3, options.batch, 3, options.size, options.size)
    numbers = torch.arange(options.batch) % DOMAINS
    batch = MultiDomainBatch(images[0], numbers, images[1], images[2], numbers.flip(0))

    def move(players: tuple[str, ...], loss: Tensor, clip_norm: float | None) -> None:
        for player in players:
            optimizers[player].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for player in players:
            optimizers[player].step()

    def run() -> None:
        with method.stepping_by(move):
            method.training_step(batch, 0)
        with torch.no_grad():
            torch._foreach_lerp_(average, own, 1e-3)
        method.count_batch()

    return run


def counted(phases: str, options: argparse.Namespace) -> dict[str, float]:
    """Return the operations of a batch, and the peak of what tensors hold in two, in GiB; for tensors without numbers.

    Args:
        phases: of the method.
        options: of the command line.
    """
    with Counter() as counter:
        run = step(phases, options)
        run()
        operations = counter.total
        run()
    return {"tflop": operations / 1e12, "tensors_gib": counter.peak / 2**30}


def process_gib(phases: str, options: argparse.Namespace) -> float:
    """Return the peak memory of two batches in a fresh process."""
    given = {key: getattr(options, key) for key in ("size", "batch", *WIDTHS)}
    words = [word for key, value in given.items() if value for word in (f"--{key.replace('_', '-')}", str(value))]
    return peak_bytes("experiments.stargan_v2_2020.cost", phases, *words) / 2**30


def main() -> None:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images")
    parser.add_argument("--width", type=int, help="channels at full resolution; as published where it is not given")
    parser.add_argument("--max-width", type=int, help="most channels; as published where it is not given")
    parser.add_argument("--pairs", type=int, default=0, help="of steps whose processor seconds are measured")
    parser.add_argument("--processes", action="store_true", help="measure the peak memory of fresh processes")
    parser.add_argument("--alone", choices=PHASES, help="two batches, whose peak memory in bytes is printed")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    if options.alone:
        alone(step(options.alone, options), BATCHES)
        return
    settings = {key: getattr(options, key) for key in ("size", "batch", *WIDTHS)}
    found: dict[str, Any] = {"settings": settings, "torch": torch.__version__}
    if options.processes:
        found["process_gib"] = {phases: process_gib(phases, options) for phases in PHASES}
    if options.pairs:
        ways = {phases: step(phases, options) for phases in ("official", "exact")}
        found["exact_over_official_seconds"] = ratios(ways, options.pairs)
    with FakeTensorMode(allow_non_fake_inputs=True):  # constants that are kept may be real ones
        found["counted"] = {phases: counted(phases, options) for phases in PHASES}
    tell(found, options.output)


if __name__ == "__main__":
    main()
