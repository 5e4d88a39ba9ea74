"""Evaluation after training: a finished run, or anybody's folders of images; the values as a table."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from stylebench import __version__
from stylebench.binding import content_digests
from stylebench.build import (
    Config,
    build_evaluator,
    measured_plans,
    open_data,
    reference_cache,
)
from stylebench.checks import UnknownControlError, UsageError, read_path
from stylebench.commands.evaluate_classifier import ClassifierEvaluation
from stylebench.commands.evaluate_data import data_label, with_data
from stylebench.commands.evaluate_folders import PAIRED, evaluate_folders, open_folders
from stylebench.commands.records import recorded
from stylebench.commands.stylize.pictures import choose_device
from stylebench.data.images import write_png
from stylebench.data.opened import Opened
from stylebench.data.plan import Plan, asked_for
from stylebench.files import write_json
from stylebench.inference.base import STATISTICS, Inference
from stylebench.inference.classifier import Classifier
from stylebench.inference.loading import TrainedModel, load, read_model
from stylebench.inference.translators.base import OptimizingTranslator, Translator, translate_as_asked
from stylebench.metrics.batch import EvaluationBatch
from stylebench.metrics.evaluator import Evaluator
from stylebench.metrics.measuring import asking, measure_method
from stylebench.metrics.records import Value, to_record
from stylebench.metrics.utilities import utilities
from stylebench.nn.encoders.base import record_name
from stylebench.run_folder import (
    EVALUATION,
    FOLDER,
    MANIFEST,
    RunFolder,
    dashboard,
    mean_dashboard,
    now,
)
from stylebench.trusted import check_targets

log = logging.getLogger(__name__)
FOR_RUNS = {"split": "test", "weights": "auto", "save_images": False}  # keys that folders have no use for, as shipped
PATHS = ("run", "generated", "reference", *PAIRED, "output")
ABOUT = "about"  # key of a JSON of folders beside the record keys: what was scored
GENERATED = "generated"  # the set of folders of images, beside the sets of runs, such as `test-ema`


@dataclass(frozen=True)
class Evaluated:
    """Values, and the files that hold them.

    Attributes:
        sets: entries by record key, for each name of what was evaluated: `test-ema`, and `test-ema-<a>-to-<b>`
            where a run has several domains to translate to; empty for folders of images.
        written: files and folders.
        named: whether the sets are told apart by the names of their plans.
        about: of folders of images: each with its digest, the date and the version.
        unwritten: why files that should hold values do not, a line each.
    """

    sets: dict[str, dict[str, dict[str, Any]]]
    written: list[Path]
    named: bool = False
    about: dict[str, Any] = field(default_factory=dict)
    unwritten: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def writing(self, path: Path) -> Iterator[None]:
        """Note where a `with` block cannot write, and go on: the values are shown whatever happens."""
        try:
            yield
        except OSError as error:
            self.unwritten.append(f"{path}: {error.strerror or error}")

    @property
    def record(self) -> dict[str, dict[str, Any]]:
        """The entries of all sets by record key, which is preceded by the set's name where a method has several."""
        return {
            f"{name}/{key}" if self.named else key: entry
            for name, entries in self.sets.items()
            for key, entry in entries.items()
        }

    @property
    def means(self) -> dict[str, float]:
        """The means over the sets, by dashboard key without its stage."""
        return mean_dashboard([dashboard(entries) for entries in self.sets.values()])


def evaluate(config: Config) -> Evaluated:
    """Evaluate a finished run, or folders of images.

    Args:
        config: the resolved config of the command.

    Returns:
        The values, and where they were written.

    Raises:
        UsageError: if it is not said what to evaluate.
        FileNotFoundError: if the run, a folder, or the weights of a required metric are missing.
        ValueError: if images do not fit each other, or a metric cannot take them.
    """
    if (config["run"] is None) == (config["generated"] is None):
        raise UsageError("name what to evaluate: run=<run folder>, or generated=<folder of images>, one of them")
    config = {**config, **{key: read_path(key, config[key]) for key in PATHS if config[key] is not None}}
    device = choose_device(config["device"])
    if config["run"] is None:
        evaluated = _evaluate_folders(config, device)
    else:
        evaluated = _evaluate_run(config, Path(config["run"]), device)
    if config["output"] is not None and not _keeps_run_folder(config):
        path = Path(config["output"])
        with evaluated.writing(path):
            write_json(path, {**evaluated.record, **({ABOUT: evaluated.about} if evaluated.about else {})})
            evaluated.written.append(path)
    return evaluated


def _keeps_run_folder(config: Config) -> bool:
    """Tell whether folders of images are evaluated into a run folder: `output` ends in a slash or is a folder."""
    output = config["output"]
    return config["run"] is None and output is not None and (output.endswith("/") or Path(output).is_dir())


