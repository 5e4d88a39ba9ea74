"""Profile a training step: images/s, where the time goes, memory, and what the frame costs over a bare loop.

The frame (Lightning, our callbacks and loggers) and a bare PyTorch loop of the same step take turns in one process, on
the same method, data and optimizer, so that a slow moment of the machine hits both. Medians over the rounds are
reported, and the ratio is taken round by round.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from stylebench.build import Config, build_data, build_method, completed, open_data
from stylebench.checks import Size, size_text
from stylebench.commands.train import check_settings, finish_wandb, make_callbacks, make_mirror, make_trainer
from stylebench.data.datamodule import DomainData
from stylebench.files import write_json
from stylebench.machine import core_count
from stylebench.methods.base import Method
from stylebench.training.callbacks.evaluation import Evaluation
from stylebench.training.callbacks.run_record import RunRecord
from stylebench.training.csv_log import CSVLog

PARTS = ("data", "augmentation", "forward", "backward", "optimizer")
RENDER_SECONDS = 5.0  # how long a profile measures a rendered world


@dataclass
class Figures:
    """What a profile measured; times are medians of seconds a batch.

    Attributes:
        frame_over_bare: time of a step inside the frame over the bare loop's, median of the rounds' ratios.
        parts: seconds a batch by part of the bare loop, with the device synchronized between them.
        rendered_per_second: pictures a second that a rendered world makes on all cores; None for images from a disk.
        evaluation_seconds: of the config's metrics, with the reference's features in the cache; None without metrics.
        epoch_batches: batches between two evaluations of a run.
    """

    method: str
    device: str
    precision: str
    batch_size: int
    size_px: Size
    threads: int
    frame_seconds: float
    bare_seconds: float
    frame_over_bare: float
    frame_over_bare_rounds: list[float]
    parts: dict[str, float]
    peak_memory_bytes: int
    parameters: int
    flops_per_batch: int | None
    switches: dict[str, Any] = field(default_factory=dict)
    rendered_per_second: float | None = None
    evaluation_seconds: float | None = None
    epoch_batches: int = 1

    @property
    def images_per_second(self) -> float:
        """Images a second inside the frame."""
        return self.batch_size / self.frame_seconds

    @property
    def evaluation_share(self) -> float | None:
        """Seconds of an evaluation over those of the training batches before it."""
        if self.evaluation_seconds is None:
            return None
        return self.evaluation_seconds / (self.frame_seconds * self.epoch_batches)


class Rounds(pl.Callback):
    """Time the batches of each epoch, then as many of a bare loop; the first epoch is warm-up.

    Must be the last callback, so that the others' work is inside the measured time.

    Args:
        data: the stream of batches.
        precision: Lightning's name of the precision, for the bare loop's autocast.
    """

    def __init__(self, data: DomainData, precision: str) -> None:
        self.data = data
        self.precision = precision
        self.frame: list[float] = []
        self.bare: list[float] = []
        self.parts: dict[str, list[float]] = {part: [] for part in PARTS}
        self._begin = 0.0
        self._batches = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._batches = 0
        _synchronize(pl_module.device)
        self._begin = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Take the time after each batch; the last one of the epoch counts."""
        self._batches += 1
        if self._batches == trainer.num_training_batches:
            _synchronize(pl_module.device)
            self._end = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the bare loop: once timed whole, once with its parts taken apart."""
        method = cast(Method, pl_module)
        frame = (self._end - self._begin) / self._batches
        step = BareStep(method, trainer.optimizers, self.precision)
        with method.counting_apart():  # the count decides what kind of step a batch is
            bare = self._bare_round(step)
            parts = self._parts_round(step)
        if trainer.current_epoch == 0:
            return
        self.frame.append(frame)
        self.bare.append(bare)
        for part, seconds in parts.items():
            self.parts[part].append(seconds)

    def _bare_round(self, step: "BareStep") -> float:
        device = step.method.device
        _synchronize(device)
        begin = time.perf_counter()
        count = 0
        for raw in self.data.train_dataloader():
            step.optimize(self.data.task.finish(_to(raw, device)))
            count += 1
        _synchronize(device)
        return (time.perf_counter() - begin) / count

    def _parts_round(self, step: "BareStep") -> dict[str, float]:
        device = step.method.device
        watch = Stopwatch(device)
        batches = iter(self.data.train_dataloader())
        count = 0
        while (raw := watch.timed("data", partial(next, batches, None))) is not None:
            batch = watch.timed("augmentation", partial(self.data.task.finish, _to(raw, device)))
            step.optimize(batch, watch)
            count += 1
        return {part: watch.totals[part] / count for part in PARTS}


class Stopwatch:
    """Adds up seconds by part, with the device synchronized between them; what is timed inside a part is no part of it.

    Args:
        device: where the work happens.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.totals = dict.fromkeys(PARTS, 0.0)

    def timed(self, part: str, work: Callable[[], Any]) -> Any:
        """Do some work and add its time to a part."""
        inside = sum(self.totals.values())
        begin = time.perf_counter()
        result = work()
        _synchronize(self.device)
        self.totals[part] += time.perf_counter() - begin - (sum(self.totals.values()) - inside)
        return result


