"""Train an encoder of the package on renders, and write its weights.

    python -m experiments.compact.train --encoder compact --batches 6000 --output outputs/compact/first

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
_QUIET = 0.01  # of a layer's median mean activation
_EVERY = 100  # batches between two lines of metrics and two checkpoints
_MEMORY = {"compact": torch.channels_last, "compact_judge": torch.contiguous_format}  # whichever is faster on a CPU
_log = logging.getLogger("compact")


def main() -> None:
    """Train, export, and print the digest."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Train an encoder of the package on renders.")
    parser.add_argument("--encoder", choices=list(TAPS), default="compact")
    parser.add_argument("--design", choices=list(DESIGNS), default="all")
    parser.add_argument("--pictures", choices=list(PLANS), help="by default those of the encoder's first plan")
    parser.add_argument("--after", type=Path, help="folder of a finished run whose weights are trained on")
    parser.add_argument("--batches", type=int, default=6000)
    parser.add_argument("--rate", type=float, default=_LEARNING_RATE, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        encoder=options.encoder,
        design=options.design,
        pictures=options.pictures or options.encoder,
        after="" if options.after is None else str(options.after),
        batches=options.batches,
        rate=options.rate,
        seed=options.seed,
    )
    train(settings, options.output)
    path = options.output / f"{options.encoder}.safetensors"
    _log.info("%s-%s: %s, %d bytes", options.encoder, file_digest(path)[:8], path, path.stat().st_size)


@dataclass(frozen=True)
class Settings:
    """What decides a run.

    Attributes:
        encoder: key of `network.TAPS`.
        design: key of `objectives.DESIGNS`.
        pictures: key of `pictures.PLANS`, of the same encoder.
        after: folder of the finished run that this one goes on from, with an optimizer of its own; "" to start anew.
        batches: length of the run.
        rate: highest learning rate of the one cycle.
        seed: of weights and batches.
    """

    encoder: str
    design: str
    pictures: str
    after: str
    batches: int
    rate: float
    seed: int


def train(settings: Settings, output: Path) -> None:
    """Train for a number of batches and write the weights.

    Args:
        settings: of the run.
        output: folder, continued if it holds the state of the same run.

    Raises:
        ValueError: if the pictures are another encoder's, or the folder holds another run.
    """
    encoder, batches, rate, seed = settings.encoder, settings.batches, settings.rate, settings.seed
    if PLANS[settings.pictures].encoder != encoder:
        raise ValueError(f"the pictures {settings.pictures} are not for {encoder}; choose others")
    drawn = pictures(PLANS[settings.pictures], output.parent / "pictures")
    plan = DESIGNS[settings.design]
    torch.manual_seed(seed)
    frozen = blank(encoder, pooling=plan.pooling)
    trainee = Trainee(frozen, TAPS[encoder]).to(memory_format=_MEMORY[encoder])
    if settings.after:
        trainee.load_state_dict(read_pickle(Path(settings.after) / "state.pt")["trainee"])
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
    settings: Settings,
    batch: int,
    trainee: Trainee,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    state = {
        "settings": asdict(settings),
        "batch": batch,
        "trainee": trainee.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    with atomic_write(path) as file:
        torch.save(state, file)


def _restore(
    path: Path,
    settings: Settings,
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
    if state["settings"] != asdict(settings):
        raise ValueError(f"{path} is of another run, {state['settings']}; choose another --output")
    trainee.load_state_dict(state["trainee"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return int(state["batch"])


if __name__ == "__main__":
    main()