def _evaluate_folders(config: Config, device: torch.device) -> Evaluated:
    """Evaluate folders of images, and keep the values in a run folder where `output` names one."""
    if config["dataset"]:
        raise UsageError("dataset.*: folders of images are named by generated=, reference=, ...; name a run by run=")
    if config["controls"]:
        raise UnknownControlError(
            next(iter(config["controls"])),
            f"{', '.join(config['controls'])}: folders of images have no controls; name a run by run=",
        )
    for key, value in FOR_RUNS.items():
        if config[key] != value:
            log.warning("%s=%s changes nothing for folders of images; it is for a run", key, config[key])
    folders, settings = open_folders(config), config["metrics"]
    evaluator = build_evaluator(settings, images=max(len(folders.generated), len(folders.reference or ())))
    measure = partial(
        evaluate_folders, evaluator, folders, reference_cache(settings), size=settings["batch_size"],
        limit=settings["num_images"], device=device,
    )  # fmt: skip
    if not _keeps_run_folder(config):
        about = {"data": folders.describe(), "size_px": config["size_px"], "written": now(), "version": __version__}
        evaluated = Evaluated({"": measure()}, [], about=about)
        folders.tell_notes()
        return evaluated
    run, evaluated = RunFolder(config["output"]), Evaluated({}, [])
    facts = {"name": folders.generated.path.resolve().name, "seed": None, "data": folders.describe()}
    try:
        with recorded(run.path, FOLDER, "evaluate", config, facts) as record:
            entries = evaluated.sets[""] = measure()
            record["final"], record["notes"] = dashboard(entries), folders.tell_notes()
            rows = [{**row, "seed": None} for row in evaluator.table()]
            evaluated.written.append(run.write_evaluation(GENERATED, entries, rows, folders.codecs()))
    except OSError as error:
        if not evaluated.sets:  # it has not been measured yet
            raise
        evaluated.written.clear()
        evaluated.unwritten.append(f"{run.path}: {error.strerror or error}")
    return evaluated


def _evaluate_run(config: Config, folder: Path, device: torch.device) -> Evaluated:
    """Evaluate a run on its own data, wherever they lie now, or on others, and keep the values in its folder."""
    model = read_model(folder, config["weights"])
    if not model.config:
        raise ValueError(f"{folder} does not say what it was trained on (an export?); name the run folder itself")
    check_targets(model.config)
    trained = {**with_data(model.config, config["dataset"]), "metrics": config["metrics"]}
    opened = open_data(trained)
    label = data_label(folder, model, trained, opened, config["dataset"])
    used = load(folder, config["weights"], device)
    about = {"weights": model.weights, "split": config["split"], "batches": model.trained.get("batches")}
    about |= {"data": content_digests({"data": opened.task.describe()})} if label else {}
    if isinstance(used, Classifier):
        jobs = _of_classifier(config, used, model, trained, opened, label)
    else:
        jobs = _of_translator(config, used, model, trained, opened, label)
    run, evaluated = RunFolder(folder), Evaluated({}, [], any(job.named for job in jobs.values()))
    with contextlib.ExitStack() as stack:
        keeps = _hold(stack, run, list(jobs), evaluated, config["save_images"])
        for name, job in jobs.items():
            values, table, images = job.measure(run.set_folder(name))
            facts = {**about, **job.facts}
            evaluated.sets[name] = to_record(values, **facts)
            rows = [{**row, "seed": model.config.get("seed")} for row in table]
            if keeps:
                with evaluated.writing(run.set_folder(name)):
                    evaluated.written.append(run.write_evaluation(name, evaluated.sets[name], rows, facts, images))
        if keeps and not config["controls"] and not label:
            means = {f"{config['split']}/{key}": value for key, value in evaluated.means.items()}
            with evaluated.writing(run.path):
                run.write_means(config["split"], model.weights, about["batches"], means)
    return evaluated


class Job(NamedTuple):
    """One set of a run's evaluation.

    Attributes:
        facts: plain values that hold for all its entries.
        measure: given the set's folder, returns the values, a row an image, and what images were saved.
        named: whether the set is told apart from others by a plan's name.
    """

    facts: Mapping[str, Any]
    measure: Callable[[Path], tuple[list[Value], list[dict[str, Any]], Mapping[str, Any] | None]]
    named: bool = False