class BareStep:
    """A training step as one would write it without a frame: no logging, no hooks, no checks."""

    def __init__(self, method: Method, optimizers: Sequence[Any], precision: str) -> None:
        self.method = method
        if not (method.automatic_optimization or method.players):
            raise ValueError(f"profile measures training steps, and {type(method).__name__} trains nothing")
        plain = [getattr(optimizer, "optimizer", optimizer) for optimizer in optimizers]
        self.optimizers = dict(zip(method.players or ("only",), plain, strict=True))
        self.dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
        self.scaler = torch.amp.GradScaler(method.device.type, enabled=precision == "16-mixed")

    def optimize(self, batch: Any, watch: Stopwatch | None = None) -> None:
        """Take one whole step, with its parts timed if there is a watch, and count the batch."""
        timed = watch.timed if watch is not None else _untimed
        with self.method.logging_for(None), self.method.stepping_by(partial(self._update, timed)):
            loss = timed("forward", partial(self._forward, batch))
        if self.method.automatic_optimization:
            self._update(timed, ("only",), loss)
        self.method.count_batch()

    def _forward(self, batch: Any) -> Any:
        with torch.autocast(self.method.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            return self.method.training_step(batch, 0)

    def _update(
        self, timed: Callable[..., Any], players: Sequence[str], loss: Tensor, clip_norm: float | None = None
    ) -> None:
        optimizers = [self.optimizers[player] for player in players]
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        timed("backward", partial(torch.autograd.backward, self.scaler.scale(loss)))
        for optimizer in optimizers:
            timed("optimizer", partial(self._step, optimizer, clip_norm))
        self.scaler.update()

    def _step(self, optimizer: Any, clip_norm: float | None) -> None:
        if clip_norm is not None:
            self.scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip_norm)
        self.scaler.step(optimizer)


def _untimed(part: str, work: Callable[[], Any]) -> Any:
    return work()


def summarize(rounds: Rounds, method: Method, record: Mapping[str, Any], switches: dict[str, Any]) -> Figures:
    """Return the medians of all rounds."""
    ratios = [frame / bare for frame, bare in zip(rounds.frame, rounds.bare, strict=True)]
    return Figures(
        method=type(method).__name__,
        device=str(record["devices"]["kind"]),
        precision=rounds.precision,
        batch_size=rounds.data.task.batch_size,
        size_px=rounds.data.task.size_px,
        threads=torch.get_num_threads(),
        frame_seconds=statistics.median(rounds.frame),
        bare_seconds=statistics.median(rounds.bare),
        frame_over_bare=statistics.median(ratios),
        frame_over_bare_rounds=[round(ratio, 4) for ratio in ratios],
        parts={part: statistics.median(seconds) for part, seconds in rounds.parts.items()},
        peak_memory_bytes=int(record["peak_memory_bytes"]),
        parameters=int(record["parameters"]),
        flops_per_batch=record["flops_per_batch"],
        switches=switches,
    )


