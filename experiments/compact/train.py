"""Train an encoder of the package on renders, and write its weights.

    python -m experiments.compact.train --encoder compact --output outputs/compact/final

Continues where an interrupted run stopped. Writes `metrics.csv`, `state.pt` and `<encoder>.safetensors`, whose SHA-256
is the encoder's name in records.
"""

import argparse
import csv
import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from experiments.compact.network import TAPS, Trainee, blank
from experiments.compact.objectives import DESIGNS, losses
from experiments.compact.pictures import PLANS, VERSION, pictures, scaled
from stylebench.files import atomic_write, file_digest, read_pickle
from stylebench.nn.encoders.base import Encoder
from stylebench.nn.encoders.normalization import Group, calibration_name, fold_means, measure_means

_LEARNING_RATE, _DECAY = 3e-3, 0.05
_CLIP = 10.0  # of the gradient's norm
_QUIET = 0.05  # of a layer's median mean activation
_EVERY = 100  # batches between two lines of metrics and two checkpoints
_MEMORY = {"compact": torch.channels_last, "compact_judge": torch.contiguous_format}  # whichever is faster on a CPU
_log = logging.getLogger("compact")


def main() -> None:
    """Train, export, and print the digest."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Train an encoder of the package on renders.")
    add = parser.add_argument
    add("--encoder", choices=list(TAPS), default="compact", help="which architecture (default: %(default)s)")
    add("--design", choices=list(DESIGNS), default="all", help="which tasks count (default: %(default)s)")
    add("--batches", type=int, default=6000, help="length of the run (default: %(default)s)")
    add("--rate", type=float, default=_LEARNING_RATE, help="highest learning rate (default: %(default)s)")
    add("--seed", type=int, default=0, help="of weights and batches (default: %(default)s)")
    add("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    add("--pictures", type=float, default=1.0, help="share of the pictures, for a run that only tries something")
    add("--output", type=Path, required=True, help="folder of the run; continued if it holds its state")
    options = parser.parse_args()
    if options.batches < 1 or options.threads < 1 or options.rate <= 0:
        parser.error("--batches and --threads must be at least 1, and --rate above 0")
    torch.set_num_threads(options.threads)
    run = Run(options.encoder, options.design, options.batches, options.rate, options.seed, options.pictures)
    try:
        train(run, options.output)
    except ValueError as error:  # a share, a pooling or a state that does not fit; the message says which
        parser.error(str(error))
    path = options.output / f"{options.encoder}.safetensors"
    _log.info("%s-%s: %s, %d bytes", options.encoder, file_digest(path)[:8], path, path.stat().st_size)


@dataclass(frozen=True)
class Run:
    """What decides a run's weights, besides the code.

    Attributes:
        encoder: key of `network.TAPS`.
        design: key of `objectives.DESIGNS`.
        batches: length of the run.
        rate: highest learning rate of the one cycle.
        seed: of weights and batches.
        share: of the plan's pictures, in (0, 1].
    """

    encoder: str
    design: str
    batches: int
    rate: float
    seed: int
    share: float = 1.0

    def settings(self) -> dict[str, Any]:
        """Return all of it with the plan of the pictures, as plain values."""
        return {**asdict(self), "plan": asdict(scaled(PLANS[self.encoder], self.share)), "version": VERSION}


def train(run: Run, output: Path) -> None:
    """Train for a number of batches and write the weights.

    Args:
        run: what to train.
        output: folder, continued if it holds the state of the same run.

    Raises:
        ValueError: if the folder holds the state of another run, or the design's pooling is not the encoder's.
    """
    plan = DESIGNS[run.design]
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(run.seed)
    frozen = blank(run.encoder, pooling=plan.pooling)
    trainee = Trainee(frozen, TAPS[run.encoder]).to(memory_format=_MEMORY[run.encoder])
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=run.rate, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, run.rate, run.batches, pct_start=0.05)
    parts = {"trainee": trainee, "optimizer": optimizer, "schedule": schedule}
    start, spent = _restore(output / "state.pt", run, parts)
    drawn = pictures(scaled(PLANS[run.encoder], run.share), output.parent / "pictures")
    begun = time.process_time() - spent
    totals: dict[str, float] = {}
    for batch in range(start, run.batches):
        found = losses(trainee, drawn, plan, torch.Generator().manual_seed(run.seed * 1_000_003 + batch))
        total = torch.stack(list(found.values())).sum()
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(trainee.parameters(), _CLIP)
        optimizer.step()
        schedule.step()
        for name, loss in found.items():
            totals[name] = totals.get(name, 0.0) + loss.item()
        if (batch + 1) % _EVERY == 0 or batch + 1 == run.batches:
            count = batch % _EVERY + 1
            means = {name: value / count for name, value in totals.items()}
            spent = time.process_time() - begun
            _write_line(output / "metrics.csv", batch + 1, spent, means)
            _save(output / "state.pt", run, batch + 1, spent, parts)
            totals = {}
    trainee.into(frozen)
    export(frozen, run.encoder, output / f"{run.encoder}.safetensors")


def export(encoder: Encoder, name: str, path: Path) -> None:
    """Scale an encoder to mean activation 1 on the built-in pictures and write its weights in half precision.

    Args:
        encoder: with weights that are not normalized yet; they are afterwards.
        name: of its architecture.
        path: of the safetensors file.
    """
    normalize(encoder)
    state = {}
    for stage in encoder.stages.values():
        for key, conv in stage.convs().items():
            state[f"{key}.weight"], state[f"{key}.bias"] = conv.weight.half(), conv.bias.half()
    with atomic_write(path) as file:
        file.write(save(state, {"encoder": name, "calibration": calibration_name(None)}))


def normalize(encoder: Encoder) -> None:
    """Silence channels that hardly ever fire, and scale all others to mean activation 1 on the built-in pictures.

    Args:
        encoder: with weights that are not normalized yet; they are afterwards, in float32.
    """
    groups = encoder.groups()
    means = measure_means(encoder, [group.tap for group in groups], None)
    silent = sum(_silence(group, means[group.tap]) for group in groups)
    _log.info("%d of %d channels are hardly ever active; silenced", silent, sum(map(len, means.values())))
    fold_means(groups, measure_means(encoder, [group.tap for group in groups], None))


def _silence(group: Group, means: Tensor) -> int:
    """Set channels that hardly ever fire to 0 and return their number: scaled to mean 1, they would be all noise."""
    quiet = means < _QUIET * means.median()
    parts = torch.split(quiet, [conv.weight.shape[0] for conv in group.producers])
    for conv, part in zip(group.producers, parts, strict=True):
        conv.weight[part], conv.bias[part] = 0.0, 0.0
    return int(quiet.sum())


def _write_line(path: Path, batch: int, seconds: float, means: dict[str, float]) -> None:
    row = {"batch": batch, "cpu_s": round(seconds, 1), **{name: round(value, 4) for name, value in means.items()}}
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
    _log.info(json.dumps(row))


def _save(path: Path, run: Run, batch: int, seconds: float, parts: dict[str, Any]) -> None:
    """Write the state of network, optimizer and schedule, and how far they have come."""
    state = {"settings": run.settings(), "batch": batch, "cpu_s": seconds}
    with atomic_write(path) as file:
        torch.save({**state, **{name: part.state_dict() for name, part in parts.items()}}, file)


def _restore(path: Path, run: Run, parts: dict[str, Any]) -> tuple[int, float]:
    """Continue from a state; return the number of batches done and the CPU seconds that they took.

    Raises:
        ValueError: if the state is of another run.
    """
    if not path.is_file():
        return 0, 0.0
    state = read_pickle(path)
    if state["settings"] != run.settings():
        raise ValueError(f"{path} is of another run, {state['settings']}; choose another --output")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["batch"]), float(state["cpu_s"])


if __name__ == "__main__":
    main()
