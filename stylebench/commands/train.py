"""The composition root: a resolved config becomes data, method, callbacks and a trainer, and a run folder."""

import contextlib
import logging
import os
import secrets
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.plugins.environments import SLURMEnvironment  # type: ignore[attr-defined]
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import SIGTERMException

from stylebench import __version__
from stylebench.binding import flatten
from stylebench.build import (
    Config,
    build,
    build_data,
    build_evaluator,
    build_method,
    completed,
    measured_plans,
    method_class,
    open_data,
    reference_cache,
)
from stylebench.checks import UsageError, check_size, check_switch, check_whole
from stylebench.commands.outlook import how_to_go_on
from stylebench.commands.prepare import check_report
from stylebench.commands.records import write_config
from stylebench.construct import locate
from stylebench.data.datamodule import DomainData
from stylebench.data.opened import Opened
from stylebench.data.plan import asked_for
from stylebench.data.tasks import device_batch_size
from stylebench.files import is_json, write_json
from stylebench.inference.base import Picture
from stylebench.inference.loading import load, load_translator
from stylebench.methods.base import Method
from stylebench.methods.checks import refuse_judges
from stylebench.nn.encoders.base import record_name
from stylebench.run_folder import CHECKPOINTS, FAILED, FINISHED, RECORD, SAMPLES, STOPPED, RunFolder
from stylebench.training.callbacks.beginning import Beginning
from stylebench.training.callbacks.checkpoints import AtomicCheckpointIO, Checkpoints
from stylebench.training.callbacks.ema import EMA
from stylebench.training.callbacks.evaluation import Evaluation
from stylebench.training.callbacks.health import Health
from stylebench.training.callbacks.metric_log import MetricLog
from stylebench.training.callbacks.progress import Progress
from stylebench.training.callbacks.run_record import RunRecord
from stylebench.training.callbacks.sample_grid import SampleGrid
from stylebench.training.callbacks.target_scores import TargetScores
from stylebench.training.csv_log import CSVLog
from stylebench.training.initial import check_init, initialize
from stylebench.training.resume import Start, check_content, find_start, fingerprint
from stylebench.trusted import check_targets

log = logging.getLogger(__name__)
WHOLE_NUMBERS = {   # key -> smallest value
    "seed": 0, "samples": 1, "budget.batches": 1, "budget.evaluate_every": 1, "budget.validation_images": 1,
    "checkpoint.every_n_batches": 1, "checkpoint.keep": 1, "logger.every_n_batches": 1,
    "dataset.batch_size": 1, "dataset.num_workers": 0, "metrics.num_images": 0, "metrics.batch_size": 1,
    "metrics.scenes": 0, "metrics.truth_draws": 1,
}  # fmt: skip
HEALTH_IMAGES = 16  # on which silent failures are looked for
HEALTH_FROM = 200  # batches before which a network may still make gray pictures
NO_ADAPTATION = {"_target_": "stylebench.adaptation.none.NoAdaptation"}
SWITCHES = ("compile", "channels_last", "panel", "dataset.flip", "metrics.allow_same_encoder")


@dataclass(frozen=True)
class Result:
    """What a run leaves.

    Attributes:
        folder: its run folder.
        metrics: its newest metrics.
        batches: those it has trained.
        inputs: the pictures that its model takes.
        command: of the command line that uses its model.
        opened: its data; None where nothing was left to train and no report was asked for.
    """

    folder: Path
    metrics: dict[str, float]
    batches: int
    inputs: Sequence[Picture]
    command: str
    opened: Opened | None = None