def report(figures: Figures) -> str:
    """Return the figures as a short table."""
    whole = sum(figures.parts.values())
    lines = [
        f"{figures.method}, {size_text(figures.size_px)} px, batch {figures.batch_size}, {figures.precision}, "
        f"{figures.device}, {figures.threads} threads",
        f"  inside the frame   {figures.frame_seconds * 1e3:9.2f} ms a batch   "
        f"{figures.images_per_second:.1f} images/s",
        f"  bare loop          {figures.bare_seconds * 1e3:9.2f} ms a batch",
        f"  frame over bare    {figures.frame_over_bare:9.3f}      (rounds: "
        + ", ".join(f"{ratio:.3f}" for ratio in figures.frame_over_bare_rounds)
        + ")",
        "  the bare step, taken apart:",
    ]
    lines += [
        f"    {part:<16} {seconds * 1e3:9.2f} ms   {100 * seconds / whole:5.1f} %"
        for part, seconds in figures.parts.items()
    ]
    lines.append(f"  peak memory        {figures.peak_memory_bytes / 2**30:9.2f} GiB")
    lines.append(f"  parameters         {figures.parameters:,} trained")
    if figures.flops_per_batch:
        speed = figures.flops_per_batch / figures.frame_seconds / 1e9
        lines.append(f"  FLOPs              {figures.flops_per_batch / 1e9:9.2f} G a batch   {speed:.1f} GFLOP/s")
    if figures.evaluation_seconds is not None and figures.evaluation_share is not None:
        share = f"{100 * figures.evaluation_share:.1f} % of the {figures.epoch_batches} batches before it"
        lines.append(f"  evaluation         {figures.evaluation_seconds:9.2f} s    {share}")
    if figures.rendered_per_second is not None:
        cores = core_count()
        lines.append(
            f"  rendering          {figures.rendered_per_second:9.1f} images/s on {cores} cores, "
            f"{figures.rendered_per_second / cores:.1f} a core, where pictures are not packed"
        )
    return "\n".join(lines)


def to_json(figures: Figures, path: Path) -> None:
    """Write the figures as JSON."""
    write_json(
        path,
        {
            **asdict(figures),
            "images_per_second": figures.images_per_second,
            "evaluation_share": figures.evaluation_share,
        },
    )


def _to(raw: Any, device: torch.device) -> Any:
    from pytorch_lightning.utilities import move_data_to_device

    return raw if device.type == "cpu" else move_data_to_device(raw, device)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def profile(config: Config) -> Figures:
    """Measure a training step of the config, with the callbacks and loggers that a run would have.

    Args:
        config: the resolved profiling config: a training config with `batches` and `rounds`.

    Returns:
        The medians over the rounds.
    """
    every = config["batches"]
    if min(every, config["rounds"]) < 1:
        raise ValueError(f"batches and rounds must be at least 1, got {every} and {config['rounds']}")
    epoch = config["budget"]["evaluate_every"]
    budget = {**config["budget"], "evaluate_every": every, "batches": 10 * every * (config["rounds"] + 1)}
    config = {**config, "budget": budget, "checkpoint": {**config["checkpoint"], "every_n_batches": budget["batches"]}}
    check_settings(config)
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    opened = open_data(config)
    config = completed(config, opened)
    data = build_data(config, opened)
    method = build_method(config, data)
    with tempfile.TemporaryDirectory() as folder:
        record = RunRecord(Path(folder), {}, batch_size=data.task.batch_size, count_flops=not config["compile"])
        rounds = Rounds(data, config["trainer"]["precision"])
        callbacks = [*make_callbacks(config, Path(folder), opened, method, record, {}), rounds]
        loggers = [CSVLog(folder), *make_mirror(config, Path(folder), record, 0)]
        trainer = make_trainer(
            config, Path(folder), loggers, callbacks, max_epochs=config["rounds"] + 1, limit_val_batches=0
        )
        trainer.fit(method, data)
        for logger in trainer.loggers:
            logger.finalize("success")
        finish_wandb(failed=False)
        evaluation = next((part for part in callbacks if isinstance(part, Evaluation)), None)
        seconds = None if evaluation is None else evaluation.timed(method)
    switches = {name: config[name] for name in ("compile", "channels_last")}
    rendered = None if opened.world is None else opened.world.benchmark(RENDER_SECONDS)
    figures = summarize(rounds, method, record.record, switches)
    return replace(figures, rendered_per_second=rendered, evaluation_seconds=seconds, epoch_batches=epoch)
