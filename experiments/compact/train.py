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
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from experiments.compact.network import TAPS, Trainee, blank
from experiments.compact.objectives import DESIGNS, losses
from experiments.compact.pictures import PLANS, pictures
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
    parser.add_argument("--encoder", choices=list(TAPS), default="compact")
    parser.add_argument("--design", choices=list(DESIGNS), default="all")
    parser.add_argument("--batches", type=int, default=6000)
    parser.add_argument("--rate", type=float, default=_LEARNING_RATE, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    train(options.encoder, options.design, options.batches, options.rate, options.seed, options.output)
    path = options.output / f"{options.encoder}.safetensors"
    _log.info("%s-%s: %s, %d bytes", options.encoder, file_digest(path)[:8], path, path.stat().st_size)


def train(encoder: str, design: str, batches: int, rate: float, seed: int, output: Path) -> None:
    """Train for a number of batches and write the weights.

    Args:
        encoder: key of `network.TAPS`.
        design: key of `objectives.DESIGNS`.
        batches: length of the run.
        rate: highest learning rate of the one cycle.
        seed: of weights and batches.
        output: folder, continued if it holds the state of the same run.
    """
    settings = {"encoder": encoder, "design": design, "batches": batches, "rate": rate, "seed": seed}
    drawn = pictures(PLANS[encoder], output.parent / "pictures")
    plan = DESIGNS[design]
    torch.manual_seed(seed)
    frozen = blank(encoder, pooling=plan.pooling)
    trainee = Trainee(frozen, TAPS[encoder]).to(memory_format=_MEMORY[encoder])
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=rate, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, batches, pct_start=0.05)
    start = _restore(output / "state.pt", settings, trainee, optimizer, schedule)
    clock = time.process_time()
    totals: dict[str, float] = {}
    for batch in range(start, batches):
        found = losses(trainee, drawn, plan, torch.Generator().manual_seed(seed * 1_000_003 + batch))
        total = torch.stack(list(found.values())).sum()
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(trainee.parameters(), _CLIP)
        optimizer.step()
        schedule.step()
        for name, loss in found.items():
            totals[name] = totals.get(name, 0.0) + loss.item()
        if (batch + 1) % _EVERY == 0 or batch + 1 == batches:
            count = batch % _EVERY + 1
            means = {name: value / count for name, value in totals.items()}
            _write_line(output / "metrics.csv", batch + 1, time.process_time() - clock, means)
            _save(output / "state.pt", settings, batch + 1, trainee, optimizer, schedule)
            totals = {}
    trainee.into(frozen)
    export(frozen, encoder, output / f"{encoder}.safetensors")


def export(encoder: Encoder, name: str, path: Path) -> None:
    """Scale an encoder to mean activation 1 on the built-in pictures and write its weights in half precision.

    Args:
        encoder: with weights that are not normalized yet; they are afterwards.
        name: of its architecture.
        path: of the safetensors file.
    """
    groups = encoder.groups()
    means = measure_means(encoder, [group.tap for group in groups], None)
    silent = sum(_silence(group, means[group.tap]) for group in groups)
    _log.info("%d of %d channels are hardly ever active; silenced", silent, sum(map(len, means.values())))
    fold_means(groups, measure_means(encoder, [group.tap for group in groups], None))
    state = {}
    for stage in encoder.stages.values():
        for key, conv in stage.convs().items():
            state[f"{key}.weight"], state[f"{key}.bias"] = conv.weight.half(), conv.bias.half()
    save_file(state, path, {"encoder": name, "calibration": calibration_name(None)})


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


def _save(
    path: Path,
    settings: dict[str, object],
    batch: int,
    trainee: Trainee,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    state = {
        "settings": settings,
        "batch": batch,
        "trainee": trainee.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    with atomic_write(path) as file:
        torch.save(state, file)


def _restore(
    path: Path,
    settings: dict[str, object],
    trainee: Trainee,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> int:
    """Continue from a state; return the number of batches done.

    Raises:
        ValueError: if the state is of another run.
    """
    if not path.is_file():
        return 0
    state = read_pickle(path)
    if state["settings"] != settings:
        raise ValueError(f"{path} is of another run, {state['settings']}; choose another --output")
    trainee.load_state_dict(state["trainee"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return int(state["batch"])


if __name__ == "__main__":
    main()