def train(config: Config, folder: Path, overrides: list[str], began: Callable[[], None] | None = None) -> Result:
    """Train a method as the config says, or continue it, and keep its run folder.

    A run that lies in the folder stays as it is until the first new batch has been trained.

    Args:
        config: the resolved training config.
        folder: the run folder; created, and held against other processes.
        overrides: the command-line overrides, for the record.
        began: called once the run writes into its folder, in the process that writes.

    Returns:
        Where the results lie, and the newest metrics.

    Raises:
        ValueError: if the config, the data or the folder cannot work; nothing has been trained then.
        NonFiniteLossError: if the loss became NaN or infinite; the newest checkpoint is from before that.
    """
    check_settings(config)
    if (whole := RunFolder(folder).enclosing) is not None:
        raise UsageError(f"run={folder} is part of the run {whole}; name that, or another folder")
    with RunFolder(folder).held() if first_process() else contextlib.nullcontext():
        return _train(config, folder, overrides, began or (lambda: None))


def _train(config: Config, folder: Path, overrides: list[str], began: Callable[[], None]) -> Result:
    """Train in a folder that is held."""
    opened: Opened | None = None
    if config["panel"] or method_class(config).completes:
        opened = open_data(config)
        config = completed(config, opened)
    if config["panel"] and opened is not None:
        check_report(opened)
    start = find_start(folder, config["resume"], config)
    csv = CSVLog(folder)
    if start.checkpoint is not None and start.batches >= config["budget"]["batches"]:
        return _finished(config, folder, start, csv, opened)
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    opened = opened or open_data(config)
    data = build_data(config, opened)
    method = build_method(config, data)
    facts = _facts(config, overrides, data, method) | {"init": _init(config, start, method)}
    check_content(folder, start, facts)
    if start.checkpoint is not None:
        log.info("continuing %s from batch %d", folder, start.batches)
    batches, every = config["budget"]["batches"], config["budget"]["evaluate_every"]
    csv.rewind(start.batches, keep_evaluation=start.batches % every == 0)
    record = RunRecord(
        folder,
        {**facts, "config": config if is_json(config) else None},
        batch_size=config["dataset"]["batch_size"],
        previous=start.record,
        count_flops=not config["compile"],
    )
    callbacks = [
        _beginning(config, start, record, csv, began),
        *make_callbacks(config, folder, opened, method, record, facts),
    ]
    epochs = -(-batches // every) - start.batches // every
    mirror = make_mirror(config, folder, record, start.batches)
    trainer = make_trainer(config, folder, [csv, *mirror], callbacks, max_epochs=epochs)
    device_batch_size(data.task.batch_size, trainer.num_devices * trainer.num_nodes)  # before processes are started
    _fit(trainer, method, data, record, csv, start)
    return Result(folder, csv.last_values(), batches, method.model.inputs, method.model.command, opened)


def _init(config: Config, start: Start, method: Method) -> Config | None:
    """Load the weights that a run starts from; one that goes on has them behind it, unless others are named now."""
    setting = config.get("init")
    if start.checkpoint is not None and setting in (None, start.config.get("init")):
        return start.facts.get("init")
    return None if setting is None else initialize(method, setting)


def _finished(config: Config, folder: Path, start: Start, csv: CSVLog, opened: Opened | None) -> Result:
    """Return what a run left that has all its batches; its data are read only where they are called otherwise now."""
    if config["dataset"] != start.config.get("dataset"):
        opened = opened or open_data(config)
        check_content(folder, start, {**start.facts, "data": opened.task.describe()})
    log.info("the run has its %d batches already; %s", start.batches, how_to_go_on(config))
    csv.rewind(start.batches, keep_evaluation=True)
    if first_process():
        _close_record(folder, start, csv)
    model = load(folder)
    return Result(folder, csv.last_values(), start.batches, model.inputs, model.command, opened)


def _beginning(config: Config, start: Start, record: RunRecord, csv: CSVLog, began: Callable[[], None]) -> Beginning:
    """Return what writes a session's first files: at once in a new folder, else after its first batch."""
    run = record.run
    record.wait()
    actions: list[Callable[[], object]] = [lambda: write_config(run.path, config), csv.begin, record.begin, began]
    if start.sets_aside:
        actions.insert(0, run.set_aside)
    at_once = not run.has_record and not run.checkpoints()
    return Beginning(*(actions if first_process() else []), at_once=at_once)


def report(config: Config, result: Result, command: str) -> Path:
    """Write the report of a finished run on a rendered world; return its path.

    Args:
        config: the run's resolved config.
        result: of the run, which was asked for a report.
        command: the command line that made it.
    """
    from stylebench.training.panel import write_report

    log.info("comparing with the exact answers")
    assert result.opened is not None
    return write_report(result.folder, config, result.opened, load_translator(result.folder), command)


def _close_record(folder: Path, start: Start, csv: CSVLog) -> None:
    """Write the end of a run that was killed between its last checkpoint and its record."""
    if start.record is not None and start.record["status"] != FINISHED:
        csv.begin()
        ended = {"status": FINISHED, "error": None, "batches": start.batches, "final": csv.last_values()}
        write_json(folder / RECORD, {**start.record, **ended})


def first_process() -> bool:
    """Tell whether this process is the one that writes: rank 0 of torchrun, SLURM or Lightning's own launcher."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def _fit(trainer: pl.Trainer, method: Method, data: DomainData, record: RunRecord, csv: CSVLog, start: Start) -> None:
    """Run the trainer, and write how it ended whatever happens."""
    status, error = FAILED, None
    try:
        trainer.fit(method, data, ckpt_path=start.checkpoint and str(start.checkpoint), weights_only=True)
        status = FINISHED
    except BaseException as exception:
        stopped = isinstance(exception, SystemExit | KeyboardInterrupt)
        status, error = (STOPPED if stopped else FAILED), f"{type(exception).__name__}: {exception}"
        if isinstance(exception, SIGTERMException):
            raise SystemExit(128 + signal.SIGTERM) from exception
        raise
    finally:
        if trainer.is_global_zero:
            record.write(status=status, error=error, final=csv.last_values())
        for logger in trainer.loggers:
            logger.finalize("success" if status == FINISHED else "failed")
        finish_wandb(failed=status != FINISHED)


def make_callbacks(
    config: Config, folder: Path, opened: Opened, method: Method, record: RunRecord, facts: Config
) -> list[pl.Callback]:
    """Return the callbacks in the order in which they must see a batch: numbers, averages, then what saves them."""
    metric_log = MetricLog(config["logger"]["every_n_batches"])
    budget = config["budget"]
    samples = opened.task.finish(opened.task.fixed(config["samples"], "val"))
    header = {"version": __version__, "config": config, "record": facts}
    checkpoints = Checkpoints(
        folder / CHECKPOINTS,
        every_n_batches=config["checkpoint"]["every_n_batches"],
        keep=config["checkpoint"]["keep"],
        evaluate_every=budget["evaluate_every"],
        batches=budget["batches"],
        header=header,
    )
    average = [EMA(config["ema"]["decay"])] if config["ema"] else []
    evaluation = [*_health(opened, record), *_evaluation(config, opened, method, record)]
    progress = Progress(budget["batches"], config["dataset"]["batch_size"], metric_log)
    scores = TargetScores.of(method, opened.task, record)
    return [
        metric_log, *average, *scores, SampleGrid(folder / SAMPLES, samples), *evaluation, record, checkpoints,
        progress,
    ]  # fmt: skip


def _health(opened: Opened, record: RunRecord) -> list[Health]:
    """Return the callback that looks for silent failures, none for a task whose results nothing is known of."""
    plan = opened.task.overview("val")
    return [] if plan is None else [Health(plan.limited(HEALTH_IMAGES), record, HEALTH_FROM)]


def _evaluation(config: Config, opened: Opened, method: Method, record: RunRecord) -> list[Evaluation]:
    """Return the callback that measures, none if there is nothing to measure on or with."""
    settings = config["metrics"]
    if not settings["items"] or not settings["num_images"]:
        return []
    plans = measured_plans(settings, asked_for(opened.plans("val"), {}))
    if not plans:
        return []
    evaluator = build_evaluator(settings, train_encoder(method))
    size, last = settings["batch_size"], config["budget"]["batches"]
    return [Evaluation(evaluator, plans, reference_cache(settings), record, size, last)]


def train_encoder(method: Method) -> str | None:
    """Return the record name of the encoder whose features trained a method, with its digest; None if there is none."""
    encoder = getattr(method, "encoder", None)
    return None if encoder is None else record_name(encoder.name, encoder.digest)


def make_trainer(
    config: Config, folder: Path, loggers: list[Any], callbacks: list[pl.Callback], **settings: Any
) -> pl.Trainer:
    """Build the trainer of a run."""
    # Under SLURM, SIGTERM must reach us: a job started again continues by resume=auto, not by Lightning's requeue.
    plugins = [AtomicCheckpointIO(), *([SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else [])]
    return build(  # type: ignore[no-any-return]
        config["trainer"],
        "trainer",
        callbacks=callbacks,
        logger=loggers,
        plugins=plugins,
        default_root_dir=str(folder),
        reload_dataloaders_every_n_epochs=1,  # each epoch's loader starts at the batch counter
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        inference_mode=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def make_mirror(config: Config, folder: Path, record: RunRecord, batches: int) -> list[Any]:
    """Build the second logger, if there is one, writing into the run folder.

    A run that goes on stays one there: in wandb by the id in its record, in TensorBoard by dropping the points behind
    its checkpoint. A sweep's runs share a group, never a run.
    """
    if config["logger"]["mirror"] is None:
        return []
    node = dict(config["logger"]["mirror"])
    if node["_target_"].endswith("WandbLogger"):
        finish_wandb(failed=False)
        identity = record.record["wandb_id"] = record.record["wandb_id"] or secrets.token_hex(4)
        node.update(name=folder.name, group=folder.parent.name, config=config, _recursive_=False)
        node = {"id": identity, "resume": "allow", **node}
    elif node["_target_"].endswith("TensorBoardLogger") and batches:
        node["purge_step"] = batches + 1
    return [build(node, "logger.mirror", save_dir=str(folder))]


def finish_wandb(failed: bool) -> None:
    """End the live wandb run, if there is one: else the next run of this process would be written into it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish(exit_code=int(failed))


def _facts(config: Config, overrides: list[str], data: DomainData, method: Method) -> Config:
    facts = {
        "name": config["name"],
        "method": method.name,
        "seed": config["seed"],
        "fingerprint": fingerprint(config),
        "overrides": overrides,
        "directory": os.getcwd(),
        "data": data.task.describe(),
    }
    encoder = getattr(method, "encoder", None)
    return {**facts, "encoder": encoder.describe() if encoder is not None else None}


def check_settings(config: Config) -> None:
    """Refuse values that cannot work before anything is read or written."""
    settings = dict(flatten(config))
    for key, least in WHOLE_NUMBERS.items():
        check_whole(key, settings[key], least)
    for key in SWITCHES:
        check_switch(key, settings[key])
    check_size("dataset.size_px", settings["dataset.size_px"])
    if settings["dataset.resize_px"] is not None:
        check_size("dataset.resize_px", settings["dataset.resize_px"])
    if "ema.decay" in settings and not isinstance(settings["ema.decay"], int | float):
        raise ValueError(f"ema.decay must be a number in [0, 1), got {settings['ema.decay']!r}")
    if config.get("init") is not None:
        check_init(config["init"])
    if config["adaptation"] != NO_ADAPTATION and "adaptation" not in (config["model"].get("inference") or {}):
        raise UsageError(
            f"adaptation={config['adaptation']['_target_'].rpartition('.')[2]} takes part in the training of "
            "model=classifier; another trained model is given the statistics of a domain by stylebench calibrate"
        )
    encoder = config["model"].get("encoder")
    if isinstance(encoder, Mapping) and "_target_" in encoder:
        refuse_judges(locate(encoder["_target_"], "encoder"))  # the method would too, but only once the data are read


def check_recorded(config: Config) -> None:
    """Check every target of a config that came out of a run folder before anything is built from it."""
    check_targets(config)


def quieten() -> None:
    """Leave out Lightning's advice on worker counts and the like: what matters is said by our own messages."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # frozen encoders are
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