def _of_translator(
    config: Config, used: Inference, model: TrainedModel, trained: Config, opened: Opened, label: str
) -> dict[str, Job]:
    """Return how the plans of a model that makes pictures are measured, by the names of their sets."""
    assert isinstance(used, Translator)
    if isinstance(used, OptimizingTranslator):  # each image costs minutes: as many as the run itself took
        few = min(config["metrics"]["num_images"], model.config["metrics"]["num_images"])
        log.info("measuring %d images, as the run did: each is optimized again", few)
        trained = {**trained, "metrics": {**config["metrics"], "num_images": few}}
    _refuse_folders(config, used)
    asked = config["controls"]
    used.check_controls(**asked)
    plans = measured_plans(trained["metrics"], asked_for(opened.plans(config["split"]), asked))
    encoder = model.trained["record"].get("encoder")
    evaluator = build_evaluator(config["metrics"], record_name(encoder["name"], encoder["digest"]) if encoder else None)

    def measure(plan: Plan, folder: Path) -> tuple[list[Value], list[dict[str, Any]], Mapping[str, Any] | None]:
        writer = ImageWriter(folder) if config["save_images"] else None
        values = _measure(config, evaluator, used, plan, writer, used.device)
        return values, evaluator.table(), None if writer is None else writer.images

    jobs = {}
    for plan in plans:
        controls = {**plan.request, **asked}
        jobs[_set_name(config, model.weights, label, plan)] = Job(
            {"controls": controls} if controls else {}, partial(measure, plan), bool(plan.name)
        )
    return jobs


def _of_classifier(
    config: Config, used: Classifier, model: TrainedModel, trained: Config, opened: Opened, label: str
) -> dict[str, Job]:
    """Return how the predictions of a classifier are measured, under the name of their set."""
    _refuse_folders(config, used)
    controls = config["controls"]
    if config["save_images"]:
        raise UsageError("save_images=true: a classifier makes no images; its predictions stand in rows.csv")
    used.check_controls(**{key: value for key, value in controls.items() if key != STATISTICS})
    most = config["metrics"]["num_images"]
    job = ClassifierEvaluation(used, opened, config["split"], controls.get(STATISTICS), most)
    run = RunFolder(config["run"])
    recorded = run.record.get("calibration", {}) if run.has_record else {}
    facts = {**job.prepare(bool(label), recorded), **({"controls": controls} if controls else {})}
    facts["adaptation"]["protocol"] = trained["dataset"].get("protocol")
    return {_set_name(config, model.weights, label): Job(facts, lambda folder: (*job.measure(folder), None))}


def _set_name(config: Config, weights: str, label: str, plan: Plan | None = None) -> str:
    """Return the name of an evaluation: split, weights and plan, with what a user chose, and data of its own."""
    name, request = (plan.name, plan.request) if plan else ("", {})
    given = [f"{key}={value}" for key, value in config["controls"].items() if key not in request or not name]
    return "-".join(filter(None, (config["split"], weights, name, *given, label)))


def _hold(
    stack: contextlib.ExitStack, run: RunFolder, names: Sequence[str], evaluated: Evaluated, save_images: bool
) -> bool:
    """Hold the folders of evaluations before the work; tell whether their values can be kept.

    Raises:
        UsageError: if another process is at the same evaluation.
        PermissionError: if images should be saved and cannot be.
    """
    if not run.path.is_dir():  # a checkpoint alone has no folder to keep values in
        return False
    try:
        for name in names:
            stack.enter_context(RunFolder(run.set_folder(name)).held())
    except PermissionError as error:
        if save_images:
            raise
        log.warning("the values will be shown, but not kept: %s", error)
        evaluated.unwritten.append(f"{run.path / EVALUATION}: {error}")
        return False
    return True


def _measure(
    config: Config,
    evaluator: Evaluator,
    translator: Translator,
    plan: Plan,
    writer: "ImageWriter | None",
    device: torch.device,
) -> list[Value]:
    """Return the values of one plan."""
    size = config["metrics"]["batch_size"]
    asked = asking(partial(translate_as_asked, translator), **config["controls"])
    cache = reference_cache(config["metrics"])
    values = measure_method(evaluator, plan, asked, cache=cache, size=size, device=device, watch=writer)
    return values + utilities(evaluator, config["metrics"]["axes"], plan, size, device)


def _refuse_folders(config: Config, used: Inference) -> None:
    """Refuse folders of images beside a run, which is evaluated on its own data set."""
    if given := sorted(role for role in ("reference", *PAIRED) if config[role] is not None):
        names = [control.name for control in used.controls]
        raise UsageError(
            f"{', '.join(given)}: these keys take folders, and only together with generated=<folder>; a run is "
            f"evaluated on its own data set, and this one's controls are: {', '.join(names) or 'none'}"
        )


class ImageWriter:
    """Writes every batch's images as PNG by their index, and notes what they are; what a folder held before goes.

    Args:
        folder: where they go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: dict[str, dict[str, str | None]] = {}
        for old in (*folder.glob("[0-9]*.png"), folder / MANIFEST):
            old.unlink(missing_ok=True)

    def __call__(self, batch: EvaluationBatch) -> None:
        """Write a batch."""
        names: list[Sequence[str | None]] = [
            ids or [None] * len(batch.image) for ids in (batch.content_id, batch.style_id)
        ]
        for place, image, content, style in zip(batch.index.tolist(), batch.image.cpu(), *names, strict=True):
            self.images[f"{place:06d}.png"] = {"content": content, "style": style}
            write_png(image.permute(1, 2, 0).contiguous().numpy(), self.folder / f"{place:06d}.png")
